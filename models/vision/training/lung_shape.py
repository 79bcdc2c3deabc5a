"""Two lungs as one shape, fitted to dark fields: what heart and opacities hide of a lung is drawn by the rest.

A deformable template (Yuille, Hallinan & Cohen 1992, Int J Comput Vis 8:99): nine numbers, an energy of edges and of
overlap, the best found by steps along the numbers. It knows what a frontal chest looks like and has seen no mask.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.shapes import split_lung_mask
from models.vision.pictures import resize, resize_plane
from models.vision.training.classical import even_out, need_skimage

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
#: Everything is measured at this size, in fractions of it.
_SIDE = 128
#: A dark field ends within the lung: ribs and clavicle cover its outer edge and apex, large vessels its inner edge
#: (fractions of the picture).
_OUTER_RIM, _UPPER_RIM, _INNER_RIM = 0.02, 0.016, 0.008
#: The outer edge is a superellipse of these exponents, down and across; the base is a parabola.
_DOWN, _ACROSS = 2.0, 2.5
#: How far to either side of an edge greys are compared, and which difference is as good as any larger one.
_BESIDE, _ENOUGH = 4 / 256, 0.3
#: What the edges of ribs, diaphragm and (below the hilum) spine weigh, and the overlap with the dark fields.
_RIBS, _BASE, _SPINE, _OVERLAP = 1.0, 1.0, 0.4, 3.0
#: What is usual: how high the domes stand above the angles (right and left, of the lung's height), how much lower the
#: left base lies (of the picture), how much of a half chest the mediastinum takes.
_DOME, _LOWER_LEFT, _MEDIASTINUM = (0.13, 0.08), 0.023, 0.16
#: The inner edge where one lung alone is seen, and how wide and high a lung is at least.
_INNER, _LEAST_WIDTH, _LEAST_HEIGHT = 0.066, 0.08, 0.2
#: The first steps, of the middle, the inner and both outer edges, top, bottoms, domes, and of both widths or bottoms
#: together; they are halved three times.
_STEPS = np.diag([0.03, 0.024, 0.03, 0.03, 0.03, 0.047, 0.047, 0.04, 0.04])
_MOVES = (*_STEPS, _STEPS[2] + _STEPS[3], _STEPS[5] + _STEPS[6])
_HALVINGS, _SWEEPS = 4, 6
_ALONG = np.linspace(0, 1, 32)


@dataclass(frozen=True, slots=True)
class LungShape:
    """Two lungs in fractions of a square picture.

    ``middle`` is the spine, from which the lungs' inner edges (``inner``) and outer ones (``right``, ``left``; the
    patient's) are counted. The bottoms are the costophrenic angles, the domes how high the diaphragm stands above them,
    in lung heights.
    """

    middle: float
    inner: float
    right: float
    left: float
    top: float
    right_bottom: float
    left_bottom: float
    right_dome: float
    left_dome: float

    def lungs(self) -> tuple[tuple[int, float, float, float], tuple[int, float, float, float]]:
        """Return direction (-1 is to the left of the picture), width, bottom and dome of right and left lung."""
        return (-1, self.right, self.right_bottom, self.right_dome), (1, self.left, self.left_bottom, self.left_dome)

    def is_chest(self) -> bool:
        """Return whether both lungs are there at all."""
        return self.inner >= 4 / 256 and all(
            width >= self.inner + _LEAST_WIDTH and bottom >= self.top + _LEAST_HEIGHT and 0 <= dome <= 0.4
            for _, width, bottom, dome in self.lungs()
        )

    def whole(self) -> LungShape:
        """Return the lungs whose dark fields have this shape."""
        return replace(
            self,
            inner=self.inner - _INNER_RIM,
            right=self.right + _OUTER_RIM,
            left=self.left + _OUTER_RIM,
            top=self.top - _UPPER_RIM,
        )

    def mask(self, side: int) -> Mask:
        """Return the mask of both lungs (side, side)."""
        found = np.zeros((side, side), dtype=bool)
        down = np.arange(side)[:, None]
        for columns, first, last in self.columns(side):
            found[:, columns] |= (down >= first) & (down < last)
        return found

    def columns(self, side: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Return the columns of each lung in a picture of this side, with the first row and the row after the last."""
        found = []
        for direction, width, bottom, dome in self.lungs():
            edges = sorted((self.middle + direction * self.inner, self.middle + direction * width))
            low, high = (int(np.clip(round(edge * side), 0, side)) for edge in edges)
            columns = np.arange(low, high)
            across = np.clip((direction * ((columns + 0.5) / side - self.middle) - self.inner), 0, None)
            across = np.clip(across / (width - self.inner), 0, 1)
            height = bottom - self.top
            first = self.top + height * (1 - (1 - across**_ACROSS) ** (1 / _DOWN))
            last = self.top + height * (1 - dome * (1 - across**2))
            rows = [np.clip(np.round(edge * side), 0, side).astype(np.int64) for edge in (first, last)]
            found.append((columns, rows[0], np.maximum(rows[0], rows[1])))
        return found


