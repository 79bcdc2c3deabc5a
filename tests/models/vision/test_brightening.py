"""Opacities without boxes or masks of any: normal films tell where a lung is brighter than lungs are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.phantoms import Phantom, PhantomMaker
from models.vision.brightening import (
    NormalFilms,
    choose_boxes,
    extents_prior,
    in_each_lung,
    likeliest_point,
    lung_cells,
    places,
    probabilities,
)

MAKER = PhantomMaker(size=96)
_OPAQUE = ("consolidation", "pleural_effusion", "lung_nodule")


@pytest.fixture(scope="module")
def made() -> Sequence[Phantom]:
    return [MAKER.make(number, seed=3) for number in range(260)]


@pytest.fixture(scope="module")
def normal(made: Sequence[Phantom]) -> NormalFilms:
    films = [lung_cells(each.picture, each.lung_mask) for each in made if not each.findings]
    return NormalFilms([film for film in films if film is not None])


def test_opacities_are_found_in_their_lung_and_pointed_at(made: Sequence[Phantom], normal: NormalFilms) -> None:
    sides, hits, overlapping = [], [], []
    for phantom in made:
        if [finding.concept_id in _OPAQUE for finding in phantom.findings] != [True]:
            continue
        film, box = lung_cells(phantom.picture, phantom.lung_mask), phantom.findings[0].box
        assert film is not None
        chance = probabilities(normal.evidence(film), extents_prior())
        right = sum(p for p, place in zip(chance, places(), strict=True) if place.lung == 0)
        sides.append((right > 0.5) == (phantom.findings[0].side == "right"))
        x, y = likeliest_point(chance, film.boxes)
        hits.append(box.x_min <= x <= box.x_max and box.y_min <= y <= box.y_max)
        [((x0, y0, x1, y1), _)] = choose_boxes(chance, film.boxes, 1)
        overlapping.append(x0 < box.x_max and box.x_min < x1 and y0 < box.y_max and box.y_min < y1)
    assert len(sides) >= 20
    assert np.mean(sides) >= 0.95
    assert np.mean(hits) >= 0.5  # nodules are smaller than cells
    assert np.mean(overlapping) >= 0.95


def test_exposure_and_display_do_not_matter(made: Sequence[Phantom]) -> None:
    phantom = made[0]
    usual = lung_cells(phantom.picture, phantom.lung_mask)
    other = lung_cells((phantom.picture // 2 + 40).astype(np.uint8), phantom.lung_mask)
    used, greys = np.unique(phantom.picture, return_inverse=True)
    rising = np.sort(np.random.default_rng(1).choice(256, len(used), replace=False)).astype(np.uint8)
    same = lung_cells(rising[greys].reshape(phantom.picture.shape), phantom.lung_mask)
    assert usual is not None
    assert other is not None
    assert same is not None
    np.testing.assert_array_equal(usual.values, same.values)
    np.testing.assert_allclose(usual.values, other.values, atol=0.03)  # half the greys are told apart no more


def test_picture_without_two_lungs_has_no_cells(made: Sequence[Phantom]) -> None:
    phantom = made[0]
    assert lung_cells(phantom.picture, np.zeros_like(phantom.lung_mask)) is None
    assert lung_cells(phantom.picture, phantom.anatomy.right_lung) is None


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_boxes_lie_in_the_lungs_and_each_adds_less(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    evidence = generator.normal(0, 2, len(places()))
    lungs = ((0.1, 0.2, 0.45, 0.8), (0.55, 0.25, 0.9, 0.85))
    chance = probabilities(evidence, extents_prior([(0.5, 1.0)]))
    assert chance.sum() == pytest.approx(1)
    chosen = choose_boxes(chance, lungs, count)
    gains = [gain for _, gain in chosen]
    assert gains == sorted(gains, reverse=True)
    assert sum(gains) <= 1 + 1e-9
    for x0, y0, x1, y1 in (box for box, _ in chosen):
        assert any(a - 1e-9 <= x0 < x1 <= c + 1e-9 and b - 1e-9 <= y0 < y1 <= d + 1e-9 for a, b, c, d in lungs)


def test_what_notes_name_is_likelier_before_a_picture_is_seen() -> None:
    prior = extents_prior([(0.5, 1.0)] * 3)
    assert prior.sum() == pytest.approx(1)
    middle = np.array([(place.top + place.bottom) / 2 for place in places()])
    assert float(prior @ middle) > float(extents_prior() @ middle) + 0.1


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_share_of_pictures_has_an_opacity_in_either_lung(seed: int, both: float) -> None:
    chance = probabilities(np.random.default_rng(seed).normal(0, 2, len(places())), extents_prior())
    expected = in_each_lung(chance, both)
    assert expected.sum() == pytest.approx(1 + both)
    is_right = np.array([place.lung == 0 for place in places()])
    for members in (is_right, ~is_right):
        assert both - 1e-9 <= expected[members].sum() <= 1 + 1e-9
        np.testing.assert_allclose(expected[members] / expected[members].sum(), chance[members] / chance[members].sum())


def test_one_normal_film_is_too_few(made: Sequence[Phantom]) -> None:
    film = lung_cells(made[0].picture, made[0].lung_mask)
    assert film is not None
    with pytest.raises(ValueError, match="fewer than two"):
        NormalFilms([film])
