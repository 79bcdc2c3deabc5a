"""A training from a data set folder to a model folder.

The run's folder (``OUT.run``) keeps the recipe, the checkpoint, the metrics and the pictures; starting again with the
same options goes on where it stopped. The model folder appears whole, at the end.
"""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import save as to_safetensors

from corpora.dataset.folder import DatasetFolder
from corpora.fetch import file_sha256
from models.text.digest import code_digest
from models.vision.calibration import Calibration
from models.vision.errors import RunMismatch
from models.vision.folder import CARD, CURVES, GRAPH, MANIFEST, METRICS, WEIGHTS, Manifest
from models.vision.recipe import Classification, Detection, Recipe, Segmentation
from models.vision.training.card import draw_curves, write_card
from models.vision.training.classification import ClassificationLearner
from models.vision.training.detection import DetectionLearner
from models.vision.training.loop import METRICS as STEPS
from models.vision.training.loop import Learner, Progress, run
from models.vision.training.restoration import RestorationLearner
from models.vision.training.segmentation import SegmentationLearner

_RUN = "run.json"


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training ended with: the folder, its manifest and the last measures on the rows kept apart."""

    folder: Path
    manifest: Manifest
    measures: dict[str, float]


class TaskLearner(Learner, Protocol):
    """A learner that knows what its model is to be called and how it is exported."""

    def names(self) -> tuple[str, ...]:
        """Return the labels in the order of the outputs."""
        ...

    def outputs_named(self) -> tuple[str, ...]:
        """Return the names of the outputs."""
        ...

    def graph(self) -> bytes:
        """Return the network as an ONNX graph."""
        ...

    def counts(self) -> dict[str, Any]:
        """Return how many rows, patients and targets were learned from."""
        ...

    def calibration(self) -> tuple[Calibration, ...]:
        """Return how logits become probabilities."""
        ...

    def stages(self) -> list[str]:
        """Return the names of the stages, one after another."""
        ...

    def begin(self, stage: str) -> None:
        """Make ready for a stage."""
        ...


def run_folder(out: Path) -> Path:
    """Return where a run keeps what it needs to go on."""
    return out.with_name(out.name + ".run")


def train(
    dataset: DatasetFolder,
    recipe: Recipe,
    out: Path,
    *,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda message: None,
    threads: int | None = None,
    cache: Path | None = None,
) -> Trained:
    """Train a recipe on a data set and write the model folder ``out``.

    ``cache`` is a folder in which the features of frozen blocks stay, for other runs over the same pictures; without it
    they lie in the run's folder and go when the model is written.

    Raises
    ------
    DatasetUnfit
        The data set lacks what the task learns from.
    RunMismatch
        ``out`` exists, or its run was begun with another recipe or data set.
    BackboneUnavailable
        The weights that the recipe starts from are not on this machine.
    """
    if out.exists():
        raise RunMismatch(f"{out.name} exists; a model is never written over another")
    folder = run_folder(out)
    digest = dataset.digest
    _begin(folder, {"recipe": recipe.model_dump(mode="json"), "dataset": digest})
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        learner = make_learner(dataset, recipe, folder, say, cache)
        measures: dict[str, float] = {}
        for stage in learner.stages():
            learner.begin(stage)
            for progress in run(learner, recipe, folder, name=stage):
                if progress.measures is not None:
                    measures = progress.measures
                on_progress(progress)
        say("writing the model")
        return Trained(out, _write(learner, dataset, digest, recipe, measures, folder, out), measures)
    finally:
        torch.set_num_threads(before)


def make_learner(
    dataset: DatasetFolder,
    recipe: Recipe,
    folder: Path,
    say: Callable[[str], None] = lambda message: None,
    cache: Path | None = None,
) -> TaskLearner:
    """Return the learner of a recipe's task."""
    if isinstance(recipe, Classification):
        return ClassificationLearner.of_dataset(dataset, recipe, folder, say, cache)
    if isinstance(recipe, Detection):
        return DetectionLearner.of_dataset(dataset, recipe, folder, say, cache)
    if isinstance(recipe, Segmentation):
        return SegmentationLearner.of_dataset(dataset, recipe, folder, say, cache)
    return RestorationLearner.of_dataset(dataset, recipe, folder, say)


def _begin(folder: Path, asked: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _RUN
    if path.is_file():
        try:
            known = json.loads(path.read_text("utf-8"))
        except ValueError:
            known = None
        if known != asked:
            raise RunMismatch(
                f"{folder.name} was begun with another recipe or data set: remove it to begin anew, or train elsewhere"
            )
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(asked, indent=2), encoding="utf-8")
    temporary.replace(path)


def _write(
    learner: TaskLearner,
    dataset: DatasetFolder,
    digest: str,
    recipe: Recipe,
    measures: dict[str, float],
    folder: Path,
    out: Path,
) -> Manifest:
    building = folder / "model"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    learner.network.to("cpu").eval()
    (building / GRAPH).write_bytes(learner.graph())
    state = {name: value.contiguous() for name, value in learner.network.state_dict().items()}
    (building / WEIGHTS).write_bytes(to_safetensors(state))
    counts = learner.counts()
    metrics = {"validation": measures, "counts": counts, "set_apart_for_measuring": bool(measures)}
    (building / METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    draw_curves(folder / STEPS, building / CURVES)
    manifest = Manifest(
        version=version("radlabel"),
        task=recipe.task,
        labels=learner.names(),
        recipe=recipe,
        calibration=learner.calibration(),
        outputs=learner.outputs_named(),
        digests={name: file_sha256(building / name) for name in (GRAPH, WEIGHTS, METRICS)},
        trained_on={
            "dataset": {"name": dataset.info.name, "label_set": dataset.info.label_set, "digest": digest},
            "counts": counts,
            "code": code_digest(packages=("models.vision", "models.vision.training")),
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "machine": {"system": sys.platform, "gpu": torch.cuda.is_available()},
        },
    )
    (building / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (building / CARD).write_text(write_card(manifest, measures), encoding="utf-8")
    building.replace(out)
    for kept in (folder / "pictures.npy", *folder.glob("features-*.npy")):  # large, and of no more use
        kept.unlink(missing_ok=True)
    return manifest
