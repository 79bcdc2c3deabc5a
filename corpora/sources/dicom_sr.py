"""Reports from DICOM structured reports: a file, or a folder of them, images beside them or not.

    RadlabelError
    +-- DocumentInvalid    a DICOM object cannot become a report (also ValueError)
        +-- NoReport       it is of a kind that holds none

A record is a document of one of the SOP classes that hold a radiologist's report (Basic Text SR to Extensible SR, PS3.3
A.35). Its text is the content tree (PS3.3 C.17.3) read from top to bottom: what TEXT, CODE and NUM items say, in the
section whose heading (PS3.16 CID 7001) they stand under. A folder's images, dose reports and other objects are passed
over; a file that was named has to be a report.
"""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from corpora.errors import ColumnMissing, RadlabelError, RowInvalid, SourceUnreadable
from corpora.reports import Report, Section, SectionKind
from corpora.sources.encoding import readable
from corpora.sources.headings import Part, assemble, section_of
from corpora.sources.plain import plain_text
from corpora.sources.records import ReadOptions, Record, parse_date
from corpora.sources.text_folder import iter_files

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NAME = "dicom-sr"
DESCRIPTION = "DICOM structured reports, a file or a folder of them"
SUFFIXES: tuple[str, ...] = (".dcm",)

MAX_DOCUMENT = 16 * 2**20  # bytes, unpacked; the largest reports have some hundred kB
_MAX_DEPTH = 32  # of content items within one another; PS3.16's templates have about ten
# PS3.4 B.5: the general SR classes. The others hold measurements, doses, key images or logs, and no reading.
REPORT_CLASSES = frozenset(
    f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in ("1", "2", "4", "11", "22", "33", "34", "35")
)
_MEASUREMENT_TITLES = frozenset({"126000", "126001", "126002", "126003"})  # CID 7021: TID 1500, made by programs
_ENCAPSULATED = frozenset({"1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"})  # encapsulated PDF, CDA
_UNDEFINED_LENGTH = 0xFFFFFFFF
_DEFLATED = "1.2.840.10008.1.2.1.99"
# PS3.3 C.17.3.2.4: what else there is says who observed what, in which language, or where in an image.
_SAYS = frozenset({"CONTAINS", "HAS PROPERTIES", "INFERRED FROM", ""})
_MODIFIES = "HAS CONCEPT MOD"
# SNOMED CT, PS3.16 CID 240; absent is 2667000 in other releases.
_PRESENT = frozenset({"52101004"})
_ABSENT = frozenset({"272519000", "2667000"})
_UNDETERMINED = frozenset({"373068000"})
_NAMELESS = frozenset({"121106", "111412"})  # Comment, Narrative Summary: names that add nothing to the text
_ISSUER_NAMES = ("LocalNamespaceEntityID", "UniversalEntityID")
_quiet_lock = threading.RLock()


class DocumentInvalid(RadlabelError, ValueError):
    """A DICOM object cannot become a report; the message has nothing of its content."""


class NoReport(DocumentInvalid):
    """A DICOM object of a kind that holds no report: an image, a dose report, measurements."""


