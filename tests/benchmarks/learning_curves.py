"""How AUROC on the NIH test split grows with the training patients, by what the labels come from.

    RADLABEL_TEST_DATA=... python -m tests.benchmarks.bench_vision --only learning_curves --json build/bench-vision.json

The shipped recipe, trained on an eighth, a quarter, half and all of the training patients, three draws each (of all
patients: three seeds), with as many steps for each. No patient is kept apart: there is no calibration to fit. The
features are computed once.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpora.dataset.folder import DatasetFolder, open_dataset
from models.vision.metrics import area_under_roc
from models.vision.recipe import Classification
from tests.benchmarks.vision_material import SEEDS, TARGET, Bench, nih_folders, recipe, spread

SHARES = (0.125, 0.25, 0.5, 1.0)
NAMES = {
    "truth": "NIH labels",
    "reports": "reports, silence is absence in normal ones",
    "silence": "reports, silence is absence",
}


def measure_curves(bench: Bench) -> dict[str, Any]:
    """Return AUROC, rows and patients for each labeling and share of the training patients."""
    folders = nih_folders(bench)
    rows = folders["truth"].table(["image_id", "split", "patient_id", f"target:{TARGET}"]).to_pylist()
    patients = sorted({row["patient_id"] for row in rows if row["split"] == "train"})
    found: dict[str, Any] = {}
    for name, dataset in folders.items():
        learn = _Learning(bench, dataset)
        for share in SHARES:
            runs = []
            for seed in SEEDS:
                drawn = np.random.default_rng([seed, round(1000 * share)]).permutation(patients)
                chosen = {str(patient) for patient in drawn[: round(share * len(patients))]}
                runs.append(learn.run(chosen, rows, seed, round(learn.recipe.epochs / share)))
            areas = spread([run["AUROC"] for run in runs])
            found.setdefault(name, {})[f"{share:g}"] = {"AUROC": areas, "runs": runs}
            print(f"{name}, {share:g}: {areas['mean']:.4f}", file=sys.stderr, flush=True)
    return found


class _Learning:
    """The classifier of one labeling: it learns from the training rows that are named, and scores the test rows."""

    def __init__(self, bench: Bench, dataset: DatasetFolder) -> None:
        import torch

        from models.vision.training.classification import ClassificationLearner

        torch.set_num_threads(bench.threads)
        self.bench = bench
        self.recipe = recipe("classification", labels=(TARGET,), validation=0.0)
        assert isinstance(self.recipe, Classification)
        self.folder = bench.work / f"{dataset.path.name}-curve"
        self.folder.mkdir(exist_ok=True)
        everything = open_dataset(_one_split(dataset, bench.work / f"{dataset.path.name}-everything"))
        cache = bench.cache("nih-curve")
        self.learner = ClassificationLearner.of_dataset(everything, self.recipe, self.folder, print, cache)
        self.fresh = {name: value.clone() for name, value in self.learner.network.state_dict().items()}

    def run(self, chosen: set[str], rows: Sequence[Mapping[str, Any]], seed: int, epochs: int) -> dict[str, float]:
        """Learn from the training rows of the chosen patients and measure on the test rows against NIH's labels."""
        import torch

        from models.vision.training.loop import run

        learner = self.learner
        row_of = {image_id: row for row, image_id in enumerate(learner.rows.image_ids)}
        known = learner.labels.known[:, 0]
        is_chosen = [row["split"] == "train" and row["patient_id"] in chosen for row in rows]
        places = np.array([row_of[row["image_id"]] for row in rows])
        training = places[np.array(is_chosen) & known[places]]
        testing = places[np.array([row["split"] == "test" for row in rows])]
        truth = np.array([row[f"target:{TARGET}"] == 1 for row in rows if row["split"] == "test"])
        learner.network.load_state_dict(self.fresh)
        learner.learn_from(training)
        state = self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        state.mkdir()
        changed = self.recipe.model_copy(update={"seed": seed, "epochs": epochs})
        for _ in run(learner, changed, state, name="curve"):
            pass
        with torch.inference_mode():
            scores = learner.logits(learner.network, testing)[:, 0]
        return {"AUROC": area_under_roc(truth, scores), "rows": len(training), "patients": len(chosen)}


def _one_split(dataset: DatasetFolder, folder: Path) -> Path:
    """Write the data set with all its rows in the split train: who learns from which is said row by row here."""
    import pyarrow.parquet as pq

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(dataset.path, folder)
    table = dataset.table()
    rows = [{**row, "split": "train"} for row in table.to_pylist()]
    pq.write_table(type(table).from_pylist(rows, table.schema), folder / "rows.parquet")
    return folder


def draw_curves(curves: Mapping[str, Any], picture: Path) -> None:
    """Draw mean and range of AUROC over the number of training patients into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6.4, 4))
    for name, label in NAMES.items():
        points = [curves[name][f"{share:g}"] for share in SHARES]
        patients = [point["runs"][0]["patients"] for point in points]
        mean, low, high = ([point["AUROC"][key] for point in points] for key in ("mean", "lowest", "highest"))
        axis.errorbar(
            patients,
            mean,
            yerr=[np.subtract(mean, low), np.subtract(high, mean)],
            marker="o",
            capsize=3,
            label=label,
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(patients, [str(count) for count in patients])
    axis.set_xlabel("training patients (three draws; whiskers: their range)")
    axis.set_ylabel("AUROC, NIH test split, Pneumonia")
    axis.grid(alpha=0.3)
    axis.legend(loc="lower right")
    figure.tight_layout()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
