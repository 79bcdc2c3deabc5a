"""Boxes and polygons in fractions of a picture, and their rasters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpora.weak_labels.errors import RegionsInvalid
from corpora.weak_labels.views import Lie

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A box in fractions of width and height: x to the right, y down, ``0 <= min < max <= 1``."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float

    def __post_init__(self) -> None:
        if not (0 <= self.x_min < self.x_max <= 1 and 0 <= self.y_min < self.y_max <= 1):
            raise RegionsInvalid("a box needs fractions of the picture from 0 to 1, the lower first")

    @classmethod
    def of_pixels(cls, x: float, y: float, w: float, h: float, *, width: int, height: int) -> Box:
        """Return the box of ``x, y, w, h`` in pixels, cut at the picture's edges."""
        return cls(max(x / width, 0.0), max(y / height, 0.0), min((x + w) / width, 1.0), min((y + h) / height, 1.0))

    @property
    def area(self) -> float:
        """Return the share of the picture that the box covers."""
        return (self.x_max - self.x_min) * (self.y_max - self.y_min)

    def to_pixels(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return ``x, y, w, h`` in pixels, as COCO has it."""
        x, y = self.x_min * width, self.y_min * height
        return x, y, self.x_max * width - x, self.y_max * height - y

    def turned(self, lie: Lie) -> Box:
        """Return the box where it comes to lie in a picture that departs from the usual one; twice gives itself."""
        x_min, x_max = (1 - self.x_max, 1 - self.x_min) if lie.is_mirrored else (self.x_min, self.x_max)
        y_min, y_max = (1 - self.y_max, 1 - self.y_min) if lie.is_upside_down else (self.y_min, self.y_max)
        return Box(x_min, y_min, x_max, y_max)

    def union(self, other: Box) -> Box:
        """Return the smallest box around both."""
        return Box(
            min(self.x_min, other.x_min),
            min(self.y_min, other.y_min),
            max(self.x_max, other.x_max),
            max(self.y_max, other.y_max),
        )

    def overlap(self, other: Box) -> float:
        """Return intersection over union."""
        width = min(self.x_max, other.x_max) - max(self.x_min, other.x_min)
        height = min(self.y_max, other.y_max) - max(self.y_min, other.y_min)
        shared = max(width, 0.0) * max(height, 0.0)
        return shared / (self.area + other.area - shared)


def box_around(points: Sequence[Point]) -> Box:
    """Return the smallest box around points; raises `RegionsInvalid` where they span no area."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return Box(max(min(xs), 0.0), max(min(ys), 0.0), min(max(xs), 1.0), min(max(ys), 1.0))


def rasterise(polygon: Sequence[Point], width: int, height: int) -> npt.NDArray[np.bool_]:
    """Return the raster (height, width) of a polygon: true where the centre of a pixel lies inside (even-odd rule)."""
    xs, ys = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    inside = np.zeros((height, width), dtype=np.bool_)
    for (x_1, y_1), (x_2, y_2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if y_1 == y_2:
            continue  # a level edge is crossed by no row
        rows = np.flatnonzero((y_1 <= ys) != (y_2 <= ys))
        crossing = x_1 + (ys[rows] - y_1) * (x_2 - x_1) / (y_2 - y_1)
        inside[rows] ^= xs[None, :] < crossing[:, None]
    return inside


def box_of_mask(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Return the box around the true pixels of a mask (height, width), or ``None`` where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    height, width = mask.shape
    return Box(
        float(columns[0]) / width,
        float(rows[0]) / height,
        float(columns[-1] + 1) / width,
        float(rows[-1] + 1) / height,
    )


def split_lung_mask(
    mask: npt.NDArray[np.bool_], lie: Lie | None = None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the masks of the patient's right and left lung, from one mask (height, width) of both.

    The cut is the emptiest column of the picture's middle half, the one nearest the middle where several are.
    """
    width = mask.shape[1]
    low, high = width // 4, max(width - width // 4, width // 4 + 1)
    counts = mask[:, low:high].sum(axis=0)
    candidates = low + np.flatnonzero(counts == counts.min())
    cut = int(candidates[np.argmin(np.abs(candidates - width / 2))])
    first, second = mask.copy(), mask.copy()
    first[:, cut:] = False
    second[:, :cut] = False
    return (second, first) if lie is not None and lie.is_mirrored else (first, second)
