"""Boxes and masks of pictures as one COCO file (cocodataset.org, format-data)."""

from __future__ import annotations

from typing import Any

from models.vision.batches import Told
from models.vision.masks import LEFT_LUNG, LUNGS, RIGHT_LUNG


class Coco:
    """Boxes and masks of pictures as one COCO file, in pixels of the pictures."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = (RIGHT_LUNG, LEFT_LUNG) if labels == (LUNGS,) else labels
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, told: Told) -> None:
        """Add a picture and its boxes."""
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": told.file, "width": told.width, "height": told.height})
        for label, (x0, y0, x1, y1), score in told.boxes:
            box = [x0 * told.width, y0 * told.height, (x1 - x0) * told.width, (y1 - y0) * told.height]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": number,
                    "category_id": self._labels.index(label) + 1,
                    "bbox": [round(value, 2) for value in box],
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    "score": round(score, 4),
                }
            )

    def content(self) -> dict[str, Any]:
        """Return the file's content."""
        categories = [{"id": index + 1, "name": name} for index, name in enumerate(self._labels)]
        return {"images": self._images, "annotations": self._annotations, "categories": categories}
