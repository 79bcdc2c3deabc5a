"""Labels turned into training targets under a policy: values, loss masks, class counts and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.weak_labels.hierarchy import Hierarchy, close_codes
from corpora.weak_labels.policies import NO_FINDINGS, ClassWeights, LabelPolicy, Treatment, WeakLabelPolicy
from corpora.weak_labels.values import NEGATIVE, NOT_MENTIONED, POSITIVE, UNCERTAIN, UNREAD, LabelBatch

#: Beta of the effective number of samples, the paper's choice for large sets (Cui et al. 2019, section 5).
_BETA = 0.9999
_COUNTED = ("negative", "positive", "uncertain", "not_mentioned", "unread")


@dataclass(frozen=True, slots=True, repr=False)
class Targets:
    """Targets of some rows: ``values`` (rows, labels; NaN where masked) and ``mask`` (rows, labels).

    ``mask`` is true where a loss may count. ``values`` lie in [0, 1], or are class numbers for a multiclass label.
    ``codes`` are the labels after the closure, before the policy.
    """

    report_ids: tuple[str, ...]
    labels: tuple[str, ...]
    values: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    codes: npt.NDArray[np.int8]

    def __repr__(self) -> str:
        return f"Targets(<{len(self.report_ids)} rows, {len(self.labels)} labels>)"

    def to_table(self) -> Any:
        """Return a pyarrow table: ``report_id``, and for each label ``target:<label>`` and ``mask:<label>``."""
        import pyarrow as pa

        columns: dict[str, Any] = {"report_id": pa.array(self.report_ids, pa.string())}
        for index, label in enumerate(self.labels):
            known = self.mask[:, index]
            columns[f"target:{label}"] = pa.array(self.values[:, index], pa.float32(), mask=~known)
            columns[f"mask:{label}"] = pa.array(known, pa.bool_())
        return pa.table(columns)


def make_targets(
    batch: LabelBatch,
    policy: WeakLabelPolicy,
    *,
    key: bytes,
    hierarchy: Hierarchy | None = None,
    row_keys: Sequence[str] | None = None,
) -> Targets:
    """Return the targets of a batch.

    Rows do not depend on one another: a batch cut in two gives the same rows.

    Parameters
    ----------
    key
        Seeds the smoothed targets: the same key, row and label give the same target, in any order and any batch.
    hierarchy
        Label to parents, from `corpora.weak_labels.hierarchy.resolve_hierarchy`; none leaves the labels as read.
    row_keys
        What names a row for smoothing; the report ids by default.
    """
    codes = batch.codes
    if hierarchy:
        codes = close_codes(codes, batch.labels, hierarchy, downwards=policy.negative_closes_downwards)
    names = batch.report_ids if row_keys is None else row_keys
    values = np.full(codes.shape, np.nan, dtype=np.float32)
    is_normal = _is_normal(codes, batch.labels)
    for index, label in enumerate(batch.labels):
        own = policy.of(label)
        column = codes[:, index]
        values[column == NEGATIVE, index] = 0.0
        values[column == POSITIVE, index] = 1.0
        for code, treatment, span in (
            (UNCERTAIN, own.uncertain, own.uncertain_range),
            (NOT_MENTIONED, own.not_mentioned, own.not_mentioned_range),
        ):
            rows = np.flatnonzero(column == code)
            if treatment is Treatment.ZEROS_IF_NORMAL:
                values[rows, index] = np.where(is_normal[rows], 0.0, np.nan)
                continue
            values[rows, index] = _treated(code, treatment, span, rows, names, label, key, batch.expected[:, index])
    return Targets(batch.report_ids, batch.labels, values, ~np.isnan(values), codes)


def _is_normal(codes: npt.NDArray[np.int8], labels: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which rows have no finding that is positive or uncertain."""
    findings = [index for index, label in enumerate(labels) if label not in NO_FINDINGS]
    return np.asarray(~np.isin(codes[:, findings], (POSITIVE, UNCERTAIN)).any(axis=1))


