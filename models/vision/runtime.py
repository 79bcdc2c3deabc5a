"""A trained model at work: onnxruntime, no torch. The outputs for one picture do not depend on its batch mates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.vision.boxes import FoundBox, decode_boxes
from models.vision.calibration import sigmoid
from models.vision.errors import VisionModelInvalid
from models.vision.folder import GRAPH, read_manifest
from models.vision.masks import clean_mask
from models.vision.pictures import Floats, resize_plane, squeeze, to_input
from models.vision.recipe import Classification, Denoising, Detection, Segmentation, SuperResolution, Task

BATCH = 16


@dataclass(frozen=True, slots=True, repr=False)
class FindingScores:
    """Probabilities (pictures, labels) and maps of probabilities (pictures, labels, h, w)."""

    probabilities: NDArray[np.float64]
    logits: Floats
    maps: Floats


class VisionModel:
    """A model folder, loaded.

    ``device`` is ``cpu`` or ``cuda``; where there is no GPU that onnxruntime can use it is the CPU, and ``remark`` says
    so. Raises `VisionModelInvalid` if the folder holds no model, or another than its manifest says.
    """

    def __init__(self, folder: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        import onnxruntime

        from models.text.encoder.session import open_session

        self.manifest = read_manifest(folder)
        options: Any = onnxruntime.SessionOptions()
        if threads is not None:
            options.intra_op_num_threads = threads
        self._session, self.remark = open_session(str(folder / GRAPH), options, device)

    @property
    def task(self) -> Task:
        """Return what the model does."""
        return self.manifest.task

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names in the order of the outputs."""
        return self.manifest.labels

    def run(self, pictures: Floats) -> list[Floats]:
        """Return the graph's outputs for pictures (batch, 1, height, width) in [0, 1], in batches of `BATCH`."""
        found: list[list[Floats]] = []
        for start in range(0, len(pictures), BATCH):
            chunk = np.ascontiguousarray(pictures[start : start + BATCH], dtype=np.float32)
            found.append(self._session.run(list(self.manifest.outputs), {"pictures": chunk}))
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def squeezed(self, pictures: Sequence[NDArray[np.uint8]]) -> Floats:
        """Return pictures (height, width each) as one array (batch, 1, side, side)."""
        recipe = self.manifest.recipe
        if not isinstance(recipe, Classification | Detection | Segmentation):
            raise VisionModelInvalid(f"a model for {self.task} takes pictures as they are")
        return to_input(np.stack([squeeze(pixels, recipe.image_size, stretch=recipe.stretch) for pixels in pictures]))

    def segment(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.bool_]]:
        """Return the mask (height, width) of both lungs of each picture, at its size: two parts, no holes."""
        recipe = self.manifest.recipe
        if not isinstance(recipe, Segmentation):
            raise VisionModelInvalid(f"the model is for {self.task}, not for {Task.SEGMENTATION}")
        inputs = self.squeezed(pictures)
        [logits] = self.run(inputs)
        if recipe.augmentation.flip:
            logits = np.asarray((logits + self.run(inputs[..., ::-1])[0][..., ::-1]) / 2, dtype=np.float32)
        return [
            clean_mask(resize_plane(plane, pixels.shape[1], pixels.shape[0]) > 0)
            for pixels, plane in zip(pictures, logits[:, 0], strict=True)
        ]

    def detect(self, pictures: Sequence[NDArray[np.uint8]], *, least: float = 0.3) -> list[list[FoundBox]]:
        """Return the boxes of each picture: label, sides in fractions, score."""
        if self.task is not Task.DETECTION:
            raise VisionModelInvalid(f"the model is for {self.task}, not for {Task.DETECTION}")
        centres, sides = self.run(self.squeezed(pictures))
        return [decode_boxes(*found, self.labels, least=least) for found in zip(centres, sides, strict=True)]

    def restore(self, picture: Floats) -> Floats:
        """Return a picture (height, width; about 0 to 1) without its noise, or at twice its size."""
        recipe = self.manifest.recipe
        if not isinstance(recipe, Denoising | SuperResolution):
            raise VisionModelInvalid(f"the model is for {self.task}, not for making pictures better")
        height, width = picture.shape
        even = np.pad(picture, ((0, height % 2), (0, width % 2)), mode="edge")
        found = np.asarray(self.run(even[None, None])[0][0, 0], dtype=np.float32)
        factor = recipe.factor if isinstance(recipe, SuperResolution) else 1
        return found[: height * factor, : width * factor]

    def classify(self, pictures: Sequence[NDArray[np.uint8]]) -> FindingScores:
        """Return calibrated probabilities and maps of pictures (height, width each)."""
        recipe = self.manifest.recipe
        if not isinstance(recipe, Classification):
            raise VisionModelInvalid(f"the model is for {self.task}, not for {Task.CLASSIFICATION}")
        inputs = self.squeezed(pictures)
        logits, maps = self.run(inputs)
        if recipe.flips_in_use:
            mirrored_logits, mirrored_maps = self.run(inputs[..., ::-1])
            logits = np.asarray((logits + mirrored_logits) / 2, dtype=np.float32)
            maps = np.asarray((maps + mirrored_maps[..., ::-1]) / 2, dtype=np.float32)
        columns = [
            calibration.probabilities(logits[:, index]) for index, calibration in enumerate(self.manifest.calibration)
        ]
        return FindingScores(np.stack(columns, 1), logits, np.asarray(sigmoid(maps), dtype=np.float32))
