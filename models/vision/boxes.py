"""Boxes from what a network gives: from centres and distances, or from the bright parts of a finding's map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.vision.calibration import sigmoid
from models.vision.components import label_components
from models.vision.pictures import Floats, resize_plane

FoundBox = tuple[str, tuple[float, float, float, float], float]  # label, x0, y0, x1, y1 in fractions, score
#: Places whose score is this share of the best one's vote on where the sides are.
_VOTERS = 0.7
_FINE = 256


def decode_boxes(centres: Floats, sides: Floats, labels: Sequence[str], *, least: float = 0.3) -> list[FoundBox]:
    """Return the one box of each label, from centre logits (labels, h, w) and distances (labels, 4, h, w).

    The places that are nearly as sure as the best one vote: the sides are their mean, weighted by score. A label whose
    best score is below ``least`` has no box.
    """
    height, width = centres.shape[-2:]
    across = ((np.arange(width) + 0.5) / width)[None, :]
    down = ((np.arange(height) + 0.5) / height)[:, None]
    found: list[FoundBox] = []
    for index, label in enumerate(labels):
        scores = sigmoid(centres[index])
        best = float(scores.max())
        if best < least:
            continue
        left, top, right, bottom = sides[index]
        weights = np.where(scores >= _VOTERS * best, scores, 0)
        total = float(weights.sum())
        corners = (across - left, down - top, across + right, down + bottom)
        x0, y0, x1, y1 = (float((np.clip(plane, 0, 1) * weights).sum() / total) for plane in corners)
        if x1 > x0 and y1 > y0:
            found.append((label, (x0, y0, x1, y1), best))
    return found


def boxes_of_map(
    plane: Floats, label: str, *, share: float, within: NDArray[np.bool_] | None = None, most: int = 2
) -> list[FoundBox]:
    """Return boxes around the bright parts of a map (h, w) of probabilities, the brightest first.

    ``share`` of the range between the map's lowest and highest value makes a part bright; ``within`` (height, width of
    any size) leaves out what lies elsewhere. The score of a box is the highest probability in it.
    """
    fine = resize_plane(plane, _FINE, _FINE)
    if within is not None:
        inside = resize_plane(within.astype(np.float32), _FINE, _FINE) > 0.5
        if inside.any():
            fine = np.where(inside, fine, fine.min())
    low, high = float(fine.min()), float(fine.max())
    if high <= low:
        return []
    parts, count = label_components(fine >= low + share * (high - low))
    found: list[FoundBox] = []
    for part in range(1, count + 1):
        rows, columns = np.nonzero(parts == part)
        sides = (
            float(columns.min()) / _FINE,
            float(rows.min()) / _FINE,
            float(columns.max() + 1) / _FINE,
            float(rows.max() + 1) / _FINE,
        )
        found.append((label, sides, float(fine[rows, columns].max())))
    return sorted(found, key=lambda box: -box[2])[:most]
