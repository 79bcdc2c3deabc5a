"""Lungs from given masks, or from none.

Without masks, a classical start finds dark fields in some pictures; a network learns them and finds them in all; a
shape fitted to these adds what heart and opacities hide; the network learns that, and then from itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corpora.dataset.folder import DatasetFolder
from models.vision.calibration import Calibration, sigmoid
from models.vision.errors import DatasetUnfit
from models.vision.masks import LUNGS, clean_mask
from models.vision.overlap import dice
from models.vision.pictures import squeeze
from models.vision.recipe import Segmentation
from models.vision.training.augment import move
from models.vision.training.classical import classical_lungs
from models.vision.training.dense import DenseBatch, DenseLearner
from models.vision.training.loss import mask_loss
from models.vision.training.lung_shape import lungs_by_shape
from models.vision.training.material import Rows, map_pictures, read_rows
from models.vision.training.network import Dense, make_network

#: Pixels of which the network is not sure teach nothing in the next round (probabilities).
_UNSURE = (0.3, 0.7)
#: A picture whose mask changed more than this in a round is left out of the next (Dice between the two).
_MIN_AGREEMENT = 0.6
_MIN_ROWS = 4


class SegmentationLearner(DenseLearner):
    """Learns the mask of both lungs."""

    recipe: Segmentation

    def __init__(self, network: Dense, recipe: Segmentation, rows: Rows, masks: _Masks, **arrays: Any) -> None:
        super().__init__(network, recipe, **arrays)
        self.rows, self.masks = rows, masks
        self._fresh = {name: value.clone() for name, value in network.state_dict().items()}

    @classmethod
    def of_dataset(
        cls,
        dataset: DatasetFolder,
        recipe: Segmentation,
        folder: Path,
        say: Callable[[str], None],
        cache: Path | None = None,
    ) -> SegmentationLearner:
        """Return the learner of a data set.

        Raises
        ------
        DatasetUnfit
            The recipe learns from masks and no training row has one, or no classical start was found in any picture.
        """
        uses_masks = recipe.supervision == "masks"
        rows = read_rows(dataset, ["mask_file"] if uses_masks else [], recipe.validation)
        pictures = map_pictures(
            dataset, rows.files, recipe.image_size, folder / "pictures.npy", say, stretch=recipe.stretch
        )
        masks = _given(dataset, rows, recipe.image_size) if uses_masks else _classical(pictures, say)
        training = np.flatnonzero(~rows.validating & masks.usable)
        if len(training) < _MIN_ROWS:
            what = "masks: fewer than" if uses_masks else "no lungs were found by the classical start in"
            raise DatasetUnfit(f"{dataset.path.name}: {what} {_MIN_ROWS} training rows")
        torch.manual_seed(recipe.seed)
        return cls(
            make_network(recipe, 1),
            recipe,
            rows,
            masks,
            pictures=pictures,
            training=training,
            validating=np.flatnonzero(rows.validating & masks.usable) if uses_masks else np.zeros(0, dtype=np.int64),
            folder=cache or folder,
            say=say,
        )

    def stages(self) -> list[str]:
        """Return one stage, or a round of self-training each."""
        if self.recipe.supervision == "masks":
            return ["training"]
        return [f"round {number + 1}" for number in range(self.recipe.rounds)]

    def begin(self, stage: str) -> None:
        """Make the masks of a round of self-training from what the network says of all pictures, and begin anew.

        Those of the second round are whole lungs, by the shape of the dark fields that the first one learned.
        """
        if stage in ("training", "round 1"):
            return
        every = np.flatnonzero(~self.rows.validating)
        self.network.eval()
        with torch.inference_mode():
            straight = self.predict(self.network, every)[0]
            mirrored = (
                self.predict(self.network, every, mirrored=True)[0][..., ::-1]
                if self.recipe.augmentation.flip
                else straight
            )
        chances = sigmoid(((straight + mirrored) / 2)[:, 0])
        for row, chance in zip(every, chances, strict=True):
            if stage == "round 2":
                lungs = lungs_by_shape(self.pictures[row], chance)
                self.masks.usable[row] = lungs is not None
                self.masks.masks[row] = 0 if lungs is None else np.where(lungs, 255, 0)
                continue
            mask = clean_mask(chance > 0.5)
            agreement = dice(mask, self.masks.masks[row] > 0) if self.masks.usable[row] else 1.0
            unsure = (chance > _UNSURE[0]) & (chance < _UNSURE[1])
            self.masks.masks[row] = np.where(mask, 255, 0)
            self.masks.sure[row] = ~unsure
            self.masks.usable[row] = agreement >= _MIN_AGREEMENT and bool(mask.any())
        self.training = np.flatnonzero(~self.rows.validating & self.masks.usable)
        self.network.load_state_dict(self._fresh)

    def loss(self, network: nn.Module, batch: DenseBatch) -> dict[str, Tensor]:
        """Return the loss of the masks, moved as the pictures were."""
        logits = self.outputs(network, batch)[0]
        masks = torch.from_numpy(self.masks.masks[batch.rows].astype(np.float32) / 255)[:, None]
        sure = torch.from_numpy(self.masks.sure[batch.rows].astype(np.float32))[:, None]
        both = move(torch.cat([masks, sure], 1), batch.moves).to(logits.device)
        seen = move(torch.ones_like(masks), batch.moves).to(
            logits.device
        )  # what came in from outside is known: nothing
        weights = torch.where(seen > 0.5, (both[:, 1:] > 0.99).to(logits), torch.ones_like(seen))
        return {"masks": mask_loss(logits, (both[:, :1] > 0.5).to(logits), weights)}

    def names(self) -> tuple[str, ...]:
        """Return the one mask there is."""
        return (LUNGS,)

    def counts(self) -> dict[str, Any]:
        """Return how many rows and patients were learned from."""
        return {
            "rows": len(self.training),
            "patients": len({self.rows.patients[row] for row in self.training}),
            "rows kept apart": len(self.validating),
        }

    def calibration(self) -> tuple[Calibration, ...]:
        """Return the logits as they are."""
        return (Calibration(),)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean Dice of the rows kept apart."""
        if not len(self.validating):
            return {}
        logits = self.predict(network, self.validating)[0][:, 0]
        scores = [
            dice(clean_mask(found > 0), self.masks.masks[row] > 0)
            for row, found in zip(self.validating, logits, strict=True)
        ]
        return {"Dice": float(np.mean(scores))}


class _Masks:
    """Masks (rows, side, side; 0 or 255), where they are sure, and which rows have one."""

    def __init__(self, count: int, side: int) -> None:
        self.masks: NDArray[np.uint8] = np.zeros((count, side, side), dtype=np.uint8)
        self.sure: NDArray[np.bool_] = np.ones((count, side, side), dtype=bool)
        self.usable: NDArray[np.bool_] = np.zeros(count, dtype=bool)


def _given(dataset: DatasetFolder, rows: Rows, side: int) -> _Masks:
    found = _Masks(len(rows.files), side)
    for row, file in enumerate(rows.table.column("mask_file").to_pylist()):
        if file is not None:
            found.masks[row] = np.where(squeeze(dataset.read_image(file), side) > 127, 255, 0)
            found.usable[row] = bool(found.masks[row].any())
    return found


def _classical(pictures: NDArray[np.uint8], say: Callable[[str], None]) -> _Masks:
    found = _Masks(len(pictures), pictures.shape[1])
    for row, picture in enumerate(pictures):
        mask = classical_lungs(picture)
        if mask is not None:
            found.masks[row], found.usable[row] = np.where(mask, 255, 0), True
        say(f"classical start: {row + 1:,} of {len(pictures):,} pictures")
    return found