def lungs_by_shape(picture: NDArray[np.uint8], chances: NDArray[np.floating]) -> Mask | None:
    """Return the mask of both lungs of a picture (side, side), from how likely each pixel is a dark field of a lung.

    ``chances`` has the picture's shape. Where it says nothing of a lung, that lung mirrors the other; ``None`` where it
    says nothing of either.
    """
    fields = resize_plane(chances.astype(np.float32), _SIDE, _SIDE).clip(0, 1)
    fields = np.where(fields > 0.5, fields, 0)
    guess = _first_guess(fields > 0.5)
    if guess is None:
        return None
    fields = _with_mirrored(fields, guess.middle)
    fit = _Fit(need_skimage("filters").gaussian(even_out(resize(picture, _SIDE, _SIDE)), 0.75), fields)
    return fit.best(guess).whole().mask(picture.shape[0])


class _Fit:
    """How well shapes fit to a picture."""

    def __init__(self, greys: Floats, fields: Floats) -> None:
        self.greys, self.total = greys, float(fields.sum())
        self.above = np.vstack([np.zeros((1, _SIDE)), np.cumsum(fields, 0)])  # (side + 1, side)

    def best(self, shape: LungShape) -> LungShape:
        """Return the shape to which steps from another one lead."""
        score = self.score(shape)
        for halving in range(_HALVINGS):
            for _ in range(_SWEEPS):
                before = score
                for step in _MOVES:
                    for sign in (1, -1):
                        tried = LungShape(*(np.array(astuple(shape)) + sign * step / 2**halving).tolist())
                        gained = self.score(tried)
                        if gained > score + 1e-6:
                            shape, score = tried, gained
                if score == before:
                    break
        return shape

    def score(self, shape: LungShape) -> float:
        """Return how good a shape is: edges that are brighter outside, overlap with the fields, what is usual."""
        if not shape.is_chest():
            return -np.inf
        edges: float = sum(
            weight * self._contrast(shape, edge, direction)
            for direction, *lung in shape.lungs()
            for weight, edge in zip((_RIBS, _BASE, _SPINE), _edges(shape, direction, *lung), strict=True)
        )
        shared = area = 0.0
        for columns, first, last in shape.columns(_SIDE):
            shared += float((self.above[last, columns] - self.above[first, columns]).sum())
            area += float((last - first).sum())
        overlap = 2 * shared / max(1.0, self.total + area)
        return edges + _OVERLAP * overlap - _unusual(shape)

    def _contrast(self, shape: LungShape, edge: Floats, direction: int) -> float:
        """Return how much brighter it is outside of an edge (points, 2), cut off where it is enough."""
        along = np.gradient(edge, axis=0)
        across = np.stack([along[:, 1], -along[:, 0]], 1) * direction
        across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
        outside, inside = (self._greys_at(edge + sign * _BESIDE * across) for sign in (1, -1))
        return float(np.clip(outside - inside, -_ENOUGH, _ENOUGH).mean())

    def _greys_at(self, points: Floats) -> Floats:
        columns, rows = np.clip((points * _SIDE).astype(np.int64), 0, _SIDE - 1).T
        return np.asarray(self.greys[rows, columns])


