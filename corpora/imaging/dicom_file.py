"""A file of DICOM PS3.10 as a row of the image index: its header is read, its pixels are looked for."""

from __future__ import annotations

import math
import os
import struct
import warnings
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any, BinaryIO

from corpora.imaging.elements import PIXEL_TAGS, UNDEFINED, PixelElement, read_ordinary
from corpora.imaging.header import ELEMENTS, NotAnImage, Unreadable, dataset_to_row, header_to_row
from corpora.imaging.index_table import ImageSource

# Headers of radiographs have a few thousand bytes; those with icons or private data are read in a second try.
_HEADS = (16 * 1024, 1024 * 1024)
_PREAMBLE = 128
_MAGIC = b"DICM"
# Suffixes that promise DICOM: such a file is listed if it is none, where any other is merely counted.
_DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".dic", ".ima", ".dcm30"})
_PIXEL_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"UN"})  # PS3.6, and of a writer that did not know
_DEFLATED = "1.2.840.10008.1.2.1.99"
_DIRECTORY = "1.2.840.10008.1.3.10"


def read_file_header(path: str | Path, file: str, size_bytes: int, modified_ns: int) -> dict[str, Any]:
    """Return the row of a DICOM file, ``file`` being its name in the index; pixels are not read.

    Raises `NotAnImage` and `Unreadable`.
    """
    if size_bytes == 0:
        if _claims_otherwise(Path(file)):
            raise NotAnImage
        raise Unreadable("the file is empty")
    try:
        with FileIO(path) as handle:
            for length in _HEADS:
                ordinary = read_ordinary(head := os.pread(handle.fileno(), length, 0))
                if ordinary is not None or len(head) < length:
                    break
            if ordinary is not None:
                syntax: str | None = ordinary.transfer_syntax_uid
                row = header_to_row(ordinary.header)
                _check_pixels(handle, ordinary.pixels, size_bytes, row)
            else:
                row, syntax = _read_by_pydicom(handle, Path(path), size_bytes)
    except OSError as error:
        raise Unreadable(error.strerror or "the file cannot be read") from None
    row["source"] = ImageSource.DICOM.value
    row["file"] = file
    row["transfer_syntax_uid"] = syntax
    row["size_bytes"] = size_bytes
    row["modified_ns"] = modified_ns
    return row


def _read_by_pydicom(raw: FileIO, path: Path, size_bytes: int) -> tuple[dict[str, Any], str | None]:
    """Return row and transfer syntax of any DICOM file."""
    from pydicom import config
    from pydicom.dataset import Dataset
    from pydicom.filereader import dcmread

    handle = BufferedReader(raw)
    force = not _has_preamble(handle, path)
    try:
        # pydicom's warnings are about values, which they quote.
        with warnings.catch_warnings(), config.disable_value_validation():
            warnings.simplefilter("ignore")
            tags: list[Any] = [tag for tag, _ in ELEMENTS.values()]
            dataset = dcmread(handle, stop_before_pixels=True, specific_tags=tags, force=force)
            meta = getattr(dataset, "file_meta", Dataset())
            if str(meta.get("MediaStorageSOPClassUID") or "") == _DIRECTORY:
                raise NotAnImage
            row = dataset_to_row(dataset)
        syntax = str(meta.get("TransferSyntaxUID") or "") or None
        if syntax != _DEFLATED:  # whose pixels lie in a stream of their own
            _check_pixels(handle, _pixel_element(handle, *dataset.original_encoding), size_bytes, row)
    except (NotAnImage, Unreadable, OSError):
        raise
    except EOFError:
        raise Unreadable("the file ends within its header") from None
    except Exception as error:  # pydicom raises whatever a damaged byte leads to
        raise Unreadable(f"the header cannot be parsed ({type(error).__name__})") from None
    finally:
        handle.detach()
    return row, syntax


def _claims_otherwise(path: Path) -> bool:
    """Whether a name claims another content: a suffix of letters. Archives name files by UIDs, or without a suffix."""
    suffix = path.suffix.lower()
    return suffix[1:].isalpha() and suffix not in _DICOM_SUFFIXES


def _has_preamble(handle: BinaryIO, path: Path) -> bool:
    """Whether a file starts as PS3.10 wants; raise if it is no DICOM file at all. The handle is put back."""
    handle.seek(0)
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


def _pixel_element(handle: BinaryIO, is_implicit: bool | None, is_little_endian: bool | None) -> PixelElement:
    """Return the element at which pydicom stopped; raise if it is no pixel data."""
    start = handle.read(12)
    if not start:
        raise Unreadable("there is no pixel data, or the file ends before it")
    if len(start) < 8:
        raise Unreadable("the file ends within the header of an element")
    order = ">" if is_little_endian is False else "<"
    group, element = struct.unpack(order + "HH", start[:4])
    if (group << 16) + element not in PIXEL_TAGS:
        raise Unreadable("reading stopped before the pixel data")
    if is_implicit:
        return PixelElement(None, struct.unpack(order + "I", start[4:8])[0], handle.tell() - len(start) + 8)
    if start[4:6] in _PIXEL_VRS and len(start) < 12:
        raise Unreadable("the file ends within the header of the pixel data")
    length = struct.unpack(order + "I", start[8:12])[0] if len(start) == 12 else 0
    return PixelElement(start[4:6], length, handle.tell())


def _check_pixels(handle: Any, pixels: PixelElement, size_bytes: int, row: dict[str, Any]) -> None:
    """Raise if the element of the pixels is none, or not all of it is there."""
    if pixels.vr is not None and pixels.vr not in _PIXEL_VRS:
        raise Unreadable("the pixel data has a VR that pixels cannot have")
    if pixels.length == 0:
        raise Unreadable("the pixel data is empty")
    if pixels.length == UNDEFINED:
        if not _has_end(handle, pixels.begins, size_bytes):
            raise Unreadable("the compressed pixel data is truncated")
        return
    there = max(0, size_bytes - pixels.begins)
    if pixels.length > there:
        raise Unreadable(f"the pixel data is truncated: {pixels.length} bytes are announced, {there} there")
    # Native pixels need at least a bit each (PS3.5 8.1.1).
    bits = 1 if row["bits_stored"] == 1 else 8 * math.ceil((row["bits_stored"] or 8) / 8)
    needed = row["rows"] * row["columns"] * (row["number_of_frames"] or 1) * bits // 8
    if pixels.length < needed:
        raise Unreadable(f"the pixel data has {pixels.length} bytes, its size and depth need {needed}")


def _has_end(handle: Any, begins: int, size_bytes: int) -> bool:
    """Whether encapsulated pixel data is complete (PS3.5 A.4): items, one after another, then the delimiter.

    Fragments are jumped over, so that a file of many frames costs some seeks and no reading of pixels.
    """
    position = begins
    while position + 8 <= size_bytes:
        item, length = struct.unpack("<II", os.pread(handle.fileno(), 8, position))
        if item == 0xE0DDFFFE:
            return True
        if item != 0xE000FFFE or length == UNDEFINED:
            return False
        position += 8 + length
    # Some writers leave the delimiter out: what counts is that the last fragment is whole.
    return position == size_bytes and position > begins + 8
