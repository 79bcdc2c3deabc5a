"""What the parts of `bench_vision` share: where data and models are, shipped recipes, NIH pictures, three labelings."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from corpora import Report, read_reports
from corpora.dataset.folder import DatasetFolder, open_dataset
from corpora.fetch import default_cache_dir, open_corpus
from corpora.weak_labels.policies import Treatment
from models.vision.recipe import Recipe, load_recipe
from models.vision.runtime import VisionModel
from tests.models.vision.folders import nih_folder

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
    wanted = {row["report_uid"] for row in manifest(data / "nih_cxr" / "manifest.csv")}
    corpus = open_corpus("openi", default_cache_dir(os.environ))
    found = {r.report_id: r for r in read_reports(corpus) if isinstance(r, Report) and r.report_id in wanted}
    missing = wanted - found.keys()
    if missing:
        raise SystemExit(f"{len(missing)} of the paired reports are not in the corpus")
    return found


def training_reports(data: Path) -> list[Report]:
    """Return the Open-i reports that are not held out."""
    held_out = set((data / "openi" / "openi-testset.txt").read_text("utf-8").split())
    corpus = open_corpus("openi", default_cache_dir(os.environ))
    return [r for r in read_reports(corpus) if isinstance(r, Report) and r.report_id not in held_out]


def nih_folders(bench: Bench) -> dict[str, DatasetFolder]:
    """Return the NIH pictures with three labelings.

    ``reports``: what the rules read, silence being absence in normal reports alone; ``silence``: the same, silence
    being absence in all reports; ``truth``: NIH's own labels.
    """
    made: dict[str, DatasetFolder] = {}
    for name, policy in (("reports", Treatment.ZEROS_IF_NORMAL), ("silence", Treatment.ZEROS), ("truth", None)):
        folder = bench.work / f"nih-{name}"
        if not (folder / "dataset.json").is_file():
            reports = None if policy is None else paired_reports(bench.data)
            nih_folder(folder, bench.data, reports, policy or Treatment.ZEROS)
        made[name] = open_dataset(folder)
    return made


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean, standard deviation and range."""
    return {
        "mean": float(np.mean(values)),
        "standard deviation": float(np.std(values, ddof=1)),
        "lowest": min(values),
        "highest": max(values),
    }


def manifest(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
