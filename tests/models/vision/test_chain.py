"""From text to trained models: phantoms in a PACS, their reports in a table, and every step by its command.

reports + Orthanc -> data set -> four tasks trained -> predictions for what the PACS holds
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from corpora.dataset.folder import open_dataset
from corpora.phantoms import PhantomMaker
from nlp_service.cli.app import app
from tests.corpora.imaging.orthanc import PASSWORD, USER, Orthanc, needs_orthanc
from tests.models.vision.conftest import CLASSIFICATION, SIZE, TINY
from tests.models.vision.dicom import write_dicom
from tests.models.vision.test_restoration import SMALL

COUNT = 40
RECIPES = {
    "classification": {**CLASSIFICATION, "epochs": 2},
    "detection": {"task": "detection", "source": "hints", "epochs": 2, **TINY},
    "segmentation": {"task": "segmentation", "supervision": "none", "rounds": 2, "epochs": 2, **TINY},
    "denoising": {"task": "denoising", **SMALL, "epochs": 1, "steps": 10},
}


def radlabel(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@needs_orthanc
def test_reports_and_a_pacs_become_four_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLABEL_DICOMWEB_USER", USER)
    monkeypatch.setenv("RADLABEL_DICOMWEB_PASSWORD", PASSWORD)
    maker = PhantomMaker(size=SIZE)
    with (tmp_path / "reports.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["report_id", "accession_number", "report_text"])
        for number in range(COUNT):
            phantom = maker.make(number, seed=11)
            write_dicom(
                tmp_path / "dicom" / f"{number}.dcm",
                phantom.picture,
                accession_number=f"A{number}",
                patient_id=f"P{number}",
            )
            writer.writerow([f"R{number}", f"A{number}", phantom.report.text])
    recipe = {
        "reports": str(tmp_path / "reports.csv"),
        "labels": {"reader": "rules"},
        "filter": {"min_side": SIZE},
        "image": {"size": SIZE},
        "card": {"plots": False},
        "splits": {"shares": {"train": 0.8, "validation": 0.1, "test": 0.1}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (tmp_path / "orthanc").mkdir()
    with Orthanc(tmp_path / "orthanc") as pacs:
        pacs.send(tmp_path / "dicom")
        folder, index = tmp_path / "set", tmp_path / "index.parquet"
        radlabel("dataset", "build", tmp_path / "recipe.yaml", "--images", pacs.url, "--output", folder, "--jobs", "1")
        dataset = open_dataset(folder)
        assert dataset.info.rows == COUNT
        assert dataset.info.regions
        radlabel("images", "index", pacs.url, "--output", index)
        for name, values in RECIPES.items():
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
            train = ("vision", "train", "--recipe", tmp_path / f"{name}.yaml", "--dataset", folder, "--threads", "1")
            radlabel(*train, "--out", tmp_path / name)
            predict = ("vision", "predict", index, "--model", tmp_path / name, "--format", "jsonl", "--threads", "1")
            radlabel(*predict, "--out", tmp_path / f"{name}-found", "--overlays", "--coco")
            lines = (tmp_path / f"{name}-found" / "predictions.jsonl").read_text("utf-8").splitlines()
            assert len({json.loads(line)["image_id"] for line in lines}) == COUNT
    assert len(list((tmp_path / "denoising-found" / "pictures").glob("*.png"))) == COUNT
