"""Study labels as arrays: a code for each row and label, read from the rows that ``radlabel label`` writes.

Codes are small whole numbers of our own (they are no CheXpert numbers: those live in `corpora.weak_labels.chexpert_csv`
alone). A row that was no readable radiology report, and a label that was too close to call, is `UNREAD`, which is not
the same as not mentioned: nothing may be learned from it under any policy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.errors import ColumnMissing
from corpora.findings import Assertion, LabeledReport, Status

NEGATIVE, POSITIVE, UNCERTAIN, NOT_MENTIONED, UNREAD = range(5)

CODE_OF: Mapping[Assertion | None, int] = {
    Assertion.NEGATIVE: NEGATIVE,
    Assertion.POSITIVE: POSITIVE,
    Assertion.UNCERTAIN: UNCERTAIN,
    None: NOT_MENTIONED,
}
#: What an uncertain reading counts towards the expected value of a label.
UNCERTAIN_COUNTS = 0.5


@dataclass(frozen=True, slots=True, repr=False)
class LabelBatch:
    """Labels of some reports: ``codes`` (rows, labels), and ``expected`` (rows, labels; NaN where there is none).

    ``expected`` is P(positive) + 0.5 P(uncertain), as the reader gave the probabilities.
    """

    report_ids: tuple[str, ...]
    labels: tuple[str, ...]
    codes: npt.NDArray[np.int8]
    expected: npt.NDArray[np.float32]

    def __repr__(self) -> str:
        return f"LabelBatch(<{len(self.report_ids)} reports, {len(self.labels)} labels>)"


def expected_value(probability: Mapping[str, float] | Iterable[tuple[str, float]] | None) -> float:
    """Return P(positive) + 0.5 P(uncertain), or NaN where the reader gave no probability.

    >>> expected_value({"positive": 0.5, "uncertain": 0.25, "negative": 0.25})
    0.625
    """
    if not probability:
        return float("nan")
    given = dict(probability)
    expected = given.get("positive", 0.0) + UNCERTAIN_COUNTS * given.get("uncertain", 0.0)
    return float(min(max(expected, 0.0), 1.0))


def batch_of_reports(reports: Sequence[LabeledReport], label_set: str, labels: Sequence[str]) -> LabelBatch:
    """Return the labels of labeled reports."""
    codes = np.full((len(reports), len(labels)), NOT_MENTIONED, dtype=np.int8)
    expected = np.full(codes.shape, np.nan, dtype=np.float32)
    for row, report in enumerate(reports):
        if report.status is not Status.OK:
            codes[row] = UNREAD
            continue
        given = report.labels.get(label_set, {})
        for column, name in enumerate(labels):
            label = given.get(name)
            if label is not None:
                codes[row, column] = UNREAD if label.abstained else CODE_OF[label.value]
                expected[row, column] = expected_value(label.probability)
    return LabelBatch(tuple(report.report_id for report in reports), tuple(labels), codes, expected)


def batch_of_table(
    table: Any, label_set: str, labels: Sequence[str], *, band: tuple[float, float] | None = None
) -> LabelBatch:
    """Return the labels of a pyarrow table or record batch with the columns of ``radlabel label``'s Parquet.

    ``band`` is the band of ``radlabel label --abstain``, if it was used: Parquet holds no mark for a label that was too
    close to call, only a blank with a probability in that band.

    Raises
    ------
    ColumnMissing
        ``report_id``, ``status`` or a label's column is not there.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [f"{label_set}:{label}" for label in labels]
    missing = sorted({"report_id", "status", *columns} - set(table.schema.names))
    if missing:
        raise ColumnMissing(f"the label rows lack the columns {', '.join(missing)}")
    rows = table.num_rows
    codes = np.full((rows, len(labels)), NOT_MENTIONED, dtype=np.int8)
    for column, name in enumerate(columns):
        text = pc.cast(table.column(name), pa.string())
        found = pc.index_in(text, value_set=pa.array([value.value for value in _ASSERTIONS]))
        filled = np.asarray(pc.fill_null(found, len(_ASSERTIONS)))
        codes[:, column] = _CODES[filled]
    expected = _expected_of(table, label_set, labels)
    if band is not None:
        low, high = band
        codes[(codes == NOT_MENTIONED) & (expected >= low) & (expected <= high)] = UNREAD
    codes[~np.asarray(pc.equal(pc.cast(table.column("status"), pa.string()), Status.OK.value))] = UNREAD
    return LabelBatch(
        tuple(value or "" for value in table.column("report_id").to_pylist()), tuple(labels), codes, expected
    )


_ASSERTIONS = (Assertion.NEGATIVE, Assertion.POSITIVE, Assertion.UNCERTAIN)
_CODES = np.array([*(CODE_OF[value] for value in _ASSERTIONS), NOT_MENTIONED], dtype=np.int8)


def _expected_of(table: Any, label_set: str, labels: Sequence[str]) -> npt.NDArray[np.float32]:
    expected = np.full((table.num_rows, len(labels)), np.nan, dtype=np.float32)
    if "labels" not in table.schema.names:
        return expected
    place = {label: index for index, label in enumerate(labels)}
    for row, entries in enumerate(table.column("labels").to_pylist()):
        for entry in entries or ():
            if entry["label_set"] == label_set and entry["label"] in place:
                expected[row, place[entry["label"]]] = expected_value(entry["probability"])
    return expected
