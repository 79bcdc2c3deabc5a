"""Boxes given with the pictures: lungs, or whatever a data set has one of in a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from corpora.dataset.folder import DatasetFolder
from models.vision.boxes import decode_boxes
from models.vision.calibration import Calibration
from models.vision.overlap import box_iou
from models.vision.recipe import Detection
from models.vision.training.dense import DenseBatch, DenseLearner
from models.vision.training.loss import box_loss
from models.vision.training.material import Rows, boxes_of_hints, given_boxes, map_pictures, read_rows
from models.vision.training.network import Dense, make_network


class DetectionLearner(DenseLearner):
    """Learns one box at most for each label and picture."""

    recipe: Detection

    def __init__(
        self,
        network: Dense,
        recipe: Detection,
        rows: Rows,
        labels: tuple[str, ...],
        boxes: NDArray[np.float32],
        given: NDArray[np.bool_],
        **arrays: Any,
    ) -> None:
        super().__init__(network, recipe, **arrays)
        self.rows, self.labels = rows, labels
        self.boxes, self.given = torch.from_numpy(boxes), torch.from_numpy(given)

    @classmethod
    def of_dataset(
        cls,
        dataset: DatasetFolder,
        recipe: Detection,
        folder: Path,
        say: Callable[[str], None],
        cache: Path | None = None,
    ) -> DetectionLearner:
        """Return the learner of a data set; raises `DatasetUnfit` if it has no box, or several of one label."""
        uses_hints = recipe.source == "hints"
        rows = read_rows(dataset, ["regions" if uses_hints else "boxes"], recipe.validation)
        column = boxes_of_hints(rows) if uses_hints else rows.table.column("boxes").to_pylist()
        labels, boxes, given = given_boxes(column, recipe.labels)
        torch.manual_seed(recipe.seed)
        return cls(
            make_network(recipe, len(labels)),
            recipe,
            rows,
            labels,
            boxes,
            given,
            pictures=map_pictures(
                dataset, rows.files, recipe.image_size, folder / "pictures.npy", say, stretch=recipe.stretch
            ),
            training=np.flatnonzero(~rows.validating & given.any(1)),
            validating=np.flatnonzero(rows.validating & given.any(1)),
            folder=cache or folder,
            say=say,
        )

    def loss(self, network: nn.Module, batch: DenseBatch) -> dict[str, Tensor]:
        """Return the loss of the boxes, moved as the pictures were."""
        centres, sides = self.outputs(network, batch)
        rows = torch.from_numpy(batch.rows)
        boxes, given = moved_boxes(self.boxes[rows], batch.moves), self.given[rows]
        return {"boxes": box_loss(centres, sides, boxes.to(centres), given.to(centres.device))}

    def names(self) -> tuple[str, ...]:
        """Return the labels of the boxes."""
        return self.labels

    def counts(self) -> dict[str, Any]:
        """Return how many rows, patients and boxes were learned from."""
        return {
            "rows": len(self.training),
            "patients": len({self.rows.patients[row] for row in self.training}),
            "boxes": int(self.given[torch.from_numpy(self.training)].sum()),
            "rows kept apart": len(self.validating),
        }

    def calibration(self) -> tuple[Calibration, ...]:
        """Return the logits as they are."""
        return tuple(Calibration() for _ in self.labels)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean IoU of the best box with the given one, on the rows kept apart."""
        if not len(self.validating):
            return {}
        centres, sides = self.predict(network, self.validating)
        overlaps = []
        for row, centre, side in zip(self.validating, centres, sides, strict=True):
            found = {label: box for label, box, _ in decode_boxes(centre, side, self.labels, least=0.0)}
            for index, label in enumerate(self.labels):
                if self.given[row, index]:
                    overlaps.append(box_iou(found[label], self.boxes[row, index].tolist()))
        return {"IoU": float(np.mean(overlaps))}


def moved_boxes(boxes: Tensor, moves: Tensor) -> Tensor:
    """Return boxes (batch, labels, 4; fractions) around where their corners come to lie when pictures are moved.

    A mirrored picture keeps its names: the patient's right lung is then on the right of the picture, and that is what
    would be learned. So recipes for sided boxes leave mirroring off.
    """
    matrix = torch.eye(3).repeat(len(moves), 1, 1)
    matrix[:, :2] = moves  # from the moved picture to the one it was, in coordinates from -1 to 1
    forward = torch.linalg.inv(matrix)[:, None, None]  # (batch, 1, 1, 3, 3)
    x0, y0, x1, y1 = (boxes * 2 - 1).unbind(-1)
    corners = torch.stack(
        [torch.stack([x, y, torch.ones_like(x)], -1) for x, y in ((x0, y0), (x1, y0), (x0, y1), (x1, y1))], 2
    )  # (batch, labels, corners, 3)
    placed = ((forward @ corners[..., None])[..., :2, 0] + 1) / 2
    # The box around a turned box is too large; the middle of its sides' corners keeps its size.
    ordered_x, ordered_y = placed[..., 0].sort(-1).values, placed[..., 1].sort(-1).values
    return torch.stack(
        [
            (ordered_x[..., 0] + ordered_x[..., 1]) / 2,
            (ordered_y[..., 0] + ordered_y[..., 1]) / 2,
            (ordered_x[..., 2] + ordered_x[..., 3]) / 2,
            (ordered_y[..., 2] + ordered_y[..., 3]) / 2,
        ],
        -1,
    ).clamp(0, 1)
