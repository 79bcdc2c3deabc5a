"""Same text and same picture: digests of words and pixels, a perceptual hash, and the search for near pairs.

The hash is a difference hash (Krawetz 2013, dHash) of 256 bits: the picture is averaged down to 17 x 17 values, and
each bit says whether a value is brighter than its left (128 bits) or upper (128 bits) neighbour, every second row and
column. The usual 64 bits do not tell chest radiographs apart, which all look alike from afar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

#: Bits that may differ between two near-identical pictures (the numbers behind it: docs/weak-labels.md).
NEAR_DISTANCE = 12
HASH_BYTES = 32
_SIDE = 17
_WORD = re.compile(r"\w+")


def text_digest(text: str, *, key: bytes = b"") -> bytes | None:
    """Return 16 bytes that are the same for texts of the same words and numbers; ``None`` for a text without any.

    Case, punctuation and spaces do not count. Reports are short and alike, so a digest without a key can be guessed
    from its text: give a key where the digest leaves the machine.

    >>> text_digest("No acute disease.") == text_digest("NO  ACUTE DISEASE")
    True
    """
    words = " ".join(_WORD.findall(text.casefold()))
    return blake2b(words.encode("utf-8", "surrogatepass"), digest_size=16, key=key[:64]).digest() if words else None


def pixel_digest(pixels: npt.NDArray[Any]) -> bytes:
    """Return 16 bytes that are the same for pictures of the same size, type and values."""
    head = f"{pixels.shape}{pixels.dtype.str}".encode()
    return blake2b(head + np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()


def perceptual_hash(pixels: npt.NDArray[Any]) -> bytes | None:
    """Return the hash (32 bytes) of a picture (height, width), or ``None`` for one that is blank or under 17 pixels.

    Scaling, another compression or a change of brightness and contrast leave it nearly as it is; a crop, a turned
    picture or a mirrored one does not. Give it the pixels as they are displayed: a MONOCHROME1 picture that is not
    inverted has the opposite bits.
    """
    if pixels.ndim != 2 or min(pixels.shape) < _SIDE or pixels.min() == pixels.max():
        return None
    small = _averaged(np.asarray(pixels, dtype=np.float64), _SIDE)
    across = small[:-1:2, 1:] > small[:-1:2, :-1]  # (8, 16)
    down = small[1:, :-1:2] > small[:-1, :-1:2]  # (16, 8)
    return np.packbits(np.concatenate([across.ravel(), down.ravel()])).tobytes()


def _averaged(pixels: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.float64]:
    """Return a picture averaged down to (side, side)."""
    for axis in (0, 1):
        edges = np.linspace(0, pixels.shape[axis], side + 1).round().astype(np.intp)
        sums = np.add.reduceat(pixels, edges[:-1], axis=axis)
        widths = np.diff(edges).astype(np.float64)
        pixels = sums / (widths[:, None] if axis == 0 else widths)
    return pixels


def hash_distance(first: bytes, second: bytes) -> int:
    """Return in how many bits two hashes differ."""
    return (int.from_bytes(first) ^ int.from_bytes(second)).bit_count()


def iter_near_pairs(hashes: Sequence[bytes | None], distance: int = NEAR_DISTANCE) -> Iterator[tuple[int, int]]:
    """Yield the indices of pairs of hashes that differ in at most ``distance`` bits, the lower first.

    All of them, and each once; a hash that is ``None`` is near to nothing. Equal hashes are chained (first to second,
    second to third) rather than paired each with each: joined up, the groups are the same. Two hashes that differ in d
    bits agree in at least one of d + 1 bands of bits, so only those that share a band are compared.
    """
    first_of: dict[bytes, int] = {}
    last_of: dict[bytes, int] = {}
    for index, value in enumerate(hashes):
        if value is None:
            continue
        if value in last_of:
            yield last_of[value], index
        first_of.setdefault(value, index)
        last_of[value] = index
    if distance <= 0 or len(first_of) < 2:
        return
    owners = list(first_of.values())
    values = np.frombuffer(b"".join(first_of), dtype=np.uint8).reshape(len(owners), HASH_BYTES)
    yield from _banded_pairs(values, owners, distance)


#: Hashes compared at once in a band that very many share; bounds memory.
_BLOCK = 4096


def _banded_pairs(values: npt.NDArray[np.uint8], owners: list[int], distance: int) -> Iterator[tuple[int, int]]:
    bits = np.unpackbits(values, axis=1)
    words = values.view(np.uint64)
    # Neighbouring bits agree with one another, so a band takes bits from all over the picture.
    bands = [np.packbits(bits[:, start :: distance + 1], axis=1) for start in range(distance + 1)]
    for number, band in enumerate(bands):
        keys = np.ascontiguousarray(band).view(np.dtype((np.void, band.shape[1]))).ravel()
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(inverse, kind="stable")
        ends = np.cumsum(counts)
        for end, count in zip(ends[counts > 1], counts[counts > 1], strict=True):
            members = np.sort(order[end - count : end])
            for first, second in _near_members(words, members, distance):
                # A pair that shares an earlier band was yielded there.
                if not any((earlier[first] == earlier[second]).all() for earlier in bands[:number]):
                    low, high = sorted((owners[first], owners[second]))
                    yield low, high


def _near_members(
    words: npt.NDArray[np.uint64], members: npt.NDArray[np.intp], distance: int
) -> Iterator[tuple[int, int]]:
    for place, member in enumerate(members[:-1]):
        for start in range(place + 1, len(members), _BLOCK):
            others = members[start : start + _BLOCK]
            differing = np.bitwise_count(words[others] ^ words[member]).sum(axis=1)
            for other in others[differing <= distance]:
                yield int(member), int(other)


class UnionFind:
    """Things joined into groups, by their numbers. The root of a group is its lowest number, in whatever order."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def find(self, item: int) -> int:
        """Return the root of the group of ``item``."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Make one group of the groups of two things."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parent[high] = low

    def roots(self) -> list[int]:
        """Return the root of every thing."""
        return [self.find(item) for item in range(len(self._parent))]
