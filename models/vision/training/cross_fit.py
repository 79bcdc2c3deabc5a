"""Scores of pictures by models that did not see them: training rows in folds of patients, each scored by the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from corpora.dataset.folder import DatasetFolder
from models.vision.errors import DatasetUnfit
from models.vision.recipe import Classification
from models.vision.training.classification import ClassificationLearner
from models.vision.training.loop import run


@dataclass(frozen=True, slots=True, repr=False)
class CrossFitted:
    """Rows in the order of the data set's splits train and validation, with logits (rows, labels) of models that did
    not see the row's patient.
    """

    image_ids: tuple[str, ...]
    patients: tuple[str, ...]
    labels: tuple[str, ...]
    targets: NDArray[np.float32]
    known: NDArray[np.bool_]
    logits: NDArray[np.float32]


def cross_fit(
    dataset: DatasetFolder,
    recipe: Classification,
    *,
    folds: int = 5,
    threads: int | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda message: None,
) -> CrossFitted:
    """Return cross-fitted scores of the rows of the splits train and validation; test rows are not read.

    Raises
    ------
    DatasetUnfit
        There are fewer patients than folds, or no label has rows of both values.
    """
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with TemporaryDirectory() as folder:
            learner = ClassificationLearner.of_dataset(dataset, recipe, Path(folder), say, cache)
            patients = learner.rows.patients
            fold_of = fold_patients(patients, folds)
            everything = np.flatnonzero(learner.labels.known.any(1))
            fresh = {name: value.clone() for name, value in learner.network.state_dict().items()}
            logits = np.zeros(learner.labels.targets.shape, dtype=np.float32)
            for fold in range(folds):
                say(f"fold {fold + 1} of {folds}")
                learner.network.load_state_dict(fresh)
                learner.learn_from(everything[fold_of[everything] != fold])
                for _ in run(learner, recipe, Path(folder), name=f"fold {fold + 1}"):
                    pass
                held_out = np.flatnonzero(fold_of == fold)
                with torch.inference_mode():
                    logits[held_out] = learner.logits(learner.network, held_out)
            return CrossFitted(
                learner.rows.image_ids,
                patients,
                learner.labels.labels,
                learner.labels.targets,
                learner.labels.known,
                logits,
            )
    finally:
        torch.set_num_threads(before)


def fold_patients(patients: tuple[str, ...], folds: int) -> NDArray[np.int64]:
    """Return the fold of each row: all rows of a patient in one, folds of like size, whatever the order of rows."""
    counts: dict[str, int] = {}
    for patient in patients:
        counts[patient] = counts.get(patient, 0) + 1
    if len(counts) < folds:
        raise DatasetUnfit(f"{len(counts)} patients cannot make {folds} folds")

    def key(patient: str) -> bytes:
        return hashlib.blake2b(patient.encode("utf-8", "surrogatepass"), digest_size=8, person=b"fold").digest()

    sizes = [0] * folds
    placed: dict[str, int] = {}
    for patient in sorted(counts, key=key):
        placed[patient] = sizes.index(min(sizes))
        sizes[placed[patient]] += counts[patient]
    return np.array([placed[patient] for patient in patients], dtype=np.int64)
