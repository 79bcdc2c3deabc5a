"""Reports from CSV: one row a report, one column a field.

The separator is the comma, semicolon, tab or bar under which the header makes most sense. Rows that do not parse cost
themselves alone: reading goes on at the line behind the one where the broken row began.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from corpora.errors import ColumnMissing, SourceUnreadable
from corpora.sources.columns import ALIASES, count_cells, fold, has_text, missing_text, plan_columns
from corpora.sources.encoding import encoding_of, iter_lines, open_text
from corpora.sources.records import MAX_TEXT, ReadOptions, Record, RowReader

NAME = "csv"
DESCRIPTION = "CSV or TSV, one row a report; gzip allowed"
SUFFIXES: tuple[str, ...] = (".csv", ".csv.gz", ".tsv", ".tsv.gz")

SEPARATORS = (",", ";", "\t", "|")
_HEADER_CHARACTERS = 65_536

BrokenRow = str  # why a row could not be parsed


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per row; the row's number counts records, without the header and empty lines."""
    encoding = encoding_of(path, options.encoding)
    separator = sniff_separator(path, encoding, options.columns)
    with open_text(path, encoding) as stream:
        rows = iter_rows(iter_lines(stream), separator)
        names = read_header(rows, path)
        plan = plan_columns(names, options.columns)
        if not has_text(plan):
            raise ColumnMissing(f"{path.name} (read as {encoding}): {missing_text(names)}")
        reader = RowReader(path.name, stem_of(path), "report_id" in plan, encoding)
        cells = list(plan.items())
        for number, row in enumerate(rows, start=1):
            if isinstance(row, BrokenRow):
                yield reader.invalid(number, row)
            elif len(row) != len(names):
                yield reader.invalid(number, describe_ragged(row, names))
            else:
                yield reader.read(number, {name: row[index] for name, index in cells})


def stem_of(path: Path) -> str:
    """Return a file's name without its suffixes for format and compression."""
    name = path.name.removesuffix(".gz")
    return name.rpartition(".")[0] or name


def sniff_separator(path: Path, encoding: str, columns: Mapping[str, str]) -> str:
    """Return the separator under which the header holds most known names, then most cells."""
    known = {fold(alias) for aliases in ALIASES.values() for alias in aliases}
    known |= {fold(name) for name in columns.values() if name}
    with open_text(path, encoding) as stream:
        head = stream.read(_HEADER_CHARACTERS)

    def score(separator: str) -> tuple[int, int]:
        header = next(iter_rows(io.StringIO(head, newline=""), separator), "")
        cells = [] if isinstance(header, BrokenRow) else header
        return len({fold(cell) for cell in cells} & known), len(cells)

    return max(SEPARATORS, key=score)


def read_header(rows: Iterator[list[str] | BrokenRow], path: Path) -> list[str]:
    """Return the column names, which the first row holds."""
    header = next(rows, None)
    if header is None:
        raise SourceUnreadable(f"{path}: is empty: not even a header")
    if isinstance(header, BrokenRow):
        raise SourceUnreadable(f"{path}: the header {header}")
    header[0] = header[0].removeprefix("\ufeff")
    return header


def iter_rows(lines: Iterable[str], separator: str) -> Iterator[list[str] | BrokenRow]:
    """Yield the rows of a table, and for one that does not parse the reason; empty lines are left out."""
    # The limit is the interpreter's, for all readers of the process. It is raised where it is too low for long reports
    # and never lowered; setting it back would fail other threads in the middle of a row.
    if csv.field_size_limit() < MAX_TEXT:
        csv.field_size_limit(MAX_TEXT)
    source = _Rereadable(lines)
    reader = csv.reader(source, delimiter=separator, strict=True)
    while True:
        source.taken.clear()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = _reason(str(error))
            source.give_back_but_first()
            reader = csv.reader(source, delimiter=separator, strict=True)
            yield reason
            continue
        if row:
            yield row


def describe_ragged(row: Sequence[str], names: Sequence[str]) -> BrokenRow:
    """Return the reason why a row of another length than the header is invalid."""
    return f"has {count_cells(len(row))} where the header has {len(names)}"


def _reason(message: str) -> BrokenRow:
    if "unexpected end" in message:
        return "opens a quote that is never closed"
    if "field larger" in message:
        return f"has a cell of more than {MAX_TEXT:,} characters, or a quote that is never closed"
    return "has a quote within a quoted cell that is not doubled, or one that is never closed"


class _Rereadable:
    """Lines that remember those of the row being read, so that a broken row does not swallow the ones behind it."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line

    def give_back_but_first(self) -> None:
        self._again.extendleft(reversed(self.taken[1:]))
