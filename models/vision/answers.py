"""What a model says of a picture, for each task in the same form: a row, boxes, masks, overlays, a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.weak_labels.shapes import split_lung_mask
from models.vision.boxes import FoundBox
from models.vision.masks import LEFT_LUNG, RIGHT_LUNG, lung_boxes
from models.vision.overlays import draw_boxes, heat_map, outline
from models.vision.pictures import Floats
from models.vision.recipe import Task
from models.vision.runtime import VisionModel
from models.vision.sources import Picture


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says of one picture.

    ``row`` is what goes into the table; ``maps`` are probabilities (h, w) by label; ``boxes`` are in fractions of the
    picture; ``masks`` are 0 or 255, of its size; ``picture`` is the picture made better.
    """

    row: dict[str, Any]
    maps: dict[str, Floats] = field(default_factory=dict)
    boxes: tuple[FoundBox, ...] = ()
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    picture: NDArray[np.uint8] | None = None

    def overlays(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yield what can be drawn over the picture, each with its name."""
        for label, plane in self.maps.items():
            yield label, heat_map(pixels, plane)
        if self.boxes:
            yield "boxes", draw_boxes(pixels, self.boxes)
        for label, mask in self.masks.items():
            yield label, outline(pixels, mask > 0)


def answer(model: VisionModel, pictures: Sequence[Picture]) -> list[Answer]:
    """Return a model's answers for pictures, in their order."""
    if model.task is Task.CLASSIFICATION:
        return _classified(model, pictures)
    if model.task is Task.DETECTION:
        found = model.detect([picture.pixels for picture in pictures])
        return [Answer({"boxes": _rounded(boxes)}, boxes=tuple(boxes)) for boxes in found]
    if model.task is Task.SEGMENTATION:
        return [_segmented(mask) for mask in model.segment([picture.pixels for picture in pictures])]
    return [_restored(model, picture.pixels) for picture in pictures]


def _segmented(mask: NDArray[np.bool_]) -> Answer:
    boxes = tuple((name, (box.x_min, box.y_min, box.x_max, box.y_max), 1.0) for name, box in lung_boxes(mask).items())
    parts = dict(zip((RIGHT_LUNG, LEFT_LUNG), split_lung_mask(mask), strict=True))
    shares = {f"{name}, share of the picture": round(float(part.mean()), 6) for name, part in parts.items()}
    masks = {name: np.where(part, 255, 0).astype(np.uint8) for name, part in parts.items() if part.any()}
    return Answer({**shares, "boxes": _rounded(boxes)}, boxes=boxes, masks=masks)


def _restored(model: VisionModel, pixels: NDArray[np.uint8]) -> Answer:
    found = model.restore(np.asarray(pixels, dtype=np.float32) / np.float32(255))
    picture = np.asarray(np.rint(found.clip(0, 1) * 255), dtype=np.uint8)
    return Answer({"height": picture.shape[0], "width": picture.shape[1]}, picture=picture)


def _rounded(boxes: Sequence[FoundBox]) -> list[dict[str, Any]]:
    """Return boxes as they stand in rows: sides in fractions of the picture."""
    return [
        {"label": label, "box": [round(side, 5) for side in sides], "score": round(score, 5)}
        for label, sides, score in boxes
    ]


def _classified(model: VisionModel, pictures: Sequence[Picture]) -> list[Answer]:
    scores = model.classify([picture.pixels for picture in pictures])
    return [
        Answer(
            {name: round(float(scores.probabilities[row, index]), 6) for index, name in enumerate(model.labels)},
            {name: scores.maps[row, index] for index, name in enumerate(model.labels)},
        )
        for row in range(len(pictures))
    ]