def recognises(head: bytes) -> bool:
    """Tell whether a file is of DICOM, by its first bytes (PS3.10 7.1)."""
    return head[128:132] == b"DICM"


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per structured report, in the order of files; rows count the files that hold one, or should."""
    if options.columns:
        raise ColumnMissing(f"{path.name}: DICOM structured reports have no columns to map")
    with readable(path):
        is_folder = path.is_dir()
        if not path.exists():
            raise SourceUnreadable(f"{path}: there is no such file or folder")
    row = 0
    for number, file in enumerate(iter_files(path, SUFFIXES) if is_folder else iter((path,)), start=1):
        place = f"file {number} in the order of names " if is_folder else ""
        try:
            if is_folder and not _may_be_report(file):
                continue
            record: Record = report_of_sr(read_document(file))
        except NoReport as invalid:
            if is_folder:
                continue
            record = RowInvalid(source=path.name, row=1, reason=str(invalid))
        except DocumentInvalid as invalid:
            record = RowInvalid(source=path.name, row=row + 1, reason=f"{place}{invalid}")
        except OSError as error:
            reason = f"{place}cannot be read: {error.strerror or 'unknown reason'}"
            record = RowInvalid(source=path.name, row=row + 1, reason=reason)
        row += 1
        yield record


def read_document(source: Path | bytes, *, max_bytes: int = MAX_DOCUMENT) -> Dataset:
    """Return the data set of a DICOM file, from its path or its bytes, without pixels.

    Raises
    ------
    DocumentInvalid
        It is no DICOM file, is damaged or cut off, or has more than ``max_bytes``, unpacked.
    OSError
        The file cannot be opened.
    """
    from pydicom import dcmread

    if isinstance(source, Path):
        with source.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    else:
        data = source
    if not recognises(data):
        raise DocumentInvalid("is no DICOM file: it lacks the prefix DICM")
    if len(data) > max_bytes:
        raise DocumentInvalid(f"is larger than {max_bytes:,} bytes")
    try:
        with quiet():
            _check_unpacked(data, max_bytes)
            dataset = dcmread(io.BytesIO(data), stop_before_pixels=True)
            _check_whole(dataset)
            dataset.decode()
    except DocumentInvalid:
        raise
    except Exception as error:  # a damaged file fails in many ways; their messages hold values
        raise DocumentInvalid(f"is a damaged DICOM file ({type(error).__name__})") from None
    return dataset


def report_of_sr(dataset: Dataset) -> Report:
    """Return the report that a structured report holds; its id is the SOP Instance UID.

    Raises
    ------
    NoReport
        The data set is of another kind: an image, a dose report, a program's measurements (TID 1500).
    DocumentInvalid
        It has no SOP Instance UID, or a content tree that cannot be read.
    """
    with quiet():
        try:
            _check_kind(dataset)
            text, sections = text_of_sr(dataset)
            report_id = _string(dataset, "SOPInstanceUID")
            requests = _items(dataset, "ReferencedRequestSequence")
            holder = next((item for item in (dataset, *requests) if _string(item, "AccessionNumber")), dataset)
            issuers = _items(holder, "IssuerOfAccessionNumberSequence")
            named = (_string(issuer, name) for issuer in issuers for name in _ISSUER_NAMES)
            report = Report(
                report_id=report_id or "",
                text=text,
                accession_number=_string(holder, "AccessionNumber"),
                accession_number_issuer=next(filter(None, named), None),
                patient_id=_string(dataset, "PatientID"),
                study_date=parse_date(_string(dataset, "StudyDate") or ""),
                sections=sections,
                study_instance_uid=_string(dataset, "StudyInstanceUID"),
            )
        except DocumentInvalid:
            raise
        except Exception as error:  # values are converted when they are asked for, and may not be what they should
            raise DocumentInvalid(f"is a structured report that cannot be read ({type(error).__name__})") from None
    if not report.report_id:
        raise DocumentInvalid("has no SOP Instance UID")
    return report


def text_of_sr(dataset: Dataset) -> tuple[str, tuple[Section, ...]]:
    """Return what the content tree of a structured report says, as text, and its sections where it has headings."""
    return assemble(_parts(dataset, None, 0))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom's warnings from the console, as they quote values that break a rule; one thread at a time."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _may_be_report(file: Path) -> bool:
    """Tell whether a file's header leaves open that it is a report; of the thousands of images, no more is read."""
    from pydicom.filereader import read_file_meta_info

    try:
        with quiet():
            sop_class = str(read_file_meta_info(file).get("MediaStorageSOPClassUID", ""))
    except OSError:
        raise
    except Exception:  # it is no DICOM file, or a damaged one: `read_document` will say which
        return True
    return sop_class in REPORT_CLASSES or sop_class in _ENCAPSULATED or not sop_class


