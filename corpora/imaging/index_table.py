"""The image index: one row an image, in Parquet, with a side table of the files that could not be read.

The names are those of DICOM (PS3.6) in small letters. A row is a SOP instance, or a picture file of a manifest. The
file's metadata holds the schema's version, the root that ``file`` is relative to, and the counts of a scan, which add
up: ``seen = images + not_images + unreadable``.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from corpora.errors import SourceUnreadable

SCHEMA_VERSION = 1
# Large enough that columns compress well, small enough that a group, held in several forms while it is written,
# does not show in the memory of a scan.
ROWS_PER_GROUP = 4_096
_PREFIX = "radlabel."


class ImageSource(StrEnum):
    """Where an image lies."""

    DICOM = "dicom"  # a file of DICOM PS3.10
    DICOMWEB = "dicomweb"  # a WADO-RS path on a server
    PICTURE = "picture"  # a PNG or JPEG file of a manifest


_BOX = pa.struct([(name, pa.float64() if name != "label" else pa.string()) for name in ("label", "x", "y", "w", "h")])
_STRINGS_1 = (
    "patient_id",
    "patient_id_issuer",
    "accession_number",
    "accession_number_issuer",
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "sop_class_uid",
)
_STRINGS_2 = (
    "study_time",
    "modality",
    "body_part",
    "study_description",
    "series_description",
    "view",
    "laterality",
    "patient_orientation",
    "photometric_interpretation",
)

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in _STRINGS_1),
        pa.field("study_date", pa.date32()),
        *(pa.field(name, pa.string()) for name in _STRINGS_2),
        pa.field("rows", pa.int32()),
        pa.field("columns", pa.int32()),
        pa.field("bits_stored", pa.int16()),
        pa.field("number_of_frames", pa.int32()),
        pa.field("row_spacing_mm", pa.float64()),
        pa.field("column_spacing_mm", pa.float64()),
        pa.field("patient_sex", pa.string()),
        pa.field("patient_age_years", pa.float32()),
        pa.field("manufacturer", pa.string()),
        pa.field("model_name", pa.string()),
        pa.field("burned_in_annotation", pa.bool_()),
        pa.field("transfer_syntax_uid", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("modified_ns", pa.int64()),
        pa.field("split", pa.string()),
        pa.field("boxes", pa.list_(_BOX)),
        pa.field("mask_file", pa.string()),
    ]
)

_NAMES = frozenset(SCHEMA.names)
#: No rows. Made from no batches, since `Schema.empty_table` asks pandas, which takes a while to load.
EMPTY = pa.Table.from_batches([], schema=SCHEMA)


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What the metadata of an index says: the root of its files, and the counts of the scan."""

    root: str
    seen: int = 0
    not_images: int = 0
    unreadable: int = 0
    version: int = SCHEMA_VERSION

    @property
    def images(self) -> int:
        """How many rows the index has."""
        return self.seen - self.not_images - self.unreadable

    def _metadata(self) -> dict[str, str]:
        return {_PREFIX + name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that is not in the index, and a reason without any of its content."""

    file: str
    reason: str


def unreadable_path(index: Path) -> Path:
    """Return where the files that an index leaves out are listed."""
    return index.with_name(index.name + ".unreadable.csv")


def rows_to_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table of the index; a field that a row lacks is null. No rows give an empty table.

    Raises `ValueError` for a field that the index does not have: a spelling mistake would else be a column of nulls.
    """
    rows = list(rows)
    for row in rows:
        if unknown := row.keys() - _NAMES:
            raise ValueError(f"the image index has no fields {', '.join(sorted(unknown))}")
    # Column by column: from dictionaries as they are it would take three times as long.
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in SCHEMA]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


