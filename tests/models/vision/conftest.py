"""One set of phantoms and one model of them for all tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from corpora.dataset.folder import DatasetFolder, open_dataset
from corpora.phantoms import Phantom
from models.vision.recipe import Recipe, parse_recipe
from models.vision.runtime import VisionModel
from tests.models.vision.folders import Row, phantom_folder

SIZE = 64
#: What the tests learn with: small enough for seconds, good enough for the phantoms' bars.
CLASSIFICATION = {
    "task": "classification",
    "backbone": "tiny",
    "image_size": SIZE,
    "epochs": 14,
    "batch": 16,
    "rate": 5e-3,
    "backbone_rate": 5e-3,
    "dropout": 0.0,
    "average": 0.9,
    "sharpness": 5.0,
    "hint_weight": 1.0,
    "augmentation": {"rotation": 5, "scale": 0.05, "gamma": 0.1, "contrast": 0.1},
}


#: What the tests learn boxes and masks with.
TINY = {
    "backbone": "tiny",
    "image_size": SIZE,
    "batch": 8,
    "rate": 5e-3,
    "backbone_rate": 5e-3,
    "average": 0.9,
    "width": 16,
    "augmentation": {"rotation": 3, "scale": 0.05, "gamma": 0.1, "contrast": 0.1, "flip": False},
}


@dataclass(frozen=True)
class Phantoms:
    folder: Path
    made: list[tuple[Phantom, Row]]

    def open(self) -> DatasetFolder:
        return open_dataset(self.folder)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Phantoms:
    return Phantoms(*phantom_folder(tmp_path_factory.mktemp("vision") / "phantoms", 420, size=SIZE))


@pytest.fixture(scope="session")
def few_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Phantoms:
    return Phantoms(*phantom_folder(tmp_path_factory.mktemp("vision") / "few", 60, size=SIZE, seed=7))


def recipe(**changes: object) -> Recipe:
    return parse_recipe({**CLASSIFICATION, **changes})


@pytest.fixture(scope="session")
def finding_model(phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that learned the phantoms' findings."""
    from models.vision.training.train import train

    out = tmp_path_factory.mktemp("vision") / "findings"
    train(phantoms.open(), recipe(), out, threads=1)
    return out


@pytest.fixture(scope="session")
def loaded(finding_model: Path) -> VisionModel:
    return VisionModel(finding_model, threads=1)


@pytest.fixture(scope="session")
def lung_model(few_phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that learned the masks of the phantoms' lungs."""
    from models.vision.training.train import train

    out = tmp_path_factory.mktemp("lungs") / "model"
    train(few_phantoms.open(), parse_recipe({"task": "segmentation", "epochs": 12, **TINY}), out, threads=1)
    return out
