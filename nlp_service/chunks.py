"""What a run reads: records in chunks, each record with its origin, and the rows that fail.

A chunk is the unit of work, of progress and of what an interrupted run keeps. Where one ends depends on the records
alone, so a resumed run cuts them as the interrupted one did.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from corpora.errors import RowInvalid, SourceUnreadable
from corpora.reports import Report
from corpora.sources import SOURCES, TABLES, iter_records, recognise_format
from corpora.sources.text_folder import iter_files

CHUNK_RECORDS = 500
# Long reports close a chunk early, so that the memory of a chunk has a bound however long they are.
CHUNK_CHARACTERS = 4_000_000
_DIGEST_BYTES = 8  # among ten million ids, the chance that any two share a digest is three in a million
_EMPTY = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record came from: the name of the file or folder, and the record's number in it, from 1."""

    source: str
    row: int


@dataclass(frozen=True, slots=True, repr=False)
class Reject:
    """A record that gets no labels, and why. ``reason`` has no content of the record; the ids are for files alone."""

    origin: Origin
    reason: str
    field: str | None = None
    report_id: str | None = None
    accession_number: str | None = None

    def __repr__(self) -> str:
        return f"Reject({self.origin.source}, row {self.origin.row})"

    def as_json(self) -> dict[str, object]:
        """Return the line of the reject file."""
        return {
            "source": self.origin.source,
            "row": self.origin.row,
            "report_id": self.report_id,
            "field": self.field,
            "reason": self.reason,
        }

    def __str__(self) -> str:
        """Return the reject in words that may be shown: without ids."""
        where = f"{self.origin.source}, row {self.origin.row}" + (f", field {self.field!r}" if self.field else "")
        return f"{where}: {self.reason}"


Item = tuple[Origin, Report] | Reject


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records, the ``index``-th chunk of a run."""

    index: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """One file or folder to read; ``name`` is what messages and rejects call it."""

    path: Path
    name: str
    format: str


def plan_inputs(paths: Sequence[Path], format: str | None = None) -> list[Input]:
    """Return what is to be read, in order; a folder of tables becomes its files, so that rows count by file.

    Raises `SourceUnreadable` where a path does not exist or its format cannot be told.
    """
    found: list[tuple[Path, str]] = []
    for path in paths:
        name = format or recognise_format(path)
        files = list(iter_files(path, SOURCES[name].SUFFIXES)) if name in TABLES and path.is_dir() else []
        found += [(file, name) for file in files or [path]]
    names = [path.name for path, _ in found]
    return [
        Input(path, path.name if path.name and names.count(path.name) == 1 else str(path), name) for path, name in found
    ]


def iter_chunks(
    inputs: Iterable[Input],
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    chunk_records: int | None = None,
) -> Iterator[Chunk]:
    """Yield the records of all inputs in chunks; a report whose id came before is a reject.

    Memory grows by a digest and a place for each report id, 24 to 48 bytes, and by nothing else.
    """
    items: list[Item] = []
    characters = index = 0
    for item in islice(_reject_duplicates(_iter_items(inputs, columns, encoding)), limit):
        items.append(item)
        characters += 0 if isinstance(item, Reject) else len(item[1].text)
        if len(items) >= (chunk_records or CHUNK_RECORDS) or characters >= CHUNK_CHARACTERS:
            yield Chunk(index, tuple(items))
            items = []
            characters = 0
            index += 1
    if items:
        yield Chunk(index, tuple(items))


def within(chunks: Iterable[Chunk], limit: int, name: str) -> Iterator[Chunk]:
    """Yield chunks as long as their texts have no more than ``limit`` characters together.

    Raises `SourceUnreadable` beyond: formats that hold a value once for many rows unpack to any size.
    """
    characters = 0
    for chunk in chunks:
        characters += sum(len(item[1].text) for item in chunk.items if not isinstance(item, Reject))
        if characters > limit:
            raise SourceUnreadable(f"{name}: unpacks to more than {limit:,} bytes")
        yield chunk


def _iter_items(inputs: Iterable[Input], columns: Mapping[str, str] | None, encoding: str | None) -> Iterator[Item]:
    for source in inputs:
        row = 0
        for record in iter_records(source.path, format=source.format, columns=columns, encoding=encoding):
            if isinstance(record, RowInvalid):
                row = record.row
                yield Reject(Origin(source.name, row), record.reason, record.field)
            else:
                row += 1
                yield Origin(source.name, row), record


def _reject_duplicates(items: Iterable[Item]) -> Iterator[Item]:
    """Turn each report whose id an earlier one has into a reject that names the row of the first.

    Which of two reports with one id is meant, nobody can tell; rows that are joined by id must not be doubled.
    """
    sources: dict[str, int] = {}
    first_places = _Places()
    for item in items:
        if isinstance(item, Reject):
            yield item
            continue
        origin, report = item
        place = sources.setdefault(origin.source, len(sources)) << 40 | origin.row
        digest = blake2b(report.report_id.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()
        first = first_places.setdefault(int.from_bytes(digest, "big"), place)
        if first == place:
            yield item
            continue
        source = list(sources)[first >> 40]
        where = f"row {first & (1 << 40) - 1}" + ("" if source == origin.source else f" of {source}")
        reject = Reject(origin, f"has the report id of {where}, which was taken", "report_id")
        yield replace(reject, report_id=report.report_id, accession_number=report.accession_number)


class _Places:
    """A mapping of digests to places, both 64-bit numbers, in a sixth of the memory of a dictionary.

    A hash table with open addressing: a digest is looked for from the slot it names onwards, up to the first empty one.
    """

    def __init__(self) -> None:
        self._count = 0
        self._digests = array("Q", bytes(8 * 1024))
        self._places = array("Q", bytes(8 * 1024))

    def setdefault(self, digest: int, place: int) -> int:
        """Return the place of a digest; one that is new gets ``place``."""
        digest = digest or 1  # 0 marks an empty slot
        slot = self._slot(digest)
        if self._digests[slot] != _EMPTY:
            return self._places[slot]
        self._digests[slot] = digest
        self._places[slot] = place
        self._count += 1
        if 3 * self._count > 2 * len(self._digests):
            self._grow()
        return place

    def _slot(self, digest: int) -> int:
        digests = self._digests
        mask = len(digests) - 1
        slot = digest & mask
        while digests[slot] not in (_EMPTY, digest):
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        digests, places = self._digests, self._places
        self._digests = array("Q", bytes(16 * len(digests)))
        self._places = array("Q", bytes(16 * len(digests)))
        for digest, place in zip(digests, places, strict=True):
            if digest != _EMPTY:
                slot = self._slot(digest)
                self._digests[slot] = digest
                self._places[slot] = place