def _treated(
    code: int,
    treatment: Treatment,
    span: tuple[float, float],
    rows: npt.NDArray[np.intp],
    names: Sequence[str],
    label: str,
    key: bytes,
    expected: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32] | float:
    match treatment:
        case Treatment.IGNORE:
            return float("nan")
        case Treatment.ZEROS:
            return 0.0
        case Treatment.ONES:
            return 1.0
        case Treatment.MULTICLASS:
            return float(code)  # the codes of uncertain and not mentioned are the classes 2 and 3
        case Treatment.PROBABILITY:
            return expected[rows]
    low, high = span
    drawn = np.array([_uniform(key, names[row], label) for row in rows], dtype=np.float64)
    # float32 may round up to the open end of the range.
    below = np.nextafter(np.float32(high), np.float32(0))
    return np.minimum((low + (high - low) * drawn).astype(np.float32), below)


def _uniform(key: bytes, name: str, label: str) -> float:
    """Return a number of [0, 1) that follows from the key, the row and the label alone."""
    digest = blake2b(key=key[:64], digest_size=8, person=b"smoothed")
    digest.update(f"{len(name)}:{name}{label}".encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest()) / 2**64


class ClassCounts:
    """How often each label has each value, summed over batches; `merge` adds the counts of another worker."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._codes = np.zeros((len(self.labels), len(_COUNTED)), dtype=np.int64)
        self._targets = np.zeros((len(self.labels), 3), dtype=np.float64)  # rows with a target, their sum, multiclass

    def add(self, targets: Targets) -> None:
        """Count the rows of ``targets``."""
        if targets.labels != self.labels:
            raise ValueError("the targets have other labels than the counts")
        for code in (NEGATIVE, POSITIVE, UNCERTAIN, NOT_MENTIONED, UNREAD):
            self._codes[:, code] += (targets.codes == code).sum(axis=0)
        binary = targets.mask & (targets.values <= 1.0)
        self._targets[:, 0] += binary.sum(axis=0)
        self._targets[:, 1] += np.where(binary, targets.values, 0.0).sum(axis=0, dtype=np.float64)
        self._targets[:, 2] += (targets.mask & ~binary).sum(axis=0)

    def merge(self, other: ClassCounts) -> None:
        """Add the counts of ``other``."""
        if other.labels != self.labels:
            raise ValueError("the counts are of other labels")
        self._codes += other._codes
        self._targets += other._targets

    def values(self, label: str) -> dict[str, int]:
        """Return how many rows have each value of a label, before the policy; they add up to all rows."""
        counts = self._codes[self.labels.index(label)]
        return {name: int(count) for name, count in zip(_COUNTED, counts, strict=True)}

    def masked(self, label: str) -> int:
        """Return how many rows have no target for a label."""
        index = self.labels.index(label)
        return int(self._codes[index].sum() - self._targets[index, 0] - self._targets[index, 2])

    def weights(self, policy: WeakLabelPolicy) -> Mapping[str, float]:
        """Return for each label how much a positive row weighs against a negative one, times the label's own weight.

        A soft target counts by its value. A label without a positive or without a negative row weighs its own weight.
        """
        return {
            label: _weight(policy.class_weights, float(total - positive), float(positive)) * policy.of(label).weight
            for label, (total, positive, _) in zip(self.labels, self._targets, strict=True)
        }


def _weight(method: ClassWeights, negative: float, positive: float) -> float:
    if method is ClassWeights.NONE or negative <= 0 or positive <= 0:
        return 1.0
    if method is ClassWeights.EFFECTIVE_NUMBER:
        return float((1 - _BETA**negative) / (1 - _BETA**positive))
    ratio = negative / positive
    return float(ratio**0.5) if method is ClassWeights.SQUARE_ROOT else ratio


def describe_policy(policy: LabelPolicy) -> str:
    """Return a policy as one phrase for a data card.

    >>> describe_policy(LabelPolicy(uncertain=Treatment.SMOOTHED))
    'uncertain: smoothed [0.55, 0.85); not mentioned: ignore'
    """

    def part(treatment: Treatment, span: tuple[float, float]) -> str:
        return f"{treatment} [{span[0]:g}, {span[1]:g})" if treatment is Treatment.SMOOTHED else str(treatment)

    return (
        f"uncertain: {part(policy.uncertain, policy.uncertain_range)}; "
        f"not mentioned: {part(policy.not_mentioned, policy.not_mentioned_range)}"
    )
