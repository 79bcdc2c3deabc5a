"""Readings of frequent sentences in a file: built once, mapped into memory by every process that reads with the model.

    8 bytes     magic
    8 bytes     length of the header, little-endian
    header      JSON: format, digest of the model, number of entries, digest of all that follows; padded to 64 bytes
    n * 8       first halves of the keys, ascending, little-endian
    n * 8       second halves
    (n+1) * 8   where each value begins, and where the last one ends
    values      a reading each (`encode_reading`)

A key is the digest of a sentence and its context (`models.text.encoder.runtime.sentence_key`). No sentence is in the
file; a reading holds concepts, offsets and scores, and of the sentence's words at most the name of an organ.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from corpora.errors import RadlabelError
from corpora.findings import Assertion, Hedge, Measurement
from models.text.sentence_reader import SentenceFinding, SentenceReading

FORMAT = 1
MAGIC = b"RLCACHE\0"
KEY_BYTES = 16
_ALIGNMENT = 64
_BLOCK = 2**22
_FINDING = [field.name for field in fields(SentenceFinding)]
_READING = [field.name for field in fields(SentenceReading) if field.name not in ("findings", "scores")]
Keys = npt.NDArray[np.uint64]


class CacheUnusable(RadlabelError, ValueError):
    """A cache file is missing, damaged, of another format, or was built with another model."""


class CacheFile:
    """A cache file, open for reading. Its pages belong to the system and are shared by the processes of a machine.

    Raises:
        CacheUnusable: the file is none, is damaged, or ``model_digest`` is not that of the model it was built with.
    """

    def __init__(self, path: Path, model_digest: str) -> None:
        try:
            with path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:  # an empty file cannot be mapped
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is empty"
            raise CacheUnusable(f"{path}: the cache file cannot be read ({reason})") from None
        header, start = self._read_header(path)
        if header["model_digest"] != model_digest:
            raise CacheUnusable(
                f"{path}: was built with another model, vocabulary or version of radlabel; build it anew: "
                "radlabel cache build"
            )
        self.header: Mapping[str, Any] = header
        n = header["entries"]
        if len(self._map) < start + (3 * n + 1) * 8 or _digest(self._map, start) != header["digest"]:
            raise CacheUnusable(f"{path}: is damaged: its digest is another; build it anew: radlabel cache build")
        self._first: Keys = np.frombuffer(self._map, "<u8", n, start)
        self._second: Keys = np.frombuffer(self._map, "<u8", n, start + 8 * n)
        self._places: Keys = np.frombuffer(self._map, "<u8", n + 1, start + 16 * n)
        self._values = start + (3 * n + 1) * 8

    def __len__(self) -> int:
        return int(self.header["entries"])

    def get(self, key: bytes) -> SentenceReading | None:
        """Return the reading of a sentence by its key, ``None`` if it is not in the file."""
        first, second = np.frombuffer(key, "<u8")
        i = int(np.searchsorted(self._first, first))
        while i < len(self._first) and self._first[i] == first:
            if self._second[i] == second:
                low, high = (self._values + int(place) for place in self._places[i : i + 2])
                return decode_reading(self._map[low:high])
            i += 1
        return None

    def _read_header(self, path: Path) -> tuple[dict[str, Any], int]:
        start = len(MAGIC) + 8
        if self._map[: len(MAGIC)] != MAGIC or len(self._map) < start:
            raise CacheUnusable(f"{path}: is no cache file (radlabel cache build makes one)")
        length = int.from_bytes(self._map[len(MAGIC) : start], "little")
        try:
            header = json.loads(self._map[start : start + length])
            known = header["format"] == FORMAT
            counts = isinstance(header["entries"], int) and header["entries"] >= 0
        except (ValueError, KeyError, TypeError):
            raise CacheUnusable(f"{path}: is damaged: its header cannot be read") from None
        if not known or not counts:
            raise CacheUnusable(f"{path}: has another format than {FORMAT}; build it anew: radlabel cache build")
        return header, start + length


def write_cache(
    stream: IO[bytes], entries: Sequence[bytes], values: Iterator[bytes], model_digest: str, facts: Mapping[str, object]
) -> None:
    """Write a cache file of keys (in the order of `sort_keys`) and their encoded readings.

    ``stream`` can be read and sought in: the digest goes to the front, and is known at the end.
    """
    n = len(entries)
    head = {"format": FORMAT, "model_digest": model_digest, "entries": n, **facts, "digest": "0" * 64}
    start = _write_header(stream, head)
    halves = np.frombuffer(b"".join(entries), "<u8").reshape(n, 2)
    stream.write(halves[:, 0].astype("<u8").tobytes())
    stream.write(halves[:, 1].astype("<u8").tobytes())
    places = np.zeros(n + 1, "<u8")
    stream.seek(start + (3 * n + 1) * 8)
    end = 0
    for i, value in enumerate(values):
        stream.write(value)
        end += len(value)
        places[i + 1] = end
    stream.seek(start + 16 * n)
    stream.write(places.tobytes())
    stream.seek(start)
    digest = blake2b(digest_size=32)
    while block := stream.read(_BLOCK):
        digest.update(block)
    stream.seek(0)
    _write_header(stream, {**head, "digest": digest.hexdigest()})


def sort_keys(keys: Iterable[bytes]) -> list[bytes]:
    """Return keys in the order in which `CacheFile` looks for them: as pairs of little-endian numbers."""
    return sorted(keys, key=lambda key: (int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")))


def encode_reading(reading: SentenceReading) -> bytes:
    """Return a reading as bytes: four with the number of labels, their scores as they are, the rest as JSON.

    `decode_reading` gives back an equal reading, to the last bit of its numbers.
    """
    scores = b"" if reading.scores is None else reading.scores.astype("<f4").tobytes()
    n = -1 if reading.scores is None else len(reading.scores)
    findings = [[_plain(getattr(finding, name)) for name in _FINDING] for finding in reading.findings]
    rest = [findings, *(getattr(reading, name) for name in _READING)]
    return n.to_bytes(4, "little", signed=True) + scores + json.dumps(rest, separators=(",", ":")).encode()


def decode_reading(data: bytes) -> SentenceReading:
    """Return the reading that `encode_reading` was given."""
    n = int.from_bytes(data[:4], "little", signed=True)
    end = 4 + max(n, 0) * 8
    found, *values = json.loads(data[end:])
    reading = SentenceReading(tuple(_finding(item) for item in found), **dict(zip(_READING, values, strict=True)))
    return replace(
        reading,
        spoken_of=tuple(reading.spoken_of),
        spoken_at=tuple((low, high) for low, high in reading.spoken_at),
        scores=None if n < 0 else np.frombuffer(data[4:end], "<f4").reshape(n, 2),
    )


def _plain(value: object) -> object:
    return list(astuple(value)) if isinstance(value, Measurement) else value


def _finding(values: Sequence[Any]) -> SentenceFinding:
    given = dict(zip(_FINDING, values, strict=True))
    size = given["measurement"]
    return SentenceFinding(
        **{
            **given,
            "assertion": Assertion(given["assertion"]),
            "hedge": None if given["hedge"] is None else Hedge(given["hedge"]),
            "location": tuple(given["location"]),
            "measurement": None if size is None else Measurement(tuple(size[0]), size[1], tuple(size[2])),
        }
    )


def _write_header(stream: IO[bytes], header: Mapping[str, object]) -> int:
    """Write magic, length and header; return where the rest begins."""
    text = json.dumps(header).encode()
    text += b" " * (-(len(MAGIC) + 8 + len(text)) % _ALIGNMENT)
    stream.write(MAGIC + len(text).to_bytes(8, "little") + text)
    return len(MAGIC) + 8 + len(text)


def _digest(data: mmap.mmap, start: int) -> str:
    digest = blake2b(digest_size=32)
    for low in range(start, len(data), _BLOCK):
        digest.update(data[low : low + _BLOCK])
    return digest.hexdigest()
