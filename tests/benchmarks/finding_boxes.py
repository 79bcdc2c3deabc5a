"""The protocol of ChestX-ray8 for finding boxes (Wang et al. 2017, section 4.2), with baselines and exact intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from models.vision.overlap import box_iou, intersection_over_box

Sides = tuple[float, float, float, float]
THRESHOLDS = (0.1, 0.2, 0.3, 0.5)


def measure_boxes(found: Sequence[Sequence[Sides]], truth: Sequence[Sequence[Sides]]) -> dict[str, Any]:
    """Return accuracy and false positives an image at each threshold.

    ``found`` and ``truth`` are boxes by picture. A true box is met if any found box overlaps it enough; a found box
    that overlaps no true one enough is a false positive. Intervals are exact (Clopper & Pearson 1934).
    """
    measures: dict[str, Callable[[Sides, Sides], float]] = {"IoU": box_iou, "IoBB": intersection_over_box}
    result: dict[str, Any] = {"boxes an image": float(np.mean([len(boxes) for boxes in found]))}
    for name, overlap in measures.items():
        for threshold in THRESHOLDS:
            met = total = false = 0
            for mine, theirs in zip(found, truth, strict=True):
                met += sum(any(overlap(box, other) >= threshold for box in mine) for other in theirs)
                total += len(theirs)
                false += sum(all(overlap(box, other) < threshold for other in theirs) for box in mine)
            result[f"{name} {threshold}"] = {
                "accuracy": met / total,
                "met": met,
                "of": total,
                "interval": exact_interval(met, total),
                "false positives an image": false / len(truth),
            }
    return result


def pointing(points: Sequence[Sequence[tuple[float, float]]], truth: Sequence[Sequence[Sides]]) -> dict[str, Any]:
    """Return in how many pictures a point lies in a true box: the mean over its points, one of a pair being half."""
    hits = [
        float(np.mean([any(b[0] <= x <= b[2] and b[1] <= y <= b[3] for b in boxes) for x, y in mine]))
        for mine, boxes in zip(points, truth, strict=True)
    ]
    return {
        "share": float(np.mean(hits)),
        "pictures": len(hits),
        "interval": exact_interval(round(sum(hits)), len(hits)),
    }


def exact_interval(met: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    low = 0.0 if met == 0 else float(beta.ppf(0.025, met, total - met + 1))
    high = 1.0 if met == total else float(beta.ppf(0.975, met + 1, total - met))
    return low, high
