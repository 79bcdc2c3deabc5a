"""One DICOM header as a row of the image index; what is wrong with it is said without quoting it.

Attributes are those of the Patient, General Study, General Series, Image Pixel and X-Ray modules (PS3.3 C.7, C.8).
A reader relies on little: the identifiers of the instance and its study, and the size of its pixels. All else is null
where it is missing or makes no sense.

Headers come as `Plain` values, so that files, which `corpora.imaging.elements` reads, and data sets of pydicom, which
come from servers and odd files, become rows by the same rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What a row is made from: keyword, tag and VR (PS3.6).
ELEMENTS = {
    "SpecificCharacterSet": (0x00080005, "CS"),
    "SOPClassUID": (0x00080016, "UI"),
    "SOPInstanceUID": (0x00080018, "UI"),
    "StudyDate": (0x00080020, "DA"),
    "StudyTime": (0x00080030, "TM"),
    "AccessionNumber": (0x00080050, "SH"),
    "IssuerOfAccessionNumberSequence": (0x00080051, "SQ"),
    "Modality": (0x00080060, "CS"),
    "Manufacturer": (0x00080070, "LO"),
    "StudyDescription": (0x00081030, "LO"),
    "SeriesDescription": (0x0008103E, "LO"),
    "ManufacturerModelName": (0x00081090, "LO"),
    "PatientID": (0x00100020, "LO"),
    "IssuerOfPatientID": (0x00100021, "LO"),
    "PatientSex": (0x00100040, "CS"),
    "PatientAge": (0x00101010, "AS"),
    "BodyPartExamined": (0x00180015, "CS"),
    "ImagerPixelSpacing": (0x00181164, "DS"),
    "ViewPosition": (0x00185101, "CS"),
    "StudyInstanceUID": (0x0020000D, "UI"),
    "SeriesInstanceUID": (0x0020000E, "UI"),
    "PatientOrientation": (0x00200020, "CS"),
    "Laterality": (0x00200060, "CS"),
    "ImageLaterality": (0x00200062, "CS"),
    "PhotometricInterpretation": (0x00280004, "CS"),
    "NumberOfFrames": (0x00280008, "IS"),
    "Rows": (0x00280010, "US"),
    "Columns": (0x00280011, "US"),
    "PixelSpacing": (0x00280030, "DS"),
    "BitsStored": (0x00280101, "US"),
    "BurnedInAnnotation": (0x00280301, "CS"),
    "ViewCodeSequence": (0x00540220, "SQ"),
}
# And from the items of its sequences.
ITEM_ELEMENTS = {
    "CodeValue": (0x00080100, "SH"),
    "LocalNamespaceEntityID": (0x00400031, "UT"),
    "UniversalEntityID": (0x00400032, "UT"),
}
#: Values by keyword: text with its backslashes, whole numbers, and sequences as a list of the same.
Plain = Mapping[str, Union[str, int, "list[Plain]"]]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")  # PS3.5 9.1; leading zeros in a component occur and do no harm
_MAX_UID = 64
# View codes of CID 4010 (SNOMED RT, then CT) that name a projection of the chest
_VIEW_CODES = {
    "R-10206": "AP",
    "R-10214": "PA",
    "R-10232": "LATERAL",
    "R-10228": "RL",
    "R-10236": "LL",
    "399348003": "AP",
    "272479007": "PA",
    "399067008": "LATERAL",
}
_LATERALITIES = frozenset("LRBU")
_AGE = re.compile(r"(\d{1,3})([DWMY])")  # PS3.5 6.2, AS
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_YES_NO = {"YES": True, "NO": False}


class NotAnImage(Exception):
    """The file is fine, but holds no image: no DICOM, or a directory, report or the like."""


class Unreadable(Exception):
    """The file cannot be used; the message is a reason without any of its content."""


def header_to_row(header: Plain) -> dict[str, Any]:
    """Return what an index holds of a header; source, file and sizes are the caller's to add.

    Raises `NotAnImage` for an object that is no image by its SOP class, and `Unreadable` where an identifier or the
    size of an image is missing.
    """
    sop_class_uid = _text(header, "SOPClassUID")
    if sop_class_uid and not _may_be_image(sop_class_uid, "Rows" in header or "Columns" in header):
        raise NotAnImage
    sop_instance_uid, study_instance_uid = (_uid(header, name) for name in ("SOPInstanceUID", "StudyInstanceUID"))
    for keyword, value in (
        ("SOPClassUID", sop_class_uid),
        ("SOPInstanceUID", sop_instance_uid),
        ("StudyInstanceUID", study_instance_uid),
    ):
        if value is None:
            raise Unreadable(f"{keyword} is missing or no valid UID")
    rows, columns = (_integer(header, name) for name in ("Rows", "Columns"))
    for keyword, count in (("Rows", rows), ("Columns", columns)):
        if not count or not 0 < count < 2**16:
            raise Unreadable(f"{keyword} is missing or no positive number")
    spacing = _spacing(header)
    frames, bits = _integer(header, "NumberOfFrames"), _integer(header, "BitsStored")
    return {
        "image_id": sop_instance_uid,
        "patient_id": _text(header, "PatientID"),
        "patient_id_issuer": _text(header, "IssuerOfPatientID"),
        "accession_number": _text(header, "AccessionNumber"),
        "accession_number_issuer": _accession_issuer(header),
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": _uid(header, "SeriesInstanceUID"),
        "sop_instance_uid": sop_instance_uid,
        "sop_class_uid": sop_class_uid,
        "study_date": parse_date(_text(header, "StudyDate")),
        "study_time": _text(header, "StudyTime"),
        "modality": _text(header, "Modality"),
        "body_part": _text(header, "BodyPartExamined"),
        "study_description": _text(header, "StudyDescription"),
        "series_description": _text(header, "SeriesDescription"),
        "view": _view(header),
        "laterality": _laterality(header),
        "patient_orientation": _text(header, "PatientOrientation"),
        "photometric_interpretation": _text(header, "PhotometricInterpretation"),
        "rows": rows,
        "columns": columns,
        "bits_stored": bits if bits and 0 < bits <= 64 else None,
        "number_of_frames": frames if frames and 0 < frames < 2**31 else None,
        "row_spacing_mm": spacing[0],
        "column_spacing_mm": spacing[1],
        "patient_sex": _text(header, "PatientSex"),
        "patient_age_years": parse_age(_text(header, "PatientAge")),
        "manufacturer": _text(header, "Manufacturer"),
        "model_name": _text(header, "ManufacturerModelName"),
        "burned_in_annotation": _YES_NO.get((_text(header, "BurnedInAnnotation") or "").upper()),
    }


def dataset_to_row(dataset: Dataset) -> dict[str, Any]:
    """Return the row of a data set of pydicom; raises as `header_to_row`.

    pydicom warns about values and quotes them: the caller switches validation and warnings off.
    """
    return header_to_row(_plain(dataset, ELEMENTS))


def _plain(dataset: Dataset, elements: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
    """Return the values of a data set; one that cannot be converted is left out: it must not cost an image."""
    plain: dict[str, Any] = {}
    for keyword, (tag, vr) in elements.items():
        if tag not in dataset:
            continue
        try:
            value = dataset[tag].value
            if value is None:
                plain[keyword] = ""
            elif vr == "SQ":
                plain[keyword] = [_plain(item, ITEM_ELEMENTS) for item in value]
            elif vr == "US":
                plain[keyword] = int(value)
            else:
                parts = [value] if isinstance(value, str | int | float) else list(value)
                text = "\\".join(str(part) for part in parts)
                plain[keyword] = text.encode("utf-8", "replace").decode("utf-8")
        except Exception:
            plain[keyword] = ""
    return plain


@lru_cache(maxsize=1024)
def _may_be_image(sop_class_uid: str, has_size: bool) -> bool:
    """Whether a SOP class is one of images, by its name in PS3.6; of a class of one's own, whether it has a size.

    By the class and not by what is there, so that an image whose header was cut off is missed. Segmentations, dose and
    the like have rows and columns too, but nobody reads them as images.
    """
    if sop_class_uid in _PLAIN_IMAGES:
        return True
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    name = UID(sop_class_uid, validation_mode=IGNORE).name
    return has_size if name == sop_class_uid else "Image Storage" in name


# Computed and digital radiographs, for presentation and for processing, CT, MR and secondary capture (PS3.6 Table A-1):
# known here too, since the table of all classes takes longer to load than a thousand headers to read.
_PLAIN_IMAGES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("1", "1.1", "1.1.1", "1.2", "1.2.1", "2", "4", "7")
)


def parse_date(text: str | None) -> date | None:
    """Return the day of a DA value, the old form with dots included (PS3.5 6.2); None if it is no day."""
    digits = (text or "").replace(".", "").replace("-", "")
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


def parse_age(text: str | None) -> float | None:
    """Return the years of an AS value such as 045Y, 006M, 002W or 010D; None if it is none."""
    found = _AGE.fullmatch((text or "").upper())
    return None if found is None else int(found[1]) * _YEARS[found[2]]


def _text(header: Plain, keyword: str) -> str | None:
    """Return a text without the blanks around its values (PS3.5 6.2), or None if nothing is left."""
    value = header.get(keyword)
    if not isinstance(value, str):
        return None
    if "\\" in value:
        value = "\\".join(part.strip(" \0") for part in value.split("\\"))
    return value.strip(" \0") or None


def _uid(header: Plain, keyword: str) -> str | None:
    text = _text(header, keyword)
    return text if text and len(text) <= _MAX_UID and _UID.fullmatch(text) else None


def _integer(header: Plain, keyword: str) -> int | None:
    value = header.get(keyword)
    if isinstance(value, int):
        return value
    try:
        number = float(_text(header, keyword) or "")
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _items(header: Plain, keyword: str) -> Sequence[Plain]:
    value = header.get(keyword)
    return value if isinstance(value, list) else ()


def _spacing(header: Plain) -> tuple[float | None, float | None]:
    """Row and column spacing in mm: that at the patient where it is known, else at the detector (PS3.3 10.7.1.3)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        try:
            pair = [float(part) for part in (_text(header, keyword) or "").split("\\")]
        except ValueError:
            continue
        if len(pair) == 2 and all(math.isfinite(part) and part > 0 for part in pair):
            return pair[0], pair[1]
    return None, None


def _view(header: Plain) -> str | None:
    if view := _text(header, "ViewPosition"):
        return view.upper()
    codes = (_text(item, "CodeValue") for item in _items(header, "ViewCodeSequence"))
    return next((_VIEW_CODES[code] for code in codes if code in _VIEW_CODES), None)


def _laterality(header: Plain) -> str | None:
    found = (_text(header, "ImageLaterality") or _text(header, "Laterality") or "").upper()
    return found if found in _LATERALITIES else None


def _accession_issuer(header: Plain) -> str | None:
    """The issuer of the accession number: its local name, else its universal one (PS3.3 Table 10-17)."""
    for item in _items(header, "IssuerOfAccessionNumberSequence")[:1]:
        return _text(item, "LocalNamespaceEntityID") or _text(item, "UniversalEntityID")
    return None
