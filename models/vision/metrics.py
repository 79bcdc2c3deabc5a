"""Measures of classification, with intervals from resampled patients or rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Truth = NDArray[np.bool_]
Scores = NDArray[Any]


def area_under_roc(truth: Truth, scores: Scores) -> float:
    """Return the probability that a positive row scores above a negative one, ties half; NaN without one of both.

    >>> area_under_roc(np.array([False, True, True]), np.array([0.1, 0.1, 0.9]))
    0.75
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # ties share the mean of their ranks
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(truth: Truth, scores: Scores) -> float:
    """Return the mean precision over the positives, in falling order of score, ties taken together.

    >>> average_precision(np.array([False, True, True]), np.array([0.5, 0.1, 0.9]))
    0.8333333333333333
    """
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    sorted_scores, hits = np.asarray(scores)[order], np.cumsum(truth[order])
    ends = np.append(np.flatnonzero(np.diff(sorted_scores)), len(truth) - 1)  # last row of each tie
    recall = hits[ends] / positives
    precision = hits[ends] / (ends + 1)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


@dataclass(frozen=True, slots=True)
class Measured:
    """A number and the interval that holds 95 % of its resamples; all ``None`` where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


def with_interval(
    measure: Callable[[Truth, Scores], float],
    truth: Truth,
    scores: Scores,
    groups: Sequence[str] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Measured:
    """Return a measure with its percentile bootstrap interval (Efron 1979).

    ``groups`` (patients) are drawn as a whole, since pictures of one patient depend on each other; rows by default.
    """
    value = measure(truth, scores)
    if np.isnan(value):
        return Measured(None)
    names = list(range(len(truth))) if groups is None else list(groups)
    members: dict[object, list[int]] = {}
    for row, name in enumerate(names):
        members.setdefault(name, []).append(row)
    drawn_from = [np.array(rows) for rows in members.values()]
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        rows = np.concatenate([drawn_from[i] for i in generator.integers(len(drawn_from), size=len(drawn_from))])
        drawn.append(measure(truth[rows], scores[rows]))
    known = np.array(drawn)[~np.isnan(drawn)]
    if not known.size:
        return Measured(value)
    low, high = np.percentile(known, (2.5, 97.5))
    return Measured(value, float(low), float(high))


def expected_calibration_error(truth: Truth, probabilities: Scores, bins: int = 10) -> float:
    """Return the mean distance of probability and frequency over bins of equal counts (Nixon et al. 2019)."""
    if not len(truth):
        return float("nan")
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    gaps = [abs(float(probabilities[part].mean()) - float(truth[part].mean())) * part.size for part in parts]
    return float(sum(gaps) / len(truth))
