"""What the tasks with a backbone share: pictures or kept features, altered at random, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.vision.pictures import to_input
from models.vision.recipe import Classification, Detection, Segmentation
from models.vision.training.augment import draw_moves, move, shade, unmoved
from models.vision.training.export import to_onnx, trunk_session
from models.vision.training.network import Dense

_CHUNK = 16


@dataclass(frozen=True, slots=True)
class DenseBatch:
    """``inputs`` are pictures or trunk features; ``rows`` (batch) says which, ``moves`` (batch, 2, 3) how moved."""

    inputs: Tensor
    rows: NDArray[np.int64]
    moves: Tensor


class DenseLearner:
    """Batches of pictures, or of the frozen trunk's features of a few altered forms of each picture.

    The features are computed once and kept in a file, in half precision; without a GPU by onnxruntime, which takes a
    third of the time that torch takes.
    """

    def __init__(
        self,
        network: Dense,
        recipe: Classification | Detection | Segmentation,
        pictures: NDArray[np.uint8],
        training: NDArray[np.int64],
        validating: NDArray[np.int64],
        folder: Path,
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.network: Dense = network
        self.recipe = recipe
        self.pictures, self.training, self.validating = pictures, training, validating
        self.rank, self.world = 0, 1  # which share of each batch is ours, where several processes train
        self.features: NDArray[np.float16] | None = None
        self.kept_moves = torch.zeros(0)
        if network.backbone.is_frozen and recipe.keep_features:
            self.features, self.kept_moves = self._keep_features(folder, say)

    @property
    def device(self) -> torch.device:
        """Return where the network is."""
        return next(self.network.parameters()).device

    def stages(self) -> list[str]:
        """Return the one stage there is."""
        return ["training"]

    def begin(self, stage: str) -> None:
        """Do nothing: all is ready."""

    def outputs_named(self) -> tuple[str, ...]:
        """Return the names of the outputs."""
        return self.network.outputs

    def graph(self) -> bytes:
        """Return the network as an ONNX graph."""
        return to_onnx(self.network, self.recipe.image_size, self.network.outputs)

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameters that learn, with their highest rates."""
        return self.network.groups(self.recipe.rate, self.recipe.backbone_rate)

    def steps(self) -> int:
        """Return the steps of an epoch."""
        return max(1, len(self.training) // self.recipe.batch)

    def start_training(self) -> None:
        """Let the network learn; a backbone that was trained before keeps the statistics of its batch norms."""
        self.network.train()
        if self.recipe.backbone != "tiny":
            for module in self.network.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def batches(self, generator: torch.Generator) -> Iterator[DenseBatch]:
        """Yield the batches of an epoch. The last rows of an order that fill no batch wait for the next epoch."""
        order = self.training[torch.randperm(len(self.training), generator=generator).numpy()]
        for step in range(self.steps()):
            rows = order[step * self.recipe.batch : (step + 1) * self.recipe.batch][self.rank :: self.world]
            if self.features is not None:
                chosen = torch.randint(self.features.shape[1], (len(rows),), generator=generator)
                inputs = torch.from_numpy(self.features[rows, chosen.numpy()].astype(np.float32))
                yield DenseBatch(inputs.to(self.device), rows, self.kept_moves[torch.from_numpy(rows), chosen])
                continue
            moves = draw_moves(len(rows), self.recipe.augmentation, generator)
            pictures = move(torch.from_numpy(to_input(self.pictures[rows])), moves)
            pictures = shade(pictures, self.recipe.augmentation, generator)
            yield DenseBatch(pictures.to(self.device), rows, moves)

    def outputs(self, network: nn.Module, batch: DenseBatch) -> tuple[Tensor, ...]:
        """Return what the network gives for a batch."""
        found: tuple[Tensor, ...] = network(batch.inputs, self.features is not None)
        return found

    def predict(
        self, network: nn.Module, rows: NDArray[np.int64], *, mirrored: bool = False
    ) -> list[NDArray[np.float32]]:
        """Return the outputs for whole pictures, each an array over ``rows``."""
        found: list[list[NDArray[np.float32]]] = []
        for inputs in self.plain_inputs(rows, mirrored=mirrored):
            outputs = network(inputs, self.features is not None)
            found.append([output.float().cpu().numpy() for output in outputs])
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def plain_inputs(self, rows: NDArray[np.int64], *, mirrored: bool = False) -> Iterator[Tensor]:
        """Yield rows a few at a time, unaltered: pictures, or their features where those are kept."""
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            if self.features is not None:
                yield torch.from_numpy(self.features[chunk, int(mirrored)].astype(np.float32)).to(self.device)
                continue
            pictures = torch.from_numpy(to_input(self.pictures[chunk]))
            yield (pictures.flip(-1) if mirrored else pictures).to(self.device)

    def _features_key(self) -> str:
        """Return a digest of all that the kept features depend on."""
        recipe = self.recipe
        parts = {"backbone", "blocks", "frozen", "image_size", "variants", "augmentation"}
        digest = hashlib.sha256(recipe.model_dump_json(include=parts).encode())
        digest.update(f"{type(self.network).__name__} {recipe.seed if recipe.variants else 0}".encode())
        digest.update(np.ascontiguousarray(self.pictures).data)
        return digest.hexdigest()[:24]

    def _keep_features(self, folder: Path, say: Callable[[str], None]) -> tuple[NDArray[np.float16], Tensor]:
        """Return features (rows, forms, channels, h, w) and how each form was moved (rows, forms, 2, 3).

        The first form is the picture, the second its mirror image (where the recipe has it), the others are random.
        """
        how, count = self.recipe.augmentation, len(self.pictures)
        generator = torch.Generator().manual_seed(self.recipe.seed)
        forms = [unmoved(count)] + ([unmoved(count, mirrored=True)] if how.flip else [])
        plain = len(forms)
        forms += [draw_moves(count, how, generator) for _ in range(self.recipe.variants)]
        moves = torch.stack(forms, 1)
        path = folder / f"features-{self._features_key()}.npy"
        if path.is_file():
            return np.load(path, mmap_mode="r"), moves
        run = trunk_session(self.network.backbone, self.recipe.image_size)
        temporary = path.with_suffix(".tmp.npy")
        kept: Any = None
        for start in range(0, count, _CHUNK):
            end = min(count, start + _CHUNK)
            pictures = torch.from_numpy(to_input(self.pictures[start:end]))
            for form in range(moves.shape[1]):
                altered = pictures if form == 0 else move(pictures, moves[start:end, form])
                if form >= plain:
                    altered = shade(altered, how, generator)
                features = run(altered.numpy())
                if kept is None:
                    shape = (count, moves.shape[1], *features.shape[1:])
                    kept = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
                kept[start:end, form] = features
            say(f"features: {end:,} of {count:,} pictures")
        kept.flush()
        del kept
        temporary.replace(path)
        return np.load(path, mmap_mode="r"), moves
