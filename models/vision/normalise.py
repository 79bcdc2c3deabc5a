"""Pictures brought into one form before they are read: upright, air dark, and without the collimator's edges.

Everything here is a measurement on the pixels, no model; each picture gets flags that say what was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.views import ViewKind
from models.vision.orientation import Position, position_of, turn_upright
from models.vision.pictures import resize

Pixels = NDArray[np.uint8]
_SIDE = 64
#: The air beside neck and shoulders is dark, the spine bright: by how much of the grey range they differ at least.
_INVERSION_MARGIN = 0.08
#: A row or column of the collimator is dark or white almost all along, and does not vary.
_EDGE_SPREAD, _EDGE_DARK, _EDGE_WHITE = 0.03, 0.06, 0.97
_MOST_CROPPED = 0.35
_LOW_CONTRAST, _SATURATED, _EMPTY = 0.25, 0.25, 0.02


@dataclass(frozen=True, slots=True, repr=False)
class Normalised:
    """A picture in the usual form. ``crop`` is where it lay in the given one: x0, y0, x1, y1 in fractions.

    ``rotated`` is how many degrees clockwise it lay from upright, before it was turned back; the crop came first.
    """

    pixels: Pixels
    is_inverted: bool
    rotated: int
    crop: tuple[float, float, float, float]
    flags: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Normalised({self.pixels.shape[1]} x {self.pixels.shape[0]}, {', '.join(self.flags) or 'no flag'})"


def normalise(pixels: Pixels, view: ViewKind = ViewKind.UNKNOWN) -> Normalised:
    """Return a chest radiograph (height, width) upright, air dark and bone bright, without edges that show nothing.

    Flags: ``inverted`` (black and white were changed), ``rotated`` (it was turned back by quarters), ``maybe_rotated``
    (something speaks for a turn, and not enough: it was left as it is), ``collimated`` (it was cropped),
    ``low_contrast`` (the greys between the 1st and 99th percentile span less than a quarter of the range),
    ``saturated`` (more than a quarter of the pixels are black or white), ``empty`` (all one grey),
    ``not_frontal_format`` (more than twice as high as wide, or the reverse), and of the ``view``: ``lateral``,
    ``not_frontal`` (oblique, decubitus, lordotic). Such views are cropped alone: how they lie is not known.
    """
    x0, y0, x1, y1 = collimation(pixels)
    height, width = pixels.shape
    cropped = np.ascontiguousarray(pixels[y0:y1, x0:x1])
    is_judged = view in (ViewKind.FRONTAL, ViewKind.UNKNOWN)
    position = position_of(cropped) if is_judged else Position()
    inverted = position.is_inverted
    if is_judged and position == Position():  # `is_inverted` is about upright pictures
        inverted = is_inverted(cropped)
    if inverted:
        cropped = np.asarray(255 - cropped, dtype=np.uint8)
    said = {
        "inverted": inverted,
        "rotated": position.degrees != 0,
        "maybe_rotated": position.is_doubtful,
        "collimated": cropped.shape != pixels.shape,
        "lateral": view is ViewKind.LATERAL,
        "not_frontal": view is ViewKind.OTHER,
    }
    flags = [name for name, is_so in said.items() if is_so]
    low, high = np.percentile(cropped, (1, 99)) / 255
    if high - low < _EMPTY:
        flags.append("empty")
    elif high - low < _LOW_CONTRAST:
        flags.append("low_contrast")
    if float(((cropped == 0) | (cropped == 255)).mean()) > _SATURATED:
        flags.append("saturated")
    if max(cropped.shape) > 2 * min(cropped.shape):
        flags.append("not_frontal_format")
    crop = (x0 / width, y0 / height, x1 / width, y1 / height)
    return Normalised(turn_upright(cropped, position.degrees), inverted, position.degrees, crop, tuple(flags))


def is_inverted(pixels: Pixels) -> bool:
    """Return whether air is bright and bone dark in a frontal chest radiograph.

    What lies beside the neck (the two upper corners) and in the lungs is air, what lies along the midline is bone and
    heart. Both must say so: one alone may be a label in a corner, or an opaque lung.
    """
    small = resize(pixels, _SIDE, _SIDE).astype(np.float64)
    low, high = np.percentile(small, (1, 99))
    if high - low < 1:
        return False
    small = ((small - low) / (high - low)).clip(0, 1)
    eighth, middle = _SIDE // 8, _SIDE // 2
    corners = np.median(np.concatenate([small[:eighth, :eighth].ravel(), small[:eighth, -eighth:].ravel()]))
    spine = np.median(small[_SIDE // 4 : -_SIDE // 8, middle - 3 : middle + 3])
    lungs = np.median(
        np.concatenate(
            [
                small[_SIDE // 4 : 5 * _SIDE // 8, _SIDE // 5 : 2 * _SIDE // 5].ravel(),
                small[_SIDE // 4 : 5 * _SIDE // 8, 3 * _SIDE // 5 : 4 * _SIDE // 5].ravel(),
            ]
        )
    )
    return bool(corners > spine + _INVERSION_MARGIN and lungs > spine + _INVERSION_MARGIN)


def collimation(pixels: Pixels) -> tuple[int, int, int, int]:
    """Return the part of a picture that shows something: x0, y0, x1, y1 in pixels, half open.

    Rows and columns are taken off from outside while they are black or white almost all along and do not vary. At most
    a third goes on each side; a picture of which nothing would be left stays whole.
    """
    plane = pixels.astype(np.float32) / 255
    found = []
    for axis in (1, 0):  # rows, then columns
        spread = np.percentile(plane, 95, axis=axis) - np.percentile(plane, 5, axis=axis)
        middle = np.median(plane, axis=axis)
        is_edge = (spread < _EDGE_SPREAD) & ((middle < _EDGE_DARK) | (middle > _EDGE_WHITE))
        length = len(is_edge)
        most = int(_MOST_CROPPED * length)
        inside = np.flatnonzero(~is_edge)
        if not inside.size:
            return 0, 0, pixels.shape[1], pixels.shape[0]
        found.append((min(int(inside[0]), most), max(int(inside[-1]) + 1, length - most)))
    (y0, y1), (x0, x1) = found
    return x0, y0, x1, y1
