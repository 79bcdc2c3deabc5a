"""Outputs: rows of one chunk to a piece of bytes, and pieces to a file. The suffix of the output's name chooses.

A worker encodes the rows of a chunk, the run joins the pieces in order. Both steps depend on the rows alone, so a file
has the same bytes whether it was written in one go, after an interruption, or by several processes.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from corpora.findings import LabeledReport
from nlp_service.errors import OutputUnusable
from nlp_service.rows import RowForm

# Rows of a Parquet row group, at least: small ones cost space and reading speed, and the group being made is in memory.
ROW_GROUP_ROWS = 4096


class Writer(Protocol):
    """Writes one output format."""

    def encode(self, rows: Sequence[LabeledReport]) -> bytes:
        """Return the rows of one chunk as a piece of the output."""

    def join(self, pieces: Iterable[bytes], stream: IO[bytes]) -> None:
        """Write the whole output from its pieces, in order; pieces are taken one at a time."""


@dataclass(frozen=True)
class JsonLinesWriter:
    """JSON Lines in UTF-8: the full form, one row a line."""

    form: RowForm

    def encode(self, rows: Sequence[LabeledReport]) -> bytes:
        """Return the rows as lines."""
        return "".join(f"{self.form.json_text(row)}\n" for row in rows).encode()

    def join(self, pieces: Iterable[bytes], stream: IO[bytes]) -> None:
        """Write the pieces one after the other."""
        stream.writelines(pieces)


@dataclass(frozen=True)
class CsvWriter:
    """CSV in UTF-8 as RFC 4180 has it, line ends included: one row a report, one column a label."""

    form: RowForm

    def encode(self, rows: Sequence[LabeledReport]) -> bytes:
        """Return the rows without a header."""
        return self._lines(self.form.wide_row(row) for row in rows)

    def join(self, pieces: Iterable[bytes], stream: IO[bytes]) -> None:
        """Write the header and the pieces."""
        stream.write(self._lines([self.form.columns]))
        stream.writelines(pieces)

    def _lines(self, rows: Iterable[Sequence[str | None]]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        return text.getvalue().encode()


@dataclass(frozen=True)
class GzipWriter:
    """Another text format, compressed. Each piece is a gzip member; RFC 1952 lets a file have many."""

    inner: JsonLinesWriter | CsvWriter

    def encode(self, rows: Sequence[LabeledReport]) -> bytes:
        """Return the rows compressed, without a time stamp: the same rows are the same bytes."""
        return _compress(self.inner.encode(rows))

    def join(self, pieces: Iterable[bytes], stream: IO[bytes]) -> None:
        """Write what the inner format puts before the rows, compressed, and the pieces."""
        head = io.BytesIO()
        self.inner.join((), head)
        stream.write(_compress(head.getvalue()))
        stream.writelines(pieces)


@dataclass(frozen=True)
class ParquetWriter:
    """Parquet; a piece is an Arrow stream, and the pieces are put together to larger row groups."""

    form: RowForm

    def encode(self, rows: Sequence[LabeledReport]) -> bytes:
        """Return the rows as an Arrow stream."""
        import pyarrow as pa

        schema = self.form.arrow_schema()
        columns = _columns([self.form.parquet_row(row) for row in rows], schema, self.form)
        buffer = io.BytesIO()
        with pa.ipc.new_stream(buffer, schema) as stream:
            stream.write_table(pa.Table.from_arrays(columns, schema=schema))
        return buffer.getvalue()

    def join(self, pieces: Iterable[bytes], stream: IO[bytes]) -> None:
        """Write the row groups."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with pq.ParquetWriter(stream, self.form.arrow_schema(), compression="zstd") as writer:
            for tables in _grouped(pa.ipc.open_stream(piece).read_all() for piece in pieces):
                group = pa.concat_tables(tables)
                writer.write_table(group, row_group_size=max(group.num_rows, 1))


def _columns(rows: Sequence[dict[str, object]], schema: Any, form: RowForm) -> list[Any]:
    import pyarrow as pa

    dictionaries = form.dictionaries()
    columns = []
    for field in schema:
        values = [row[field.name] for row in rows]
        if field.name in dictionaries:
            places = {value: index for index, value in enumerate(dictionaries[field.name])}
            indices = pa.array([None if value is None else places[str(value)] for value in values], pa.int8())
            columns.append(pa.DictionaryArray.from_arrays(indices, pa.array(list(places), pa.string())))
        else:
            columns.append(pa.array(values, field.type))
    return columns


def _grouped(tables: Iterator[Any]) -> Iterator[list[Any]]:
    group: list[Any] = []
    count = 0
    for table in tables:
        group.append(table)
        count += table.num_rows
        if count >= ROW_GROUP_ROWS:
            yield group
            group, count = [], 0
    if count:
        yield group


def _compress(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


_WRITERS: dict[str, Callable[[RowForm], Writer]] = {
    ".csv": CsvWriter,
    ".csv.gz": lambda form: GzipWriter(CsvWriter(form)),
    ".jsonl": JsonLinesWriter,
    ".jsonl.gz": lambda form: GzipWriter(JsonLinesWriter(form)),
    ".parquet": ParquetWriter,
}
SUFFIXES = tuple(_WRITERS)


def suffix_of(output: Path) -> str:
    """Return which of `SUFFIXES` an output's name has; raise `OutputUnusable` if none."""
    found = next((suffix for suffix in SUFFIXES if output.name.lower().endswith(suffix)), None)
    if found is None:
        raise OutputUnusable(f"{output}: the output's name must end in one of {', '.join(SUFFIXES)}")
    return found


def writer_for(suffix: str, form: RowForm) -> Writer:
    """Return the writer of a format, a key of `SUFFIXES`, for rows of ``form``."""
    return _WRITERS[suffix](form)