def _edges(shape: LungShape, direction: int, width: float, bottom: float, dome: float) -> tuple[Floats, Floats, Floats]:
    """Return points (n, 2) along a lung: from apex to angle, along the base to the spine, up the spine to the hilum."""
    inner = shape.middle + direction * shape.inner
    height, reach = bottom - shape.top, direction * (width - shape.inner)
    ribs = np.stack([inner + reach * (1 - (1 - _ALONG) ** _DOWN) ** (1 / _ACROSS), shape.top + height * _ALONG], 1)
    back = _ALONG[::-1]
    base = np.stack([inner + reach * back, shape.top + height * (1 - dome * (1 - back**2))], 1)
    spine = shape.top + height * np.linspace(1 - dome, 0.5, 16)
    return ribs, base, np.stack([np.full(len(spine), inner), spine], 1)


def _unusual(shape: LungShape) -> float:
    """Return the cost of what chests are not like."""
    apart = (
        (shape.right - shape.left) / 0.078,
        (shape.left_bottom - shape.right_bottom - _LOWER_LEFT) / 0.027,
        (shape.inner / ((shape.right + shape.left) / 2) - _MEDIASTINUM) / 0.05,
        (shape.right_dome - _DOME[0]) / 0.07,
        (shape.left_dome - _DOME[1]) / 0.07,
    )
    return 0.02 * sum(each**2 for each in apart)


def _is_seen(half: Mask) -> bool:
    """Return whether what is dark in one half is large enough to be of a lung."""
    return int(half.any(1).sum()) >= 0.1 * _SIDE and int(half.any(0).sum()) >= 0.05 * _SIDE


def _with_mirrored(fields: Floats, middle: float) -> Floats:
    """Return dark fields with those of the one lung that is seen mirrored at the spine, where the other is not seen."""
    if sum(_is_seen(half) for half in split_lung_mask(fields > 0)) != 1:
        return fields
    away = np.round(2 * middle * _SIDE - 1 - np.arange(_SIDE)).astype(np.int64)
    inside = (away >= 0) & (away < _SIDE)
    mirrored = np.zeros_like(fields)
    mirrored[:, inside] = fields[:, away[inside]]
    return np.maximum(fields, mirrored)


def _first_guess(fields: Mask) -> LungShape | None:
    """Return a shape around dark fields, if there are any; a lung that is not there mirrors the other."""
    measured: list[tuple[float, float, float, float] | None] = []
    for half, inward in zip(split_lung_mask(fields), (-1, 0), strict=True):
        rows, columns = np.flatnonzero(half.any(1)), np.flatnonzero(half.any(0))
        if not _is_seen(half):
            measured.append(None)
            continue
        upper = [np.flatnonzero(half[row])[inward] for row in rows[: len(rows) // 2] if half[row].any()]
        outer = columns[0] if inward else columns[-1]
        inner, outside, top, bottom = (float(at) / _SIDE for at in (np.median(upper), outer, rows[0], rows[-1] + 1))
        measured.append((inner, outside, top, bottom))
    right, left = measured
    if right is not None and left is not None:
        middle = (right[0] + left[0]) / 2
        inner = max(0.024, (left[0] - right[0]) / 2)
        top = (right[2] + left[2]) / 2
        return _possible(LungShape(middle, inner, middle - right[1], left[1] - middle, top, right[3], left[3], *_DOME))
    seen, away = (right, 1) if right is not None else (left, -1)
    if seen is None:
        return None
    edge, outside, top, bottom = seen
    middle = edge + away * _INNER
    width = abs(outside - middle)
    return _possible(LungShape(middle, _INNER, width, width, top, bottom, bottom, *_DOME))


def _possible(shape: LungShape) -> LungShape:
    """Return a shape made as large as a chest is at least: steps lead from one chest to another."""
    width, bottom = shape.inner + 1.1 * _LEAST_WIDTH, shape.top + 1.1 * _LEAST_HEIGHT
    return replace(
        shape,
        right=max(shape.right, width),
        left=max(shape.left, width),
        right_bottom=max(shape.right_bottom, bottom),
        left_bottom=max(shape.left_bottom, bottom),
    )
