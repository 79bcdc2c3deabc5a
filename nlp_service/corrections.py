"""Labels that people corrected, in the place of those that were read: the way from a review to the next data set."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.errors import SourceUnreadable
from corpora.sources.encoding import encoding_of, open_text

_VALUES = {"1": "positive", "-1": "uncertain", "0": "negative"}
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Corrected:
    """How many labels have another value now, and how many corrections are of reports that are not there."""

    labels: int
    not_there: int


def read_corrections(path: Path, label_set: str, labels: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return the values that people gave, by report and label, from a CSV of `radlabel review export`.

    Columns are labels, with or without ``<label set>:`` before them; other label sets' columns are passed over. Cells
    are 1, 0, -1 (uncertain), or empty where nobody looked.

    Raises
    ------
    SourceUnreadable
        The file cannot be read, has no report ids or no label of the set, or a cell (named by row and column) is none
        of these.
    """
    found: dict[str, dict[str, str]] = {}
    with open_text(path, encoding_of(path, None)) as stream:
        rows = csv.DictReader(stream)
        columns = {
            column: column.removeprefix(f"{label_set}:")
            for column in rows.fieldnames or ()
            if column.removeprefix(f"{label_set}:") in labels
        }
        if "report_id" not in (rows.fieldnames or ()):
            raise SourceUnreadable(f"{path.name}: has no column report_id")
        if not columns:
            raise SourceUnreadable(f"{path.name}: has no column of a label of {label_set}")
        for number, row in enumerate(rows, start=2):  # the header is the first
            values = found.setdefault(row["report_id"], {})
            for column, label in columns.items():
                cell = (row[column] or "").strip()
                if cell and cell not in _VALUES:
                    raise SourceUnreadable(f"{path.name}, row {number}, {column}: must be 1, 0, -1 or empty")
                if cell:
                    values[label] = _VALUES[cell]
    return found


def correct_labels(
    labels: Path, corrections: Mapping[str, Mapping[str, str]], label_set: str, output: Path
) -> Corrected:
    """Write the rows of `radlabel label` (Parquet) with the corrected values in place; the file appears whole.

    A value that a person gave has no probability. What a person calls absent stays blank where the report does not
    mention it: both are no finding, and policies may tell them apart.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from nlp_service.part_folder import written_whole

    changed, seen = 0, set()
    with pq.ParquetFile(labels) as source, written_whole(output) as stream:
        schema = source.schema_arrow
        with pq.ParquetWriter(stream, schema) as writer:
            for batch in source.iter_batches(_BATCH):
                rows = batch.to_pylist()
                for row in rows:
                    wanted = corrections.get(row["report_id"])
                    if wanted is not None:
                        seen.add(row["report_id"])
                        changed += _correct(row, wanted, label_set)
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return Corrected(changed, len(corrections.keys() - seen))


def _correct(row: dict[str, Any], wanted: Mapping[str, str], label_set: str) -> int:
    changed = 0
    for label, value in wanted.items():
        column = f"{label_set}:{label}"
        given = row[column]
        if given == value or (given is None and value == "negative"):
            continue
        row[column] = value
        changed += 1
        for entry in row.get("labels") or ():
            if (entry["label_set"], entry["label"]) == (label_set, label):
                entry |= {"value": value, "probability": None}
    return changed
