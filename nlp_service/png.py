"""PNG files that come from outside: checked chunk by chunk, and without anything but the picture.

Source: PNG (Portable Network Graphics) Specification, third edition, W3C 2025, sections 5.2 to 5.6 and 11.
"""

from __future__ import annotations

import struct
import zlib

from corpora.errors import RadlabelError

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
MAX_SIDE = 4096


class PngInvalid(RadlabelError, ValueError):
    """Not a PNG picture, or one that is damaged or too large."""


def bare_png(data: bytes) -> bytes:
    """Return a PNG without its texts, times and other extras.

    Raises
    ------
    PngInvalid
        It is no PNG, a chunk is damaged, or a side is longer than `MAX_SIDE` pixels.
    """
    if not data.startswith(_SIGNATURE):
        raise PngInvalid("is not a PNG picture")
    kept = [_SIGNATURE]
    names: list[bytes] = []
    place = len(_SIGNATURE)
    while place < len(data):
        if len(data) - place < 12:
            raise PngInvalid("is a PNG picture that breaks off")
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 12 + length
        if end > len(data):
            raise PngInvalid("is a PNG picture that breaks off")
        name = data[place + 4 : place + 8]
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[place + 4 : end - 4]) != checksum:
            raise PngInvalid("is a damaged PNG picture")
        if name in _KEPT:
            kept.append(data[place:end])
            names.append(name)
        place = end
        if name == b"IEND":
            break
    if names[:1] != [b"IHDR"] or names[-1] != b"IEND" or b"IDAT" not in names or len(kept[1]) != 25:
        raise PngInvalid("is a PNG picture without its parts")
    width, height = struct.unpack_from(">II", kept[1], 8)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise PngInvalid(f"must have sides of 1 to {MAX_SIDE:,} pixels")
    return b"".join(kept)
