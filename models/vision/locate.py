"""Boxes for the opacities that reports name, from where the lungs are brighter than in films with normal reports."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.dataset.folder import DatasetFolder
from corpora.weak_labels.policies import NO_FINDINGS
from models.vision.batches import Told
from models.vision.brightening import (
    LungCells,
    NormalFilms,
    choose_boxes,
    extents_prior,
    in_each_lung,
    likeliest_point,
    lung_cells,
    places,
    probabilities,
)
from models.vision.coco import Coco
from models.vision.errors import DatasetUnfit, OutputExists, VisionModelInvalid
from models.vision.predict import Predicted, Rejects
from models.vision.recipe import Task
from models.vision.runtime import BATCH, VisionModel
from models.vision.sources import Unreadable

#: Fewer normal films say too little of how normal films vary.
MIN_NORMAL = 30
TABLE, COCO, REJECTS, SUMMARY = "places.csv", "places.coco.json", "rejects.csv", "summary.json"


def locate(
    dataset: DatasetFolder,
    lungs: VisionModel,
    label: str,
    out: Path,
    *,
    count: int = 1,
    split: str | None = None,
    on_pictures: Callable[[int], None] = lambda done: None,
) -> Predicted:
    """Write ``count`` boxes and a point for each row in which ``label`` is positive to the folder ``out``.

    What is normal is learned from rows of the split train whose report has no positive or uncertain finding; how high
    opacities lie, and how often in both lungs, from the regions that reports of that split name. ``lungs`` is a model
    of lung masks. Rows without two lungs to be seen have no box; ``rejects.csv`` lists them.

    Raises
    ------
    OutputExists
        ``out`` is there already.
    DatasetUnfit
        The data set has no such label, no row with it, or fewer than `MIN_NORMAL` normal films.
    VisionModelInvalid
        The model is not for masks.
    """
    if out.exists():
        raise OutputExists(f"{out.name} exists: name another folder, or remove it")
    if lungs.task is not Task.SEGMENTATION:
        raise VisionModelInvalid(f"the model is for {lungs.task}: where lungs are brighter needs masks of lungs")
    if label not in dataset.labels:
        raise DatasetUnfit(f"label: the data set has no {label}; it has {', '.join(dataset.labels)}")
    findings = [f"label:{name}" for name in dataset.labels if name not in NO_FINDINGS]
    columns = ["image_id", "file", "split", "regions", *dict.fromkeys([*findings, f"label:{label}"])]
    rows = dataset.table(columns).to_pylist()
    learned = [row for row in rows if row["split"] == "train"]
    asked = [row for row in rows if row[f"label:{label}"] == "positive" and split in (None, row["split"])]
    if not asked:
        raise DatasetUnfit(f"label {label}: positive in no row")
    is_normal = [all(row[name] not in ("positive", "uncertain") for name in findings) for row in learned]
    cells = [cell for _, _, cell in _cells(dataset, lungs, _where(learned, is_normal)) if cell is not None]
    if len(cells) < MIN_NORMAL:
        raise DatasetUnfit(f"{len(cells)} films with normal reports in the split train; {MIN_NORMAL} are needed")
    normal = NormalFilms(cells)
    named = [bool(row["regions"]) and not normal_row for row, normal_row in zip(learned, is_normal, strict=True)]
    by_film = [
        list(_named_extents(row["regions"], label, cell))
        for row, _, cell in _cells(dataset, lungs, _where(learned, named))
        if cell is not None
    ]
    extents = [(top, bottom) for film in by_film for _, top, bottom in film]
    named_lungs = [len({lung for lung, _, _ in film}) for film in by_film if film]
    # Where no report names a lung, one opacity a film is looked for.
    both = named_lungs.count(2) / len(named_lungs) if named_lungs else 0.0
    known = _Known(normal, extents_prior(extents), both)
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        done, rejected = _write(building, label, _cells(dataset, lungs, asked), known, count, on_pictures)
        facts = {"label": label, "normal films": len(cells), "extents named": len(extents), "images": done}
        facts |= {"share of both lungs": round(both, 3)}
        (building / SUMMARY).write_text(json.dumps(facts | {"without lungs": rejected}, indent=2) + "\n", "utf-8")
        building.replace(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Predicted(out, done, rejected)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known before a picture is seen: normal films, where opacities lie, which share of pictures has two."""

    normal: NormalFilms
    prior: NDArray[np.float64]
    both: float


def _where(rows: Sequence[Mapping[str, Any]], chosen: Iterable[bool]) -> list[Mapping[str, Any]]:
    return [row for row, is_chosen in zip(rows, chosen, strict=True) if is_chosen]


def _cells(
    dataset: DatasetFolder, lungs: VisionModel, rows: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.uint8], LungCells | None]]:
    """Yield rows with their pictures and cells, a batch of pictures in memory at a time."""
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        pictures = [dataset.read_image(row["file"]) for row in part]
        for row, pixels, mask in zip(part, pictures, lungs.segment(pictures), strict=True):
            yield row, pixels, lung_cells(pixels, mask)


def _named_extents(
    regions: Sequence[Mapping[str, Any]], label: str, cells: LungCells
) -> Iterator[tuple[int, float, float]]:
    """Yield lung (0: the patient's right), top and bottom, in fractions of its height, of what a report names."""
    for region in regions:
        if region["assertion"] != "positive" or region["label"] != label or region["box"] is None:
            continue
        for lung, side in enumerate(("right", "left")):
            if region["laterality"] == side:
                _, y0, _, y1 = cells.boxes[lung]
                top, bottom = (min(max((region["box"][k] - y0) / (y1 - y0), 0.0), 1.0) for k in (1, 3))
                if bottom > top:
                    yield lung, top, bottom


def _write(
    folder: Path,
    label: str,
    found: Iterable[tuple[Mapping[str, Any], NDArray[np.uint8], LungCells | None]],
    known: _Known,
    count: int,
    on_pictures: Callable[[int], None],
) -> tuple[int, int]:
    """Write table and COCO file; return how many rows have boxes, and how many have none."""
    coco, is_right = Coco((label,)), np.array([place.lung == 0 for place in places()])
    done = rejected = 0
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as stream, Rejects(folder / REJECTS) as rejects:
        writer = csv.writer(stream)
        writer.writerow(["image_id", "file", "right_lung", "largest_z", "point_x", "point_y", "boxes"])
        for row, pixels, cells in found:
            if cells is None:
                rejects.write(Unreadable(row["file"], "no two lungs are seen"))
                rejected += 1
                continue
            evidence = known.normal.evidence(cells)
            chance = probabilities(evidence, known.prior)
            expected = in_each_lung(chance, known.both)
            boxes = choose_boxes(expected, cells.boxes, count)
            x, y = likeliest_point(expected, cells.boxes)
            numbers = [f"{value:.4f}" for value in (chance[is_right].sum(), evidence.max(), x, y)]
            listed = [{"box": [round(side, 4) for side in box], "gain": round(gain, 4)} for box, gain in boxes]
            writer.writerow([row["image_id"], row["file"], *numbers, json.dumps(listed)])
            height, width = pixels.shape
            coco.add(Told(row["file"], width, height, {}, tuple((label, box, gain) for box, gain in boxes)))
            done += 1
            on_pictures(done)
    (folder / COCO).write_text(json.dumps(coco.content()) + "\n", encoding="utf-8")
    return done, rejected
