"""`radlabel vision` from the outside: commands, files, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from nlp_service.cli.app import app
from tests.models.vision.conftest import CLASSIFICATION, SIZE, Phantoms
from tests.models.vision.folders import PHANTOM_LABELS


@pytest.fixture
def short_recipe(tmp_path: Path) -> Path:
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump({**CLASSIFICATION, "epochs": 1}), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in ("vision", *arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_from_data_set_to_scores(few_phantoms: Phantoms, short_recipe: Path, tmp_path: Path) -> None:
    model, found = tmp_path / "model", tmp_path / "found"
    train = ("train", "--dataset", few_phantoms.folder, "--recipe", short_recipe, "--out", model, "--threads", "1")
    code, out, err = run(*train, "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["validation"].keys() == {"AUROC", "AP"}
    events = [json.loads(line) for line in err.splitlines()]
    assert events[-1]["event"] == "progress"
    code, out, err = run("evaluate", "--dataset", few_phantoms.folder, "--model", model, "--bootstrap", "20")
    assert code == 0, err
    assert json.loads(out)["split"] == "test"
    code, out, err = run(
        "predict", few_phantoms.folder, "--model", model, "--out", found, "--overlays", "--split", "test"
    )
    assert code == 0, err
    with (found / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image_id"] for row in rows] == sorted(
        row.image_id for _, row in few_phantoms.made if row.split == "test"
    )
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in PHANTOM_LABELS.values() if name in row)
    about = json.loads((found / "model.json").read_text("utf-8"))
    labels = about["labels"]
    assert list(rows[0])[-len(labels) :] == labels
    assert rows[0]["study_instance_uid"] == ""  # the phantoms' data set has none
    assert len(list((found / "overlays").glob("*.png"))) == len(rows) * len(labels)


def test_unreadable_picture_costs_itself_alone(few_phantoms: Phantoms, finding_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.fromarray(few_phantoms.made[0][0].picture).save(folder / "a.png")
    Image.fromarray(np.full((SIZE * 2, SIZE), 90, dtype=np.uint8)).save(folder / "b.jpg")
    (folder / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    code, _, err = run("predict", folder, "--model", finding_model, "--out", tmp_path / "out", "--format", "jsonl")
    assert code == 1, err
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert [row["image_id"] for row in rows] == ["a", "b"]
    with (tmp_path / "out" / "rejects.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["file"] for row in csv.DictReader(stream)] == ["c.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--dataset", "nowhere", "--model", "MODEL"), "no data set"),
        (("predict", "nowhere", "--model", "MODEL", "--out", "OUT"), "no such file"),
        (("predict", "PHANTOMS", "--model", "nowhere", "--out", "OUT"), "no model of images"),
        (("predict", "PHANTOMS", "--model", "MODEL", "--out", "MODEL"), "exists"),
        (("train", "--dataset", "PHANTOMS", "--out", "MODEL", "--task", "classification"), "exists"),
    ],
)
def test_wrong_use_says_what_is_wrong(
    arguments: tuple[str, ...], message: str, few_phantoms: Phantoms, finding_model: Path, tmp_path: Path
) -> None:
    places = {"MODEL": finding_model, "PHANTOMS": few_phantoms.folder, "OUT": tmp_path / "out"}
    code, _, err = run(*[places.get(word, word) for word in arguments])
    assert code == 2
    assert message in err
    assert not (tmp_path / "out").exists()
