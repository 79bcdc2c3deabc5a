"""Pictures in one form: inverted and turned ones are set right, edges without content go, and nothing else changes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corpora.phantoms import PhantomMaker
from corpora.weak_labels.views import ViewKind
from models.vision.normalise import collimation, normalise
from nlp_service.cli.app import app
from tests.benchmarks.turned_films import copy_of, training_films

MAKER = PhantomMaker(size=64)


@pytest.mark.parametrize("number", range(12))
def test_inverted_picture_becomes_the_usual_one(number: int) -> None:
    picture = MAKER.make(number, seed=5).picture
    usual, turned = normalise(picture), normalise(np.asarray(255 - picture, dtype=np.uint8))
    assert not usual.is_inverted
    assert turned.is_inverted
    np.testing.assert_array_equal(turned.pixels, usual.pixels)


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("inverted", [False, True])
def test_turned_picture_is_turned_back(degrees: int, inverted: bool) -> None:
    for number in range(12):
        picture = MAKER.make(number, seed=5).picture
        usual, found = normalise(picture), normalise(copy_of(picture, degrees, inverted=inverted))
        assert usual.rotated == 0
        assert (found.rotated, found.is_inverted) == (degrees, inverted)
        assert "rotated" in found.flags
        np.testing.assert_array_equal(found.pixels, usual.pixels)


def test_mirrored_picture_is_left_alone() -> None:
    found = normalise(np.ascontiguousarray(MAKER.make(3, seed=5).picture[:, ::-1]))
    assert found.rotated == 0
    assert "maybe_rotated" not in found.flags


@pytest.mark.parametrize(("view", "flag"), [(ViewKind.LATERAL, "lateral"), (ViewKind.OTHER, "not_frontal")])
def test_view_that_is_not_frontal_is_flagged_and_not_turned(view: ViewKind, flag: str) -> None:
    picture = np.ascontiguousarray(np.rot90(MAKER.make(4, seed=5).picture))
    found = normalise(picture, view)
    assert flag in found.flags
    assert found.rotated == 0
    assert "rotated" in normalise(picture).flags


def test_picture_that_is_no_chest_is_not_turned() -> None:
    generator = np.random.default_rng(4)
    for _ in range(20):
        found = normalise(generator.integers(0, 256, (90, 70), dtype=np.uint8))
        assert found.rotated == 0


@pytest.mark.parametrize("name", ["covid_cxr", "nih_cxr"])
def test_real_films_stay_upright_and_turned_ones_are_set_right(name: str, data_folder: Path) -> None:
    films = list(training_films(data_folder, name))[::6]
    assert not any(normalise(film).rotated for film in films)
    for degrees in (90, 180, 270):
        found = [normalise(copy_of(film, degrees, inverted=False)) for film in films]
        assert np.mean([each.rotated == degrees and not each.is_inverted for each in found]) > 0.9


@pytest.mark.parametrize("grey", [0, 255])
def test_collimator_edges_are_cut_off(grey: int) -> None:
    picture = MAKER.make(1, seed=6).picture
    x0, y0, x1, y1 = collimation(picture)
    framed = np.full((104, 94), grey, dtype=np.uint8)
    framed[20:84, 10:74] = picture
    found = normalise(framed)
    assert "collimated" in found.flags
    assert collimation(framed) == (10 + x0, 20 + y0, 10 + x1, 20 + y1)


def test_picture_without_content_stays_whole_and_is_flagged() -> None:
    found = normalise(np.full((40, 100), 90, dtype=np.uint8))
    assert found.pixels.shape == (40, 100)
    assert set(found.flags) == {"empty", "not_frontal_format"}
    assert "saturated" in normalise(np.where(np.eye(64) > 0, 255, 0).astype(np.uint8)).flags


def test_command_writes_pictures_and_flags(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    picture = MAKER.make(2, seed=5).picture
    Image.fromarray(copy_of(picture, 270, inverted=True)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"\x89PNG no more")
    result = CliRunner().invoke(app, ["vision", "normalise", str(folder), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.stderr
    with (tmp_path / "out" / "normalised.csv").open(encoding="utf-8", newline="") as stream:
        [row] = csv.DictReader(stream)
    assert {"inverted", "rotated"} <= set(row["flags"].split())
    assert row["rotated_degrees"] == "270"
    assert (tmp_path / "out" / "pictures" / "a.png").is_file()
