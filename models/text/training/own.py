"""A user's own reports as something to learn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path

from corpora.errors import RowInvalid
from corpora.labeled import read_labeled
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import Readout
from models.text.training.runs import GivenReport, TrainingData

_DEV_SHARE = 5  # one report in so many chooses the checkpoint and the calibration


def own_reports(
    path: Path,
    vocabulary: Vocabulary,
    label_set: str,
    labels: Mapping[str, str],
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    on_invalid: Callable[[RowInvalid], None] = lambda invalid: None,
) -> list[GivenReport]:
    """Return the reports of a CSV with the labels in its columns; ``labels`` maps label to column.

    Every fifth text, by a hash of it, is kept for development, so equal texts stay together. Rows that are none go to
    ``on_invalid``.

    Raises:
        TrainingData: a label is not in the label set, the set is no coded one, or there is no usable row.
    """
    entry = vocabulary.label_set(label_set)
    known = {label.name for label in entry.labels if label.rule is None}
    unknown = sorted(set(labels) - known)
    if unknown:
        raise TrainingData(
            f"the label set {label_set!r} has no label {unknown[0]!r}; it has: {', '.join(sorted(known))}. "
            "A label set of your own goes into a YAML file: --vocabulary FILE"
        )
    if labels and entry.readout is not Readout.CODED:
        raise TrainingData(
            f"labels are learned for sets with `readout: coded`, and {label_set!r} is read literally from the findings"
        )
    given: list[GivenReport] = []
    for row in read_labeled(path, labels, columns=columns, encoding=encoding):
        if isinstance(row, RowInvalid):
            on_invalid(row)
            continue
        values = {(label_set, label): value for label, value in row.labels.items() if value is not None}
        given.append(GivenReport(row.report, values, is_for_development(row.report.text)))
    if not given:
        raise TrainingData(f"{path.name}: no row can be learned from")
    return given


def is_for_development(text: str) -> bool:
    """Return whether a report is kept from learning; equal texts are kept together, whatever their spacing or case."""
    key = " ".join(text.lower().split()).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(key, digest_size=8).digest()) % _DEV_SHARE == 0
