"""Thresholds from calibrated probabilities."""

import numpy as np
import pytest

from models.text.training.calibrate import best_threshold


@pytest.mark.parametrize("seed", range(5))
def test_threshold_is_as_good_as_the_best_one_where_chances_are_calibrated(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.2, 1.0, size=50_000)
    gold = rng.random(50_000) < chances

    def f1(threshold: float) -> float:
        said = chances >= threshold
        return float(2 * (said & gold).sum() / (said.sum() + gold.sum()))

    best = max(f1(threshold) for threshold in np.arange(0.05, 0.95, 0.01))
    assert f1(best_threshold(chances)) >= best - 0.003


def test_threshold_of_nothing() -> None:
    assert best_threshold(np.array([])) == 0.5
