"""The index of the scan before, gone through once and in step with the walk, so that unchanged files are not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from corpora.imaging.index_table import EMPTY, IndexInfo, iter_tables, read_info
from corpora.imaging.tree import TreeFile, name_key

_COMPARED = ["file", "size_bytes", "modified_ns"]


class OldIndex:
    """An index whose rows are found by their files, and taken over by their numbers; none if there is no path.

    Files are asked for in the order of the walk, numbers in rising order. Each pass holds one row group.
    """

    def __init__(self, path: Path | None) -> None:
        self.info: IndexInfo | None = None if path is None else read_info(path)
        self._stamps = iter(()) if path is None else iter_tables(path, _COMPARED)
        self._rows: Iterator[pa.Table] = iter(()) if path is None else iter_tables(path)
        self._names: list[str] = []
        self._sizes: list[int | None] = []
        self._times: list[int | None] = []
        self._first = self._at = 0  # number of the first of these, and which of them is next
        self._table = EMPTY
        self._table_first = 0

    def find(self, file: TreeFile) -> int | None:
        """Return the number of the row of a file, if the file has the size and time of change that it had."""
        while self._at < len(self._names) or self._more():
            name = self._names[self._at]
            if name == file.name:
                same = self._sizes[self._at] == file.size_bytes and self._times[self._at] == file.modified_ns
                return self._first + self._at if same else None
            if name_key(name) > name_key(file.name):
                return None
            self._at += 1
        return None

    def _more(self) -> bool:
        for table in self._stamps:
            self._first += len(self._names)
            self._names, self._sizes, self._times = (table[name].to_pylist() for name in _COMPARED)
            self._at = 0
            if self._names:
                return True
        return False

    def take(self, numbers: Sequence[int]) -> list[pa.Table]:
        """Return the rows of these numbers, as one or more tables."""
        tables = []
        at = 0
        while at < len(numbers):
            while numbers[at] >= self._table_first + self._table.num_rows:
                self._table_first += self._table.num_rows
                self._table = next(self._rows)
                if self._table.schema.metadata:
                    self._table = self._table.replace_schema_metadata()
            end = at
            while end < len(numbers) and numbers[end] < self._table_first + self._table.num_rows:
                end += 1
            first, count = numbers[at] - self._table_first, end - at
            if numbers[end - 1] - numbers[at] + 1 == count:
                tables.append(self._table.slice(first, count))
            else:
                tables.append(self._table.take([number - self._table_first for number in numbers[at:end]]))
            at = end
        return tables
