"""Headers of ordinary DICOM files, read at a tenth of what a general reader takes (PS3.5 7, PS3.10 7).

Ordinary is little endian with a preamble, elements in order, values of the VR that PS3.6 gives them and in a common
character set. Of all else nothing is read here, so that `corpora.imaging.dicom_file` gives the file to pydicom: this
reader is either right or silent.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from corpora.imaging.header import ELEMENTS, ITEM_ELEMENTS, Plain

UNDEFINED = 0xFFFFFFFF
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # float, double float, pixel data
_PREAMBLE_END = 132
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MAX_DEPTH = 16
_SHORT_VRS = frozenset(vr.encode() for vr in "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(vr.encode() for vr in "OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VRS = _SHORT_VRS | _LONG_VRS
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
# JPEG and its kin, RLE: explicit little endian around compressed pixels
_ENCAPSULATED = ("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5")
_WANTED = {tag: (keyword, vr) for keyword, (tag, vr) in ELEMENTS.items()}
_WANTED_IN_ITEMS = {tag: (keyword, vr) for keyword, (tag, vr) in ITEM_ELEMENTS.items()}
# Defined terms of Specific Character Set (PS3.3 C.12.1.1.2) in which ASCII is ASCII, and how the rest is decoded; None
# where that is left to pydicom. Japanese sets have a yen sign for the backslash, code extensions shift by escapes.
_CHARACTER_SETS = {
    **dict.fromkeys(("", "ISO_IR 6", "ISO 2022 IR 6")),
    **dict.fromkeys(f"ISO_IR {number}" for number in (101, 109, 110, 126, 127, 138, 144, 148, 166)),
    "ISO_IR 100": "latin-1",
    "ISO_IR 192": "utf-8",
}
_explicit_element = struct.Struct("<HH2sH").unpack_from
_implicit_element = struct.Struct("<HHL").unpack_from
_long = struct.Struct("<L").unpack_from
_short = struct.Struct("<H").unpack_from


class _Odd(Exception):
    """The file is not ordinary."""


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The element at which a header ends: its VR (None where it is implicit), length, and where its value begins."""

    vr: bytes | None
    length: int
    begins: int


@dataclass(frozen=True, slots=True)
class Ordinary:
    """An ordinary file's header, and where its pixels are."""

    header: Plain
    transfer_syntax_uid: str
    pixels: PixelElement


def read_ordinary(head: bytes) -> Ordinary | None:
    """Return the header that the first bytes of a file hold; None if it is not ordinary, or not all there."""
    try:
        return _read(head)
    except (_Odd, struct.error, UnicodeDecodeError):
        return None


def _read(head: bytes) -> Ordinary:
    if head[128:_PREAMBLE_END] != b"DICM":
        raise _Odd
    syntax, position = _meta(head)
    implicit = syntax == _IMPLICIT
    if not implicit and syntax != _EXPLICIT and not syntax.startswith(_ENCAPSULATED):
        raise _Odd
    # Some writers announce implicit VR and write explicit ones.
    if implicit and head[position + 4 : position + 6] in _VRS:
        raise _Odd
    values: dict[str, Any] = {}
    last = 0
    while True:
        tag, vr, length, begins = _element(head, position, implicit)
        if tag <= last:
            raise _Odd
        if tag >= 0x7FE00000:
            if tag not in PIXEL_TAGS:
                raise _Odd
            break
        wanted = _WANTED.get(tag)
        if length == UNDEFINED or (wanted is not None and wanted[1] == "SQ"):
            items, position = _sequence(head, begins, length, implicit, vr, wanted is not None)
            if wanted is not None:
                values[wanted[0]] = items
        else:
            position = begins + length
            if position > len(head):
                raise _Odd
            if wanted is not None:
                if vr is not None and vr != wanted[1].encode():
                    raise _Odd
                values[wanted[0]] = head[begins:position]
        last = tag
    return Ordinary(_decoded(values), syntax, PixelElement(vr, length, begins))


