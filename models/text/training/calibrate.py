"""Probabilities and thresholds from the development reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from models.text.encoder.layout import Layout
from models.text.encoder.readout import LabelCalibration

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
# What pulls a label's own scale and offset towards those of all labels: a few hundred reports hold few positives of
# most labels.
_OFFSET_PRIOR = 4.0
_SCALE_PRIOR = 8.0


def sigmoid(x: Floats) -> Floats:
    """Return the logistic function."""
    values: Floats = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return values


def fit_platt(
    logits: Floats, gold: Bools, *, around: tuple[float, float] = (1.0, 0.0), priors: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """Return scale and offset that make ``sigmoid(scale * logit + offset)`` a probability (Platt 1999).

    Newton's method on the log loss with a Gaussian prior ``around`` the values for all labels; ``priors`` are its
    precisions for scale and offset.
    """
    x = np.stack([logits, np.ones_like(logits)], axis=1)
    center = np.array(around)
    precision = np.diag(np.array(priors) + 1e-6)
    value = center.copy()

    def cost(v: Floats) -> float:
        z = x @ v
        return float((np.logaddexp(0, z) - gold * z).sum() + 0.5 * (v - center) @ precision @ (v - center))

    for _ in range(50):
        p = sigmoid(x @ value)
        gradient = x.T @ (p - gold) + precision @ (value - center)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + precision
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, cost(value)
        while size > 1e-4 and cost(value - size * step) > before:
            size /= 2
        value = value - size * step
        if np.abs(size * step).max() < 1e-6:
            break
    return float(max(value[0], 0.05)), float(value[1])


def calibrate(
    logits: npt.NDArray[np.float32],
    gold: Bools,
    known: Bools,
    layout: Layout,
    bias: npt.NDArray[np.float32],
    scored: Mapping[str, Sequence[int]],
) -> tuple[LabelCalibration, ...]:
    """Return the calibration of every label from development reports.

    ``logits`` (reports, labels) include the network's ``bias`` (labels,). ``known`` (reports, labels) says where
    ``gold`` is known; the rest is not looked at. ``scored`` are the columns of each label set that have gold labels;
    the threshold is one for each set, best for its micro-F1.
    """
    values = logits.astype(np.float64)
    everything = sorted({i for columns in scored.values() for i in columns})
    seen = known[:, everything]
    common = fit_platt(values[:, everything][seen], gold[:, everything][seen])
    own = [
        fit_platt(values[known[:, i], i], gold[known[:, i], i], around=common, priors=(_SCALE_PRIOR, _OFFSET_PRIOR))
        if i in everything
        else common
        for i in range(len(layout.labels))
    ]
    chances = np.stack([sigmoid(scale * values[:, i] + offset) for i, (scale, offset) in enumerate(own)], axis=1)
    thresholds = {name: best_threshold(chances[:, columns][known[:, columns]]) for name, columns in scored.items()}
    return tuple(
        LabelCalibration(
            label_set=name.label_set,
            label=name.label,
            bias=round(float(bias[i]), 6),
            scale=round(own[i][0], 6),
            offset=round(own[i][1], 6),
            threshold=thresholds.get(name.label_set, 0.5),
        )
        for i, name in enumerate(layout.labels)
    )


def best_threshold(chances: Floats) -> float:
    """Return the threshold that is best for micro-F1 where ``chances`` are calibrated: half of the best F1 that they
    promise (Lipton et al. 2014, "Optimal thresholding of classifiers to maximize F1 measure", theorem 1).

    The threshold that happens to be best on a few hundred reports hangs on a handful of them; this one uses all.
    """
    falling = np.sort(chances, axis=None)[::-1]
    expected = 2 * np.cumsum(falling) / (np.arange(1, len(falling) + 1) + falling.sum())
    return round(float(expected.max()) / 2, 2) if len(falling) else 0.5
