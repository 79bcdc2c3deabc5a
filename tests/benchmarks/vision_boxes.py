"""Finding boxes on the boxed NIH pictures: fixed ones, those of maps, those of brightening; none taught by a box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from corpora.weak_labels.shapes import split_lung_mask
from models.vision.boxes import boxes_of_map
from models.vision.brightening import (
    NormalFilms,
    choose_boxes,
    extents_prior,
    in_each_lung,
    likeliest_point,
    lung_cells,
    places,
    probabilities,
)
from models.vision.masks import lung_boxes
from models.vision.pictures import resize_plane
from models.vision.runtime import VisionModel
from tests.benchmarks.finding_boxes import Sides, measure_boxes, pointing
from tests.benchmarks.noted_places import (
    NotedPlace,
    agreement,
    cells_of,
    height_curve,
    noted_picture,
    noted_places,
    reported_places,
    share_of_both,
)
from tests.benchmarks.vision_material import SEEDS, TARGET, Bench, manifest, nih_folders, training_reports

#: The same part of each lung's box: from top (0) to bottom (1).
FIXED = {"whole lungs": (0.0, 1.0), "lower two thirds": (1 / 3, 1.0), "lower halves": (0.5, 1.0)}


def bench_finding_boxes(bench: Bench) -> dict[str, Any]:
    """Boxes of pneumonia and infiltrates on the boxed NIH pictures, from maps that no box taught.

    The lungs are those of the model that learned masks on the COVID pictures. In each lung, the brightest part of the
    map within it is a box. The fixed boxes are the whole lungs, and their lower parts: as many boxes for every picture.
    """
    by_truth = nih_folders(bench)["truth"]
    boxes: dict[str, list[Sides]] = {}
    for row in manifest(bench.data / "nih_cxr" / "boxes.csv"):
        x, y, w, h = (float(row[side]) / 512 for side in "xywh")
        boxes.setdefault(row["image_id"], []).append((x, y, x + w, y + h))
    rows = [row for row in by_truth.table(split="test").to_pylist() if row["image_id"] in boxes]
    truth = [boxes[row["image_id"]] for row in rows]
    pictures = [by_truth.read_image(row["file"]) for row in rows]
    lungs = VisionModel(bench.work / "covid-segmentation", threads=bench.threads).segment(pictures)
    found: dict[str, Any] = {"pictures": len(rows), "true boxes": sum(map(len, truth)), "methods": {}}
    for name, (top, bottom) in FIXED.items():
        parts = [_parts(mask, top, bottom) for mask in lungs]
        found["methods"][name] = _measured(parts, truth)
        found["methods"][f"{name}, right lung alone"] = _measured([boxes[:1] for boxes in parts], truth)
    found["methods"] |= _brightening(bench, pictures, lungs, truth, found)
    for seed in SEEDS:
        model = VisionModel(bench.work / f"nih-reports-{seed}", threads=bench.threads)
        maps = model.classify(pictures).maps[:, 0]
        mine = [_brightest_parts(plane, mask) for plane, mask in zip(maps, lungs, strict=True)]
        found["methods"][f"maps, seed {seed}"] = measure_boxes(mine, truth)
        points = [[_brightest_point(plane, mask)] for plane, mask in zip(maps, lungs, strict=True)]
        found["methods"][f"maps, seed {seed}"]["pointing"] = pointing(points, truth)
    return found


def _brightening(
    bench: Bench, pictures: Sequence[Any], lungs: Sequence[Any], truth: Sequence[Sequence[Sides]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Boxes where the lungs are brighter than in training films with normal reports, by what reports name or without.

    What is named: in the Open-i reports that are not held out, most of them of other patients than the pictures; in the
    notes of the COVID training pictures. How far the notes agree with the pictures goes to ``facts``.
    """
    model = VisionModel(bench.work / "covid-segmentation", threads=bench.threads)
    by_reports = nih_folders(bench)["silence"]
    rows = by_reports.table(split="train").to_pylist()
    names = [f"label:{label}" for label in by_reports.labels]
    normal_rows = [row for row in rows if not any(row[name] in ("positive", "uncertain") for name in names)]
    normal = NormalFilms(
        [*cells_of(model, [(row["image_id"], by_reports.read_image(row["file"])) for row in normal_rows]).values()]
    )
    noted = list(noted_places(bench.data))
    reported = list(reported_places(training_reports(bench.data)))
    priors = {
        "reports": (_extents(reported), share_of_both(reported)),
        "notes": (_extents(noted), share_of_both(noted)),
        "neither": (extents_prior(), 0.0),
    }
    facts["lungs that reports zone"] = sum(place.is_zoned for place in reported)
    facts["share of both lungs"] = {name: both for name, (_, both) in priors.items()}
    films = cells_of(model, [(name, noted_picture(bench.data, name)) for name in sorted({p.image_id for p in noted})])
    facts["normal films"] = len(normal_rows)
    facts["agreement with notes"] = agreement(noted, films, normal, priors["notes"][0])
    facts["height learned from notes"] = height_curve(noted, films, normal)
    found: dict[str, Any] = {}
    mine = [lung_cells(picture, mask) for picture, mask in zip(pictures, lungs, strict=True)]
    for source, (before, both) in priors.items():
        name = f"brightening, {source}"
        chances = [
            None if film is None else in_each_lung(probabilities(normal.evidence(film), before), both) for film in mine
        ]
        for count in (2, 1):
            boxes = [
                [] if film is None or chance is None else [box for box, _ in choose_boxes(chance, film.boxes, count)]
                for film, chance in zip(mine, chances, strict=True)
            ]
            found[f"{name}, {count} an image"] = measure_boxes(boxes, truth)
        points = [
            [(-1.0, -1.0)] if film is None or chance is None else [likeliest_point(chance, film.boxes)]
            for film, chance in zip(mine, chances, strict=True)
        ]
        found[f"{name}, 2 an image"]["pointing"] = pointing(points, truth)
    is_right = np.array([place.lung == 0 for place in places()])
    before = priors["reports"][0]
    chances = [None if film is None else probabilities(normal.evidence(film), before) for film in mine]
    lung = [0 if chance is None or chance[is_right].sum() >= 0.5 else 1 for chance in chances]
    likelier = {
        name: [_parts(mask, *extent)[side : side + 1] for mask, side in zip(lungs, lung, strict=True)]
        for name, extent in FIXED.items()
    }
    for name, boxes in likelier.items():
        found[f"{name}, likelier lung alone"] = _measured(boxes, truth)
    return found


