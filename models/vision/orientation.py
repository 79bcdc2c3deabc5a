"""Which way up a frontal chest radiograph lies, by comparison with a drawn chest. No model, and no torch.

The grey values of a thumbnail, as ranks, are correlated with those of a drawing, in the four positions that a cassette
or an export can give (Spearman 1904). The drawing says what is so in every patient: air beside the neck and beside the
trunk, dark lungs that widen downwards, a bright middle that widens too, a bright abdomen. Ranks take exposure and
display out of it. The drawing is the same on both sides, for hearts lie too differently: a mirrored film is not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from models.vision.pictures import resize

Plane = NDArray[np.float64]
_SIDE = 32
#: Grey values of the drawing; only their order matters.
_AIR, _LUNG, _BODY, _MIDDLE, _ABDOMEN = 0.1, 0.2, 0.5, 0.8, 0.9
#: A picture that is less like the drawing than this, in its best position, is not judged.
_LEAST_LIKENESS = 0.3
#: By how much another position has to be more like the drawing than the given one: to be turned, to be doubted.
_SURE, _DOUBTFUL = 0.2, 0.1
#: By how much the grey scale as it is has to be more like the drawing than the inverted one, or the reverse.
_GREYS_SURE = 0.1


@dataclass(frozen=True, slots=True)
class Position:
    """How a picture lies. ``degrees`` (0, 90, 180 or 270) is how far it was turned clockwise from upright.

    ``is_inverted`` is only said of a turned picture; ``is_doubtful`` where something speaks for a turn, and not enough.
    """

    degrees: int = 0
    is_inverted: bool = False
    is_doubtful: bool = False


def position_of(pixels: NDArray[np.uint8]) -> Position:
    """Return how a frontal chest radiograph (height, width) lies, the right way round in grey or inverted."""
    likeness = _likeness(pixels)
    straight, inverted = float(likeness.max()), float((-likeness).max())
    is_inverted = inverted > straight
    likeness = -likeness if is_inverted else likeness
    quarters = int(likeness.argmax())
    gain = float(likeness[quarters] - likeness[0])
    if gain < _DOUBTFUL:
        return Position()
    if gain >= _SURE and abs(straight - inverted) >= _GREYS_SURE and likeness[quarters] >= _LEAST_LIKENESS:
        return Position(90 * quarters, is_inverted)
    return Position(is_doubtful=True)


def turn_upright(pixels: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """Return pixels that lay so far clockwise as they were before: turned back, counterclockwise."""
    return np.ascontiguousarray(np.rot90(pixels, degrees // 90))


def _likeness(pixels: NDArray[np.uint8]) -> Plane:
    """Return the rank correlations (4) of a picture with the drawing, turned back by 0, 1, 2 and 3 quarters."""
    ranks = _ranks(resize(pixels, _SIDE, _SIDE).astype(np.float64))
    drawing = _drawing()
    return np.array([float((drawing * np.rot90(ranks, quarters)).sum()) for quarters in range(4)])


def _ranks(plane: Plane) -> Plane:
    """Return the ranks of a plane, ties sharing their mean, with mean 0 and norm 1 (all 0 where all is one grey)."""
    _, place, counts = np.unique(plane, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place].reshape(plane.shape)
    ranks -= ranks.mean()
    norm = float(np.linalg.norm(ranks))
    return np.asarray(ranks / norm if norm else ranks)


@cache
def _drawing() -> Plane:
    """Return the ranks of a drawn chest, blurred as a mean of patients is. Lengths are fractions of the side."""
    down, across = (np.mgrid[0:_SIDE, 0:_SIDE] + 0.5) / _SIDE
    aside = np.abs(across - 0.5)  # from the midline
    plane = np.full((_SIDE, _SIDE), _BODY)
    middle_of_lung = 0.17 + 0.12 * (down - 0.40)
    plane[((aside - middle_of_lung) / 0.10) ** 2 + ((down - 0.40) / 0.27) ** 2 < 1] = _LUNG
    plane[aside < 0.05 + 0.10 * ((down - 0.3) / 0.5).clip(0, 1)] = _MIDDLE
    plane[(down > 0.76 + 0.25 * (aside - 0.1).clip(0)) & (aside < 0.42)] = _ABDOMEN
    plane[(aside > 0.46) & (down > 0.5)] = 2.5 * _AIR  # beside the trunk, where arms may lie
    plane[(aside > 0.14) & (down < 0.12)] = _AIR
    for _ in range(3):
        for axis in (0, 1):
            padded = np.pad(plane, [(1, 1) if side == axis else (0, 0) for side in (0, 1)], mode="edge")
            before, after = np.delete(padded, [-1, -2], axis), np.delete(padded, [0, 1], axis)
            plane = (before + 2 * plane + after) / 4
    return _ranks(plane)
