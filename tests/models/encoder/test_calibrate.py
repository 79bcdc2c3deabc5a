"""Probabilities and thresholds from development reports, of which some labels may not be known."""

import numpy as np
import pytest

from corpora.vocabulary import Vocabulary
from models.text.encoder.layout import Layout
from models.text.training.calibrate import best_threshold, calibrate
from models.text.training.examples import ReportExample
from models.text.training.scoring import DevScore, score_dev


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


@pytest.fixture
def half_known() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, gold and known (400 reports, 2 labels): of the second label every other report is not known."""
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 2, size=(400, 2)).astype(np.float32)
    gold = rng.random((400, 2)) < 1 / (1 + np.exp(-logits))
    known = np.ones_like(gold)
    known[::2, 1] = False
    return logits, gold, known


def test_what_is_not_known_changes_neither_probabilities_nor_threshold(
    half_known: tuple[np.ndarray, np.ndarray, np.ndarray], vocabulary: Vocabulary
) -> None:
    logits, gold, known = half_known
    layout = Layout.of(vocabulary, [vocabulary.label_set("nih14")])
    n = len(layout.labels)
    fitted = []
    for guess in (False, True):
        wide = np.zeros((len(logits), n), dtype=np.float32)
        values, there = np.full((len(logits), n), guess), np.zeros((len(logits), n), dtype=bool)
        wide[:, :2], values[:, :2], there[:, :2] = logits, np.where(known, gold, guess), known
        wide[::2, 1] = 9.0 if guess else -9.0
        fitted.append(calibrate(wide, values, there, layout, np.zeros(n, dtype=np.float32), {"nih14": [0, 1]}))
    assert fitted[0] == fitted[1]
    assert fitted[0][1].scale == pytest.approx(1.0, abs=0.3)


def test_a_label_that_is_known_nowhere_is_calibrated_like_the_others(vocabulary: Vocabulary) -> None:
    layout = Layout.of(vocabulary, [vocabulary.label_set("nih14")])
    rng = np.random.default_rng(8)
    logits = rng.normal(0, 2, size=(300, len(layout.labels))).astype(np.float32)
    gold = rng.random(logits.shape) < 1 / (1 + np.exp(-(2 * logits - 1)))
    known = np.zeros(gold.shape, dtype=bool)
    known[:, 0] = True
    bias = np.zeros(gold.shape[1], dtype=np.float32)
    first, second, *_ = calibrate(logits, gold, known, layout, bias, {"nih14": [0, 1]})
    assert (second.scale, second.offset) == pytest.approx((first.scale, first.offset), abs=0.01)


def test_the_development_score_leaves_out_what_is_not_known(
    half_known: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    logits, gold, known = half_known
    none = np.array([], dtype=np.int32)

    def score(change: float, columns: list[int], rows: slice) -> DevScore:
        values = logits.copy()
        values[::2, 1] = change
        reports = [
            ReportExample(f"r{i}", none, np.where(k, g, 0).astype(np.float32), k.astype(np.float32))
            for i, (g, k) in enumerate(zip(gold[rows], known[rows], strict=True))
        ]
        return score_dev(values[rows], reports, {"set": columns})

    assert score(9.0, [0, 1], slice(None)) == score(-9.0, [0, 1], slice(None))
    all_known = score(0.0, [1], slice(1, None, 2))
    with_unknown = score(9.0, [1], slice(None))
    assert with_unknown.micro_f1 == all_known.micro_f1
    assert with_unknown.loss == pytest.approx(all_known.loss / 2)
