"""Logits as probabilities, and from which one on a label is called present: fitted on rows not learned from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

#: With fewer rows of either value a fit says more about single rows than about the model.
MIN_OF_EACH = 8
_STEPS = 50
#: A weak pull towards leaving logits as they are, so that rows which are told apart perfectly give finite numbers.
_RIDGE = 1.0


class Calibration(BaseModel):
    """``sigmoid(slope * logit + offset)`` is the probability, and from ``threshold`` on the label is called present.

    ``rows`` it was fitted on; 0 is no fit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5
    rows: int = 0

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities of logits of any shape."""
        return sigmoid(self.slope * np.asarray(logits, dtype=np.float64) + self.offset)


def sigmoid(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1 / (1 + exp(-values)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(values, dtype=np.float64))))


def fit_calibration(logits: NDArray[np.float32], targets: NDArray[np.float32]) -> Calibration:
    """Return the calibration of one label (Platt 1999, with a ridge on the slope's distance from 1), and its threshold.

    ``targets`` in [0, 1] may be soft. Too few rows of one value, or a slope that turns the order round, give none.
    """
    x, y = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if min((y >= 0.5).sum(), (y < 0.5).sum()) < MIN_OF_EACH:
        return Calibration()
    slope, offset = 1.0, 0.0
    for _ in range(_STEPS):  # Newton's method on a convex function of two numbers
        p = sigmoid(slope * x + offset)
        gradient = np.array([((p - y) * x).sum() + _RIDGE * (slope - 1), (p - y).sum()])
        w = np.maximum(p * (1 - p), 1e-9)
        hessian = np.array([[(w * x * x).sum() + _RIDGE, (w * x).sum()], [(w * x).sum(), w.sum()]])
        step = np.clip(np.linalg.solve(hessian, gradient), -1, 1)  # far from the end a full step may overshoot
        slope, offset = slope - step[0], offset - step[1]
        if np.abs(step).max() < 1e-9:
            break
    if slope <= 0:
        return Calibration()
    threshold = best_threshold(sigmoid(slope * x + offset), y >= 0.5)
    return Calibration(slope=float(slope), offset=float(offset), threshold=threshold, rows=len(x))


def best_threshold(probabilities: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return where sensitivity and specificity have the largest sum (Youden 1950, Cancer 3:32), of rows of both values.

    It lies halfway between two scores. Of thresholds that are as good, the one in the middle is taken.
    """
    scores = np.unique(probabilities)
    between = (scores[1:] + scores[:-1]) / 2
    if not len(between):
        return 0.5
    present, absent = np.sort(probabilities[truth]), np.sort(probabilities[~truth])
    sensitivity = 1 - np.searchsorted(present, between) / len(present)
    specificity = np.searchsorted(absent, between) / len(absent)
    gain = sensitivity + specificity
    best = np.flatnonzero(gain >= gain.max() - 1e-12)
    return float(between[best[len(best) // 2]])
