"""Which images of an index go into a data set: by view and by quality, each left out for one stated reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.errors import ColumnMissing
from corpora.weak_labels.views import ViewKind, view_kind


class LeftOut(StrEnum):
    """Why an image is left out. The first that holds counts, in this order."""

    VIEW_UNKNOWN = "view_unknown"  # the header does not say which view it is
    VIEW_NOT_WANTED = "view_not_wanted"  # a lateral, decubitus or oblique view
    MODALITY = "modality"  # no radiograph
    BODY_PART = "body_part"  # another part of the body
    MULTIPLE_FRAMES = "multiple_frames"  # more than one frame: a run or a tomosynthesis
    TOO_SMALL = "too_small"  # fewer pixels along a side than asked for
    SHAPE = "shape"  # much longer one way than the other: a strip, a scout
    BURNED_IN_ANNOTATION = "burned_in_annotation"  # the header says that text stands in the pixels
    BLANK = "blank"  # one value all over
    LOW_CONTRAST = "low_contrast"  # hardly any spread of values
    SATURATED = "saturated"  # most pixels at an end of the range


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """What an image must be. ``None`` or an empty set asks nothing.

    ``views`` are kinds of view; ``keep_unknown_view`` keeps images whose header says nothing of it. ``min_side`` is in
    pixels, ``max_aspect`` the longer side over the shorter. A field that the header does not give never leaves an image
    out, the view apart.
    """

    views: frozenset[ViewKind] = frozenset({ViewKind.FRONTAL})
    keep_unknown_view: bool = False
    modalities: frozenset[str] = frozenset({"CR", "DX", "DR", "RG", "RF", "XA", "MG", "OT", "SC"})
    body_parts: frozenset[str] = frozenset({"CHEST", "THORAX", "LUNG", "CHESTABDOMEN", "PORTCHEST"})
    min_side: int | None = 128
    max_aspect: float | None = 3.0
    keep_multiple_frames: bool = False
    keep_burned_in: bool = True


@dataclass(frozen=True, slots=True)
class PixelFilter:
    """What the pixels of an image, scaled to [0, 1], must be like.

    ``min_spread`` is the distance between the 5th and the 95th percentile, ``max_saturated`` the share of pixels at the
    lowest or the highest value.
    """

    min_spread: float = 0.1
    max_saturated: float = 0.6


_USED = "view patient_orientation modality body_part number_of_frames rows columns burned_in_annotation".split()


def filter_images(table: Any, image_filter: ImageFilter) -> tuple[npt.NDArray[np.object_], Counter[LeftOut | None]]:
    """Return for each row of an image index why it is left out (``None``: it stays), and how often each.

    ``table`` is a pyarrow table or record batch with the columns of the image index; the counts add up to its rows, and
    those of several batches may be summed.

    Raises
    ------
    ColumnMissing
        A column that the filter looks at is not there.
    """
    missing = sorted(set(_USED) - set(table.schema.names))
    if missing:
        raise ColumnMissing(f"the image index lacks the columns {', '.join(missing)}")
    columns = [table.column(name).to_pylist() for name in _USED]
    reasons = np.empty(table.num_rows, dtype=np.object_)
    for row, values in enumerate(zip(*columns, strict=True)):
        reasons[row] = image_reason(dict(zip(_USED, values, strict=True)), image_filter)
    return reasons, Counter(reasons.tolist())


def image_reason(header: Mapping[str, Any], wanted: ImageFilter) -> LeftOut | None:
    """Return why an image is left out, from its row of the image index, or ``None`` where it stays."""
    kind = view_kind(header["view"], header["patient_orientation"])
    if kind is ViewKind.UNKNOWN:
        if wanted.views and not wanted.keep_unknown_view:
            return LeftOut.VIEW_UNKNOWN
    elif wanted.views and kind not in wanted.views:
        return LeftOut.VIEW_NOT_WANTED
    if _is_other(header["modality"], wanted.modalities):
        return LeftOut.MODALITY
    if _is_other(header["body_part"], wanted.body_parts):
        return LeftOut.BODY_PART
    if (header["number_of_frames"] or 1) > 1 and not wanted.keep_multiple_frames:
        return LeftOut.MULTIPLE_FRAMES
    sides = [side for side in (header["rows"], header["columns"]) if side is not None]
    if sides and wanted.min_side and min(sides) < wanted.min_side:
        return LeftOut.TOO_SMALL
    if len(sides) == 2 and wanted.max_aspect and max(sides) > wanted.max_aspect * min(sides):
        return LeftOut.SHAPE
    if header["burned_in_annotation"] and not wanted.keep_burned_in:
        return LeftOut.BURNED_IN_ANNOTATION
    return None


def _is_other(value: str | None, wanted: frozenset[str]) -> bool:
    folded = "".join(character for character in (value or "").upper() if character.isalnum())
    return bool(folded and wanted) and folded not in wanted


def pixel_reason(pixels: npt.NDArray[np.floating[Any]], wanted: PixelFilter) -> LeftOut | None:
    """Return why an image (height, width), values in [0, 1], is left out for its pixels, or ``None`` where it stays."""
    if pixels.size == 0 or float(np.ptp(pixels)) == 0.0:
        return LeftOut.BLANK
    low, high = np.percentile(pixels, (5, 95))
    saturated = float(np.mean((pixels <= 0.0) | (pixels >= 1.0)))
    # A picture that is black to its 95th percentile has no spread either: the more telling reason comes first.
    if saturated > wanted.max_saturated:
        return LeftOut.SATURATED
    return LeftOut.LOW_CONTRAST if high - low < wanted.min_spread else None
