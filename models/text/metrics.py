"""Precision, recall and F1 with bootstrap intervals, for labels that a study may have several of.

Reports are what is drawn again, since the labels of one report depend on each other. Everything goes by report id and
label name: neither the order of reports nor that of labels changes a number. A ratio without a denominator is ``None``,
which is not 0: a label that was never predicted has no precision.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
MIN_POSITIVES = (
    5  # macro averages leave out labels with fewer: their F1 says more about one report than about the reader
)
_BATCH = 100  # resamples at a time: the weights of a hundred thousand reports then stay below 100 MB


@dataclass(frozen=True, slots=True)
class Score:
    """Counts and ratios of one label or of all; a ratio without a denominator is ``None``.

    ``low`` and ``high`` are the 2.5th and 97.5th percentile of a ratio over bootstrap samples of the reports.
    """

    name: str
    true_positives: int
    false_positives: int
    false_negatives: int
    precision: float | None
    recall: float | None
    f1: float | None
    precision_low: float | None = None
    precision_high: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None

    @property
    def support(self) -> int:
        """Return the number of gold positives."""
        return self.true_positives + self.false_negatives


@dataclass(frozen=True, slots=True)
class MultilabelReport:
    """The scores of a reader on a set of reports. Labels in ``apart`` are scored and count in no average."""

    labels: tuple[Score, ...]
    micro: Score
    macro_f1: float | None
    macro_f1_low: float | None
    macro_f1_high: float | None
    n_reports: int
    n_bootstrap: int
    seed: int
    apart: tuple[Score, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, each score with its support."""
        values = asdict(self)
        for name in ("labels", "apart"):
            values[name] = [asdict(score) | {"support": score.support} for score in getattr(self, name)]
        values["micro"]["support"] = self.micro.support
        return values


