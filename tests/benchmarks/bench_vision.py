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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from corpora.dataset.folder import DatasetFolder, open_dataset
from models.vision.evaluate import evaluate, score_rows
from models.vision.metrics import area_under_roc, with_interval
from models.vision.recipe import Classification, Segmentation
from tests.benchmarks.learning_curves import draw_curves, measure_curves
from tests.benchmarks.measure import machine
from tests.benchmarks.turned_films import measure_positions
from tests.benchmarks.vision_boxes import bench_finding_boxes
from tests.benchmarks.vision_material import SEEDS, TARGET, Bench, manifest, nih_folders, recipe, spread
from tests.models.vision.folders import covid_folder


def bench_classification(bench: Bench) -> dict[str, Any]:
    """NIH test split, Pneumonia of the NIH labels: trained from the reports' labels against trained from NIH's."""
    folders = nih_folders(bench)
    by_truth = folders["truth"]
    rows = by_truth.table(split="test").to_pylist()
    truth = np.array([row[f"target:{TARGET}"] == 1 for row in rows])
    patients = [row["patient_id"] for row in rows]
    report_of = {row["image_id"]: row["report_uid"] for row in manifest(bench.data / "nih_cxr" / "manifest.csv")}
    seen = {report_of[image] for image in by_truth.table(["image_id"], "train").column("image_id").to_pylist()}
    apart = np.array([report_of[row["image_id"]] not in seen for row in rows])
    found: dict[str, Any] = {"test_rows": len(rows), "positives": int(truth.sum()), "runs": []}
    scores: dict[str, list[Any]] = {name: [] for name in folders}
    for seed in SEEDS:
        run: dict[str, Any] = {"seed": seed}
        for name, dataset in folders.items():
            chosen = recipe("classification", seed=seed, labels=(TARGET,))
            model, took = bench.train(f"nih-{name}-{seed}", dataset, chosen)
            logits = score_rows(model, by_truth, rows).logits[:, 0]
            scores[name].append(logits)
            run[name] = {"AUROC": area_under_roc(truth, logits), **took}
            run[name]["AUROC, report not in train"] = area_under_roc(truth[apart], logits[apart])
        run["ratio"] = run["reports"]["AUROC"] / run["truth"]["AUROC"]
        run["ratio, silence"] = run["silence"]["AUROC"] / run["truth"]["AUROC"]
        found["runs"].append(run)
    for name in folders:
        values = [run[name]["AUROC"] for run in found["runs"]]
        together = with_interval(
            area_under_roc, truth, np.mean(scores[name], axis=0), patients, resamples=bench.resamples
        )
        found[name] = {**spread(values), "interval of the mean score": [together.low, together.high]}
    for name in ("ratio", "ratio, silence"):
        found[name] = spread([run[name] for run in found["runs"]])
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
    dataset = nih_folders(bench)["truth"]
    found: dict[str, Any] = {"bars": {"gain_dB": 1.0}}
    for name in ("denoising", "super_resolution"):
        model, took = bench.train(f"nih-{name}", dataset, recipe(name))
        facts = evaluate(model, dataset, "test")
        found[name] = {"training": took, **{key: facts[key] for key in ("measured_on", "methods", "usual", "gain_dB")}}
        print(json.dumps({name: found[name]["gain_dB"]}), file=sys.stderr, flush=True)
    return found


def bench_concordance(bench: Bench) -> dict[str, Any]:
    """NIH training pictures with one label flipped in 5 % of the rows: how many flips the first tenth holds."""
    from models.vision.concordance import rank_disagreements
    from models.vision.training.cross_fit import cross_fit

    found: dict[str, Any] = {"bars": {"flips in the first tenth": 0.5}}
    chosen = recipe("classification", labels=(TARGET,), validation=0.0)
    assert isinstance(chosen, Classification)
    folders = nih_folders(bench)
    for name in ("silence", "truth"):  # every row has a label that can be flipped
        dataset = folders[name]
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
        found[name]["flips in the first tenth"] = spread(shares)
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


def bench_learning_curves(bench: Bench) -> dict[str, Any]:
    """NIH test split, Pneumonia: AUROC by the number of training patients, and the picture of it."""
    curves = measure_curves(bench)
    draw_curves(curves, bench.work / "learning-curves.png")
    return curves


def bench_positions(bench: Bench) -> dict[str, Any]:
    """Real training films turned and inverted on purpose: how `normalise` sets them right."""
    return measure_positions(bench.data)


PARTS: Mapping[str, Callable[[Bench], dict[str, Any]]] = {
    "positions": bench_positions,
    "classification": bench_classification,
    "lungs": bench_lungs,
    "segmentation_curve": bench_segmentation_curve,
    "restoration": bench_restoration,
    "finding_boxes": bench_finding_boxes,
    "concordance": bench_concordance,
    "learning_curves": bench_learning_curves,
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


if __name__ == "__main__":
    main()
