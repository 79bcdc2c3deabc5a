"""Reports from Parquet: one row a report, one column a field; only the columns that are needed are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpora.errors import ColumnMissing, SourceUnreadable
from corpora.sources.columns import fold, has_text, missing_text, plan_columns
from corpora.sources.csv import stem_of
from corpora.sources.encoding import UNDECODABLE, readable
from corpora.sources.records import ReadOptions, Record, RowReader

NAME = "parquet"
DESCRIPTION = "Parquet, one row a report"
SUFFIXES: tuple[str, ...] = (".parquet", ".pq")

SECTIONS_COLUMN = "sections"
_ROWS = 256  # of a batch: a few of 5 MB each must fit
_BUFFER = 2**20  # bytes read at a time; without it a whole column of a row group is held


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per row; rows count from 1."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with readable(path):
        if not path.is_file():
            raise SourceUnreadable(f"{path}: there is no such file")
        try:
            file = pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
        except pa.ArrowException as error:
            raise SourceUnreadable(f"{path}: is no Parquet file, or one that is cut off") from error
        with file:
            names = file.schema_arrow.names
            plan = plan_columns(names, options.columns)
            sections = next((index for index, name in enumerate(names) if fold(name) == SECTIONS_COLUMN), None)
            if not has_text(plan) and sections is None:
                raise ColumnMissing(f"{path.name}: {missing_text(names)}")
            reader = RowReader(path.name, stem_of(path), "report_id" in plan)
            wanted = [names[index] for index in {*plan.values(), *([] if sections is None else [sections])}]
            number = 0
            try:
                for batch in file.iter_batches(batch_size=_ROWS, columns=wanted, use_threads=False):
                    columns = {field: _values(batch.column(names[index])) for field, index in plan.items()}
                    parts = [None] * batch.num_rows if sections is None else _values(batch.column(names[sections]))
                    for index in range(batch.num_rows):
                        number += 1
                        cells = {field: values[index] for field, values in columns.items()}
                        yield reader.read(number, cells, parts[index])
            except (pa.ArrowException, OSError):
                # The cause is not kept: Arrow's messages may quote a value.
                raise SourceUnreadable(f"{path}: is damaged behind row {number}") from None


def _values(column: Any) -> list[object]:
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        # Parquet does not check that a string is UTF-8; only the rows that hold such a value are lost.
        values = [_value(value) for value in column]
    return values


def _value(scalar: Any) -> object:
    try:
        value: object = scalar.as_py()
    except UnicodeDecodeError:
        return UNDECODABLE
    return value
