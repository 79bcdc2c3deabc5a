"""Where reports say that opacities are: the notes of the COVID set, training pictures only, and reports of others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from corpora.reports import Report
from corpora.vocabulary import load_vocabulary
from corpora.weak_labels.region_table import load_regions
from corpora.weak_labels.regions import ChestGeometry, hint_regions
from corpora.weak_labels.shapes import Box
from models.vision.brightening import COLUMNS, ROWS, LungCells, NormalFilms, lung_cells, places, probabilities
from models.vision.metrics import area_under_roc
from models.vision.runtime import VisionModel
from nlp_service import Labeler
from tests.benchmarks.vision_material import manifest

OPACITIES = frozenset(
    "lung_opacity consolidation pneumonia ground_glass_opacity air_bronchogram lung_infection infiltrate".split()
)
#: Places that say nothing of the height in the lung.
_WHOLE, _NO_EXTENT = frozenset({"lung", "lung_periphery"}), frozenset({"alveolus", "fissure", "hilum"})
_SIDES = ("right", "left")
_AT_ONCE = 16
_DRAWS, _RIDGE = 20, 30.0


@dataclass(frozen=True)
class NotedPlace:
    """An opacity in one lung (0: the patient's right), from ``top`` to ``bottom`` of it.

    ``is_alone``: the other lung has none. ``is_zoned``: the note says where in the lung.
    """

    image_id: str
    lung: int
    top: float
    bottom: float
    is_alone: bool
    is_zoned: bool


def noted_places(data: Path) -> Iterator[NotedPlace]:
    """Yield what the rules read in the notes of the training pictures, in the lungs' boxes that the set gives."""
    folder = data / "covid_cxr"
    reader, boxes = _Reader(), _lung_boxes(folder)
    for row in manifest(folder / "manifest.csv"):
        if row["split"] == "train" and row["clinical_notes"]:
            report = Report(row["image_id"], row["clinical_notes"])
            yield from reader.places(report, boxes[row["image_id"]], row["view"] or "PA")


def reported_places(reports: Iterable[Report]) -> Iterator[NotedPlace]:
    """Yield what the rules read in reports without pictures: each lung takes a half."""
    reader, halves = _Reader(), {"right": Box(0, 0, 0.5, 1), "left": Box(0.5, 0, 1, 1)}
    for report in reports:
        yield from reader.places(report, halves, "PA")


def share_of_both(noted: Sequence[NotedPlace]) -> float:
    """Return in which share of the reports that name a lung both are named."""
    return 1 - len({p.image_id for p in noted if p.is_alone}) / len({p.image_id for p in noted})


class _Reader:
    """The rules, and the regions of what they find."""

    def __init__(self) -> None:
        self.vocabulary = load_vocabulary()
        self.table, self.labeler = load_regions(self.vocabulary), Labeler(reader="rules")

    def places(self, report: Report, lungs: Mapping[str, Box], view: str) -> Iterator[NotedPlace]:
        """Yield a place for each lung that a report names."""
        found = self.labeler.label(report).findings
        said = [each for each in found if each.concept_id in OPACITIES and each.assertion.value == "positive"]
        geometry = ChestGeometry.of_image(self.table, view=view, right=lungs["right"], left=lungs["left"])
        hints = hint_regions(said, geometry, self.table, self.vocabulary).hints
        sides = {hint.side for hint in hints} & set(_SIDES)
        for lung, side in enumerate(_SIDES):
            mine = [hint for hint in hints if hint.side == side and hint.place not in _NO_EXTENT]
            zoned = [hint for hint in mine if hint.place not in _WHOLE]
            if not mine:
                continue
            box = lungs[side]
            top, bottom = (
                float(np.clip((edge - box.y_min) / (box.y_max - box.y_min), 0, 1))
                for edge in (
                    min(hint.box.y_min for hint in zoned or mine),
                    max(hint.box.y_max for hint in zoned or mine),
                )
            )
            yield NotedPlace(report.report_id, lung, top, bottom, len(sides) == 1, bool(zoned))


def _lung_boxes(folder: Path) -> dict[str, dict[str, Box]]:
    coco: dict[str, Any] = json.loads((folder / "boxes.coco.json").read_text("utf-8"))
    names = {category["id"]: category["name"].split()[0].lower() for category in coco["categories"]}
    images = {image["id"]: image for image in coco["images"]}
    found: dict[str, dict[str, Box]] = {}
    for box in coco["annotations"]:
        image = images[box["image_id"]]
        placed = Box.of_pixels(*box["bbox"], width=image["width"], height=image["height"])
        found.setdefault(Path(image["file_name"]).stem, {})[names[box["category_id"]]] = placed
    return found


def noted_picture(data: Path, image_id: str) -> NDArray[np.uint8]:
    """Return a picture of the COVID set."""
    with Image.open(data / "covid_cxr" / "images" / f"{image_id}.jpg") as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)


