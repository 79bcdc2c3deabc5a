"""Precision, recall and F1 with bootstrap intervals, for labels that a study may have several of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.bool_]
MIN_POSITIVES = 5  # macro averages leave out labels with fewer: their F1 says more about one report than about the reader


@dataclass(frozen=True, slots=True)
class Score:
    """Counts and ratios of one label or of all; a ratio without a denominator is ``None``.

    ``f1_low`` and ``f1_high`` are the 2.5th and 97.5th percentile of F1 over bootstrap samples of the reports.
    """

    name: str
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    f1_low: float | None = None
    f1_high: float | None = None

    @property
    def support(self) -> int:
        """Return the number of gold positives."""
        return self.true_positives + self.false_negatives


@dataclass(frozen=True, slots=True)
class MultilabelReport:
    """The scores of a reader on a set of reports."""

    labels: tuple[Score, ...]
    micro: Score
    macro_f1: float | None
    macro_f1_low: float | None
    macro_f1_high: float | None
    n_reports: int
    n_bootstrap: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def score_multilabel(
    gold: Mapping[str, Collection[str]],
    predicted: Mapping[str, Collection[str]],
    labels: Sequence[str],
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> MultilabelReport:
    """Return per-label, micro and macro scores of predicted label sets against gold ones.

    Both map report id to the labels it has; a report missing from ``predicted`` has none. Macro F1 averages the labels
    with at least `MIN_POSITIVES` gold positives. Intervals: percentile bootstrap over reports (Efron 1979).
    """
    ids = sorted(gold)
    truth = _matrix(gold, ids, labels)
    guess = _matrix(predicted, ids, labels)
    counts = np.stack([truth & guess, ~truth & guess, truth & ~guess]).astype(np.int64)  # (tp/fp/fn, reports, labels)
    samples = _bootstrap_counts(counts, n_bootstrap, seed)  # (samples, tp/fp/fn, labels)
    total = counts.sum(axis=1)
    per_label = tuple(_score(name, total[:, i], samples[:, :, i]) for i, name in enumerate(labels))
    enough = truth.sum(axis=0) >= MIN_POSITIVES
    macro = _f1(total[:, enough]) if enough.any() else np.array([])
    macro_samples = np.nanmean(_f1(samples[:, :, enough].transpose(1, 0, 2)), axis=1) if enough.any() else np.array([])
    low, high = _interval(macro_samples)
    return MultilabelReport(
        labels=per_label,
        micro=_score("micro", total.sum(axis=1), samples.sum(axis=2)),
        macro_f1=float(np.nanmean(macro)) if macro.size else None,
        macro_f1_low=low,
        macro_f1_high=high,
        n_reports=len(ids),
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference in micro F1 of two readers on the same reports (second minus first), with a paired bootstrap."""

    difference: float
    low: float
    high: float
    p_value: float  # two-sided: how often the sign of the difference turns


def compare_micro_f1(
    gold: Mapping[str, Collection[str]],
    first: Mapping[str, Collection[str]],
    second: Mapping[str, Collection[str]],
    labels: Sequence[str],
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Return how much better ``second`` is than ``first``, by resampling reports for both alike."""
    ids = sorted(gold)
    truth = _matrix(gold, ids, labels)
    differences = []
    for guesses in (_matrix(first, ids, labels), _matrix(second, ids, labels)):
        counts = np.stack([truth & guesses, ~truth & guesses, truth & ~guesses]).astype(np.int64)
        samples = _bootstrap_counts(counts, n_bootstrap, seed).sum(axis=2)
        differences.append((_f1(counts.sum(axis=(1, 2))), _f1(samples.T)))
    (point_first, samples_first), (point_second, samples_second) = differences
    drawn = samples_second - samples_first
    low, high = _interval(drawn)
    share = min(float(np.mean(drawn <= 0)), float(np.mean(drawn >= 0)))
    return Comparison(float(point_second - point_first), low or 0.0, high or 0.0, min(1.0, 2 * share))


def _matrix(assigned: Mapping[str, Collection[str]], ids: Sequence[str], labels: Sequence[str]) -> Matrix:
    return np.array([[label in assigned.get(i, ()) for label in labels] for i in ids], dtype=bool).reshape(
        len(ids), len(labels)
    )


def _bootstrap_counts(counts: npt.NDArray[np.int64], n_bootstrap: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the counts of ``n_bootstrap`` resamples: (samples, tp/fp/fn, labels)."""
    n_reports = counts.shape[1]
    if not n_reports:
        return np.zeros((n_bootstrap, 3, counts.shape[2]), dtype=np.int64)
    generator = np.random.default_rng(seed)
    # A resample is how often each report is drawn: counts times weights is the resampled total.
    weights = generator.multinomial(n_reports, np.full(n_reports, 1 / n_reports), size=n_bootstrap)
    return np.einsum("sr,krl->skl", weights, counts)


def _f1(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return F1 along the first axis (tp, fp, fn); NaN without positives on either side."""
    tp, fp, fn = counts.astype(np.float64)
    denominator = 2 * tp + fp + fn
    return np.divide(2 * tp, denominator, out=np.full_like(denominator, np.nan), where=denominator > 0)


def _score(name: str, total: npt.NDArray[np.int64], samples: npt.NDArray[np.int64]) -> Score:
    tp, fp, fn = (int(n) for n in total)
    low, high = _interval(_f1(samples.T))
    return Score(
        name=name,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        f1_low=low,
        f1_high=high,
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _interval(values: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    known = values[~np.isnan(values)] if values.size else values
    if not known.size:
        return None, None
    return float(np.percentile(known, 2.5)), float(np.percentile(known, 97.5))
