"""One DICOM data set as a row of the image index; what is wrong with a file is said without quoting it.

Attributes are those of the Patient, General Study, General Series, Image Pixel and X-Ray modules (PS3.3 C.7, C.8).
A reader relies on little: the identifiers of the instance and its study, and, where there are pixels, their size. All
else is null where it is missing or makes no sense.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pydicom import config
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

from corpora.imaging.index_table import ImageSource

TAGS = (
    "AccessionNumber",
    "BitsStored",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "Columns",
    "ImageLaterality",
    "ImagerPixelSpacing",
    "IssuerOfAccessionNumberSequence",
    "IssuerOfPatientID",
    "Laterality",
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "NumberOfFrames",
    "PatientAge",
    "PatientID",
    "PatientOrientation",
    "PatientSex",
    "PhotometricInterpretation",
    "PixelSpacing",
    "Rows",
    "SeriesDescription",
    "SeriesInstanceUID",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "StudyDescription",
    "StudyInstanceUID",
    "StudyTime",
    "ViewCodeSequence",
    "ViewPosition",
)
_PREAMBLE = 128
_MAGIC = b"DICM"
# Suffixes that promise DICOM: such a file is listed if it is none, where any other is merely counted.
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ".dcm30"})
_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # float, double float, pixel data
_LONG_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"UN"})
_UNDEFINED = 0xFFFFFFFF
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


class NotAnImage(Exception):
    """The file is fine, but holds no image: no DICOM, or a directory, report or the like."""


class Unreadable(Exception):
    """The file cannot be used; the message is a reason without any of its content."""


def read_file_header(path: Path, file: str, size_bytes: int, modified_ns: int) -> dict[str, Any]:
    """Return the row of a DICOM file, ``file`` being its name in the index; pixels are not read.

    Raises `NotAnImage` and `Unreadable`. pydicom's warnings are about values, which they quote, so that validation is
    switched off meanwhile.
    """
    try:
        with path.open("rb") as handle:
            if size_bytes == 0:
                raise Unreadable("the file is empty")
            force = not _has_preamble(handle, path)
            with config.disable_value_validation():
                dataset = dcmread(handle, stop_before_pixels=True, specific_tags=list(TAGS), force=force)
                syntax = _text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID")
                if _text(dataset.file_meta, "MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                    raise NotAnImage
                row = dataset_to_row(dataset)
            if syntax != DeflatedExplicitVRLittleEndian:  # whose pixels lie in a stream of their own
                _check_pixels(handle, size_bytes, row)
    except (NotAnImage, Unreadable):
        raise
    except OSError as error:
        raise Unreadable(error.strerror or "the file cannot be read") from None
    except EOFError:
        raise Unreadable("the file ends within its header") from None
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        raise Unreadable(f"the header cannot be parsed ({type(error).__name__})") from None
    row["source"] = ImageSource.DICOM.value
    row["file"] = file
    row["transfer_syntax_uid"] = syntax
    row["size_bytes"] = size_bytes
    row["modified_ns"] = modified_ns
    return row


def _has_preamble(handle: Any, path: Path) -> bool:
    """Whether a file starts as PS3.10 wants; raise if it is no DICOM file at all. The handle is put back."""
    head = handle.read(_PREAMBLE + len(_MAGIC))
    handle.seek(0)
    if head[_PREAMBLE:] == _MAGIC:
        return True
    # Old archives write no preamble: a data set then starts with group 0002 or 0008, and with a small element number.
    group, element = struct.unpack("<HH", head[:4].ljust(4, b"\xff"))
    if group in (0x0002, 0x0008) and element <= 0x0070 and len(head) > 16:
        return False
    if path.suffix.lower() in _DICOM_SUFFIXES:
        if len(head) < _PREAMBLE + len(_MAGIC):
            raise Unreadable("the file ends within its preamble, or is not DICOM")
        raise Unreadable("not DICOM: neither a preamble with DICM nor a data set")
    raise NotAnImage


def _check_pixels(handle: Any, size_bytes: int, row: dict[str, Any]) -> None:
    """Raise if the element at which reading stopped is no pixel data, or not all of it is there."""
    start = handle.read(12)
    if not start:
        raise Unreadable("there is no pixel data, or the file ends before it")
    if len(start) < 8:
        raise Unreadable("the file ends within the header of an element")
    little = row.pop("_is_little_endian")
    explicit = not row.pop("_is_implicit_vr")
    order = "<" if little else ">"
    group, element = struct.unpack(order + "HH", start[:4])
    if (group << 16) + element not in _PIXEL_TAGS:
        raise Unreadable("reading stopped before the pixel data")
    if explicit and start[4:6] not in _LONG_VRS:
        raise Unreadable("the pixel data has a VR that pixels cannot have")
    if explicit and len(start) < 12:
        raise Unreadable("the file ends within the header of the pixel data")
    (length,) = struct.unpack(order + "I", start[8:12] if explicit else start[4:8])
    begins = handle.tell() - (0 if explicit else len(start) - 8)
    if length == 0:
        raise Unreadable("the pixel data is empty")
    if length != _UNDEFINED:
        if begins + length > size_bytes:
            raise Unreadable(f"the pixel data is truncated: {length} bytes are announced, {size_bytes - begins} there")
        _check_length(length, row)
    elif not _has_end(handle, begins, size_bytes):
        raise Unreadable("the compressed pixel data is truncated")


def _check_length(length: int, row: dict[str, Any]) -> None:
    """Raise if native pixels are fewer than rows x columns x frames need (at least a bit a pixel, PS3.5 8.1.1)."""
    bits = 1 if row["bits_stored"] == 1 else 8 * math.ceil((row["bits_stored"] or 8) / 8)
    needed = row["rows"] * row["columns"] * (row["number_of_frames"] or 1) * bits // 8
    if length < needed:
        raise Unreadable(f"the pixel data has {length} bytes, its size and depth need {needed}")


def _has_end(handle: Any, begins: int, size_bytes: int) -> bool:
    """Whether encapsulated pixel data is complete (PS3.5 A.4): items, one after another, then the delimiter.

    Fragments are jumped over, so that a file of many frames costs some seeks and no reading of pixels.
    """
    position = begins
    while position + 8 <= size_bytes:
        handle.seek(position)
        item, length = struct.unpack("<II", handle.read(8))
        if item == 0xE0DDFFFE:
            return True
        if item != 0xE000FFFE or length == _UNDEFINED:
            return False
        position += 8 + length
    # Some writers leave the delimiter out: what counts is that the last fragment is whole.
    return position == size_bytes and position > begins + 8


def dataset_to_row(dataset: Dataset) -> dict[str, Any]:
    """Return what an index holds of a data set; source, file and sizes are the caller's to add.

    Raises `NotAnImage` for an object without rows and columns that is no image by its SOP class, and `Unreadable` where
    an identifier or the size of an image is missing. Entries with a leading underscore say how it was
    encoded.
    """
    sop_instance_uid, study_instance_uid = (_uid(dataset, name) for name in ("SOPInstanceUID", "StudyInstanceUID"))
    sop_class_uid = _text(dataset, "SOPClassUID")
    if sop_class_uid and not _may_be_image(sop_class_uid, "Rows" in dataset or "Columns" in dataset):
        raise NotAnImage
    for keyword, value in (
        ("SOPClassUID", sop_class_uid),
        ("SOPInstanceUID", sop_instance_uid),
        ("StudyInstanceUID", study_instance_uid),
    ):
        if value is None:
            raise Unreadable(f"{keyword} is missing or no valid UID")
    rows, columns = (_integer(dataset, name) for name in ("Rows", "Columns"))
    for keyword, count in (("Rows", rows), ("Columns", columns)):
        if not count or not 0 < count < 2**16:
            raise Unreadable(f"{keyword} is missing or no positive number")
    spacing = _spacing(dataset)
    frames, bits = _integer(dataset, "NumberOfFrames"), _integer(dataset, "BitsStored")
    return {
        "image_id": sop_instance_uid,
        "patient_id": _text(dataset, "PatientID"),
        "patient_id_issuer": _text(dataset, "IssuerOfPatientID"),
        "accession_number": _text(dataset, "AccessionNumber"),
        "accession_number_issuer": _accession_issuer(dataset),
        "study_instance_uid": study_instance_uid,
        "series_instance_uid": _uid(dataset, "SeriesInstanceUID"),
        "sop_instance_uid": sop_instance_uid,
        "sop_class_uid": sop_class_uid,
        "study_date": parse_date(_text(dataset, "StudyDate")),
        "study_time": _text(dataset, "StudyTime"),
        "modality": _text(dataset, "Modality"),
        "body_part": _text(dataset, "BodyPartExamined"),
        "study_description": _text(dataset, "StudyDescription"),
        "series_description": _text(dataset, "SeriesDescription"),
        "view": _view(dataset),
        "laterality": _laterality(dataset),
        "patient_orientation": _text(dataset, "PatientOrientation"),
        "photometric_interpretation": _text(dataset, "PhotometricInterpretation"),
        "rows": rows,
        "columns": columns,
        "bits_stored": bits if bits and 0 < bits <= 64 else None,
        "number_of_frames": frames if frames and 0 < frames < 2**31 else None,
        "row_spacing_mm": spacing[0],
        "column_spacing_mm": spacing[1],
        "patient_sex": _text(dataset, "PatientSex"),
        "patient_age_years": parse_age(_text(dataset, "PatientAge")),
        "manufacturer": _text(dataset, "Manufacturer"),
        "model_name": _text(dataset, "ManufacturerModelName"),
        "burned_in_annotation": {"YES": True, "NO": False}.get((_text(dataset, "BurnedInAnnotation") or "").upper()),
        **_encoding(dataset),
    }


def _may_be_image(sop_class_uid: str, has_size: bool) -> bool:
    """Whether a SOP class is one of images, by its name in PS3.6; of a class of one's own, whether it has a size.

    By the class and not by what is there, so that an image whose header was cut off is missed. Segmentations, dose and
    the like have rows and columns too, but nobody reads them as images.
    """
    name = UID(sop_class_uid).name
    return has_size if name == sop_class_uid else "Image Storage" in name


def _encoding(dataset: Dataset) -> dict[str, Any]:
    implicit, little = dataset.original_encoding
    return {} if implicit is None else {"_is_implicit_vr": implicit, "_is_little_endian": little}


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


def _get(dataset: Dataset, keyword: str, convert: Callable[[Any], Any]) -> Any:
    """Return a value, or None if it is missing, empty or cannot be converted: one odd field must not cost an image."""
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else convert(value)
    except Exception:
        return None


def _text(dataset: Dataset, keyword: str) -> str | None:
    def convert(value: Any) -> str | None:
        parts = [value] if isinstance(value, str | int | float) else list(value)
        text = "\\".join(str(part) for part in parts).strip(" \0")
        return text.encode("utf-8", "replace").decode("utf-8") or None

    found = _get(dataset, keyword, convert)
    return found if isinstance(found, str) else None


def _uid(dataset: Dataset, keyword: str) -> str | None:
    text = _text(dataset, keyword)
    return text if text and len(text) <= _MAX_UID and _UID.fullmatch(text) else None


def _integer(dataset: Dataset, keyword: str) -> int | None:
    found = _get(dataset, keyword, int)
    return found if isinstance(found, int) else None


def _spacing(dataset: Dataset) -> tuple[float | None, float | None]:
    """Row and column spacing in mm: that at the patient where it is known, else at the detector (PS3.3 10.7.1.3)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        pair = _get(dataset, keyword, lambda value: [float(part) for part in value])
        if pair and len(pair) == 2 and all(math.isfinite(part) and part > 0 for part in pair):
            return pair[0], pair[1]
    return None, None


def _view(dataset: Dataset) -> str | None:
    if view := _text(dataset, "ViewPosition"):
        return view.upper()
    codes = _get(dataset, "ViewCodeSequence", lambda items: [str(item.get("CodeValue", "")) for item in items])
    return next((_VIEW_CODES[code] for code in codes or () if code in _VIEW_CODES), None)


def _laterality(dataset: Dataset) -> str | None:
    found = (_text(dataset, "ImageLaterality") or _text(dataset, "Laterality") or "").upper()
    return found if found in _LATERALITIES else None


def _accession_issuer(dataset: Dataset) -> str | None:
    """The issuer of the accession number: its local name, else its universal one (PS3.3 Table 10-17)."""
    item = _get(dataset, "IssuerOfAccessionNumberSequence", lambda items: items[0])
    if item is None:
        return None
    return _text(item, "LocalNamespaceEntityID") or _text(item, "UniversalEntityID")


def relative_name(path: Path, root: Path) -> str:
    """Return a path below a root as an index writes it: with slashes, whatever the system."""
    return os.path.relpath(path, root).replace(os.sep, "/")
