"""Low dose, simulated: fewer quanta and the noise of the electronics (Poisson-Gaussian), and halved pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from corpora.imaging.extras import need
from models.vision.pictures import Floats


def low_dose(picture: Floats, photons: float, electronic: float, generator: np.random.Generator) -> Floats:
    """Return a picture in [0, 1] as fewer quanta would show it; it may leave [0, 1].

    ``photons`` quanta arrive at full white (Poisson), and the electronics add Gaussian noise of the standard deviation
    ``electronic`` (of full white): the model of Foi et al. 2008 (IEEE Trans. Image Process. 17, 1737). White stands for
    the detector's signal as displayed; a real detector's curve differs, so dose figures do not carry over.
    """
    counted = generator.poisson(np.asarray(picture, dtype=np.float64).clip(0, 1) * photons) / photons
    return np.asarray(counted + generator.normal(0, electronic, picture.shape), dtype=np.float32)


def stabilise(picture: Floats, photons: float, electronic: float) -> NDArray[np.float64]:
    """Return a noisy picture with noise of standard deviation 1 everywhere (generalised Anscombe transform)."""
    counts = np.asarray(picture, dtype=np.float64) * photons
    return np.asarray(2 * np.sqrt(np.maximum(counts + 3 / 8 + (electronic * photons) ** 2, 0)))


def unstabilise(values: NDArray[np.float64], photons: float, electronic: float) -> Floats:
    """Return the picture of stabilised values (closed-form unbiased inverse; Makitalo & Foi 2013, equation 10)."""
    v = np.maximum(values, 1e-3)
    counts = v**2 / 4 + np.sqrt(1.5) / (4 * v) - 11 / (8 * v**2) + 5 * np.sqrt(1.5) / (8 * v**3) - 1 / 8
    return np.asarray((counts - (electronic * photons) ** 2) / photons, dtype=np.float32)


def halve(picture: Floats) -> Floats:
    """Return a picture of half the width and height (bicubic, smoothed)."""
    height, width = picture.shape
    return _resized(picture, width // 2, height // 2)


def enlarge_bicubic(picture: Floats, width: int, height: int) -> Floats:
    """Return a picture at a larger size (bicubic): what super-resolution is measured against."""
    return _resized(picture, width, height)


def _resized(picture: Floats, width: int, height: int) -> Floats:
    image_module = need("PIL.Image", "pillow", "resizing pictures")
    image = image_module.fromarray(np.asarray(picture, dtype=np.float32))
    return np.array(image.resize((width, height), image_module.Resampling.BICUBIC), dtype=np.float32)


def psnr(found: Floats, truth: Floats) -> float:
    """Return the peak signal-to-noise ratio in dB of pictures in [0, 1]; infinite for equal ones."""
    error = float(np.mean((np.asarray(found, dtype=np.float64) - truth) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))
