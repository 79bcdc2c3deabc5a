"""Image models from weak labels against human truth: every bar of docs/vision.md, side by side in one run.

    RADLABEL_TEST_DATA=... python -m tests.benchmarks.bench_vision --json build/bench-vision.json

Each part can be run alone with ``--only``; parts that are already in the JSON file are kept. Training uses the shipped
recipes and the split train alone; the split test is read by the measures and by nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from corpora import Report, read_reports
from corpora.dataset.folder import DatasetFolder, open_dataset
from corpora.fetch import default_cache_dir, open_corpus
from corpora.weak_labels.shapes import split_lung_mask
from models.vision.boxes import boxes_of_map
from models.vision.evaluate import evaluate, score_rows
from models.vision.masks import lung_boxes
from models.vision.metrics import area_under_roc, with_interval
from models.vision.pictures import resize_plane
from models.vision.recipe import Classification, Recipe, Segmentation, load_recipe
from models.vision.runtime import VisionModel
from tests.benchmarks.finding_boxes import Sides, measure_boxes, pointing
from tests.benchmarks.measure import machine
from tests.models.vision.folders import covid_folder, nih_folder

TARGET = "Pneumonia"
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Bench:
    """Where data and models are, and how many threads compute."""

    data: Path
    work: Path
    threads: int
    resamples: int = 1000

    def cache(self, name: str) -> Path | None:
        """Return where the seeds of the NIH runs share their features: the time of the first run holds them."""
        if not name.startswith("nih-"):
            return None
        folder = self.work / "features"
        folder.mkdir(exist_ok=True)
        return folder

    def train(self, name: str, dataset: DatasetFolder, recipe: Recipe) -> tuple[VisionModel, dict[str, float]]:
        """Train a recipe and return the model, with the seconds that it took."""
        from models.vision.training.train import run_folder, train

        out = self.work / name
        for folder in (out, run_folder(out)):
            shutil.rmtree(folder, ignore_errors=True)
        wall, cpu = time.perf_counter(), time.process_time()
        train(dataset, recipe, out, threads=self.threads, cache=self.cache(name))
        took = {"wall_s": round(time.perf_counter() - wall, 1), "cpu_s": round(time.process_time() - cpu, 1)}
        print(f"{name}: trained in {took}", file=sys.stderr, flush=True)
        return VisionModel(out, threads=self.threads), took


def recipe(name: str, **changes: Any) -> Recipe:
    """Return a shipped recipe with changes."""
    found = load_recipe(Path(str(resources.files("models.vision").joinpath("recipes", f"{name}.yaml"))))
    return found.model_copy(update=changes)


def paired_reports(data: Path) -> Mapping[str, Report]:
    """Return the Open-i reports that stand beside the NIH pictures, by id."""
    wanted = {row["report_uid"] for row in _rows(data / "nih_cxr" / "manifest.csv")}
    corpus = open_corpus("openi", default_cache_dir(os.environ))
    found = {r.report_id: r for r in read_reports(corpus) if isinstance(r, Report) and r.report_id in wanted}
    missing = wanted - found.keys()
    if missing:
        raise SystemExit(f"{len(missing)} of the paired reports are not in the corpus")
    return found


def nih_pair(bench: Bench) -> tuple[DatasetFolder, DatasetFolder]:
    """Return the NIH pictures with the labels of the reports, and with their own."""
    folders = []
    for name, reports in (("nih-reports", paired_reports(bench.data)), ("nih-truth", None)):
        folder = bench.work / name
        if not (folder / "dataset.json").is_file():
            nih_folder(folder, bench.data, reports)
        folders.append(open_dataset(folder))
    return folders[0], folders[1]


def bench_classification(bench: Bench) -> dict[str, Any]:
    """NIH test split, Pneumonia of the NIH labels: trained from the reports' labels against trained from NIH's."""
    by_reports, by_truth = nih_pair(bench)
    rows = by_truth.table(split="test").to_pylist()
    truth = np.array([row[f"target:{TARGET}"] == 1 for row in rows])
    patients = [row["patient_id"] for row in rows]
    report_of = {row["image_id"]: row["report_uid"] for row in _rows(bench.data / "nih_cxr" / "manifest.csv")}
    seen = {report_of[image] for image in by_truth.table(["image_id"], "train").column("image_id").to_pylist()}
    apart = np.array([report_of[row["image_id"]] not in seen for row in rows])
    found: dict[str, Any] = {"test_rows": len(rows), "positives": int(truth.sum()), "runs": []}
    scores: dict[str, list[Any]] = {"reports": [], "truth": []}
    for seed in SEEDS:
        run: dict[str, Any] = {"seed": seed}
        for name, dataset in (("reports", by_reports), ("truth", by_truth)):
            chosen = recipe("classification", seed=seed, labels=(TARGET,))
            model, took = bench.train(f"nih-{name}-{seed}", dataset, chosen)
            logits = score_rows(model, by_truth, rows).logits[:, 0]
            scores[name].append(logits)
            run[name] = {"AUROC": area_under_roc(truth, logits), **took}
            run[name]["AUROC, report not in train"] = area_under_roc(truth[apart], logits[apart])
        run["ratio"] = run["reports"]["AUROC"] / run["truth"]["AUROC"]
        found["runs"].append(run)
    for name in ("reports", "truth"):
        values = [run[name]["AUROC"] for run in found["runs"]]
        together = with_interval(
            area_under_roc, truth, np.mean(scores[name], axis=0), patients, resamples=bench.resamples
        )
        found[name] = {**_spread(values), "interval of the mean score": [together.low, together.high]}
    found["ratio"] = _spread([run["ratio"] for run in found["runs"]])
    found["test rows whose report is not in train"] = int(apart.sum())
    found["bars"] = {"ratio": 0.97, "reports": 0.86}
    return found


def bench_lungs(bench: Bench) -> dict[str, Any]:
    """COVID test pictures: lung masks with and without masks in training, lung boxes."""
    with_truth, without = (bench.work / name for name in ("covid", "covid-bare"))
    for folder, is_given in ((with_truth, True), (without, False)):
        if not (folder / "dataset.json").is_file():
            covid_folder(folder, bench.data, with_truth=is_given)
    measured = open_dataset(with_truth)
    found: dict[str, Any] = {"bars": {"masks": 0.95, "no mask or box": 0.90, "mAP@0.5": 0.95}}
    for name, source, key in (
        ("segmentation", with_truth, "masks"),
        ("segmentation_without_masks", without, "no mask or box"),
        ("detection", with_truth, "boxes"),
    ):
        model, took = bench.train(f"covid-{name}", open_dataset(source), recipe(name))
        facts = evaluate(model, measured, "test", resamples=bench.resamples)
        found[key] = {
            "training": took,
            "rows": facts["rows"],
            **{k: facts[k] for k in ("masks", "boxes") if k in facts},
        }
        print(json.dumps({key: found[key]}), file=sys.stderr, flush=True)
    return found


def bench_segmentation_curve(bench: Bench) -> dict[str, Any]:
    """COVID training pictures: Dice on patients kept apart, by the share of the others that is learned from."""
    from tests.benchmarks.segmentation_curve import segmentation_curve

    folder = bench.work / "covid"
    if not (folder / "dataset.json").is_file():
        covid_folder(folder, bench.data)
    chosen = recipe("segmentation")
    assert isinstance(chosen, Segmentation)
    return segmentation_curve(open_dataset(folder), chosen, bench.work, bench.threads)


def bench_restoration(bench: Bench) -> dict[str, Any]:
    """NIH test pictures: simulated low dose against non-local means, twice the size against bicubic."""
    _, dataset = nih_pair(bench)
    found: dict[str, Any] = {"bars": {"gain_dB": 1.0}}
    for name in ("denoising", "super_resolution"):
        model, took = bench.train(f"nih-{name}", dataset, recipe(name))
        facts = evaluate(model, dataset, "test")
        found[name] = {"training": took, **{key: facts[key] for key in ("measured_on", "methods", "usual", "gain_dB")}}
        print(json.dumps({name: found[name]["gain_dB"]}), file=sys.stderr, flush=True)
    return found


def bench_finding_boxes(bench: Bench) -> dict[str, Any]:
    """Boxes of pneumonia and infiltrates on the boxed NIH pictures, from maps that no box taught.

    The lungs are those of the model that learned masks on the COVID pictures. In each lung, the brightest part of the
    map within it is a box. The fixed boxes are the whole lungs, and their lower parts: as many boxes for every picture.
    """
    _, by_truth = nih_pair(bench)
    boxes: dict[str, list[Sides]] = {}
    for row in _rows(bench.data / "nih_cxr" / "boxes.csv"):
        x, y, w, h = (float(row[side]) / 512 for side in "xywh")
        boxes.setdefault(row["image_id"], []).append((x, y, x + w, y + h))
    rows = [row for row in by_truth.table(split="test").to_pylist() if row["image_id"] in boxes]
    truth = [boxes[row["image_id"]] for row in rows]
    pictures = [by_truth.read_image(row["file"]) for row in rows]
    lungs = VisionModel(bench.work / "covid-segmentation", threads=bench.threads).segment(pictures)
    fixed = {"whole lungs": (0.0, 1.0), "lower two thirds": (1 / 3, 1.0), "lower halves": (0.5, 1.0)}
    found: dict[str, Any] = {"pictures": len(rows), "true boxes": sum(map(len, truth)), "methods": {}}
    for name, (top, bottom) in fixed.items():
        parts = [_parts(mask, top, bottom) for mask in lungs]
        found["methods"][name] = measure_boxes(parts, truth)
        middles = [[((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in boxes] for boxes in parts]
        found["methods"][name]["pointing"] = pointing(middles, truth)
    for seed in SEEDS:
        model = VisionModel(bench.work / f"nih-reports-{seed}", threads=bench.threads)
        maps = model.classify(pictures).maps[:, 0]
        mine = [_brightest_parts(plane, mask) for plane, mask in zip(maps, lungs, strict=True)]
        found["methods"][f"maps, seed {seed}"] = measure_boxes(mine, truth)
        points = [[_brightest_point(plane, mask)] for plane, mask in zip(maps, lungs, strict=True)]
        found["methods"][f"maps, seed {seed}"]["pointing"] = pointing(points, truth)
    return found


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


def bench_concordance(bench: Bench) -> dict[str, Any]:
    """NIH training pictures with one label flipped in 5 % of the rows: how many flips the first tenth holds."""
    from models.vision.concordance import rank_disagreements
    from models.vision.training.cross_fit import cross_fit

    found: dict[str, Any] = {"bars": {"flips in the first tenth": 0.5}}
    chosen = recipe("classification", labels=(TARGET,), validation=0.0)
    assert isinstance(chosen, Classification)
    for name, dataset in zip(("reports", "truth"), nih_pair(bench), strict=True):
        shares = []
        for seed in SEEDS:
            folder = bench.work / f"nih-{name}-flipped-{seed}"
            flipped = _flip(dataset, folder, seed)
            fitted = cross_fit(open_dataset(folder), chosen, threads=bench.threads, cache=bench.cache("nih-"))
            rows = np.flatnonzero(fitted.known[:, 0])
            given = fitted.targets[rows, 0] >= 0.5
            facts, ranked = rank_disagreements(TARGET, given, fitted.logits[rows, 0], rows)
            first = {fitted.image_ids[row.row] for row in ranked[: len(ranked) // 10]}
            shares.append(len(first & flipped) / len(flipped))
            found.setdefault(name, {})[f"estimated error, seed {seed}"] = facts.estimated_error
        found[name]["flips in the first tenth"] = _spread(shares)
        print(json.dumps({name: found[name]}), file=sys.stderr, flush=True)
    return found


def _flip(dataset: DatasetFolder, folder: Path, seed: int) -> set[str]:
    """Write a data set with the target flipped in 5 % of the training rows, and return their ids."""
    import pyarrow.parquet as pq

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dataset.path, folder)
    table = dataset.table()
    rows = table.to_pylist()
    training = [row for row in rows if row["split"] == "train"]
    drawn = np.random.default_rng(seed).choice(len(training), round(0.05 * len(training)), replace=False)
    for index in drawn:
        training[index][f"target:{TARGET}"] = 1.0 - training[index][f"target:{TARGET}"]
    pq.write_table(type(table).from_pylist(rows, table.schema), folder / "rows.parquet")
    return {training[index]["image_id"] for index in drawn}


PARTS: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "classification": bench_classification,
    "lungs": bench_lungs,
    "segmentation_curve": bench_segmentation_curve,
    "restoration": bench_restoration,
    "finding_boxes": bench_finding_boxes,
    "concordance": bench_concordance,
}


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--folder", type=Path, help="where data sets and models are made (default: a temporary folder)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the numbers go")
    arguments = parser.parse_args()
    data = os.environ.get("RADLABEL_TEST_DATA")
    if not data:
        raise SystemExit("RADLABEL_TEST_DATA does not name the folder of the test data")
    result: dict[str, Any] = {}
    if arguments.json and arguments.json.is_file():
        result = json.loads(arguments.json.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.folder or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        for part in arguments.only:
            bench = Bench(Path(data), work, arguments.threads)
            result[part] = PARTS[part](bench)
            result["machine"] = machine() | {"threads": arguments.threads}
            text = json.dumps(result, indent=2)
            if arguments.json:
                arguments.json.parent.mkdir(parents=True, exist_ok=True)
                arguments.json.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "standard deviation": float(np.std(values, ddof=1)),
        "lowest": min(values),
        "highest": max(values),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    import csv

    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
