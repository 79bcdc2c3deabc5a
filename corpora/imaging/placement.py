"""How the pixels given lie on those of the file: turned, mirrored and scaled, so that boxes can follow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.imaging.extras import need

Shape = tuple[int, int]  # rows, columns
BoxSides = tuple[float, float, float, float]  # x, y, width, height: pixels from the upper left corner


@dataclass(frozen=True, slots=True)
class Placement:
    """The way from the pixels of a file to those given: transposed first, then mirrored, then scaled.

    ``is_transposed``: rows became columns. ``is_mirrored``: left and right are exchanged. ``is_upside_down``: top and
    bottom are.
    """

    file_shape: Shape
    shape: Shape
    is_transposed: bool = False
    is_mirrored: bool = False
    is_upside_down: bool = False

    @classmethod
    def of(cls, shape: Shape) -> Placement:
        """Return the placement of pixels that are given as they are in the file."""
        return cls(shape, shape)

    @property
    def turned_shape(self) -> Shape:
        """The shape after turning and before scaling."""
        rows, columns = self.file_shape
        return (columns, rows) if self.is_transposed else (rows, columns)

    @property
    def row_scale(self) -> float:
        """How many rows are given to one before scaling."""
        return self.shape[0] / self.turned_shape[0]

    @property
    def column_scale(self) -> float:
        """How many columns are given to one before scaling."""
        return self.shape[1] / self.turned_shape[1]

    def scaled_to(self, shape: Shape) -> Placement:
        """Return the same placement with another shape at its end."""
        return replace(self, shape=shape)

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return pixels of the file (rows, columns), turned and mirrored, not yet scaled."""
        turned = pixels.T if self.is_transposed else pixels
        turned = turned[:: -1 if self.is_upside_down else 1, :: -1 if self.is_mirrored else 1]
        return np.ascontiguousarray(turned)

    def box(self, x: float, y: float, width: float, height: float) -> BoxSides:
        """Return a box of the file as a box of the pixels given; both count from the outer edge of the first pixel."""
        if self.is_transposed:
            x, y, width, height = y, x, height, width
        rows, columns = self.turned_shape
        if self.is_mirrored:
            x = columns - x - width
        if self.is_upside_down:
            y = rows - y - height
        return x * self.column_scale, y * self.row_scale, width * self.column_scale, height * self.row_scale

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask of the file (rows, columns) as one of the pixels given; the nearest pixel decides.

        Raises `ValueError` if the mask is not of the file's shape.
        """
        if mask.shape != self.file_shape:
            raise ValueError(f"the mask has the shape {mask.shape}, its image {self.file_shape}")
        turned = self.turn(mask)
        if self.shape == self.turned_shape:
            return turned
        image_module = need("PIL.Image", "pillow", "resizing")
        image = image_module.fromarray(turned.astype(np.uint8))
        return np.asarray(image.resize(self.shape[::-1], image_module.Resampling.NEAREST)) > 0