def _check_unpacked(data: bytes, max_bytes: int) -> None:
    """Raise `DocumentInvalid` where a deflated data set would take too much memory: pydicom unpacks it whole."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    stream = io.BytesIO(data)
    read_preamble(stream, force=False)
    if str(_read_file_meta_info(stream).get("TransferSyntaxUID", "")) == _DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        if len(unpacker.decompress(data[stream.tell() :], max_bytes + 1)) > max_bytes:
            raise DocumentInvalid(f"unpacks to more than {max_bytes:,} bytes")


def _check_whole(dataset: Dataset) -> None:
    """Raise `DocumentInvalid` where the file ends within a value: pydicom takes what is there for the whole of it."""
    from pydicom.dataelem import RawDataElement

    raw = (element for element in dataset.values() if isinstance(element, RawDataElement))
    for element in raw:
        if element.length != _UNDEFINED_LENGTH and element.value is not None and len(element.value) < element.length:
            raise DocumentInvalid("is cut off: it ends within a value")


def _check_kind(dataset: Dataset) -> None:
    sop_class = _string(dataset, "SOPClassUID") or ""
    if not sop_class:
        raise DocumentInvalid("has no SOP Class UID")
    if sop_class in _ENCAPSULATED:
        raise DocumentInvalid("is an encapsulated document, whose text is not read")
    if sop_class not in REPORT_CLASSES:
        raise NoReport("is a DICOM object, but no structured report of a reading")
    if _code(dataset, "ConceptNameCodeSequence")[0] in _MEASUREMENT_TITLES:
        raise NoReport("is a report of measurements (TID 1500), not of a reading")


def _parts(parent: Dataset, heading: SectionKind | None, depth: int) -> Iterator[Part]:
    """Yield what the items below one say, each with the section that it stands in."""
    if depth > _MAX_DEPTH:
        raise DocumentInvalid("has a content tree that is nested too deeply")
    for item in _items(parent, "ContentSequence"):
        value_type = _string(item, "ValueType")
        if (_string(item, "RelationshipType") or "") not in _SAYS or value_type is None:
            continue  # without a value type it is a reference to an item that is read elsewhere
        code, name = _code(item, "ConceptNameCodeSequence")
        kind = section_of(code, name) or heading
        is_named = bool(name) and code not in _NAMELESS and section_of(code, name) is None and heading is not None
        said = _said(item, value_type)
        if said:
            yield kind, plain_text(f"{name}: {said}" if is_named or value_type == "NUM" else said)
        yield from _parts(item, kind, depth + 1)


def _said(item: Dataset, value_type: str) -> str | None:
    """Return what an item says by itself."""
    if value_type == "TEXT":
        return _string(item, "TextValue")
    if value_type == "CODE":
        return _phrase(item)
    if value_type == "NUM":
        measured = next(iter(_items(item, "MeasuredValueSequence")), None)
        if measured is not None:
            unit = _code(measured, "MeasurementUnitsCodeSequence")[0]
            return f"{_string(measured, 'NumericValue') or ''} {unit if unit != '1' else ''}".strip() + "."
    return None


def _phrase(item: Dataset) -> str | None:
    """Return a coded value in words with what modifies it: "No left pleural effusion."."""
    meaning = _code(item, "ConceptCodeSequence")[1]
    if not meaning:
        return None
    before: list[str] = []
    lead = ""
    for child in _items(item, "ContentSequence"):
        code, modifier = _code(child, "ConceptCodeSequence")
        if code in _ABSENT:
            lead = "No "
        elif code in _UNDETERMINED:
            lead = "Possible "
        elif _string(child, "RelationshipType") == _MODIFIES and modifier and code not in _PRESENT:
            before.append(modifier)
    phrase = " ".join([*before, meaning])
    return f"{lead}{phrase[:1].lower() + phrase[1:] if lead else phrase}."


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    return list(dataset.get(keyword) or [])


def _code(dataset: Dataset, keyword: str) -> tuple[str | None, str | None]:
    """Return value and meaning of a code (PS3.3 8.8)."""
    item = next(iter(_items(dataset, keyword)), None)
    if item is None:
        return None, None
    values = (_string(item, name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    return next(filter(None, values), None), _string(item, "CodeMeaning")


def _string(dataset: Dataset, keyword: str) -> str | None:
    """Return a value as text, or ``None`` where there is none."""
    value = dataset.get(keyword)
    return str(value).strip() or None if value is not None else None
