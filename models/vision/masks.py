"""Lung masks as a model gives them, made whole: two lungs, no holes, and the box of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.shapes import Box, box_of_mask, split_lung_mask
from models.vision.components import fill_holes, keep_largest

#: The one mask of both lungs, and the patient's lungs by themselves.
LUNGS, RIGHT_LUNG, LEFT_LUNG = "Lungs", "Right Lung", "Left Lung"


def clean_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of two parts at most, without holes."""
    return fill_holes(keep_largest(mask, 2)) if mask.any() else mask


def lung_boxes(mask: NDArray[np.bool_]) -> dict[str, Box]:
    """Return the boxes around the patient's lungs in a mask of both, in fractions; a lung not there has none."""
    right, left = (keep_largest(part, 1) if part.any() else part for part in split_lung_mask(mask))
    found = {RIGHT_LUNG: box_of_mask(right), LEFT_LUNG: box_of_mask(left)}
    return {name: box for name, box in found.items() if box is not None}
