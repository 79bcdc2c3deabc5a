"""`radlabel vision locate`: boxes for what reports name, without a box to learn from."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corpora.dataset.folder import open_dataset
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
    assert 0 <= facts["share of both lungs"] < 1
    with (out / "rejects.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == facts["without lungs"]


def test_picture_without_two_lungs_is_listed(phantoms: Phantoms, lung_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chest"
    shutil.copytree(phantoms.folder, folder)
    rows = phantoms.open().table(["image_id", "file", "label:Consolidation"]).to_pylist()
    blank = next(row for row in rows if row["label:Consolidation"] == "positive")
    with Image.open(folder / blank["file"]) as image:
        picture = np.array(image)
    picture[:, : SIZE // 2] = 0  # shuttered
    Image.fromarray(picture).save(folder / blank["file"])
    lungs = VisionModel(lung_model, threads=1)
    done = locate(open_dataset(folder), lungs, "Consolidation", tmp_path / "out")
    assert done.rejected == 1
    with (tmp_path / "out" / "rejects.csv").open(encoding="utf-8", newline="") as stream:
        assert [*csv.DictReader(stream)] == [{"file": blank["file"], "reason": "no two lungs are seen"}]
    with (tmp_path / "out" / "places.csv").open(encoding="utf-8", newline="") as stream:
        written = {row["image_id"] for row in csv.DictReader(stream)}
    assert written == {row["image_id"] for row in rows if row["label:Consolidation"] == "positive"} - {
        blank["image_id"]
    }


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
