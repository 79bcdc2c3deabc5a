"""Masks learned from dark fields alone, fitted to the chest: what such a field misses of a lung, and what it adds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.shapes import split_lung_mask

Mask = NDArray[np.bool_]
#: A lung goes on under the inner edge of the ribs, which are not dark: so much further out (of the picture's width).
_OUTWARD = 0.02
#: Gas and the air below the angles draw a dark field out below the dome of the diaphragm; the right dome stands higher,
#: for the liver lies below it: so much the patient's right and left base is raised (of the picture's height).
_RAISED = (0.045, 0.03)


def fit_to_chest(mask: Mask) -> Mask:
    """Return a mask of both lungs (height, width) out to the chest wall and up to the domes of the diaphragm.

    It is meant for one use, on masks found from dark fields: used again it moves them on.
    """
    height, width = mask.shape
    fitted = np.zeros_like(mask)
    # The patient's right lung stands on the left of the picture.
    for half, away, raised in zip(split_lung_mask(mask), (-1, 1), _RAISED, strict=True):
        rows = np.flatnonzero(half.any(1))
        if not len(rows):
            continue
        lung = half.copy()
        for step in range(1, round(_OUTWARD * width) + 1):
            lung |= _moved(half, 0, away * step)
        stays = _moved(lung, -round(raised * height), 0)
        stays[: rows[0] + len(rows) // 2] = True  # the upper half has no base
        fitted |= lung & stays
    return fitted


def _moved(mask: Mask, down: int, right: int) -> Mask:
    """Return a mask moved by so many pixels; nothing comes in from outside."""
    height, width = mask.shape
    moved = np.zeros_like(mask)
    moved[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)] = mask[
        max(0, -down) : height + min(0, -down), max(0, -right) : width + min(0, -right)
    ]
    return moved
