"""Denoising and super-resolution: a residual network learns from pieces of the user's own pictures, made worse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corpora.dataset.folder import DatasetFolder
from models.vision.calibration import Calibration
from models.vision.errors import DatasetUnfit
from models.vision.noise import halve, low_dose, psnr
from models.vision.pictures import Floats
from models.vision.recipe import Denoising, SuperResolution
from models.vision.training.export import to_onnx
from models.vision.training.material import read_rows

_MEASURED = 6
_STEP_SEED = 2**31


class _Residual(nn.Module):
    """Two convolutions beside a straight path (Lim et al. 2017, EDSR, arXiv:1707.02921: no batch norm)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.second(functional.relu(self.first(x)))
        return x + added


class Restorer(nn.Module):
    """What is to be added to a picture: at half its size for denoising (Zhang et al. 2018, FFDNet, arXiv:1710.04026),
    at the small picture's for super-resolution. Takes (batch, 1, height, width), even sides. Nothing is added at first,
    so that training begins at the noisy or the enlarged picture.
    """

    def __init__(self, width: int, depth: int, *, enlarges: bool) -> None:
        super().__init__()
        self.enlarges = enlarges
        self.begin = nn.Conv2d(1 if enlarges else 4, width, 3, padding=1)
        self.middle = nn.Sequential(*(_Residual(width) for _ in range(depth)))
        self.end = nn.Conv2d(width, 4, 3, padding=1)
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor) -> Tensor:
        """Return the restored pictures, twice as large where the network enlarges."""
        small = x if self.enlarges else functional.pixel_unshuffle(x, 2)
        begun = self.begin(small)
        added = functional.pixel_shuffle(self.end(begun + self.middle(begun)), 2)
        base = functional.interpolate(x, scale_factor=2, mode="bicubic", align_corners=False) if self.enlarges else x
        return base + added


class RestorationLearner:
    """Learns from pieces: the picture is the aim, its noisy or halved form what is given."""

    def __init__(
        self,
        recipe: Denoising | SuperResolution,
        pictures: list[Floats],
        measured: list[Floats],
        patients: int,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.network: nn.Module = Restorer(recipe.width, recipe.depth, enlarges=isinstance(recipe, SuperResolution))
        self.pictures, self.measured, self.patients = pictures, measured, patients
        self.rank, self.world = 0, 1

    @classmethod
    def of_dataset(
        cls, dataset: DatasetFolder, recipe: Denoising | SuperResolution, folder: Path, say: Callable[[str], None]
    ) -> RestorationLearner:
        """Return the learner of a data set; raises `DatasetUnfit` if no picture is as large as a piece."""
        del folder  # pieces are cut from memory
        rows = read_rows(dataset, [], recipe.validation)
        kept: dict[bool, list[Floats]] = {False: [], True: []}
        patients = set()
        order = np.random.default_rng(recipe.seed).permutation(len(rows.files))
        for number, row in enumerate(order):
            apart = bool(rows.validating[row])
            if len(kept[apart]) >= (_MEASURED if apart else recipe.pictures):
                continue
            picture = np.asarray(dataset.read_image(rows.files[row]), dtype=np.float32) / np.float32(255)
            if min(picture.shape) >= recipe.patch:
                kept[apart].append(picture)
                if not apart:
                    patients.add(rows.patients[row])
            say(f"reading pictures: {number + 1:,} of {len(order):,}")
        if not kept[False]:
            raise DatasetUnfit(f"{dataset.path.name}: no training picture has sides of {recipe.patch} pixels")
        return cls(recipe, kept[False], kept[True], len(patients))

    def groups(self) -> list[dict[str, Any]]:
        """Return the parameters that learn, with their highest rate."""
        return [{"params": list(self.network.parameters()), "lr": self.recipe.rate}]

    def steps(self) -> int:
        """Return the steps of an epoch."""
        return self.recipe.steps

    def start_training(self) -> None:
        """Let the network learn."""
        self.network.train()

    def batches(self, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what is given and what is wanted, pieces (batch, 1, height, width)."""
        device = next(self.network.parameters()).device
        for _ in range(self.steps()):
            drawn = np.random.default_rng(int(torch.randint(_STEP_SEED, (1,), generator=generator)))
            pieces = [self._piece(drawn) for _ in range(self.recipe.batch)][self.rank :: self.world]
            given = [self.worsen(piece, drawn) for piece in pieces]
            yield tuple(torch.from_numpy(np.stack(part))[:, None].to(device) for part in (given, pieces))  # type: ignore[misc]  # two of them

    def loss(self, network: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Return the mean squared error, scaled so that a decibel is about a quarter anywhere on the way."""
        given, wanted = batch
        return {"pixels": torch.log10(functional.mse_loss(network(given), wanted))}

    def worsen(self, picture: Floats, generator: np.random.Generator) -> Floats:
        """Return a picture as the network is to be given it."""
        if isinstance(self.recipe, Denoising):
            return low_dose(picture, self.recipe.photons, self.recipe.electronic, generator)
        return halve(picture)

    def _piece(self, generator: np.random.Generator) -> Floats:
        picture = self.pictures[int(generator.integers(len(self.pictures)))]
        side = self.recipe.patch
        top, left = (int(generator.integers(length - side + 1)) for length in picture.shape)
        piece = picture[top : top + side, left : left + side]
        piece = np.rot90(piece, int(generator.integers(4)))
        return np.ascontiguousarray(piece[:, ::-1] if generator.random() < 0.5 else piece)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR on a few pictures kept apart, noise always the same."""
        scores = []
        device = next(network.parameters()).device
        for index, picture in enumerate(self.measured):
            height, width = (length // 2 * 2 for length in picture.shape)
            whole = picture[:height, :width]
            given = torch.from_numpy(self.worsen(whole, np.random.default_rng(index)))[None, None].to(device)
            if given.shape[-1] % 2 and not isinstance(self.recipe, SuperResolution):
                continue
            found = network(given)[0, 0].clamp(0, 1).float().cpu().numpy()
            scores.append(psnr(found, whole))
        return {"PSNR": float(np.mean(scores))} if scores else {}

    def stages(self) -> list[str]:
        """Return the one stage there is."""
        return ["training"]

    def begin(self, stage: str) -> None:
        """Do nothing: all is ready."""

    def names(self) -> tuple[str, ...]:
        """Return no names: the output is a picture."""
        return ()

    def outputs_named(self) -> tuple[str, ...]:
        """Return the name of the output."""
        return ("restored",)

    def graph(self) -> bytes:
        """Return the network as an ONNX graph for pictures of any size."""
        return to_onnx(self.network, self.recipe.patch, ["restored"], any_size=True)

    def counts(self) -> dict[str, Any]:
        """Return how many pictures and patients were learned from."""
        return {"rows": len(self.pictures), "patients": self.patients, "rows kept apart": len(self.measured)}

    def calibration(self) -> tuple[Calibration, ...]:
        """Return none."""
        return ()
