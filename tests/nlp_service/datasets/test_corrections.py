"""From images that speak against a label to the next data set: the review queue in between, pseudonyms and all."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpora.dataset import DatasetFolder, open_dataset
from corpora.errors import SourceUnreadable
from nlp_service.cli.app import app
from nlp_service.corrections import read_corrections
from nlp_service.review_import import read_disagreements
from tests.nlp_service.datasets.conftest import KEY
from tests.nlp_service.datasets.making import studies, write_images, write_reports
from tests.nlp_service.processes import Served

runner = CliRunner()
COLUMNS = ["label", "rank", "image_id", "report_id", "report_says", "image_probability", "quality", "suspected"]


def write_disagreements(path: Path, *rows: tuple[str, str, str, str, str]) -> Path:
    """Write rows of label, report id, what the report says, probability, suspected."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for number, (label, report_id, said, probability, suspected) in enumerate(rows, start=1):
            writer.writerow([label, number, f"i{number}", report_id, said, probability, "0.0300", suspected])
    return path


def run(*arguments: str | Path, code: int = 0) -> str:
    found = runner.invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == code, found.output
    return found.output


def values(dataset: DatasetFolder, label: str) -> dict[str, str | None]:
    return {row["report_id"]: row[f"label:{label}"] for row in dataset.iter_rows()}


def test_a_label_that_images_speak_against_is_reviewed_and_corrected_in_the_next_data_set(tmp_path: Path) -> None:
    of = studies(6)
    images, reports = write_images(tmp_path / "dicom", of), write_reports(tmp_path / "reports.csv", of)
    key, pairs, store = tmp_path / "names.key", tmp_path / "map.csv", tmp_path / "store"
    key.write_text(KEY)
    store.mkdir()
    build: list[str | Path] = [
        "dataset",
        "build",
        "--reports",
        reports,
        "--images",
        images,
        "--key-file",
        key,
        "--map-file",
        pairs,
    ]
    run(*build, "-o", tmp_path / "first", "--size", "64")
    first = open_dataset(tmp_path / "first")
    before = values(first, "Pleural Effusion")
    wrong = sorted(name for name, value in before.items() if value == "positive")[0]
    silent = sorted(name for name, value in before.items() if value is None)[0]
    listed = write_disagreements(
        tmp_path / "disagreements.csv",
        ("Pleural Effusion", wrong, "positive", "0.0312", "1"),
        ("Pleural Effusion", silent, "negative", "0.9500", "1"),
        ("Pleural Effusion", "Rnobody", "positive", "0.0400", "1"),
        ("Pneumothorax", wrong, "positive", "0.0400", "1"),
        ("Edema", wrong, "positive", "0.4000", "0"),
    )
    with Served(store) as service:
        job = service.upload(reports, store="true", columns=json.dumps({}))
        while service.get(f"/v1/jobs/{job}")["state"] != "done":
            pass
        command = [sys.executable, "-m", "nlp_service", "review", "import", str(listed), "--data-dir", str(store)]
        options = ["--map-file", str(pairs), "--key-file", str(key), "--reject-file", str(tmp_path / "rejects.csv")]
        told = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert told.returncode == 1, told.stderr
        assert told.stderr.splitlines()[0] == "2 labels wait for a review because of their images"
        assert (tmp_path / "rejects.csv").read_text().splitlines() == [
            "row,reason",
            "4,the map has no report of this pseudonym",
            "5,no stored label has this name and value",
        ]
        queue = service.get("/v1/review?limit=3")["reports"]
        said = [[(one["label"], one["probability"]) for one in item["images_say"]] for item in queue]
        assert sorted(said[:2]) == [[("Pleural Effusion", 0.0312)], [("Pleural Effusion", 0.95)]]
        assert said[2] == []
        assert service.get("/v1/review?limit=1&offset=2")["reports"] == queue[2:]
        head = next(item for item in queue if item["images_say"] and item["images_say"][0]["probability"] < 0.1)
        correction = {"label_set": "chexpert14", "label": "Pleural Effusion", "value": "negative"}
        status, _ = service.request("POST", f"/v1/review/{head['id']}", {"corrections": [correction]})
        assert status == 200
        left = service.get("/v1/review?limit=100")["reports"]
        assert [bool(item["images_say"]) for item in left[:2]] == [True, False]
    reviewed = tmp_path / "reviewed.csv"
    run("review", "export", reviewed, "--label-set", "chexpert14", "--data-dir", store)
    run(*build, "-o", tmp_path / "second", "--size", "64", "--corrections", reviewed)
    after = values(open_dataset(tmp_path / "second"), "Pleural Effusion")
    assert after == {**before, wrong: "negative"}
    recipe = json.loads((tmp_path / "second" / "dataset.json").read_text())
    assert "corrections" in json.dumps(recipe)


def test_corrections_of_reports_that_are_not_there_are_told(tmp_path: Path) -> None:
    of = studies(3)
    images, reports = write_images(tmp_path / "dicom", of), write_reports(tmp_path / "reports.csv", of)
    corrections = tmp_path / "corrections.csv"
    corrections.write_text(f"report_id,chexpert14:Edema\n{of[0].report_id},-1\nnobody,1\n")
    build: list[str | Path] = [
        "dataset",
        "build",
        "--reports",
        reports,
        "--images",
        images,
        "--size",
        "64",
        "--keep-identifiers",
    ]
    told = run(*build, "-o", tmp_path / "made", "--corrections", corrections, code=1)
    assert "1 corrections of reports that are not there" in told
    assert "1 labels have the value that a person gave" in told
    assert values(open_dataset(tmp_path / "made"), "Edema")[of[0].report_id] == "uncertain"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_files_that_went_through_a_spreadsheet_are_read(tmp_path: Path, encoding: str) -> None:
    corrections, listed = tmp_path / "corrections.csv", tmp_path / "disagreements.csv"
    corrections.write_text("report_id,Edema,text\nr\u00e91,-1,Lungen\u00f6dem m\u00f6glich.\n", encoding)
    assert read_corrections(corrections, "chexpert14", ("Edema",)) == {"r\u00e91": {"Edema": "uncertain"}}
    listed.write_text(f"{','.join(COLUMNS)}\nEdema,1,i1,r\u00e91,positive,0.0300,0.0300,1\n", encoding)
    assert [(row.report_id, row.probability) for row in read_disagreements(listed)] == [("r\u00e91", 0.03)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("report,Edema\nr1,1\n", "has no column report_id"),
        ("report_id,Humour\nr1,1\n", "has no column of a label of chexpert14"),
        ("report_id,Edema\nr1,1\nr2,yes\n", "row 3, Edema: must be 1, 0, -1 or empty"),
    ],
)
def test_what_is_no_file_of_corrections_is_told_by_row(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "corrections.csv"
    path.write_text(content)
    with pytest.raises(SourceUnreadable, match=reason):
        read_corrections(path, "chexpert14", ("Edema",))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("Edema", "r1", "positive", "high", "1"), "row 2: image_probability is no number"),
        (("Edema", "r1", "positive", "1.5", "1"), "row 2: image_probability is not between 0 and 1"),
        (("Edema", "r1", "maybe", "0.5", "1"), "row 2: report_says is neither positive nor negative"),
    ],
)
def test_what_is_no_list_of_disagreements_is_told_by_row(
    tmp_path: Path, row: tuple[str, str, str, str, str], reason: str
) -> None:
    path = write_disagreements(tmp_path / "disagreements.csv", row)
    assert reason in run("review", "import", path, "--data-dir", tmp_path / "store", code=2)
