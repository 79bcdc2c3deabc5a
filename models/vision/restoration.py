"""What denoising and super-resolution are worth: PSNR and SSIM against what needs no training."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from corpora.dataset.folder import DatasetFolder
from models.vision.noise import enlarge_bicubic, halve, low_dose, psnr, stabilise, unstabilise
from models.vision.overlap import summary
from models.vision.pictures import Floats
from models.vision.recipe import Denoising, SuperResolution
from models.vision.runtime import VisionModel

#: Pictures that are measured on, evenly spaced: non-local means takes seconds for each.
MOST = 40
#: Strengths of non-local means that are tried; the best for the split is what is compared with.
_STRENGTHS = (0.6, 0.8, 1.0)


def measure_restoration(
    model: VisionModel, dataset: DatasetFolder, rows: list[dict[str, Any]], on_rows: Callable[[int, int], None]
) -> dict[str, Any]:
    """Return PSNR and SSIM of a model's pictures, of the given ones, and of the usual method on the same pictures.

    The usual method is non-local means on stabilised noise (its strength the best of three on these very pictures, in
    its favour), or bicubic enlargement.
    """
    chosen = [rows[int(index)] for index in np.linspace(0, len(rows) - 1, min(MOST, len(rows)))]
    scores: dict[str, dict[str, list[float]]] = {}
    for number, row in enumerate(chosen):
        whole = np.asarray(dataset.read_image(row["file"]), dtype=np.float32) / np.float32(255)
        height, width = (length // 2 * 2 for length in whole.shape)
        whole = whole[:height, :width]
        for name, found in _candidates(model, whole, number).items():
            kept = scores.setdefault(name, {"PSNR": [], "SSIM": []})
            found = found.clip(0, 1)
            kept["PSNR"].append(psnr(found, whole))
            kept["SSIM"].append(float(_skimage("metrics").structural_similarity(found, whole, data_range=1.0)))
        on_rows(number + 1, len(chosen))
    means = {name: {key: summary(values) for key, values in kept.items()} for name, kept in scores.items()}
    usual = max((name for name in means if name.startswith("usual")), key=lambda name: means[name]["PSNR"]["mean"])
    gains = np.array(scores["model"]["PSNR"]) - np.array(scores[usual]["PSNR"])
    return {
        "measured_on": len(chosen),
        "methods": means,
        "usual": usual,
        "gain_dB": {**summary(list(gains)), "better_on": float((gains > 0).mean())},
    }


def _candidates(model: VisionModel, whole: Floats, number: int) -> dict[str, Floats]:
    recipe = model.manifest.recipe
    if isinstance(recipe, SuperResolution):
        small = halve(whole)
        return {
            "usual: bicubic": enlarge_bicubic(small, whole.shape[1], whole.shape[0]),
            "model": model.restore(small),
        }
    assert isinstance(recipe, Denoising)
    noisy = low_dose(whole, recipe.photons, recipe.electronic, np.random.default_rng([11, number]))
    stable = stabilise(noisy, recipe.photons, recipe.electronic)
    means = _skimage("restoration").denoise_nl_means
    usual = {
        f"usual: non-local means, h {strength}": unstabilise(
            means(stable, patch_size=5, patch_distance=6, h=strength, sigma=1.0, fast_mode=True),
            recipe.photons,
            recipe.electronic,
        )
        for strength in _STRENGTHS
    }
    return {"given": noisy, **usual, "model": model.restore(noisy)}


def _skimage(part: str) -> Any:
    try:
        return import_module(f"skimage.{part}")
    except ImportError:
        from models.text.training.extras import ExtraMissing

        raise ExtraMissing("measuring pictures needs scikit-image: pip install 'radlabel[train]'") from None
