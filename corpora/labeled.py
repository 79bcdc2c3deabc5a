"""Reports with labels that people gave them: a CSV with the text and one column a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from corpora.errors import ColumnMissing, RowInvalid
from corpora.reports import Report
from corpora.sources.columns import check_mapping, describe_columns, fold, has_text, missing_text, plan_columns
from corpora.sources.csv import describe_ragged, iter_rows, read_header, sniff_separator, stem_of
from corpora.sources.encoding import encoding_of, iter_lines, open_text
from corpora.sources.records import RowReader

# What a cell may hold, in any case. CheXpert's -1 and a blank say nothing that a yes or no can be learned from.
_VALUES: Mapping[str, bool | None] = {
    **dict.fromkeys(("1", "1.0", "positive", "pos", "present", "yes", "true", "y"), True),
    **dict.fromkeys(("0", "0.0", "negative", "neg", "absent", "no", "false", "n"), False),
    **dict.fromkeys(("-1", "-1.0", "uncertain", "", "nan", "null", "none", "na", "n/a"), None),
}


@dataclass(frozen=True, slots=True, repr=False)
class PersonLabeled:
    """A report and its labels: yes, no, or ``None`` where the cell was blank or said uncertain."""

    report: Report
    labels: Mapping[str, bool | None]


def read_labeled(
    path: Path, labels: Mapping[str, str], *, columns: Mapping[str, str] | None = None, encoding: str | None = None
) -> Iterator[PersonLabeled | RowInvalid]:
    """Yield the rows of a CSV, and for a row that is none the reason.

    Parameters
    ----------
    labels
        Label to the column that holds it.
    columns, encoding
        As in `corpora.read_reports`.

    Raises
    ------
    ColumnMissing
        A column that was asked for is not there, or none holds a text.
    SourceUnreadable
        The file cannot be opened or has no header.
    """
    mapping = check_mapping(columns)
    used = encoding_of(path, encoding)
    separator = sniff_separator(path, used, mapping)
    with open_text(path, used) as stream:
        rows = iter_rows(iter_lines(stream), separator)
        names = read_header(rows, path)
        plan = plan_columns(names, mapping)
        if not has_text(plan):
            raise ColumnMissing(f"{path.name} (read as {used}): {missing_text(names)}")
        places = {label: _column(names, column, label) for label, column in labels.items()}
        reader = RowReader(path.name, stem_of(path), "report_id" in plan, used)
        for number, row in enumerate(rows, start=1):
            if isinstance(row, str):
                yield reader.invalid(number, row)
            elif len(row) != len(names):
                yield reader.invalid(number, describe_ragged(row, names))
            else:
                record = reader.read(number, {name: row[index] for name, index in plan.items()})
                yield record if isinstance(record, RowInvalid) else _labeled(reader, number, record, row, places, names)


def _column(names: list[str], column: str, label: str) -> int:
    for candidates in (names, [fold(name) for name in names]):
        wanted = column if candidates is names else fold(column)
        if wanted in candidates:
            return candidates.index(wanted)
    raise ColumnMissing(f"there is no column {column!r} for the label {label}; {describe_columns(names)}")


def _labeled(
    reader: RowReader, number: int, report: Report, row: list[str], places: Mapping[str, int], names: list[str]
) -> PersonLabeled | RowInvalid:
    values: dict[str, bool | None] = {}
    for label, index in places.items():
        cell = row[index].strip().lower()
        if cell not in _VALUES:
            # It is described, not quoted: a column that was named by mistake may hold anything.
            return reader.invalid(
                number,
                f"holds {len(row[index])} characters that are no label value: use 1, 0, -1, positive, negative, "
                "uncertain or leave it blank",
                names[index],
            )
        values[label] = _VALUES[cell]
    return PersonLabeled(report, values)
