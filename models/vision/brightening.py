"""Where lungs are brighter than those of normal films: boxes of opacities from reports that find nothing, no network.

Each lung's box is cut into cells. A cell's value is the mean rank of its grey among the pixels of both lungs, so that
exposure and display do not matter, and the other lung is the measure of the one. The cells of films with normal reports
give a mean and a covariance. Each place where an opacity may be (rows of cells of one lung) then has the z of a matched
filter, the best linear detector of a known shape in noise of known covariance (the Hotelling observer: Barrett & Myers
2004, Foundations of Image Science, section 13.2). The z become probabilities of places, and boxes are chosen by what
they are expected to meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.shapes import split_lung_mask

Floats = NDArray[np.float64]
Sides = tuple[float, float, float, float]  # x0, y0, x1, y1 in fractions of the picture
ROWS, COLUMNS = 12, 4
#: A cell counts if so much of it is lung; a place has at least so many rows.
_LEAST_LUNG, _LEAST_ROWS = 0.15, 3
#: How far the covariance is drawn to a multiple of the identity: normal films of other hospitals vary otherwise.
_SHRINKAGE = 0.7
#: How z becomes a probability: exp(weight * z), which side and which rows apart. Chosen, with the shrinkage, by the
#: likelihood of the sides and zones that notes name (docs/vision.md).
_SIDE_WEIGHT, _PLACE_WEIGHT = 2.0, 0.5
#: Overlaps (IoU) at which a box is of use; each counts the same.
_OVERLAPS = (0.1, 0.2, 0.3, 0.5)
#: The spread of the extents that notes name, and the share of places that no note names.
_EXTENT_SPREAD, _UNNAMED = 0.12, 0.2


@dataclass(frozen=True, slots=True)
class LungCells:
    """Mean ranks (2, ROWS, COLUMNS) of the patient's right and left lung, NaN where there is no lung, and their boxes.

    The first column is the one next to the mediastinum.
    """

    values: Floats
    boxes: tuple[Sides, Sides]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an opacity may be, in a lung's own box: ``lung`` 0 is the patient's right, the others are fractions.

    ``inner`` and ``outer`` are counted from the mediastinum.
    """

    lung: int
    top: float
    bottom: float
    inner: float
    outer: float

    def sides(self, boxes: tuple[Sides, Sides]) -> Sides:
        """Return the place as a box of a picture."""
        x0, y0, x1, y1 = boxes[self.lung]
        left, right = (1 - self.outer, 1 - self.inner) if self.lung == 0 else (self.inner, self.outer)
        height, width = y1 - y0, x1 - x0
        return x0 + left * width, y0 + self.top * height, x0 + right * width, y0 + self.bottom * height


def lung_cells(pixels: NDArray[np.uint8], lungs: NDArray[np.bool_]) -> LungCells | None:
    """Return the cells of a picture (height, width) with the mask of its lungs; ``None`` where a lung is missing."""
    height, width = pixels.shape
    halves = split_lung_mask(lungs)
    if not all(half.any() for half in halves):
        return None
    both = halves[0] | halves[1]
    ranks = np.zeros(pixels.shape)
    ranks[both] = _ranks(pixels[both])
    values = np.full((2, ROWS, COLUMNS), np.nan)
    boxes = []
    for lung, half in enumerate(halves):
        rows, columns = np.flatnonzero(half.any(1)), np.flatnonzero(half.any(0))
        y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        boxes.append((x0 / width, y0 / height, x1 / width, y1 / height))
        down = np.linspace(y0, y1, ROWS + 1).round().astype(int)
        across = np.linspace(x0, x1, COLUMNS + 1).round().astype(int)
        for row in range(ROWS):
            for column in range(COLUMNS):
                part = np.s_[down[row] : down[row + 1], across[column] : across[column + 1]]
                inside = half[part]
                if inside.size and inside.mean() >= _LEAST_LUNG:
                    from_middle = column if lung else COLUMNS - 1 - column
                    values[lung, row, from_middle] = ranks[part][inside].mean()
    return LungCells(values, (boxes[0], boxes[1]))


def _ranks(greys: NDArray[np.uint8]) -> Floats:
    """Return ranks in [0, 1]; equal greys share their mean rank."""
    counts = np.bincount(greys, minlength=256)
    middle = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(middle[greys] / max(1, greys.size - 1), dtype=np.float64)


@cache
def places() -> tuple[Place, ...]:
    """Return all places: rows that hang together, as wide as the lung, or without its inner or outer quarter."""
    quarter = 1 / COLUMNS
    return tuple(
        Place(lung, top / ROWS, bottom / ROWS, inner, outer)
        for lung in (0, 1)
        for top in range(ROWS)
        for bottom in range(top + _LEAST_ROWS, ROWS + 1)
        for inner, outer in ((0.0, 1.0), (0.0, 1 - quarter), (quarter, 1.0))
    )


