"""How good a model is on a split of a data set, as plain values for tables and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.dataset.folder import DatasetFolder
from models.vision.boxes import FoundBox
from models.vision.errors import DatasetUnfit
from models.vision.masks import lung_boxes
from models.vision.metrics import (
    area_under_roc,
    average_precision,
    expected_calibration_error,
    with_interval,
)
from models.vision.overlap import box_average_precision, dice, hausdorff_95, mask_iou, summary
from models.vision.recipe import Task
from models.vision.runtime import BATCH, FindingScores, VisionModel

OnRows = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Show nothing."""


def evaluate(
    model: VisionModel, dataset: DatasetFolder, split: str = "test", *, resamples: int = 1000, on_rows: OnRows = silent
) -> dict[str, Any]:
    """Return the measures of a model on the rows of a split.

    Raises
    ------
    DatasetUnfit
        No row is of the split, or the data set lacks what the measures need.
    """
    rows = dataset.table(split=split).to_pylist()
    if not rows:
        raise DatasetUnfit(f"{dataset.path.name}: no row is of the split {split}")
    facts: dict[str, Any] = {
        "task": model.task.value,
        "model": model.manifest.digest,
        "dataset": dataset.digest,
        "split": split,
        "rows": len(rows),
        "patients": len({row["patient_id"] for row in rows}),
        "resamples": resamples,
    }
    if model.task is Task.CLASSIFICATION:
        return facts | _classification(model, dataset, rows, resamples, on_rows)
    if model.task is Task.SEGMENTATION:
        return facts | _segmentation(model, dataset, rows, on_rows)
    if model.task is Task.DETECTION:
        return facts | _detection(model, dataset, rows, on_rows)
    from models.vision.restoration import measure_restoration

    return facts | measure_restoration(model, dataset, rows, on_rows)


def _segmentation(
    model: VisionModel, dataset: DatasetFolder, rows: list[dict[str, Any]], on_rows: OnRows
) -> dict[str, Any]:
    """Masks of the pictures' own size against the given ones, and the boxes around them against the given boxes."""
    with_mask = [row for row in rows if row["mask_file"] is not None]
    if not with_mask and not any(row["boxes"] for row in rows):
        raise DatasetUnfit(f"{dataset.path.name}: no row of the split has a mask or a box")
    overlaps: dict[str, list[float]] = {"Dice": [], "IoU": [], "HD95_pixels": [], "HD95_share": []}
    boxes = _Boxes()
    for number, row in enumerate(rows):
        [mask] = model.segment([dataset.read_image(row["file"])])
        around = lung_boxes(mask)
        boxes.add(number, row, [(name, (b.x_min, b.y_min, b.x_max, b.y_max), 1.0) for name, b in around.items()])
        if row["mask_file"] is not None:
            truth = dataset.read_image(row["mask_file"]) > 127
            distance = hausdorff_95(mask, truth)
            overlaps["Dice"].append(dice(mask, truth))
            overlaps["IoU"].append(mask_iou(mask, truth))
            overlaps["HD95_pixels"].append(distance)
            overlaps["HD95_share"].append(distance / max(mask.shape))
        on_rows(number + 1, len(rows))
    return {"masks": {name: summary(values) for name, values in overlaps.items()}, "boxes": boxes.measures()}


def _detection(
    model: VisionModel, dataset: DatasetFolder, rows: list[dict[str, Any]], on_rows: OnRows
) -> dict[str, Any]:
    boxes = _Boxes()
    for start in range(0, len(rows), BATCH):
        chunk = rows[start : start + BATCH]
        pictures = [dataset.read_image(row["file"]) for row in chunk]
        for offset, found in enumerate(model.detect(pictures, least=0.01)):
            boxes.add(start + offset, chunk[offset], found)
        on_rows(start + len(chunk), len(rows))
    if not any(boxes.truth.values()):
        raise DatasetUnfit(f"{dataset.path.name}: no row of the split has a box")
    return {"boxes": boxes.measures()}


class _Boxes:
    """Found and true boxes by label."""

    _THRESHOLDS = (0.5, 0.75, 0.9)

    def __init__(self) -> None:
        self.found: dict[str, list[tuple[int, Sequence[float], float]]] = {}
        self.truth: dict[str, list[tuple[int, Sequence[float]]]] = {}

    def add(self, picture: int, row: dict[str, Any], found: Sequence[FoundBox]) -> None:
        """Add what was found in a picture, and its true boxes."""
        for label, sides, score in found:
            self.found.setdefault(label, []).append((picture, sides, score))
        for box in row["boxes"] or ():
            self.truth.setdefault(box["label"], []).append((picture, box["box"]))

    def measures(self) -> dict[str, Any]:
        """Return the mean average precision over the labels that have true boxes, and each label's own."""
        by_label = {
            label: {
                f"AP@{threshold}": box_average_precision(self.found.get(label, []), truth, threshold)
                for threshold in self._THRESHOLDS
            }
            for label, truth in sorted(self.truth.items())
        }
        means = {
            f"m{name}": float(np.mean([values[name] for values in by_label.values()]))
            for name in (f"AP@{threshold}" for threshold in self._THRESHOLDS)
            if by_label
        }
        return {**means, "labels": by_label, "true_boxes": sum(len(truth) for truth in self.truth.values())}


