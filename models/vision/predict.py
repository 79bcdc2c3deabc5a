"""A model's answers for pictures of any place, written to a folder that appears whole.

OUT/predictions.csv or .jsonl    one row a picture: its id, its file, its study, and what the model says
OUT/model.json                   which model it was
OUT/rejects.csv                  pictures that could not be read, or of which a file could not be made, and why
OUT/overlays/                    heat maps, boxes and outlines over the pictures
OUT/annotations.coco.json        boxes, and masks as outlines (detection, segmentation)
OUT/masks/                       masks of the size of the picture (segmentation)
OUT/seg/                         DICOM segmentations, where the picture is a DICOM object (segmentation)
OUT/sr/                          DICOM structured reports of scores and boxes, where the picture is a DICOM object
OUT/pictures/                    the pictures made better (denoising, super-resolution)
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from corpora.weak_labels.views import view_kind
from models.vision.batches import Drawn, Told, batches, file_name, read_batch
from models.vision.coco import Coco
from models.vision.errors import OutputExists
from models.vision.normalise import normalise
from models.vision.overlays import save_png
from models.vision.recipe import Task
from models.vision.runtime import VisionModel
from models.vision.sources import Source, Unreadable, iter_pictures, list_pictures

if TYPE_CHECKING:
    from corpora.imaging.server import Access

#: Answers for batches in their order, few at a time: `map` of `read_batch`, or an engine.
Answers = Callable[[Iterator[tuple[Source, ...]]], Iterable[Sequence[Told | Unreadable]]]
Format = Literal["csv", "jsonl"]
#: Which model said it, as JSON: name, version, task, labels, digest; of what label set its labels are, and thresholds.
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
    dicom_sr: bool = False
    coco: bool = False
    format: Format = "csv"
    split: str | None = None
    access: Access | None = None

    @property
    def drawn(self) -> Drawn:
        """Return what is made beside the model."""
        return Drawn(self.overlays, self.dicom_seg, self.dicom_sr)


def predict(
    model: VisionModel,
    place: Path,
    out: Path,
    wanted: Wanted | None = None,
    *,
    answers: Answers | None = None,
    on_pictures: Callable[[int], None] = lambda done: None,
) -> Predicted:
    """Write a model's answers for the pictures of ``place`` to the folder ``out``.

    ``answers`` gives what `models.vision.batches.read_batch` gives for each batch, in their order, wherever it is
    worked out; by default it is here, by ``model``.

    Raises
    ------
    OutputExists
        ``out`` is there already.
    SourceUnreadable
        There is no such place, or it holds no picture.
    """
    wanted = wanted or Wanted()
    here = partial(read_batch, model, wanted.drawn)
    if out.exists():
        raise OutputExists(f"{out.name} exists: name another folder, or remove it")
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        counts = _write(model, place, building, wanted, answers or partial(map, here), on_pictures)
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
        with _Rows(building / "normalised.csv") as rows, Rejects(building / "rejects.csv") as rejects:
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
    model: VisionModel, place: Path, folder: Path, wanted: Wanted, answers: Answers, on_pictures: Callable[[int], None]
) -> tuple[int, int]:
    done = rejected = 0
    coco = Coco(model.labels)
    with_dicom = wanted.dicom_seg or wanted.dicom_sr
    listed = list_pictures(place, split=wanted.split, with_dicom=with_dicom, access=wanted.access)
    with (
        closing(listed) as sources,
        _Rows(folder / f"predictions.{wanted.format}") as rows,
        Rejects(folder / "rejects.csv") as rejects,
    ):
        for batch in answers(batches(sources, model.task, wanted.drawn)):
            for told in batch:
                if isinstance(told, Unreadable):
                    rejects.write(told)
                    rejected += 1
                    continue
                rows.write(told.row)
                for reason in told.missing:
                    rejects.write(Unreadable(told.file, reason))
                rejected += bool(told.missing)
                if wanted.coco:
                    coco.add(told)
                for name, content in told.files.items():
                    file = folder / name
                    file.parent.mkdir(exist_ok=True)
                    file.write_bytes(content)
                done += 1
            on_pictures(done)
    about: dict[str, Any] = {
        "name": f"radlabel-{model.task}",
        "version": model.manifest.version,
        "task": model.task.value,
    }
    about |= {"labels": list(model.labels), "digest": model.manifest.digest}
    if model.task is Task.CLASSIFICATION:
        about |= {"label_set": model.manifest.label_set, "thresholds": model.manifest.thresholds}
    (folder / MODEL).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if wanted.coco:
        (folder / "annotations.coco.json").write_text(json.dumps(coco.content()), encoding="utf-8")
    return done, rejected


class Rejects:
    """A CSV of the pictures that could not be read, or of which something could not be made."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream)
        self._writer.writerow(["file", "reason"])

    def __enter__(self) -> Rejects:
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
