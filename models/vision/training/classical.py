"""Lungs by thresholds and shapes, without any mask or box: where training without masks begins."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.vision.components import fill_holes, label_components
from models.vision.pictures import resize

Mask = NDArray[np.bool_]
#: Everything is measured at this size, so that radii mean the same in every picture.
_SIDE = 128
#: A lung's share of the picture, its middle's place across (from the edge to the middle of the picture) and down.
_AREA, _ACROSS, _DOWN = (0.04, 0.26), (0.14, 0.42), (0.25, 0.65)
#: The two lungs are of like size: smaller over larger.
_MIN_LIKENESS = 0.4


def classical_lungs(picture: NDArray[np.uint8]) -> Mask | None:
    """Return the mask of both lungs of a frontal picture (side, side), or ``None`` where what is found is no two lungs.

    Dark parts of the evened picture that do not reach its edge, one in each half, of the size and at the place of a
    lung; closed and made convex, since heart and consolidation hide parts of a lung field. Several thresholds are tried
    and the likest pair is taken.
    """
    small = resize(picture, _SIDE, _SIDE)
    low, high = np.percentile(small, (1, 99))
    if high - low < 0.05 * 255:
        return None
    filters = need_skimage("filters")
    smooth = filters.gaussian(even_out(small), 1.3)
    center = smooth[_SIDE // 8 : -_SIDE // 8, _SIDE // 8 : -_SIDE // 8]
    start = float(filters.threshold_otsu(center))
    best: tuple[float, Mask] | None = None
    for threshold, radius in product(start + np.arange(-0.24, 0.07, 0.04), (1, 3)):
        found = _pair(smooth < threshold, radius)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    if best is None:
        return None
    full = resize(np.where(best[1], 255, 0).astype(np.uint8), picture.shape[1], picture.shape[0])
    return np.asarray(full > 127)


def even_out(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return a picture (side, side) in [0, 1] whose parts have the same contrast (limited adaptive equalisation)."""
    greys = picture.astype(np.float64) / 255
    low, high = np.percentile(greys, (1, 99))
    spread = ((greys - low) / max(1e-9, high - low)).clip(0, 1)
    even = need_skimage("exposure").equalize_adapthist(spread, kernel_size=len(picture) // 2, clip_limit=0.01)
    return np.asarray(even, dtype=np.float64)


def _pair(dark: Mask, radius: int) -> tuple[float, Mask] | None:
    """Return the likest pair of lungs among the dark parts, with how like lungs they are."""
    morphology = need_skimage("morphology")
    opened = morphology.opening(dark, morphology.disk(radius))
    halves = []
    for first, last in ((0, _SIDE // 2), (_SIDE // 2, _SIDE)):
        half = np.zeros_like(opened)
        half[:, first:last] = opened[:, first:last]
        lung = _lung(half, is_left_half=first == 0)
        if lung is None:
            return None
        halves.append(lung)
    (score_1, area_1, mask_1), (score_2, area_2, mask_2) = halves
    likeness = min(area_1, area_2) / max(area_1, area_2)
    if likeness < _MIN_LIKENESS:
        return None
    # A base lies at most a twentieth of the picture higher than the other.
    level = max(_bottom(mask_1), _bottom(mask_2)) - round(0.05 * _SIDE)
    mask_1, mask_2 = (_levelled(mask, level) if _bottom(mask) < level else mask for mask in (mask_1, mask_2))
    return score_1 + score_2 + likeness, mask_1 | mask_2


def _lung(half: Mask, *, is_left_half: bool) -> tuple[float, int, Mask] | None:
    morphology = need_skimage("morphology")
    labels, count = label_components(half)
    best: tuple[float, int, Mask] | None = None
    for part in range(1, count + 1):
        rows, columns = np.nonzero(labels == part)
        area = len(rows) / _SIDE**2
        if not _AREA[0] <= area <= _AREA[1]:
            continue
        across = columns.mean() / _SIDE
        across = across if is_left_half else 1 - across
        down = rows.mean() / _SIDE
        if not (_ACROSS[0] <= across <= _ACROSS[1] and _DOWN[0] <= down <= _DOWN[1]):
            continue
        edge = np.concatenate([rows <= 1, columns <= 1, columns >= _SIDE - 2, rows >= _SIDE - 2]).sum() / len(rows)
        if edge > 0.01:
            continue  # the air around the patient
        hull = morphology.convex_hull_image(labels == part)
        solidity = len(rows) / float(hull.sum())
        if solidity < 0.7:
            continue
        closed = fill_holes(np.asarray(morphology.closing(labels == part, morphology.disk(6)) | _hull_towards(hull)))
        mask = _whole_field(morphology.dilation(closed, morphology.disk(1)), is_left_half=is_left_half)
        score = solidity + min(area, 0.14) / 0.14
        if best is None or score > best[0]:
            best = (float(score), len(rows), mask)
    return best


def _whole_field(lung: Mask, *, is_left_half: bool) -> Mask:
    """Return a lung with what heart and diaphragm hide of its field.

    Below its dome a lung reaches from the chest wall to a line along the spine; where that line runs is seen in the
    upper half, beside the aortic arch, where nothing hides it.
    """
    field = lung if is_left_half else lung[:, ::-1]  # the spine is on the right now
    rows = np.flatnonzero(field.any(1))
    top, height = int(rows[0]), len(rows)
    inner = np.array([np.flatnonzero(field[row])[-1] for row in rows])
    outer = np.array([np.flatnonzero(field[row])[0] for row in rows])
    line = int(np.percentile(inner[: max(1, height // 2)], 90))
    whole = field.copy()
    for row in range(int(0.3 * height), height):
        if outer[row] < line:
            whole[top + row, outer[row] : line + 1] = True
    return whole if is_left_half else whole[:, ::-1]


def _levelled(lung: Mask, bottom: int) -> Mask:
    """Return a lung drawn down to where the other one ends, for bases that fluid or consolidation hide."""
    rows = np.flatnonzero(lung.any(1))
    longer = lung.copy()
    low = lung[max(rows[0], rows[-1] - 6)]
    longer[rows[-1] : bottom] |= low
    return longer


def _bottom(lung: Mask) -> int:
    return int(np.flatnonzero(lung.any(1))[-1])


def _hull_towards(hull: Mask) -> Mask:
    """Return the convex hull a little shrunk: lungs are near convex on the picture, the diaphragm apart."""
    morphology = need_skimage("morphology")
    return np.asarray(morphology.erosion(hull, morphology.disk(1)))


def need_skimage(part: str) -> Any:
    """Return a part of scikit-image; raise an error that names the extra where it is missing."""
    from importlib import import_module

    from models.text.training.extras import ExtraMissing

    try:
        return import_module(f"skimage.{part}")
    except ImportError:
        raise ExtraMissing("the classical start needs scikit-image: pip install 'radlabel[train]'") from None