def _meta(head: bytes) -> tuple[str, int]:
    """Return the transfer syntax, and where the data set begins behind the file meta information."""
    position, syntax = _PREAMBLE_END, b""
    while head[position : position + 2] == b"\2\0":
        tag, _, length, begins = _element(head, position, False)
        position = begins + length
        if position > len(head):
            raise _Odd
        if tag == 0x00020010:
            syntax = head[begins:position]
        elif tag == 0x00020002 and head[begins:position].startswith(b"1.2.840.10008.1.3.10"):
            raise _Odd  # a DICOMDIR
    return syntax.rstrip(b" \0").decode("ascii"), position


def _element(head: bytes, position: int, implicit: bool) -> tuple[int, bytes | None, int, int]:
    """Return tag, VR, length and the beginning of the value of the element at a position."""
    if implicit:
        group, element, length = _implicit_element(head, position)
        return (group << 16) + element, None, length, position + 8
    group, element, vr, length = _explicit_element(head, position)
    if vr in _SHORT_VRS:
        return (group << 16) + element, vr, length, position + 8
    if vr not in _LONG_VRS:
        raise _Odd
    return (group << 16) + element, vr, _long(head, position + 8)[0], position + 12


def _sequence(
    head: bytes, position: int, length: int, implicit: bool, vr: bytes | None, wanted: bool, depth: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """Return the items of a sequence, if wanted, and where it ends."""
    if depth > _MAX_DEPTH or (vr is not None and vr != b"SQ"):
        raise _Odd
    end = len(head) if length == UNDEFINED else position + length
    if end > len(head):
        raise _Odd
    items: list[dict[str, Any]] = []
    while position < end:
        group, element, item_length = _implicit_element(head, position)
        tag = (group << 16) + element
        position += 8
        if tag == _SEQUENCE_END and length == UNDEFINED:
            return items, position
        if tag != _ITEM:
            raise _Odd
        item, position = _item(head, position, item_length, implicit, wanted, depth)
        items.append(item)
    if length == UNDEFINED or position != end:
        raise _Odd
    return items, position


def _item(
    head: bytes, position: int, length: int, implicit: bool, wanted: bool, depth: int
) -> tuple[dict[str, Any], int]:
    if length != UNDEFINED and not wanted:
        return {}, position + length
    end = len(head) if length == UNDEFINED else position + length
    if end > len(head):
        raise _Odd
    values: dict[str, Any] = {}
    while position < end:
        if length == UNDEFINED and _implicit_element(head, position)[:2] == (_ITEM_END >> 16, _ITEM_END & 0xFFFF):
            return _decoded_item(values), position + 8
        tag, vr, size, begins = _element(head, position, implicit)
        if size == UNDEFINED:
            _, position = _sequence(head, begins, size, implicit, vr, False, depth + 1)
            continue
        position = begins + size
        if position > end:
            raise _Odd
        if wanted and (found := _WANTED_IN_ITEMS.get(tag)) is not None:
            if vr is not None and vr != found[1].encode():
                raise _Odd
            values[found[0]] = head[begins:position]
    if length == UNDEFINED:
        raise _Odd
    return _decoded_item(values), position


def _decoded_item(values: dict[str, bytes]) -> dict[str, Any]:
    # An item may be in a character set of its own: beyond ASCII it is left to pydicom.
    return {keyword: _ascii(value) for keyword, value in values.items()}


def _ascii(value: bytes) -> str:
    if b"\x1b" in value:
        raise _Odd
    return value.decode("ascii")


def _decoded(values: dict[str, Any]) -> dict[str, Any]:
    name = _ascii(values.get("SpecificCharacterSet", b"")).strip(" \0")
    if name not in _CHARACTER_SETS:
        raise _Odd
    encoding = _CHARACTER_SETS[name]
    for keyword, value in values.items():
        if isinstance(value, list):
            continue
        vr = ELEMENTS[keyword][1]
        if vr == "US":
            if len(value) not in (0, 2):
                raise _Odd
            values[keyword] = _short(value)[0] if value else ""
        elif value.isascii() or vr not in ("LO", "SH") or encoding is None:
            values[keyword] = _ascii(value)
        else:
            if b"\x1b" in value:
                raise _Odd
            values[keyword] = value.decode(encoding)
    return values