@cache
def _shapes() -> Floats:
    """Return which cells each place has (places, cells)."""
    shapes = np.zeros((len(places()), 2, ROWS, COLUMNS))
    for shape, place in zip(shapes, places(), strict=True):
        rows = slice(round(place.top * ROWS), round(place.bottom * ROWS))
        shape[place.lung, rows, round(place.inner * COLUMNS) : round(place.outer * COLUMNS)] = 1
    return shapes.reshape(len(shapes), -1)


class NormalFilms:
    """Mean and covariance of the cells of normal films."""

    def __init__(self, films: Sequence[LungCells]) -> None:
        if len(films) < 2:
            raise ValueError("fewer than two normal films")
        values = np.stack([film.values.ravel() for film in films])  # (films, cells)
        known = ~np.isnan(values)
        self.mean = np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1)
        self.known = known.mean(0) >= 0.5
        apart = np.where(known, values - self.mean, 0)
        covariance = apart.T @ apart / len(films)
        even = np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
        self.covariance = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * even

    def evidence(self, film: LungCells) -> Floats:
        """Return the z of each place (places): standard deviations by which it is brighter than in normal films."""
        values = film.values.ravel()
        usable = self.known & ~np.isnan(values)
        precision = np.linalg.inv(self.covariance[np.ix_(usable, usable)])
        shapes = _shapes()[:, usable]
        signal = shapes @ (precision @ (values - self.mean)[usable])
        noise = np.sqrt(np.einsum("pc,cd,pd->p", shapes, precision, shapes))
        return np.asarray(np.divide(signal, noise, out=np.zeros_like(signal), where=noise > 0))


def extents_prior(named: Sequence[tuple[float, float]] = ()) -> Floats:
    """Return the probability of each place before a picture is seen (places).

    ``named`` are the extents (top, bottom; fractions of the lung's height) that notes of other patients name; without
    any, all places are as likely.
    """
    even = np.full(len(places()), 1 / len(places()))
    if not named:
        return even
    spans = np.array([(place.top, place.bottom) for place in places()])
    distance = ((spans[:, None] - np.asarray(named)[None]) ** 2).sum(-1)
    near = np.exp(-distance / (2 * _EXTENT_SPREAD**2)).mean(1)
    return np.asarray((1 - _UNNAMED) * near / near.sum() + _UNNAMED * even)


def probabilities(evidence: Floats, prior: Floats) -> Floats:
    """Return the probability of each place (places) to be the one opacity of a picture: first its lung, then where."""
    is_left = np.array([place.lung == 1 for place in places()])
    found = np.zeros(len(evidence))
    sides = []
    for members in (~is_left, is_left):
        side = prior[members] * np.exp(_SIDE_WEIGHT * (evidence[members] - evidence.max()))
        within = prior[members] * np.exp(_PLACE_WEIGHT * (evidence[members] - evidence[members].max()))
        sides.append(side.sum())
        found[members] = within / within.sum()
    right, left = np.array(sides) / sum(sides)
    found[~is_left] *= right
    found[is_left] *= left
    return found


def in_each_lung(probability: Floats, both: float) -> Floats:
    """Return the probability of each place (places), where a share ``both`` of pictures has one in either lung.

    ``probability`` is of the one opacity of a picture. The sum over all places is above 1 then: the expected count.
    """
    is_left = np.array([place.lung == 1 for place in places()])
    found = probability.copy()
    for members in (~is_left, is_left):
        alone = probability[members].sum()
        found[members] *= (both + (1 - both) * alone) / max(alone, 1e-12)
    return found


def choose_boxes(probability: Floats, boxes: tuple[Sides, Sides], count: int) -> list[tuple[Sides, float]]:
    """Return ``count`` boxes, one after another the one that adds most to what all are expected to meet, and that gain.

    The gain is the expected count of opacities met that no earlier box meets, averaged over four overlaps.
    """
    candidates = np.array([place.sides(boxes) for place in places()])
    shared = _overlaps(candidates)
    meets = np.stack([shared >= least for least in _OVERLAPS])  # (overlaps, box, place)
    met = np.zeros((len(_OVERLAPS), len(candidates)), dtype=bool)
    chosen = []
    for _ in range(count):
        gains = ((meets & ~met[:, None]) * probability).sum(-1).mean(0)
        best = int(gains.argmax())
        x0, y0, x1, y1 = (float(side) for side in candidates[best])
        chosen.append(((x0, y0, x1, y1), float(gains[best])))
        met |= meets[:, best]
    return chosen


def likeliest_point(probability: Floats, boxes: tuple[Sides, Sides]) -> tuple[float, float]:
    """Return the middle of the cell (x, y in fractions of the picture) that most likely lies in an opacity."""
    lung, row, column = np.unravel_index(int((probability @ _shapes()).argmax()), (2, ROWS, COLUMNS))
    step = 1 / COLUMNS
    cell = Place(int(lung), row / ROWS, (row + 1) / ROWS, column * step, (column + 1) * step)
    x0, y0, x1, y1 = cell.sides(boxes)
    return (x0 + x1) / 2, (y0 + y1) / 2


def _overlaps(boxes: Floats) -> Floats:
    """Return the IoU of boxes (n, 4) with each other (n, n)."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clip(0).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return np.asarray(shared / (area[:, None] + area[None] - shared))
