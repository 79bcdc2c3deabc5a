"""`radlabel vision locate`: boxes for what reports name, without a box to learn from."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.vision.errors import DatasetUnfit, OutputExists, VisionModelInvalid
from models.vision.locate import locate
from models.vision.runtime import VisionModel
from nlp_service.cli.app import app
from tests.models.vision.conftest import SIZE, Phantoms


def test_command_writes_a_box_where_the_finding_was_drawn(phantoms: Phantoms, lung_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "places"
    asked = ["vision", "locate", "--dataset", str(phantoms.folder), "--lungs", str(lung_model)]
    result = CliRunner().invoke(app, [*asked, "--label", "Pleural Effusion", "--out", str(out), "--threads", "1"])
    assert result.exit_code == 0, result.stderr
    with (out / "places.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    drawn = {
        row.image_id: {finding.side for finding in phantom.findings if finding.concept_id == "pleural_effusion"}
        for phantom, row in phantoms.made
        if len(phantom.findings) == 1
    }
    sided = [(row, next(iter(drawn[row["image_id"]]))) for row in rows if len(drawn.get(row["image_id"], ())) == 1]
    assert len(sided) >= 10
    assert np.mean([(float(row["right_lung"]) > 0.5) == (side == "right") for row, side in sided]) >= 0.9
    # An effusion lies at the base.
    assert np.mean([json.loads(row["boxes"])[0]["box"][3] for row, _ in sided]) > 0.65
    coco = json.loads((out / "places.coco.json").read_text("utf-8"))
    assert len(coco["annotations"]) == len(rows)
    assert {image["width"] for image in coco["images"]} == {SIZE}
    facts = json.loads((out / "summary.json").read_text("utf-8"))
    assert facts["normal films"] > 100
    assert facts["extents named"] > 0


def test_what_is_missing_is_said(
    phantoms: Phantoms, few_phantoms: Phantoms, lung_model: Path, finding_model: Path, tmp_path: Path
) -> None:
    lungs = VisionModel(lung_model, threads=1)
    with pytest.raises(DatasetUnfit, match="has no Gout"):
        locate(phantoms.open(), lungs, "Gout", tmp_path / "a")
    with pytest.raises(DatasetUnfit, match="30 are needed"):
        locate(few_phantoms.open(), lungs, "Consolidation", tmp_path / "a")
    with pytest.raises(VisionModelInvalid, match="masks of lungs"):
        locate(phantoms.open(), VisionModel(finding_model, threads=1), "Consolidation", tmp_path / "a")
    with pytest.raises(OutputExists):
        locate(phantoms.open(), lungs, "Consolidation", tmp_path)
    assert not list(tmp_path.iterdir())
