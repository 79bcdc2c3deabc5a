"""Pictures in one form: inverted ones are turned round, edges without content go, and nothing else changes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corpora.phantoms import PhantomMaker
from models.vision.normalise import collimation, normalise
from nlp_service.cli.app import app

MAKER = PhantomMaker(size=64)


@pytest.mark.parametrize("number", range(12))
def test_inverted_picture_becomes_the_usual_one(number: int) -> None:
    picture = MAKER.make(number, seed=5).picture
    usual, turned = normalise(picture), normalise(np.asarray(255 - picture, dtype=np.uint8))
    assert not usual.is_inverted
    assert turned.is_inverted
    np.testing.assert_array_equal(turned.pixels, usual.pixels)


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
    Image.fromarray(np.asarray(255 - picture, dtype=np.uint8)).save(folder / "a.png")
    (folder / "b.png").write_bytes(b"\x89PNG no more")
    result = CliRunner().invoke(app, ["vision", "normalise", str(folder), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1, result.stderr
    with (tmp_path / "out" / "normalised.csv").open(encoding="utf-8", newline="") as stream:
        [row] = csv.DictReader(stream)
    assert "inverted" in row["flags"].split()
    assert (tmp_path / "out" / "pictures" / "a.png").is_file()
