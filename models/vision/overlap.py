"""How well masks and boxes agree: Dice, IoU, 95 % Hausdorff distance, mean average precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Sides = Sequence[float]  # x0, y0, x1, y1
_ROWS_AT_ONCE = 512


def dice(found: Mask, truth: Mask) -> float:
    """Return twice the shared area over the sum of both; two empty masks agree wholly."""
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def mask_iou(found: Mask, truth: Mask) -> float:
    """Return the shared area over the area of both together; two empty masks agree wholly."""
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0


def hausdorff_95(found: Mask, truth: Mask) -> float:
    """Return the 95th percentile of the distances between the edges, both ways, in pixels; NaN if a mask is empty."""
    first, second = _edge(found), _edge(truth)
    if not len(first) or not len(second):
        return float("nan")
    return float(np.percentile(np.concatenate([_nearest(first, second), _nearest(second, first)]), 95))


def _edge(mask: Mask) -> NDArray[np.float64]:
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inner).astype(np.float64)


def _nearest(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = []
    for start in range(0, len(points), _ROWS_AT_ONCE):
        difference = points[start : start + _ROWS_AT_ONCE, None] - others[None]
        parts.append(np.sqrt((difference**2).sum(-1).min(1)))
    return np.concatenate(parts)


def box_iou(first: Sides, second: Sides) -> float:
    """Return intersection over union of two boxes.

    >>> box_iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    shared = _shared(first, second)
    union = _area(first) + _area(second) - shared
    return shared / union if union > 0 else 0.0


def intersection_over_box(found: Sides, truth: Sides) -> float:
    """Return the share of a found box that lies in the true one (IoBB; Wang et al. 2017, ChestX-ray8, 4.2)."""
    area = _area(found)
    return _shared(found, truth) / area if area > 0 else 0.0


def _shared(first: Sides, second: Sides) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    return max(width, 0.0) * max(height, 0.0)


def _area(box: Sides) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def box_average_precision(
    found: Sequence[tuple[int, Sides, float]], truth: Sequence[tuple[int, Sides]], threshold: float
) -> float:
    """Return the average precision of boxes of one label at an IoU threshold (all points, as Pascal VOC 2010 on).

    ``found`` are picture, sides and score, ``truth`` picture and sides. A true box is met once, by the best score.
    """
    if not truth:
        return float("nan")
    left: dict[int, list[Sides]] = {}
    for picture, sides in truth:
        left.setdefault(picture, []).append(sides)
    hits = []
    for picture, sides, _ in sorted(found, key=lambda box: -box[2]):
        candidates = left.get(picture, [])
        best = max(candidates, key=lambda other: box_iou(sides, other), default=None)
        is_hit = best is not None and box_iou(sides, best) >= threshold
        if is_hit:
            candidates.remove(best)  # type: ignore[arg-type]  # it is one of them
        hits.append(is_hit)
    reached = np.cumsum(hits)
    precision = reached / (np.arange(len(hits)) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]  # the envelope
    gains = np.diff(reached / len(truth), prepend=0.0)
    return float((precision * gains).sum()) if hits else 0.0


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, median, extremes and count of the values that are known."""
    known = np.array([value for value in values if not np.isnan(value)])
    if not known.size:
        return {"mean": None, "median": None, "lowest": None, "count": 0}
    return {
        "mean": float(known.mean()),
        "median": float(np.median(known)),
        "lowest": float(known.min()),
        "highest": float(known.max()),
        "count": int(known.size),
    }
