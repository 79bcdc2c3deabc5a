"""Losses, calibration and measures: what they reward and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from models.vision.calibration import best_threshold, fit_calibration
from models.vision.errors import RecipeInvalid
from models.vision.metrics import area_under_roc, average_precision, with_interval
from models.vision.recipe import Task, parse_recipe, shipped_recipe
from models.vision.training.loss import box_loss, generalised_iou, mask_loss, region_hint_loss, study_label_loss
from models.vision.training.network import log_mean_exp

ROWS = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=40)


@given(ROWS)
def test_areas_are_those_of_scikit_learn(rows: list[tuple[bool, int]]) -> None:
    truth, scores = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)
    if truth.all() or not truth.any():
        assert np.isnan(area_under_roc(truth, scores))
        return
    assert area_under_roc(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
    assert average_precision(truth, scores) == pytest.approx(average_precision_score(truth, scores))


def test_interval_draws_patients_as_a_whole() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(60) < 0.5
    scores = truth + generator.normal(0, 1, 60)
    alone = with_interval(area_under_roc, truth, scores, resamples=300)
    doubled = with_interval(
        area_under_roc, np.repeat(truth, 2), np.repeat(scores, 2), list(np.repeat(np.arange(60), 2)), resamples=300
    )
    assert doubled.value == pytest.approx(alone.value)
    assert doubled.low == pytest.approx(alone.low)  # twice the rows of the same patients say nothing more
    assert doubled.high == pytest.approx(alone.high)


def test_unknown_label_costs_nothing_whatever_its_target() -> None:
    logits = torch.tensor([[2.0, -1.0]], requires_grad=True)
    known = torch.tensor([[True, False]])
    losses = [study_label_loss(logits, torch.tensor([[1.0, other]]), known) for other in (0.0, 1.0, float("nan"))]
    assert losses[0] == losses[1] == losses[2]
    losses[2].backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0
    assert study_label_loss(logits, torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)) == 0


def test_hint_wants_light_inside_and_none_outside() -> None:
    inside = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    inside[..., :2] = True
    hinted = torch.ones(1, 1, dtype=torch.bool)
    right_place, wrong_place, everywhere = (torch.full((1, 1, 4, 4), -4.0) for _ in range(3))
    right_place[0, 0, 1, 1], wrong_place[0, 0, 1, 3] = 4.0, 4.0
    everywhere[:] = 4.0
    at_right, at_wrong, all_over = (
        float(region_hint_loss(maps, inside, hinted)) for maps in (right_place, wrong_place, everywhere)
    )
    assert at_right < all_over
    assert at_right < at_wrong
    assert region_hint_loss(wrong_place, inside, ~hinted) == 0


def test_soft_maximum_lies_between_mean_and_maximum() -> None:
    values = torch.tensor([[0.0, 1.0, 5.0]])
    assert float(log_mean_exp(values, 0.01)) == pytest.approx(2.0, abs=0.05)
    assert 2.0 < float(log_mean_exp(values, 1.0)) < float(log_mean_exp(values, 10.0)) < 5.0


def test_box_loss_is_least_for_the_box() -> None:
    box = torch.tensor([[[0.25, 0.25, 0.75, 0.75]]])
    given = torch.ones(1, 1, dtype=torch.bool)
    across = (torch.arange(8) + 0.5) / 8
    middle = (across >= 0.375) & (across <= 0.625)
    centres = torch.where(middle[:, None] & middle[None, :], 6.0, -6.0)[None, None]
    grid_x, grid_y = across[None, :].expand(8, 8), across[:, None].expand(8, 8)
    right = torch.stack([grid_x - 0.25, grid_y - 0.25, 0.75 - grid_x, 0.75 - grid_y])[None, None]
    assert float(box_loss(centres, right, box, given)) < 0.05
    assert float(box_loss(centres, right + 0.2, box, given)) > 0.3
    assert float(box_loss(-centres, right, box, given)) > 3
    apart = torch.tensor([[0.0, 0.0, 0.2, 0.2]]), torch.tensor([[0.8, 0.8, 1.0, 1.0]])
    assert generalised_iou(*apart) < -0.5
    assert generalised_iou(apart[0], apart[0]) == pytest.approx(1.0)


def test_mask_loss_leaves_out_what_is_not_known() -> None:
    masks = torch.zeros(1, 1, 4, 4)
    masks[..., :2] = 1
    logits = torch.where(masks > 0, 9.0, -9.0)
    assert float(mask_loss(logits, masks)) < 0.01
    wrong = logits.clone()
    wrong[..., 3, :] *= -1
    weights = torch.ones_like(masks)
    weights[..., 3, :] = 0
    assert float(mask_loss(wrong, masks)) > 1
    assert float(mask_loss(wrong, masks, weights)) < 0.01


def test_calibration_finds_the_slope_and_needs_enough_rows() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 3, 4000).astype(np.float32)
    truth = (generator.random(4000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))).astype(np.float32)
    fitted = fit_calibration(logits, truth)
    assert fitted.slope == pytest.approx(0.5, abs=0.08)
    assert fitted.offset == pytest.approx(-1, abs=0.15)
    assert fitted.threshold == pytest.approx(truth.mean(), abs=0.1)  # of calibrated scores, the share of positives
    few = fit_calibration(logits[:10], truth[:10])
    assert (few.slope, few.offset, few.threshold, few.rows) == (1.0, 0.0, 0.5, 0)
    assert fit_calibration(logits, 1 - truth).rows == 0  # a slope that turns the order round is none


@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=30))
def test_no_threshold_is_better_than_the_best(rows: list[tuple[int, bool]]) -> None:
    scores, truth = np.array([score / 8 for score, _ in rows]), np.array([value for _, value in rows])
    if truth.all() or not truth.any():
        return

    def gain(threshold: float) -> float:
        called = scores >= threshold
        return float(called[truth].mean() + (~called[~truth]).mean())

    found = gain(best_threshold(scores, truth))
    assert len(set(scores)) == 1 or found >= max(gain(tried) for tried in np.unique(scores)[1:]) - 1e-9


@pytest.mark.parametrize("task", list(Task))
def test_every_task_has_a_recipe(task: Task) -> None:
    assert shipped_recipe(task).task is task


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "classification", "epoch": 3}, "epoch"),
        ({"task": "classification", "pooling": "median"}, "pooling"),
        ({"task": "knitting"}, "task"),
        ({"task": "denoising", "photons": -1}, "photons"),
        ([], "task"),
    ],
)
def test_wrong_recipe_names_the_key(given: object, message: str) -> None:
    with pytest.raises(RecipeInvalid, match=message):
        parse_recipe(given, "mine.yaml")
