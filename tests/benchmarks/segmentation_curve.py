"""How Dice of lung masks grows with the training patients: says how much data would be needed.

    RADLABEL_TEST_DATA=... python -m tests.benchmarks.bench_vision --only segmentation_curve --json build/curve.json

A decoder learns from the kept features of a quarter, half and all of the training patients, with as many steps for
each. Measured on training patients kept apart, the same ones for every share: the split test is not read.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpora.dataset.folder import DatasetFolder, open_dataset
from models.vision.recipe import Segmentation
from models.vision.training.loop import run
from models.vision.training.segmentation import SegmentationLearner

SHARES = (0.25, 0.5, 1.0)
#: Of each share's patients, another draw for each of these.
DRAWS = (1,)
#: A fifth of the training patients measures. The backbone stays as it is, so that its features are computed once.
APART = {"validation": 0.2, "frozen": 16, "backbone_rate": 0.0, "variants": 6}
#: Of all patients; a share of them sees its pictures oftener. Twice as many gave 0.003 more Dice on all of them.
EPOCHS = 30


def segmentation_curve(dataset: DatasetFolder, recipe: Segmentation, work: Path, threads: int) -> dict[str, Any]:
    """Return Dice, rows and patients for each share of the training patients that have masks.

    ``dataset`` has ``mask_file`` in its rows; ``work`` is where pictures and features lie meanwhile.
    """
    torch.set_num_threads(threads)
    folder = work / "segmentation-curve"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chosen = recipe.model_copy(update={**APART, "epochs": EPOCHS})
    masked = _masked_training_rows(dataset, folder / "masked")
    learner = SegmentationLearner.of_dataset(masked, chosen, folder, lambda message: None)
    fresh = {name: value.clone() for name, value in learner.network.state_dict().items()}
    every = learner.training
    patients = sorted({learner.rows.patients[row] for row in every})
    found: dict[str, Any] = {"rows kept apart": len(learner.validating), "shares": {}}
    for share in SHARES:
        runs = []
        for draw in DRAWS:
            # One order of the patients for a draw: the smaller share is part of the larger.
            order = np.random.default_rng(draw).permutation(patients)
            drawn = set(order[: round(share * len(patients))])
            learner.training = np.array([row for row in every if learner.rows.patients[row] in drawn], dtype=np.int64)
            learner.network.load_state_dict(fresh)
            steps = max(1, len(every) // chosen.batch) * EPOCHS
            epochs = round(steps / learner.steps())
            state = folder / f"{share:g}-{draw}"
            state.mkdir()
            for _ in run(learner, chosen.model_copy(update={"seed": draw, "epochs": epochs}), state):
                pass
            with torch.inference_mode():
                measured = learner.validate(learner.network)
            runs.append({**measured, "rows": len(learner.training), "patients": len(drawn)})
        mean = float(np.mean([each["Dice"] for each in runs]))
        found["shares"][f"{share:g}"] = {"Dice": mean, "runs": runs}
        print(f"masks, {share:g} of the patients: {runs}", file=sys.stderr, flush=True)
    return found


def _masked_training_rows(dataset: DatasetFolder, folder: Path) -> DatasetFolder:
    """Write the data set with those rows of the split train that have a mask, the only ones to compute features of."""
    import pyarrow.parquet as pq

    shutil.copytree(dataset.path, folder)
    table = dataset.table()
    rows = [row for row in table.to_pylist() if row["split"] == "train" and row["mask_file"] is not None]
    pq.write_table(type(table).from_pylist(rows, table.schema), folder / "rows.parquet")
    return open_dataset(folder)