def _extents(noted: Sequence[NotedPlace]) -> Any:
    return extents_prior([(place.top, place.bottom) for place in noted if place.is_zoned])


def _measured(boxes: Sequence[Sequence[Sides]], truth: Sequence[Sequence[Sides]]) -> dict[str, Any]:
    """Return the measures of boxes, and of their middles as points."""
    middles = [[((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in mine] for mine in boxes]
    return measure_boxes(boxes, truth) | {"pointing": pointing(middles, truth)}


def _parts(mask: Any, top: float, bottom: float) -> list[Sides]:
    """Return the same part of each lung's box, from top (0) to bottom (1)."""
    return [
        (b.x_min, b.y_min + top * (b.y_max - b.y_min), b.x_max, b.y_min + bottom * (b.y_max - b.y_min))
        for b in lung_boxes(mask).values()
    ]


def _brightest_parts(plane: Any, mask: Any) -> list[Sides]:
    """Return the box around the brightest part of a map in each lung."""
    found = []
    for half in split_lung_mask(mask):
        if half.any():
            found += [sides for _, sides, _ in boxes_of_map(plane, TARGET, share=0.5, within=half, most=1)]
    return found


def _brightest_point(plane: Any, mask: Any) -> tuple[float, float]:
    """Return the middle of the brightest place of a map within the lungs."""
    height, width = mask.shape
    fine = np.where(mask, resize_plane(plane, width, height), -1)
    row, column = np.unravel_index(int(fine.argmax()), fine.shape)
    return (float(column) + 0.5) / width, (float(row) + 0.5) / height
