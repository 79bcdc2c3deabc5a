"""A model's answers for pictures of any place, written to a folder that appears whole.

OUT/predictions.csv or .jsonl    one row a picture: its id, its file, its study, and what the model says
OUT/model.json                   which model it was
OUT/rejects.csv                  pictures that could not be read, with the reason
OUT/overlays/                    heat maps, boxes and outlines over the pictures
OUT/annotations.coco.json        boxes, and masks as outlines (detection, segmentation)
OUT/masks/                       masks of the size of the picture (segmentation)
OUT/seg/                         DICOM segmentations, where the picture is a DICOM object (segmentation)
OUT/pictures/                    the pictures made better (denoising, super-resolution)
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from corpora.weak_labels.views import view_kind
from models.vision.answers import Answer, answer
from models.vision.errors import OutputExists
from models.vision.masks import LEFT_LUNG, LUNGS, RIGHT_LUNG
from models.vision.normalise import normalise
from models.vision.overlays import save_png
from models.vision.recipe import Task
from models.vision.runtime import BATCH, VisionModel
from models.vision.sources import Picture, Unreadable, iter_pictures

if TYPE_CHECKING:
    from corpora.imaging.server import Access

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Format = Literal["csv", "jsonl"]
#: Columns that say which study a picture is of, between its file and what the model says.
STUDY_COLUMNS = ("study_instance_uid", "accession_number", "accession_number_issuer", "patient_id")
#: Which model said it, as JSON: name, version, task, labels, digest.
MODEL = "model.json"


@dataclass(frozen=True, slots=True)
class Predicted:
    """How many pictures were answered and how many could not be read."""

    folder: Path
    pictures: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is written besides the rows."""

    overlays: bool = False
    dicom_seg: bool = False
    coco: bool = False
    format: Format = "csv"
    split: str | None = None
    access: Access | None = None


def predict(
    model: VisionModel,
    place: Path,
    out: Path,
    wanted: Wanted | None = None,
    *,
    on_pictures: Callable[[int], None] = lambda done: None,
) -> Predicted:
    """Write a model's answers for the pictures of ``place`` to the folder ``out``.

    Raises
    ------
    OutputExists
        ``out`` is there already.
    SourceUnreadable
        There is no such place, or it holds no picture.
    """
    wanted = wanted or Wanted()
    if out.exists():
        raise OutputExists(f"{out.name} exists: name another folder, or remove it")
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        counts = _write(model, place, building, wanted, on_pictures)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Predicted(out, *counts)


def normalise_all(
    place: Path,
    out: Path,
    *,
    split: str | None = None,
    access: Access | None = None,
    on_pictures: Callable[[int], None] = lambda done: None,
) -> Predicted:
    """Write the pictures of ``place`` in the usual form to ``out/pictures``, with a row of flags for each.

    Raises what `predict` raises.
    """
    if out.exists():
        raise OutputExists(f"{out.name} exists: name another folder, or remove it")
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    done = rejected = 0
    try:
        with _Rows(building / "normalised.csv") as rows, _Rejects(building / "rejects.csv") as rejects:
            for picture in iter_pictures(place, split=split, access=access):
                if isinstance(picture, Unreadable):
                    rejects.write(picture)
                    rejected += 1
                    continue
                view = picture.row.get("view")
                found = normalise(picture.pixels, view_kind(view, picture.row.get("patient_orientation")))
                x0, y0, x1, y1 = (round(side, 5) for side in found.crop)
                row = {"image_id": picture.image_id, "file": picture.file, "view": view or ""}
                sides = {"crop_x0": x0, "crop_y0": y0, "crop_x1": x1, "crop_y1": y1}
                rows.write({**row, **sides, "rotated_degrees": found.rotated, "flags": " ".join(found.flags)})
                save_png(building / "pictures" / f"{file_name(picture.image_id)}.png", found.pixels, longest=None)
                done += 1
                on_pictures(done)
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Predicted(out, done, rejected)