def cells_of(model: VisionModel, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> dict[str, LungCells]:
    """Return the cells of named pictures, in the lungs that a model finds; those without two lungs are left out."""
    found: dict[str, LungCells] = {}
    for start in range(0, len(pictures), _AT_ONCE):
        part = pictures[start : start + _AT_ONCE]
        for (name, pixels), mask in zip(part, model.segment([pixels for _, pixels in part]), strict=True):
            cells = lung_cells(pixels, mask)
            if cells is not None:
                found[name] = cells
    return found


def agreement(noted: list[NotedPlace], films: dict[str, LungCells], normal: NormalFilms, prior: Any) -> dict[str, Any]:
    """Return how the brightening agrees with notes: of a lung alone, which one; of zones, how high in the lung."""
    sides: list[tuple[bool, float]] = []
    zones: list[tuple[bool, float]] = []
    middle = np.array([(place.top + place.bottom) / 2 for place in places()])
    is_left = np.array([place.lung == 1 for place in places()])
    for place in noted:
        if place.image_id not in films:
            continue
        chance = probabilities(normal.evidence(films[place.image_id]), prior)
        if place.is_alone:
            sides.append((place.lung == 1, float(chance[is_left].sum())))
        is_low, is_high = place.top > 0.25, place.bottom < 0.75
        if place.is_zoned and is_low != is_high:
            within = is_left == (place.lung == 1)
            zones.append((is_low, float((chance * middle)[within].sum() / chance[within].sum())))
    truth, score = (np.array(column) for column in zip(*sides, strict=True))
    low, height = (np.array(column) for column in zip(*zones, strict=True))
    return {
        "pictures with one lung named": len(sides),
        "the right one of two": int(((score > 0.5) == truth).sum()),
        "AUROC, side": area_under_roc(truth, score),
        "lungs with an upper or lower zone named": len(zones),
        "AUROC, lower against upper": area_under_roc(low, height),
    }


def height_curve(noted: Sequence[NotedPlace], films: dict[str, LungCells], normal: NormalFilms) -> dict[str, Any]:
    """Return how well the height in a lung is learned from notes of other patients, by how many lungs are learned from.

    Ridge regression from the mean ranks of a lung's twelve rows, less those of normal films, to an upper or lower zone;
    AUROC over all lungs with such a zone, each scored by what was learned without its picture.
    """
    usual = normal.mean.reshape(2, ROWS, COLUMNS)
    rows, low, names = [], [], []
    for place in noted:
        is_low, is_high = place.top > 0.25, place.bottom < 0.75
        if place.is_zoned and is_low != is_high and place.image_id in films:
            apart = np.where(np.isnan(films[place.image_id].values), 0, films[place.image_id].values - usual)
            rows.append(apart[place.lung].mean(1))
            low.append(is_low)
            names.append(place.image_id)
    features, truth, images = np.array(rows), np.array(low), np.array(names)
    curve: dict[str, Any] = {}
    for count in (10, 20, 40, len(truth)):
        areas = []
        for seed in range(1 if count == len(truth) else _DRAWS):
            order = np.random.default_rng(seed).permutation(len(truth))
            scores = np.zeros(len(truth))
            for image in dict.fromkeys(images):
                others = [row for row in order if images[row] != image][:count]
                scores[images == image] = _ridge(features[others], truth[others])(features[images == image])
            areas.append(area_under_roc(truth, scores))
        curve[str(count)] = {"mean": float(np.mean(areas)), "lowest": min(areas), "highest": max(areas)}
    return curve


def _ridge(features: NDArray[np.float64], truth: NDArray[np.bool_]) -> Callable[[NDArray[np.float64]], Any]:
    middle, spread = features.mean(0), features.std(0) + 1e-6
    scaled = (features - middle) / spread
    penalty = _RIDGE * np.eye(scaled.shape[1])
    weights = np.linalg.solve(scaled.T @ scaled + penalty, scaled.T @ (truth - truth.mean()))
    return lambda asked: ((asked - middle) / spread) @ weights
