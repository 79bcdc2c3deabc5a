"""`radlabel images`, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpora.imaging.index_table import read_index
from nlp_service.cli.app import app
from tests.corpora.imaging.making import MARK, make_dataset, write
from tests.corpora.imaging.orthanc import PASSWORD, USER, Orthanc, needs_orthanc
from tests.corpora.imaging.test_manifest import manifest, picture


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["images", *(str(argument) for argument in arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in range(3):
        write(tmp_path / "tree" / f"{number}.dcm", make_dataset(uid=f"1.2.{number}", Manufacturer="Invented"))
    return tmp_path / "tree"


def test_folder_is_indexed_and_counted_in_words(tree: Path, tmp_path: Path) -> None:
    code, said, told = run("index", tree, "-o", tmp_path / "index.parquet")
    assert (code, said) == (0, "")
    assert "3 seen = 3 images + 0 not images + 0 unreadable" in told
    code, said, told = run("info", tmp_path / "index.parquet")
    assert (code, told) == (0, "")
    assert "3 seen = 3 images" in said
    assert "1 patient_id" in said
    assert "manufacturer: Invented 3" in said
    assert MARK not in said


def test_unreadable_files_make_the_exit_code_1_and_are_listed(tree: Path, tmp_path: Path) -> None:
    (tree / "bad.dcm").write_bytes(b"\0" * 10)
    code, _, told = run("index", tree, "-o", tmp_path / "index.parquet")
    assert code == 1
    assert "index.parquet.unreadable.csv" in told
    listed = (tmp_path / "index.parquet.unreadable.csv").read_text(encoding="utf-8")
    assert listed.splitlines()[1].startswith("bad.dcm,")


def test_json_is_for_programs(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    code, said, told = run("index", tree, "-o", index, "--json", "--processes", "1", "--full")
    assert code == 0
    counts = {"seen": 3, "images": 3, "not_images": 0, "unreadable": 0}
    assert json.loads(said) == {"event": "summary", "output": str(index), **counts}
    events = [json.loads(line) for line in told.splitlines()]
    assert events[-1] == {"event": "progress", "seen": 3, "images": 3, "unchanged": 0, "unreadable": 0}
    code, said, _ = run("info", index, "--json")
    found = json.loads(said)
    assert found["by"]["view"] == {"PA": 3}
    assert found["by"]["split"] == {"": 3}
    assert found["distinct"]["image_id"] == 3
    assert MARK not in said


def test_manifest_is_indexed_with_boxes_and_masks(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "masks" / "a.png")
    (tmp_path / "boxes.csv").write_text("image_id,label,x,y,w,h\na,Nodule,1,2,3,4\n")
    path = manifest(tmp_path, "a,a.png,P,A", f"b,{MARK}.png,P,A")
    options = ("--boxes", tmp_path / "boxes.csv", "--masks", tmp_path / "masks")
    code, _, told = run("index", path, "-o", tmp_path / "index.parquet", *options)
    assert code == 1
    assert MARK not in told
    (row,) = read_index(tmp_path / "index.parquet").to_pylist()
    assert (row["mask_file"], len(row["boxes"])) == ("masks/a.png", 1)


def test_wrong_usage_is_told_and_does_nothing(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    for arguments, said in (
        ((tree, "--resume"), "only a server can be resumed"),
        ((tree, "--query", "Modality=CR"), "only a server can be asked"),
        (("http://127.0.0.1/dicom-web", "--query", "Modalty=CR"), "use KEYWORD=VALUE"),
        ((tree, "--boxes", tmp_path / "b.csv"), "boxes and masks belong to a manifest"),
        (("http://127.0.0.1/dicom-web", "--masks", tree), "boxes and masks belong to a manifest"),
        ((tmp_path / "nowhere",), "nowhere: there is no such file or folder"),
        (("http://u:SECRET@127.0.0.1/dicom-web",), "must not hold a user"),
    ):
        code, _, told = run("index", *arguments, "-o", index)
        assert code == 2
        assert said in " ".join(told.replace("│", " ").split())
        assert "SECRET" not in told
        assert not index.exists()
    code, _, told = run("info", tmp_path / "nowhere.parquet")
    assert (code, told) == (2, "error: nowhere.parquet: there is no such file\n")
    code, _, told = run("index", tree, "-o", tmp_path / "not there" / "index.parquet")
    assert code == 2
    assert "No such file or directory" in told


@needs_orthanc
def test_server_is_indexed_with_what_the_environment_says(
    pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index.parquet"
    code, _, told = run("index", pacs.url, "-o", index)
    assert code == 2
    assert "answers with status 401: set RADLABEL_DICOMWEB_USER" in told
    monkeypatch.setenv("RADLABEL_DICOMWEB_USER", USER)
    monkeypatch.setenv("RADLABEL_DICOMWEB_PASSWORD", PASSWORD)
    code, said, told = run("index", pacs.url, "-o", index, "--resume", "--query", "ModalitiesInStudy=CR", "--json")
    assert code == 0
    summary = json.loads(said)
    assert summary["images"] == summary["seen"] == read_index(index).num_rows > 0
    assert PASSWORD not in said + told
    assert "studies" not in said + told
