"""What a model saw, drawn over the picture: heat maps, boxes, masks. For people to look at, not to measure on."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.imaging.extras import need
from models.vision.pictures import Floats, resize_plane

#: Anchors of a scale from dark over red to yellow that can be told apart with colour-blind eyes and on grey print.
_SCALE = np.array([[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=np.float64)
_OPACITY = 0.55
_LONGEST = 768


def heat_map(pixels: NDArray[np.uint8], plane: Floats) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) with a map (h, w) of probabilities over it; where it is 0 nothing is."""
    height, width = pixels.shape
    shown = resize_plane(plane, width, height).clip(0, 1)
    place = shown * (len(_SCALE) - 1)
    lower = np.minimum(place.astype(int), len(_SCALE) - 2)
    part = (place - lower)[..., None]
    colour = _SCALE[lower] * (1 - part) + _SCALE[lower + 1] * part
    weight = (_OPACITY * shown)[..., None]
    mixed = pixels[..., None] * (1 - weight) + colour * weight
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def outline(
    pixels: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Sequence[int] = (80, 200, 255)
) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) with the edge of a mask drawn on it."""
    inner = mask.copy()
    for axis in (0, 1):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    drawn = np.repeat(pixels[..., None], 3, axis=2)
    drawn[mask & ~inner] = colour
    return drawn


def draw_boxes(pixels: NDArray[np.uint8], boxes: Sequence[tuple[str, Sequence[float], float]]) -> NDArray[np.uint8]:
    """Return a picture (height, width, 3) with boxes (name, x0, y0, x1, y1 in fractions, score) on it."""
    image = _module("PIL.Image").fromarray(pixels).convert("RGB")
    pen = _module("PIL.ImageDraw").Draw(image)
    height, width = pixels.shape
    for name, (x0, y0, x1, y1), score in boxes:
        corners = (x0 * width, y0 * height, max(x1 * width - 1, x0 * width), max(y1 * height - 1, y0 * height))
        pen.rectangle(corners, outline=(255, 200, 0), width=max(1, width // 250))
        pen.text((corners[0] + 3, corners[1] + 2), f"{name} {score:.2f}", fill=(255, 200, 0))
    return np.asarray(image, dtype=np.uint8)


def save_png(path: Path, pixels: NDArray[np.uint8], *, longest: int | None = _LONGEST) -> None:
    """Write a picture (height, width, or with 3 colours) as PNG, its longest side cut down to ``longest``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png_bytes(pixels, longest=longest))


def png_bytes(pixels: NDArray[np.uint8], *, longest: int | None = _LONGEST) -> bytes:
    """Return a picture (height, width, or with 3 colours) as a PNG file, its longest side cut down to ``longest``."""
    image = _module("PIL.Image").fromarray(pixels)
    if longest is not None and max(image.size) > longest:
        image.thumbnail((longest, longest))
    stream = BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()


def _module(name: str) -> Any:
    return need(name, "pillow", "drawing overlays")
