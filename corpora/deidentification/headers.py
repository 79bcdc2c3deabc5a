"""DICOM headers without identifiers: the Basic Profile of PS3.15 Annex E with keyed pseudonyms and shifted dates.

Goes beyond the table where the table trusts the writer of the file: attributes that no dictionary knows, private ones
and names are removed wherever they are, every UID that is not the standard's own is replaced, every date is shifted,
and in the end no text may hold an identifier of the original header.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import dictionary_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from corpora.deidentification.annex_e import Action, profile_table
from corpora.deidentification.errors import NotDeidentifiable
from corpora.deidentification.pseudonyms import IdentifierKind, Pseudonymiser
from corpora.sources.dicom_sr import quiet

# Identifiers that link: the profile would empty or dummy them, a pseudonym serves it and keeps the link (PS3.15 E.2).
_LINKING = {
    0x00100020: IdentifierKind.PATIENT_ID,
    0x00080050: IdentifierKind.ACCESSION_NUMBER,
    0x00200010: IdentifierKind.STUDY_ID,
}
_PATIENT_CHARACTERISTICS = frozenset({0x00100040, 0x00101010, 0x00101020, 0x00101030, 0x00102160})
_TEXT = frozenset("AE LO LT PN SH ST UC UR UT".split())
_NUMBERS = frozenset("DS IS FD FL SS US SL UL SV UV".split())
_BYTES = frozenset("OB OD OF OL OV OW UN".split())
_CONTENT = (0x0040A730, 0x00420011)  # Content Sequence, Encapsulated Document
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_PADDING = 0xFFFCFFFC
_MAX_AGE = 89  # 45 CFR 164.514(b)(2)(i)(C): ages over 89 go together
_METHOD = "radlabel: DICOM PS3.15 Basic Profile, keyed pseudonyms"
# CID 7050: Basic Profile; Retain Longitudinal Temporal Information Modified Dates; Retain Patient Characteristics.
_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}


@dataclass(frozen=True, slots=True)
class HeaderOptions:
    """What stays beyond the Basic Profile.

    ``retain_patient_characteristics`` keeps sex, age (90Y for all over 89), size, weight and ethnic group (PS3.15
    E.3.4); ``keep_times`` keeps times of day, which are emptied otherwise.
    """

    retain_patient_characteristics: bool = False
    keep_times: bool = False


@dataclass(slots=True)
class HeaderReport:
    """What was done to one header, as counts, and whether a person has to look at its pixels.

    ``burned_in_annotation`` is what the header says of text in the pixels: ``yes``, ``no`` or ``unknown``.
    ``needs_review`` is true unless it is ``no``, and for classes that usually have such text (PS3.15 E.3.1).
    ``leftovers`` counts texts that held an identifier after the profile, and were cleared.
    """

    actions: dict[str, int] = field(default_factory=dict)
    leftovers: int = 0
    burned_in_annotation: str = "unknown"
    needs_review: bool = True

    def count(self, what: str) -> None:
        """Add one to what was done."""
        self.actions[what] = self.actions.get(what, 0) + 1


# Secondary Capture (all), Ultrasound, Visible Light video and photographs: screens and scans of paper.
_SCREEN_CLASSES = ("1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.77.1.4")


def deidentify_header(
    dataset: Dataset, pseudonymiser: Pseudonymiser, options: HeaderOptions | None = None
) -> HeaderReport:
    """De-identify a data set in place and return what was done.

    The pixels stay as they are: text burned into them is flagged, never removed. Save the result with
    ``enforce_file_format=True``; its preamble and file meta information are new.

    Raises
    ------
    NotDeidentifiable
        The object is a structured report or an encapsulated document, or has no SOP class or SOP Instance UID.
    DicomAnonymizerMissing
        The package with the table of PS3.15 is not installed.
    """
    if any(tag in dataset for tag in _CONTENT):
        raise NotDeidentifiable("the object holds a structured report or a document, not only an image")
    # A DICOMDIR or a bare data set: what it is cannot be told, and it could not be written as a DICOM file.
    if not dataset.get("SOPClassUID") or not dataset.get("SOPInstanceUID"):
        raise NotDeidentifiable("the object has no SOP Class UID or no SOP Instance UID")
    chosen = options or HeaderOptions()
    report = HeaderReport()
    with quiet():
        _deidentify(dataset, pseudonymiser, chosen, report)
    return report


def _deidentify(dataset: Dataset, pseudonymiser: Pseudonymiser, options: HeaderOptions, report: HeaderReport) -> None:
    _flag_burned_in(dataset, report)
    patient_id = str(dataset.get("PatientID", "") or "").strip()
    # Images without a patient id have nothing that ties their dates together but the study.
    owner = patient_id or str(dataset.get("StudyInstanceUID", ""))
    originals = _Originals.of(dataset)
    _Cleaner(pseudonymiser, owner, options, report).clean(dataset)
    originals.sweep(dataset, report)
    _state_method(dataset, options)
    _renew_file_meta(dataset)


def _flag_burned_in(dataset: Dataset, report: HeaderReport) -> None:
    said = str(dataset.get("BurnedInAnnotation", "") or "").strip().lower()
    report.burned_in_annotation = said if said in ("yes", "no") else "unknown"
    is_screen = str(dataset.get("SOPClassUID", "")).startswith(_SCREEN_CLASSES)
    # Recognizable Visual Features (0028,0302): a face stays a face whatever the header says.
    has_face = str(dataset.get("RecognizableVisualFeatures", "") or "").strip().upper() == "YES"
    report.needs_review = said != "no" or is_screen or has_face


class _Cleaner:
    """Walks a data set and all its items and does what the table asks for."""

    def __init__(self, pseudonymiser: Pseudonymiser, owner: str, options: HeaderOptions, report: HeaderReport) -> None:
        self._pseudonymiser = pseudonymiser
        self._owner = owner
        self._options = options
        self._report = report
        self._table = profile_table()

    def clean(self, dataset: Dataset, *, dummies: bool = False) -> None:
        """Clean a data set; ``dummies`` takes every text in it for one that must go (within a sequence marked D)."""
        for tag in list(dataset.keys()):
            number = int(tag)
            if tag.is_private or number == _PADDING or not _is_known(number):
                self._remove(dataset, number, "private or unknown")
                continue
            if number in _PIXELS:
                continue
            try:
                element = dataset[tag]
            except Exception:  # a value that cannot be decoded cannot be judged either
                self._remove(dataset, number, "unreadable")
                continue
            self._clean_element(dataset, element, dummies=dummies)

    def _clean_element(self, dataset: Dataset, element: DataElement, *, dummies: bool) -> None:
        number, vr = int(element.tag), element.VR
        action = self._table.action(number)
        if number in _LINKING:
            self._pseudonym(element, _LINKING[number])
        elif self._options.retain_patient_characteristics and number in _PATIENT_CHARACTERISTICS:
            _cap_age(element)
        elif vr in ("DA", "DT"):
            self._shift(dataset, element)
        elif vr == "TM":
            if not self._options.keep_times:
                element.value = None if action is not Action.DUMMY else "000000"
                self._report.count("time emptied")
        elif action is Action.REMOVE or vr == "UN":
            self._remove(dataset, number, "removed")
        elif vr == "SQ":
            self._sequence(element, action, dummies=dummies)
        elif vr == "UI":
            element.value = self._new_uids(element.value)
            self._report.count("uid replaced")
        elif action is not None or vr == "PN" or (dummies and vr in _TEXT):
            # A name is a name, whether the table names its attribute or not.
            element.value = _dummy(vr) if action is Action.DUMMY else _empty(vr)
            self._report.count("emptied" if action is Action.EMPTY else "replaced")

    def _remove(self, dataset: Dataset, number: int, what: str) -> None:
        del dataset[number]
        self._report.count(what)

    def _pseudonym(self, element: DataElement, kind: IdentifierKind) -> None:
        original = str(element.value or "").strip()
        element.value = self._pseudonymiser.pseudonym(kind, original) if original else ""
        self._report.count("pseudonym")

    def _sequence(self, element: DataElement, action: Action | None, *, dummies: bool) -> None:
        if action is Action.EMPTY:
            element.value = DicomSequence()
            self._report.count("emptied")
            return
        for item in element.value or ():
            self.clean(item, dummies=dummies or action is Action.DUMMY)

    def _new_uids(self, value: Any) -> Any:
        if isinstance(value, MultiValue | list | tuple):
            return [UID(self._pseudonymiser.uid(str(one))) for one in value]
        return UID(self._pseudonymiser.uid(str(value))) if value else value

    def _shift(self, dataset: Dataset, element: DataElement) -> None:
        values = element.value if isinstance(element.value, MultiValue | list) else [element.value]
        shifted = [self._shifted(str(value or ""), element.VR) for value in values]
        if any(value is None for value in shifted):
            # A range, a month without a day or no date at all: nothing that could be shifted is nothing to keep.
            element.value = None
            self._report.count("date emptied")
            return
        element.value = shifted if len(shifted) > 1 else shifted[0]
        self._report.count("date shifted")

    def _shifted(self, text: str, vr: str) -> str | None:
        found = re.fullmatch(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})(.*)", text.strip())
        if not text.strip():
            return ""
        if found is None or (vr == "DA" and found[4]):
            return None
        try:
            moved = self._pseudonymiser.shift_date(self._owner, dt.date(int(found[1]), int(found[2]), int(found[3])))
        except ValueError:
            return None
        rest = found[4] if self._options.keep_times else ""
        return f"{moved.year:04d}{moved.month:02d}{moved.day:02d}{rest}"


def _is_known(number: int) -> bool:
    return dictionary_has_tag(number)


def _cap_age(element: DataElement) -> None:
    if element.VR == "AS":
        found = re.fullmatch(r"(\d{3})Y", str(element.value or ""))
        if found and int(found[1]) > _MAX_AGE:
            element.value = "090Y"


def _dummy(vr: str) -> Any:
    if vr in _NUMBERS:
        return 0
    if vr in _BYTES:
        return b"\0\0"
    return {"AS": "000Y", "AT": 0x00000000, "UR": "http://removed.invalid"}.get(vr, "REMOVED")


def _empty(vr: str) -> Any:
    return b"" if vr in _BYTES else None


@dataclass(frozen=True, slots=True, repr=False)
class _Originals:
    """The identifiers of a header before it is cleaned: whole numbers and the words of names."""

    numbers: frozenset[str]
    words: frozenset[str]

    @classmethod
    def of(cls, dataset: Dataset) -> _Originals:
        numbers: set[str] = set()
        words: set[str] = set()
        for element in _elements(dataset):
            text = str(element.value or "")
            if element.VR == "PN":
                words.update(word.casefold() for word in re.findall(r"[^\W_]{3,}", text))
            elif int(element.tag) in _LINKING or element.keyword in ("OtherPatientIDs", "IssuerOfPatientID"):
                numbers.update(part.strip() for part in text.split("\\") if len(part.strip()) >= 4)
            elif element.VR == "UI" and text and not text.startswith("1.2.840.10008."):
                numbers.update(str(part) for part in (element.value if element.VM > 1 else [text]))
        return cls(frozenset(numbers), frozenset(words))

    def sweep(self, dataset: Dataset, report: HeaderReport) -> None:
        """Clear every text that still holds one of the identifiers, in whatever attribute someone copied it."""
        for element in _elements(dataset):
            if element.VR not in _TEXT and element.VR not in ("CS", "OB"):
                continue
            value = element.value
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
            holds = any(number in text for number in self.numbers)
            if not holds and element.VR in _TEXT:
                holds = not self.words.isdisjoint(word.casefold() for word in re.findall(r"[^\W_]{3,}", text))
            if holds:
                element.value = _empty(element.VR)
                report.leftovers += 1


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    """Yield the elements of a data set and of all its items, pixels and what cannot be decoded left out."""
    for tag in list(dataset.keys()):
        if int(tag) in _PIXELS:
            continue
        try:
            element = dataset[tag]
        except Exception:  # it is removed when the header is cleaned
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _elements(item)
        else:
            yield element


def _state_method(dataset: Dataset, options: HeaderOptions) -> None:
    """Say what was done, as PS3.15 E.1.1 asks for."""
    codes = ["113100", "113107", *(["113108"] if options.retain_patient_characteristics else [])]
    items = []
    for code in codes:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", _CODES[code]
        items.append(item)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = _METHOD
    dataset.DeidentificationMethodCodeSequence = DicomSequence(items)
    dataset.LongitudinalTemporalInformationModified = "MODIFIED"


def _renew_file_meta(dataset: Dataset) -> None:
    """Make the file meta information anew: the old one may name a sender, and the preamble may hold anything."""
    old = getattr(dataset, "file_meta", None)
    syntax = old.get("TransferSyntaxUID") if old is not None else None
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