@dataclass(slots=True)
class IndexWriter:
    """Writes an index and its list of unreadable files; both appear whole at the end, or not at all.

    Memory holds one row group. Used as a context: an exception inside leaves what was there before.
    """

    path: Path
    root: str
    not_images: int = field(default=0, init=False)
    _pending: list[pa.Table] = field(default_factory=list, init=False)
    _pending_rows: int = field(default=0, init=False)
    _images: int = field(default=0, init=False)
    _unreadable: int = field(default=0, init=False)
    _is_kept: bool = field(default=False, init=False)
    _temporary: Path = field(init=False)
    _temporary_list: Path = field(init=False)
    _parquet: pq.ParquetWriter | None = field(default=None, init=False)
    _list: IO[str] = field(init=False)
    _csv: Any = field(init=False)

    def __post_init__(self) -> None:
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._temporary_list = self._temporary.with_suffix(".csv")

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it writes, for a while or for good."""
        return self.path, unreadable_path(self.path), self._temporary, self._temporary_list

    def __enter__(self) -> Self:
        self._list = self._temporary_list.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._list)
        self._csv.writerow(("file", "reason"))
        return self

    def write(self, table: pa.Table) -> None:
        """Add a table in the schema of the index."""
        self._pending.append(table)
        self._pending_rows += table.num_rows
        self._images += table.num_rows
        while self._pending_rows >= ROWS_PER_GROUP:
            self._flush()

    def unreadable(self, file: UnreadableFile) -> None:
        """Add to the list of what could not be read."""
        self._csv.writerow((file.file, file.reason))
        self._unreadable += 1

    def keep_index(self) -> None:
        """Leave the index that is there as it is; the list is still written."""
        self._is_kept = True

    @property
    def info(self) -> IndexInfo:
        """The counts so far."""
        seen = self._images + self._unreadable + self.not_images
        return IndexInfo(root=self.root, seen=seen, not_images=self.not_images, unreadable=self._unreadable)

    def _flush(self) -> None:
        """Write a row group. Where groups end depends on the rows alone, so that the same rows give the same bytes."""
        if self._parquet is None:
            self._parquet = pq.ParquetWriter(self._temporary, SCHEMA, compression="zstd")
        merged = pa.concat_tables([EMPTY, *self._pending]).combine_chunks()
        self._parquet.write_table(merged.slice(0, ROWS_PER_GROUP), row_group_size=ROWS_PER_GROUP)
        rest = merged.slice(ROWS_PER_GROUP)
        self._pending, self._pending_rows = [rest] if rest.num_rows else [], rest.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._is_kept:
                if self._pending_rows or self._parquet is None:
                    self._flush()
                assert self._parquet is not None
                self._parquet.add_key_value_metadata(self.info._metadata())
            if self._parquet is not None:
                self._parquet.close()
            self._list.close()
            if kind is None:
                self._temporary_list.replace(unreadable_path(self.path))
                if not self._is_kept:
                    self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)
            self._temporary_list.unlink(missing_ok=True)


def read_info(path: Path) -> IndexInfo:
    """Return the metadata of an index; raise `SourceUnreadable` if the file is none, or of another version."""
    with _opened(path) as parquet:
        return _info(path, parquet)


def _info(path: Path, parquet: pq.ParquetFile) -> IndexInfo:
    raw = parquet.metadata.metadata or {}
    values = {key.decode()[len(_PREFIX) :]: value.decode() for key, value in raw.items() if key != b"ARROW:schema"}
    try:
        info = IndexInfo(root=values["root"])
        counts = {name: int(values[name]) for name in ("seen", "not_images", "unreadable", "version")}
    except (KeyError, ValueError):
        raise SourceUnreadable(f"{path.name}: is not an image index; make one with `radlabel images index`") from None
    if counts["version"] != SCHEMA_VERSION:
        raise SourceUnreadable(
            f"{path.name}: is an image index of version {counts['version']}, this radlabel reads {SCHEMA_VERSION}; "
            "make it again with `radlabel images index`"
        )
    seen, not_images, unreadable = (counts[name] for name in ("seen", "not_images", "unreadable"))
    return replace(info, seen=seen, not_images=not_images, unreadable=unreadable)


def iter_tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Give an index row group by row group; raise `SourceUnreadable` as `read_info`."""
    with _opened(path) as parquet:
        _info(path, parquet)
        for group in range(parquet.num_row_groups):
            yield parquet.read_row_group(group, columns=columns)


def read_index(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a whole index, or some of its columns, as one table."""
    tables = list(iter_tables(path, columns))
    if tables:
        return pa.concat_tables(tables)
    return EMPTY if columns is None else EMPTY.select(columns)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise SourceUnreadable(f"{path.name}: there is no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceUnreadable(f"{path.name}: cannot be read as Parquet ({type(error).__name__})") from None
