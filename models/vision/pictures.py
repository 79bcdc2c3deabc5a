"""Pictures as the models take them: one grey plane, squeezed to a square; coordinates stay fractions of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corpora.imaging.extras import need

Floats = NDArray[np.float32]


def squeeze(pixels: NDArray[np.uint8], side: int, *, stretch: float = 0.0) -> NDArray[np.uint8]:
    """Return pixels (height, width) as a square (side, side); the aspect is given up, fractions stay what they are.

    ``stretch`` is the share of pixels at either end of the greys that become black or white.
    """
    square = resize(pixels, side, side)
    if not stretch:
        return square
    low, high = np.percentile(square, (100 * stretch, 100 * (1 - stretch)))
    if high <= low:
        return square
    return np.asarray(np.rint(((square - low) / (high - low)).clip(0, 1) * 255), dtype=np.uint8)


def resize(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Return 8-bit pixels of another size (height, width), smoothed where it is smaller (bilinear)."""
    if pixels.shape == (height, width):
        return pixels
    image_module = need("PIL.Image", "pillow", "resizing pictures")
    resized = image_module.fromarray(pixels).resize((width, height), image_module.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8)


def resize_plane(plane: Floats, width: int, height: int) -> Floats:
    """Return a plane of numbers (h, w) at another size (height, width), bilinear."""
    image_module = need("PIL.Image", "pillow", "resizing maps")
    image = image_module.fromarray(np.asarray(plane, dtype=np.float32))  # mode F
    return np.asarray(image.resize((width, height), image_module.Resampling.BILINEAR), dtype=np.float32)


def to_input(pictures: NDArray[np.uint8]) -> Floats:
    """Return 8-bit pictures (batch, height, width) as a network takes them: (batch, 1, height, width) in [0, 1]."""
    return np.asarray(pictures[:, None], dtype=np.float32) / np.float32(255)