def _write(
    model: VisionModel, place: Path, folder: Path, wanted: Wanted, on_pictures: Callable[[int], None]
) -> tuple[int, int]:
    done = rejected = 0
    coco = Coco(model.labels)
    pictures = iter_pictures(place, split=wanted.split, with_dicom=wanted.dicom_seg, access=wanted.access)
    with (
        _Rows(folder / f"predictions.{wanted.format}") as rows,
        _Rejects(folder / "rejects.csv") as rejects,
    ):
        for batch in _batches(pictures):
            readable = [picture for picture in batch if isinstance(picture, Picture)]
            for picture in batch:
                if isinstance(picture, Unreadable):
                    rejects.write(picture)
                    rejected += 1
            for picture, found in zip(readable, answer(model, readable) if readable else (), strict=True):
                rows.write({"image_id": picture.image_id, "file": picture.file, **study_of(picture), **found.row})
                if wanted.coco:
                    coco.add(picture, found)
                _write_pictures(model, picture, found, folder, wanted)
                done += 1
            on_pictures(done)
    about = {"name": f"radlabel-{model.task}", "version": model.manifest.version, "task": model.task.value}
    about |= {"labels": list(model.labels), "digest": model.manifest.digest}
    (folder / MODEL).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if wanted.coco:
        (folder / "annotations.coco.json").write_text(json.dumps(coco.content()), encoding="utf-8")
    return done, rejected


def study_of(picture: Picture) -> dict[str, Any]:
    """Return what says which study a picture is of, as its headers, manifest or data set have it."""
    return {name: picture.row.get(name) for name in STUDY_COLUMNS}


def _batches(pictures: Iterator[Picture | Unreadable]) -> Iterator[list[Picture | Unreadable]]:
    from itertools import islice

    while batch := list(islice(pictures, BATCH)):
        yield batch


def _write_pictures(model: VisionModel, picture: Picture, found: Answer, folder: Path, wanted: Wanted) -> None:
    name = file_name(picture.image_id)
    for part, pixels in found.masks.items():
        save_png(folder / "masks" / f"{name}.{file_name(part)}.png", pixels, longest=None)
    if found.picture is not None:
        save_png(folder / "pictures" / f"{name}.png", found.picture, longest=None)
    if wanted.overlays:
        for part, pixels in found.overlays(picture.pixels):
            save_png(folder / "overlays" / f"{name}.{file_name(part)}.png", pixels)
    if wanted.dicom_seg and picture.dicom is not None and model.task is Task.SEGMENTATION:
        from models.vision.dicom_seg import write_segmentation

        write_segmentation(folder / "seg" / f"{name}.dcm", picture.dicom, found.masks, model.manifest.version)


def file_name(name: str) -> str:
    """Return a name that is safe as a file's: itself, or a digest where it holds other characters than most do."""
    spaced = name.replace(" ", "_")
    return spaced if _SAFE.fullmatch(spaced) else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:20]


class _Rejects:
    """A CSV of the pictures that could not be read."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream)
        self._writer.writerow(["file", "reason"])

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, picture: Unreadable) -> None:
        """Write a row."""
        self._writer.writerow([picture.file, picture.reason])


class _Rows:
    """A CSV whose columns are those of the first row, or JSON Lines."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w", encoding="utf-8", newline="")
        self._is_csv = path.suffix == ".csv"
        self._writer: csv.DictWriter[str] | None = None

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def write(self, row: dict[str, Any]) -> None:
        """Write a row."""
        if not self._is_csv:
            self._stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            return
        flat = {name: json.dumps(value) if isinstance(value, list | dict) else value for name, value in row.items()}
        if self._writer is None:
            self._writer = csv.DictWriter(self._stream, list(flat))
            self._writer.writeheader()
        self._writer.writerow(flat)


class Coco:
    """Boxes and masks of pictures as one COCO file, in pixels of the pictures."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = (RIGHT_LUNG, LEFT_LUNG) if labels == (LUNGS,) else labels
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, picture: Picture, found: Answer) -> None:
        """Add a picture and its boxes."""
        height, width = picture.pixels.shape
        number = len(self._images) + 1
        self._images.append({"id": number, "file_name": picture.file, "width": width, "height": height})
        for label, (x0, y0, x1, y1), score in found.boxes:
            box = [x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height]
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
