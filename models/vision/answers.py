"""What a model says of a picture, for each task in the same form: a row, boxes, masks, overlays, a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.vision.errors import VisionModelInvalid
from models.vision.overlays import draw_boxes, heat_map, outline
from models.vision.pictures import Floats
from models.vision.recipe import Task
from models.vision.runtime import VisionModel
from models.vision.sources import Picture

FoundBox = tuple[str, tuple[float, float, float, float], float]  # label, x0, y0, x1, y1 in fractions, score


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
    raise VisionModelInvalid(f"models for {model.task} do not answer for pictures")


def _classified(model: VisionModel, pictures: Sequence[Picture]) -> list[Answer]:
    scores = model.classify([picture.pixels for picture in pictures])
    return [
        Answer(
            {name: round(float(scores.probabilities[row, index]), 6) for index, name in enumerate(model.labels)},
            {name: scores.maps[row, index] for index, name in enumerate(model.labels)},
        )
        for row in range(len(pictures))
    ]