def score_multilabel(
    gold: Mapping[str, Collection[str]],
    predicted: Mapping[str, Collection[str]],
    labels: Sequence[str],
    *,
    apart: Sequence[str] = (),
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> MultilabelReport:
    """Return per-label, micro and macro scores of predicted label sets against gold ones.

    Both map report id to the labels it has; a report missing from ``predicted`` has none. Macro F1 averages the labels
    with at least `MIN_POSITIVES` gold positives. Intervals: percentile bootstrap over reports (Efron 1979).

    >>> gold = {"a": {"Edema"}, "b": {"Edema"}, "c": set()}
    >>> report = score_multilabel(gold, {"a": {"Edema"}, "c": {"Edema"}}, ["Edema"])
    >>> report.micro.precision, report.micro.recall, report.micro.f1
    (0.5, 0.5, 0.5)
    """
    ids = sorted(gold)  # what is drawn depends on the order of reports, which must not matter
    names = [*labels, *apart]
    counts = _counts(_matrix(gold, ids, names), _matrix(predicted, ids, names))
    samples = bootstrap_counts(counts, n_bootstrap, seed)  # (samples, tp/fp/fn, labels)
    total = counts.sum(axis=1)
    scores = tuple(score_counts(name, total[:, i], samples[:, :, i]) for i, name in enumerate(names))
    total, samples = total[:, : len(labels)], samples[:, :, : len(labels)]
    enough = total[0] + total[2] >= MIN_POSITIVES
    low, high = interval(_mean(_f1(samples[:, :, enough].transpose(1, 0, 2))))
    return MultilabelReport(
        labels=scores[: len(labels)],
        micro=score_counts("micro", total.sum(axis=1), samples.sum(axis=2)),
        macro_f1=_known(_mean(_f1(total[:, enough]))),
        macro_f1_low=low,
        macro_f1_high=high,
        n_reports=len(ids),
        n_bootstrap=n_bootstrap,
        seed=seed,
        apart=scores[len(labels) :],
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference in micro F1 of two readers on the same reports (second minus first), with a paired bootstrap.

    All is ``None`` where one of them has no F1.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None  # two-sided: how often the sign of the difference turns


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
    points: list[Values] = []
    drawn: list[Values] = []
    for guess in (_matrix(first, ids, labels), _matrix(second, ids, labels)):
        counts = _counts(truth, guess)
        points.append(_f1(counts.sum(axis=(1, 2))))
        drawn.append(_f1(bootstrap_counts(counts, n_bootstrap, seed).sum(axis=2).T))  # the seed draws the same reports
    differences = drawn[1] - drawn[0]
    known = differences[~np.isnan(differences)]
    difference = _known(points[1] - points[0])
    if difference is None or not known.size:
        return Comparison(difference, None, None, None)
    # One is added to both counts: no number of samples shows a probability of 0 (Davison and Hinkley 1997, 4.2).
    turned = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return Comparison(difference, *interval(known), p_value=min(1.0, 2 * (turned + 1) / (known.size + 1)))


def bootstrap_counts(counts: Counts, n_bootstrap: int, seed: int) -> Counts:
    """Return the sums over reports of ``n_bootstrap`` resamples of them.

    ``counts`` has the shape (kinds, reports, columns), the result (samples, kinds, columns). Without reports all is 0.
    """
    kinds, reports, columns = counts.shape
    flat = counts.transpose(1, 0, 2).reshape(reports, kinds * columns)
    generator = np.random.default_rng(seed)
    sums = np.zeros((n_bootstrap, kinds * columns), dtype=np.int64)
    if reports:
        share = np.full(reports, 1 / reports)
        for start in range(0, n_bootstrap, _BATCH):
            # A resample is how often each report is drawn: counts times weights is the resampled total.
            weights = generator.multinomial(reports, share, size=min(_BATCH, n_bootstrap - start))
            sums[start : start + _BATCH] = weights @ flat
    return sums.reshape(n_bootstrap, kinds, columns)


def score_counts(name: str, total: Counts, samples: Counts) -> Score:
    """Return the score of true positives, false positives and false negatives.

    ``total`` has the shape (3,), ``samples``, the same of each resample, the shape (samples, 3).
    """
    tp, fp, fn = (int(n) for n in total)
    drawn_tp, drawn_fp, drawn_fn = samples.T
    precision_low, precision_high = interval(divide(drawn_tp, drawn_tp + drawn_fp))
    recall_low, recall_high = interval(divide(drawn_tp, drawn_tp + drawn_fn))
    f1_low, f1_high = interval(_f1(samples.T))
    return Score(
        name=name,
        true_positives=tp,
        false_positives=fp,
        false_negatives=fn,
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
        precision_low=precision_low,
        precision_high=precision_high,
        recall_low=recall_low,
        recall_high=recall_high,
        f1_low=f1_low,
        f1_high=f1_high,
    )


def interval(values: Values) -> tuple[float | None, float | None]:
    """Return the bounds that hold 95 % of the values that are known; ``None`` if none is."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None, None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def divide(part: Counts | Values, whole: Counts) -> Values:
    """Return the ratios; NaN where there is nothing to divide by."""
    ratios: Values = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=ratios, where=np.asarray(whole) > 0)


def _matrix(assigned: Mapping[str, Collection[str]], ids: Sequence[str], labels: Sequence[str]) -> Matrix:
    cells = [[label in assigned.get(i, ()) for label in labels] for i in ids]
    return np.array(cells, dtype=bool).reshape(len(ids), len(labels))


def _counts(truth: Matrix, guess: Matrix) -> Counts:
    """Return true positives, false positives and false negatives: (3, reports, labels)."""
    return np.stack([truth & guess, ~truth & guess, truth & ~guess]).astype(np.int64)


def _f1(counts: Counts) -> Values:
    """Return F1 along the first axis (tp, fp, fn); NaN without positives on either side."""
    tp, fp, fn = counts
    return divide(2 * tp, 2 * tp + fp + fn)


def _mean(values: Values) -> Values:
    """Return the mean along the last axis of what is known there; NaN where nothing is."""
    known = ~np.isnan(values)
    total: Values = np.where(known, values, 0).sum(axis=-1)
    return divide(total, known.sum(axis=-1))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _known(value: Values) -> float | None:
    return None if np.isnan(value) else float(value)
