"""Boxes as a COCO file (cocodataset.org, data format: object detection), each with its pedigree.

Beyond COCO's own keys an annotation has ``pedigree`` (``given``, or what a region hint was measured on: ``lung_boxes``,
``lung_masks``, ``thorax_default``) and, for a hint, ``side``, ``place``, ``severity`` and ``evidence`` (the index of
the finding). Readers such as pycocotools pass over keys they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from corpora.weak_labels.errors import ExportInvalid
from corpora.weak_labels.regions import RegionHint
from corpora.weak_labels.shapes import Box, Point

GIVEN = "given"


@dataclass(frozen=True, slots=True)
class BoxAnnotation:
    """One box of an image, in fractions of width and height, with its category and where it comes from."""

    category: str
    box: Box
    pedigree: str = GIVEN
    polygon: tuple[Point, ...] = ()
    extra: Mapping[str, str | int | None] = field(default_factory=dict)

    @classmethod
    def of_hint(cls, hint: RegionHint, category: str) -> BoxAnnotation:
        """Return the annotation of a region hint."""
        extra = {"side": hint.side, "place": hint.place, "severity": hint.severity, "evidence": hint.finding}
        return cls(category, hint.box, hint.pedigree.value, hint.polygon, extra)


@dataclass(frozen=True, slots=True, repr=False)
class AnnotatedImage:
    """An image with its boxes; ``extra`` goes beside COCO's keys (report id, UIDs, split)."""

    file_name: str
    width: int
    height: int
    annotations: tuple[BoxAnnotation, ...] = ()
    extra: Mapping[str, str | int | None] = field(default_factory=dict)


def write_coco(
    path: Path,
    images: Iterable[AnnotatedImage],
    categories: Sequence[str],
    *,
    info: Mapping[str, str] | None = None,
) -> tuple[int, int]:
    """Write images and boxes as one COCO file and return how many of each there are.

    Images are numbered from 1 in their order, annotations too, categories in the order of ``categories``. Only one
    image is held at a time: annotations wait in a temporary file. The file appears whole or not at all.

    Raises
    ------
    ExportInvalid
        A box has a category that is not listed, or an image has no size.
    """
    numbers = {name: number for number, name in enumerate(categories, start=1)}
    neighbour = path.with_name(f"{path.name}.partial")
    written = boxes = 0
    with neighbour.open("w", encoding="utf-8") as stream, TemporaryFile("w+", encoding="utf-8") as waiting:
        named = [{"id": number, "name": name, "supercategory": "finding"} for name, number in numbers.items()]
        stream.write(
            f'{{"info": {_json(dict(info or {}))},\n"licenses": [],\n"categories": {_json(named)},\n"images": ['
        )
        for written, image in enumerate(images, start=1):
            if image.width < 1 or image.height < 1:
                raise ExportInvalid(f"image {written} has no size")
            own = {"id": written, "file_name": image.file_name, "width": image.width, "height": image.height}
            stream.write(("," if written > 1 else "") + "\n" + _json({**image.extra, **own}))
            for annotation in image.annotations:
                if annotation.category not in numbers:
                    raise ExportInvalid(f"image {written} has a box of a category that is not listed")
                boxes += 1
                row = _annotation(boxes, written, numbers[annotation.category], annotation, image)
                waiting.write(("," if boxes > 1 else "") + "\n" + _json(row))
        stream.write('],\n"annotations": [')
        waiting.seek(0)
        for line in waiting:
            stream.write(line)
        stream.write("]}\n")
    neighbour.replace(path)
    return written, boxes


def _annotation(
    number: int, image_number: int, category: int, annotation: BoxAnnotation, image: AnnotatedImage
) -> dict[str, object]:
    x, y, w, h = annotation.box.to_pixels(image.width, image.height)
    box = annotation.box
    points = annotation.polygon or (
        (box.x_min, box.y_min),
        (box.x_max, box.y_min),
        (box.x_max, box.y_max),
        (box.x_min, box.y_max),
    )
    pixels = [(u * image.width, v * image.height) for u, v in points]
    return {
        **annotation.extra,
        "id": number,
        "image_id": image_number,
        "category_id": category,
        "bbox": [round(value, 2) for value in (x, y, w, h)],
        "area": round(_area(pixels), 2),
        "segmentation": [[round(value, 2) for point in pixels for value in point]],
        "iscrowd": 0,
        "pedigree": annotation.pedigree,
    }


def _area(points: Sequence[Point]) -> float:
    """Return the area of a polygon without crossings (shoelace formula)."""
    following = [*points[1:], points[0]]
    return abs(sum(x_1 * y_2 - x_2 * y_1 for (x_1, y_1), (x_2, y_2) in zip(points, following, strict=True))) / 2


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
