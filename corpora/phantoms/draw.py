"""How a phantom is drawn: a body, two lungs, a heart, ribs, and findings of which mask and box are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.shapes import Box, box_of_mask, rasterise

Plane = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Grey values, of full white: air around, body, lung, heart; what a finding adds.
_AIR, _BODY, _LUNG, _HEART = 0.02, 0.62, 0.24, 0.72
_ADDED = {"consolidation": 0.34, "pleural_effusion": 0.44, "pneumothorax": -0.20, "lung_nodule": 0.42}
_NOISE = 0.02
#: Concepts that can be drawn.
DRAWN = frozenset({*_ADDED, "cardiomegaly"})


@dataclass(frozen=True, slots=True, repr=False)
class Anatomy:
    """The parts of one phantom, before any finding: masks (height, width) and the patient's lung boxes."""

    size: int
    body: Mask
    right_lung: Mask
    left_lung: Mask
    right_box: Box
    left_box: Box
    ribs: Plane
    heart_center: tuple[float, float]
    heart_size: tuple[float, float]


def draw_anatomy(size: int, generator: np.random.Generator) -> Anatomy:
    """Return the anatomy of a patient; the patient's right is on the left of the picture."""

    def about(value: float, spread: float) -> float:
        return value + float(generator.uniform(-spread, spread))

    down, across = (np.mgrid[0:size, 0:size] + 0.5) / size
    x, y, width, height = about(0.5, 0.01), about(0.56, 0.02), about(0.47, 0.015), about(0.55, 0.02)
    body = _ellipse(across, down, x, y, width, height)
    chest = _ellipse(across, down, x, y, width - 0.06, height - 0.05)  # the wall around the lungs
    top, bottom = about(0.13, 0.03), about(0.84, 0.04)
    inner = about(0.065, 0.01)  # half the width of the mediastinum
    lungs = [
        _lung(across, down, 0.5 + side * inner, 0.5 + side * about(0.39, 0.02), top, bottom + about(0, 0.015)) & chest
        for side in (-1, 1)
    ]
    right, left = lungs
    heart = (about(0.53, 0.01), bottom - about(0.16, 0.01)), (about(0.115, 0.01), about(0.15, 0.01))
    ribs = 0.035 * np.sin((down + 0.35 * np.abs(across - 0.5)) * 2 * np.pi * 9 + about(0, 3)).clip(0)
    boxes = box_of_mask(right), box_of_mask(left)
    assert boxes[0] is not None
    assert boxes[1] is not None
    return Anatomy(size, body, right, left, boxes[0], boxes[1], ribs, *heart)


def _ellipse(across: Plane, down: Plane, x: float, y: float, width: float, height: float) -> Mask:
    return np.asarray(((across - x) / width) ** 2 + ((down - y) / height) ** 2 <= 1)


def _lung(across: Plane, down: Plane, inner: float, outer: float, top: float, bottom: float) -> Mask:
    """A lung: a dome above, straight towards the middle, the diaphragm below."""
    middle, half = (inner + outer) / 2, abs(outer - inner) / 2
    beside = np.abs(across - middle) <= half
    dome = top + (bottom - top) * 0.35 * (1 - np.sqrt(np.clip(1 - ((across - middle) / half) ** 2, 0, 1)))
    floor = bottom - (bottom - top) * 0.12 * (1 - ((across - middle) / half) ** 2).clip(0)
    return np.asarray(beside & (down >= dome) & (down <= floor))


def place_finding(
    concept_id: str, polygon: tuple[tuple[float, float], ...], anatomy: Anatomy, generator: np.random.Generator
) -> Mask | None:
    """Return the mask of a finding within a region and its lung, or ``None`` where it has no room there."""
    down, across = (np.mgrid[0 : anatomy.size, 0 : anatomy.size] + 0.5) / anatomy.size
    if concept_id == "cardiomegaly":
        return _ellipse(across, down, *anatomy.heart_center, anatomy.heart_size[0] * 1.75, anatomy.heart_size[1] * 1.15)
    room = rasterise(polygon, anatomy.size, anatomy.size) & (anatomy.right_lung | anatomy.left_lung)
    if not room.any():
        return None
    if concept_id in ("pleural_effusion", "pneumothorax"):
        return room
    rows, columns = np.nonzero(room)
    # The middle of a round finding is where most of it has room.
    pick = int(generator.integers(len(rows)))
    y, x = (rows[pick] + 0.5) / anatomy.size, (columns[pick] + 0.5) / anatomy.size
    radius = float(generator.uniform(0.035, 0.05) if concept_id == "lung_nodule" else generator.uniform(0.09, 0.14))
    mask = _ellipse(across, down, x, y, radius, radius * float(generator.uniform(0.8, 1.25))) & room
    return mask if mask.sum() >= 6 else None


def draw(anatomy: Anatomy, findings: list[tuple[str, Mask]], generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture (size, size) of an anatomy with its findings."""
    size = anatomy.size
    down, across = (np.mgrid[0:size, 0:size] + 0.5) / size
    plane = np.where(anatomy.body, _BODY, _AIR)
    lungs = anatomy.right_lung | anatomy.left_lung
    plane[lungs] = _LUNG
    for concept_id, mask in findings:
        if concept_id in _ADDED:
            plane[mask] += _ADDED[concept_id]
    heart = next((mask for concept_id, mask in findings if concept_id == "cardiomegaly"), None)
    if heart is None:
        heart = _ellipse(across, down, *anatomy.heart_center, *anatomy.heart_size)
    plane[heart & anatomy.body] = _HEART
    plane = _smooth(plane + anatomy.ribs * lungs)
    plane = plane * float(generator.uniform(0.92, 1.08)) + generator.normal(0, _NOISE, plane.shape)
    return np.asarray(np.rint(plane.clip(0, 1) * 255), dtype=np.uint8)


def _smooth(plane: Plane) -> Plane:
    """A binomial filter of three, twice each way: edges as a detector has them."""
    for _ in range(2):
        for axis in (0, 1):
            before, after = np.roll(plane, 1, axis), np.roll(plane, -1, axis)
            plane = (before + 2 * plane + after) / 4
    return plane


__all__ = ["DRAWN", "Anatomy", "Mask", "draw", "draw_anatomy", "place_finding"]
