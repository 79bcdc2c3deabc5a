"""Findings from study labels and region hints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corpora.dataset.folder import DatasetFolder
from models.vision.calibration import Calibration, fit_calibration
from models.vision.metrics import area_under_roc, average_precision
from models.vision.recipe import Classification
from models.vision.training.augment import move
from models.vision.training.dense import DenseBatch, DenseLearner
from models.vision.training.loss import region_hint_loss, study_label_loss
from models.vision.training.material import Rows, StudyLabels, hint_masks, map_pictures, read_rows, study_labels
from models.vision.training.network import Dense, FindingMaps, make_network


class ClassificationLearner(DenseLearner):
    """Learns a map for every finding."""

    recipe: Classification

    def __init__(self, network: Dense, recipe: Classification, rows: Rows, labels: StudyLabels, **arrays: Any) -> None:
        super().__init__(network, recipe, **arrays)
        self.rows, self.labels = rows, labels
        smoothed = labels.targets * (1 - recipe.smoothing) + recipe.smoothing / 2
        self.targets = torch.from_numpy(smoothed.astype(np.float32))
        self.known = torch.from_numpy(labels.known)
        self.weights = torch.ones(0)
        self.learn_from(self.training)

    @classmethod
    def of_dataset(
        cls,
        dataset: DatasetFolder,
        recipe: Classification,
        folder: Path,
        say: Callable[[str], None],
        cache: Path | None = None,
    ) -> ClassificationLearner:
        """Return the learner of a data set; raises `DatasetUnfit` if it has nothing to learn."""
        columns = [f"{kind}:{name}" for name in dataset.labels for kind in ("target", "mask")]
        rows = read_rows(dataset, [*columns, *(["regions"] if recipe.hint_weight else [])], recipe.validation)
        labels = study_labels(rows, recipe.labels, dataset.labels)
        torch.manual_seed(recipe.seed)  # new layers start at random
        return cls(
            make_network(recipe, len(labels.labels)),
            recipe,
            rows,
            labels,
            pictures=map_pictures(
                dataset, rows.files, recipe.image_size, folder / "pictures.npy", say, stretch=recipe.stretch
            ),
            training=np.flatnonzero(~rows.validating & labels.known.any(1)),
            validating=np.flatnonzero(rows.validating),
            folder=cache or folder,
            say=say,
        )

    def loss(self, network: nn.Module, batch: DenseBatch) -> dict[str, Tensor]:
        """Return the masked loss of the study labels and, where the recipe wants it, that of the region hints."""
        logits, maps = self.outputs(network, batch)
        rows = torch.from_numpy(batch.rows)
        targets, known = self.targets[rows].to(logits.device), self.known[rows].to(logits.device)
        parts = {"labels": study_label_loss(logits, targets, known, self.weights.to(logits.device))}
        if self.recipe.ridge:
            parts["ridge"] = self.recipe.ridge * self.maker.penalty() / len(self.labels.labels)
        if self.recipe.hint_weight:
            inside, hinted = self._hints(batch, maps.shape[-1])
            # Where the report says where, the finding is not elsewhere: the hint replaces nothing, it adds.
            hints = region_hint_loss(maps, inside.to(maps.device), hinted.to(maps.device))
            parts["hints"] = self.recipe.hint_weight * hints
        return parts

    def learn_from(self, training: NDArray[np.int64]) -> None:
        """Learn from these rows: their features set the scale, their labels the weights."""
        self.training = training
        self.weights = _weights(self.labels, training, self.recipe.class_weights)
        if self.recipe.standardised:
            self._standardise()

    @property
    def maker(self) -> FindingMaps:
        """Return the network as what it is."""
        assert isinstance(self.network, FindingMaps)
        return self.network

    def _standardise(self) -> None:
        self.network.eval()
        means = []
        with torch.no_grad():
            for inputs in self.plain_inputs(self.training):
                maps = self.network.backbone.tail(
                    inputs if self.features is not None else self.network.backbone.trunk(inputs)
                )
                means.append(self.maker.features(maps).mean((2, 3)))
        self.maker.standardise(torch.cat(means))

    def _hints(self, batch: DenseBatch, side: int) -> tuple[Tensor, Tensor]:
        """Return where the hints of a batch are after the moves of its pictures, at the size of the maps."""
        fine = side * 4  # edges of a moved region stay where they are to a quarter of a place
        count = len(self.labels.labels)
        masks = [hint_masks(self.labels.hints[row], count, fine)[0] for row in batch.rows]
        moved = move(torch.from_numpy(np.stack(masks).astype(np.float32)), batch.moves)
        inside = torch.nn.functional.avg_pool2d(moved, 4) >= 0.5
        return inside, inside.flatten(2).any(-1)

    def logits(self, network: nn.Module, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the pooled logits (rows, labels), with those of the mirror images where the recipe says so."""
        found = self.predict(network, rows)[0]
        if self.recipe.flips_in_use:
            found = np.asarray((found + self.predict(network, rows, mirrored=True)[0]) / 2, dtype=np.float32)
        return found

    def names(self) -> tuple[str, ...]:
        """Return the findings."""
        return self.labels.labels

    def counts(self) -> dict[str, Any]:
        """Return how many rows, patients and positive labels were learned from."""
        hints = sum(len(self.labels.hints[row]) for row in self.training) if self.recipe.hint_weight else 0
        return {
            "rows": len(self.training),
            "patients": len({self.rows.patients[row] for row in self.training}),
            "rows kept apart": len(self.validating),
            "region hints": hints,
            **{
                f"{name}, positive": int((self.labels.targets[self.training, index] >= 0.5).sum())
                for index, name in enumerate(self.labels.labels)
            },
        }

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean AUROC and average precision over the labels that have both values."""
        if not len(self.validating):
            return {}
        logits = self.logits(network, self.validating)
        areas, precisions = [], []
        for index in range(len(self.labels.labels)):
            known = self.labels.known[self.validating, index]
            truth = self.labels.targets[self.validating, index][known] >= 0.5
            if truth.any() and not truth.all():
                areas.append(area_under_roc(truth, logits[known, index]))
                precisions.append(average_precision(truth, logits[known, index]))
        return {"AUROC": float(np.mean(areas)), "AP": float(np.mean(precisions))} if areas else {}

    def calibration(self) -> tuple[Calibration, ...]:
        """Return how logits become probabilities, fitted on the rows kept apart; unchanged where those are too few."""
        if not len(self.validating):
            return tuple(Calibration() for _ in self.labels.labels)
        with torch.inference_mode():
            logits = self.logits(self.network, self.validating)
        fitted = []
        for index in range(len(self.labels.labels)):
            known = self.labels.known[self.validating, index]
            fitted.append(fit_calibration(logits[known, index], self.labels.targets[self.validating, index][known]))
        return tuple(fitted)


def _weights(labels: StudyLabels, training: NDArray[np.int64], method: str) -> Tensor:
    known, targets = labels.known[training], labels.targets[training]
    positive = (targets * known).sum(0)
    ratio = (known.sum(0) - positive) / np.maximum(positive, 1)
    if method == "none":
        ratio = np.ones_like(ratio)
    elif method == "square_root":
        ratio = np.sqrt(ratio)
    return torch.from_numpy(np.asarray(ratio, dtype=np.float32))