def score_rows(
    model: VisionModel, dataset: DatasetFolder, rows: Sequence[dict[str, Any]], on_rows: OnRows = silent
) -> FindingScores:
    """Return the scores of rows of a data set, in their order."""
    parts: list[FindingScores] = []
    for start in range(0, len(rows), BATCH):
        chunk = rows[start : start + BATCH]
        parts.append(model.classify([dataset.read_image(row["file"]) for row in chunk]))
        on_rows(start + len(chunk), len(rows))
    return FindingScores(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.maps for part in parts]),
    )


def _classification(
    model: VisionModel, dataset: DatasetFolder, rows: list[dict[str, Any]], resamples: int, on_rows: OnRows
) -> dict[str, Any]:
    missing = [name for name in model.labels if name not in dataset.labels]
    if missing:
        raise DatasetUnfit(f"{dataset.path.name}: has no label {', '.join(missing)}, which the model gives")
    scores = score_rows(model, dataset, rows, on_rows)
    patients = [row["patient_id"] for row in rows]
    labels: list[dict[str, Any]] = []
    for index, name in enumerate(model.labels):
        known = np.array([row[f"mask:{name}"] and row[f"target:{name}"] is not None for row in rows], dtype=bool)
        truth = np.array([(row[f"target:{name}"] or 0.0) >= 0.5 for row in rows], dtype=bool)[known]
        logits, probabilities = scores.logits[known, index], scores.probabilities[known, index]
        groups = [patient for patient, is_known in zip(patients, known, strict=True) if is_known]
        labels.append(
            {
                "label": name,
                "rows": int(known.sum()),
                "positives": int(truth.sum()),
                "AUROC": asdict(with_interval(area_under_roc, truth, logits, groups, resamples=resamples)),
                "AP": asdict(with_interval(average_precision, truth, logits, groups, resamples=resamples)),
                "calibration_error": _number(expected_calibration_error(truth, probabilities)),
                **_at_threshold(truth, probabilities >= model.manifest.calibration[index].threshold),
                "threshold": model.manifest.calibration[index].threshold,
                "brier": _number(float(np.mean((probabilities - truth) ** 2)) if len(truth) else float("nan")),
            }
        )
    known_areas = [label["AUROC"]["value"] for label in labels if label["AUROC"]["value"] is not None]
    return {
        "labels": labels,
        "mean_AUROC": float(np.mean(known_areas)) if known_areas else None,
        "hints": hints_obeyed(model.labels, rows, scores),
    }


def _at_threshold(truth: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, float | None]:
    """Return the share of present labels that are called present, and of absent ones that are not."""
    return {
        "sensitivity": float(called[truth].mean()) if truth.any() else None,
        "specificity": float((~called[~truth]).mean()) if not truth.all() else None,
    }


def hints_obeyed(labels: Sequence[str], rows: Sequence[dict[str, Any]], scores: FindingScores) -> dict[str, Any]:
    """Return how often a map is brightest where the report said: on the patient's side, and within the region.

    Counted are findings that a report places, one by one: a label with two regions (both sides) has the brightest
    place of either half looked at. A region is met within half a place of the map.
    """
    sides = inside = count = 0
    for index, row in enumerate(rows):
        named: dict[str, list[dict[str, Any]]] = {}
        for region in row.get("regions") or ():
            if region["assertion"] == "positive" and region["label"] in labels:
                named.setdefault(region["label"], []).append(region)
        for label, regions in named.items():
            plane = scores.maps[index, labels.index(label)]
            x, y = _brightest(plane)
            slack_x, slack_y = 0.5 / plane.shape[1], 0.5 / plane.shape[0]
            lateralities = {region["laterality"] for region in regions}
            side = "right" if x < 0.5 else "left"
            count += 1
            sides += side in lateralities or not lateralities <= {"right", "left"}
            inside += any(
                box[0] - slack_x <= x <= box[2] + slack_x and box[1] - slack_y <= y <= box[3] + slack_y
                for box in (region["box"] for region in regions)
            )
    share = {"side": sides / count, "region": inside / count} if count else {"side": None, "region": None}
    return {"findings": count, **share}


def _brightest(plane: Any) -> tuple[float, float]:
    """Return the middle of the brightest place of a map, in fractions."""
    row, column = np.unravel_index(int(plane.argmax()), plane.shape)
    return (float(column) + 0.5) / plane.shape[1], (float(row) + 0.5) / plane.shape[0]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
