"""Denoising and super-resolution: noise as stated, and pictures that come out better than they went in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.vision.evaluate import evaluate
from models.vision.noise import halve, low_dose, psnr, stabilise, unstabilise
from models.vision.predict import predict
from models.vision.recipe import parse_recipe
from models.vision.runtime import VisionModel
from models.vision.training.train import train
from tests.models.vision.conftest import SIZE, Phantoms

SMALL = {"width": 12, "depth": 1, "patch": 32, "batch": 8, "steps": 40, "epochs": 2, "rate": 3e-3, "average": 0.9}


def test_noise_has_the_variance_of_its_quanta() -> None:
    generator = np.random.default_rng(0)
    for grey in (0.1, 0.5, 1.0):
        noisy = low_dose(np.full((400, 400), grey, dtype=np.float32), 50, 0.03, generator)
        assert noisy.mean() == pytest.approx(grey, abs=0.003)
        assert noisy.var() == pytest.approx(grey / 50 + 0.03**2, rel=0.05)


def test_stabilised_noise_is_alike_everywhere_and_comes_back() -> None:
    generator = np.random.default_rng(1)
    for grey in (0.2, 0.6, 1.0):
        noisy = low_dose(np.full((300, 300), grey, dtype=np.float32), 60, 0.02, generator)
        assert stabilise(noisy, 60, 0.02).std() == pytest.approx(1, abs=0.05)
        mean = np.full((2, 2), stabilise(noisy, 60, 0.02).mean())
        assert unstabilise(mean, 60, 0.02).mean() == pytest.approx(grey, abs=0.005)


def test_equal_pictures_have_no_noise() -> None:
    picture = np.random.default_rng(2).random((8, 8)).astype(np.float32)
    assert psnr(picture, picture) == float("inf")
    assert psnr(picture + 0.1, picture) == pytest.approx(20, abs=0.01)
    assert halve(picture).shape == (4, 4)


@pytest.mark.parametrize("task", ["denoising", "super_resolution"])
def test_pictures_become_better(task: str, few_phantoms: Phantoms, tmp_path: Path) -> None:
    train(few_phantoms.open(), parse_recipe({"task": task, **SMALL}), tmp_path / "model", threads=1)
    model = VisionModel(tmp_path / "model", threads=1)
    facts = evaluate(model, few_phantoms.open(), "test")
    methods = facts["methods"]
    assert methods["model"]["PSNR"]["mean"] > methods.get("given", methods[facts["usual"]])["PSNR"]["mean"] + 0.1
    odd = np.random.default_rng(3).random((31, 45)).astype(np.float32)
    factor = 2 if task == "super_resolution" else 1
    assert model.restore(odd).shape == (31 * factor, 45 * factor)
    predict(model, few_phantoms.folder, tmp_path / "out")
    from PIL import Image

    for file in (tmp_path / "out" / "pictures").glob("*.png"):
        with Image.open(file) as image:
            assert image.size == (SIZE * factor, SIZE * factor)
