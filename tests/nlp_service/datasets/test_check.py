"""The check finds what is wrong with a folder, whoever made it so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from corpora.dataset import DatasetFolder, DatasetInvalid, open_dataset
from corpora.dataset.check import check_dataset
from corpora.dataset.columns import rows_schema
from corpora.dataset.folder import file_digest
from corpora.deidentification import Pseudonymiser
from nlp_service.cli.app import app
from nlp_service.datasets import BuildSummary
from tests.nlp_service.datasets.conftest import Hospital

runner = CliRunner()
Rows = list[dict[str, Any]]


@pytest.fixture
def copy(built: BuildSummary, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built.output, tmp_path / "copy"))


def rewritten(copy: Path, change: Callable[[Rows], None]) -> DatasetFolder:
    """Return the data set with its rows changed, and with digests that say that this is how it was written."""
    folder = open_dataset(copy)
    rows = list(folder.iter_rows())
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=rows_schema(folder.labels)), copy / "rows.parquet")
    info = json.loads((copy / "dataset.json").read_text("utf-8"))
    info["digests"]["rows.parquet"] = file_digest(copy / "rows.parquet")
    info["rows"] = len(rows)
    info["splits"] = {split: sum(row["split"] == split for row in rows) for split in info["splits"]}
    (copy / "dataset.json").write_text(json.dumps(info), encoding="utf-8")
    return open_dataset(copy)


def other(split: str) -> str:
    return "test" if split == "train" else "train"


def move_one_row(rows: Rows) -> None:
    """Move one of two images of a patient."""
    patients = [row["patient_id"] for row in rows]
    row = next(row for row in rows if patients.count(row["patient_id"]) > 1)
    row["split"] = other(row["split"])


def repeat_a_text(rows: Rows) -> None:
    first = rows[0]
    second = next(row for row in rows if row["split"] != first["split"])
    second["text_digest"] = first["text_digest"]


def repeat_a_picture(rows: Rows) -> None:
    first = rows[0]
    second = next(row for row in rows if row["split"] != first["split"])
    second["file"], second["picture_digest"] = first["file"], first["picture_digest"]


def tear_target_and_mask(rows: Rows) -> None:
    rows[0]["target:Edema"] = None if rows[0]["mask:Edema"] else 1.0


def invent_a_value(rows: Rows) -> None:
    rows[0]["label:Edema"] = "maybe"


def drop_a_row(rows: Rows) -> None:
    del rows[3]


def shuffle(rows: Rows) -> None:
    rows.reverse()


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (move_one_row, {"leak: patient", "leak: text"}),
        (repeat_a_text, {"leak: text"}),
        (repeat_a_picture, {"leak: picture", "leak: near_picture", "stray file"}),
        (tear_target_and_mask, {"value"}),
        (invent_a_value, {"value"}),
        (drop_a_row, {"counts", "stray file"}),
        (shuffle, {"order"}),
    ],
)
def test_changed_rows_are_found(copy: Path, change: Callable[[Rows], None], kinds: set[str]) -> None:
    assert set(check_dataset(rewritten(copy, change)).counts()) == kinds


def test_changed_files_are_found(copy: Path) -> None:
    folder = open_dataset(copy)
    files = folder.table(["file"])["file"].to_pylist()
    Image.new("L", (96, 79), 7).save(copy / files[0])
    Image.new("RGB", (96, 79)).save(copy / files[1])
    (copy / files[2]).write_bytes(b"no picture")
    (copy / files[3]).unlink()
    (copy / "images" / "stray.png").write_bytes(b"")
    (copy / "excluded.csv").write_text("kind,id,stage,outcome,reason\nimage,x,index,copy,copy\n")
    (copy / "link_report.json").unlink()
    found = check_dataset(folder)
    assert found.counts() == {
        "counts": 1,
        "file changed": 1,
        "file missing": 1,
        "picture": 3,
        "picture changed": 1,
        "picture size": 1,
        "stray file": 1,
    }


def test_a_row_cannot_name_a_file_elsewhere(copy: Path) -> None:
    folder = open_dataset(copy)
    with pytest.raises(DatasetInvalid, match="outside"):
        folder.read_image("../secret.png")


def test_what_is_no_data_set_is_said_to_be_none(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match=r"no dataset\.json"):
        open_dataset(tmp_path)
    info = json.loads((copy / "dataset.json").read_text("utf-8"))
    (copy / "dataset.json").write_text(json.dumps({**info, "format_version": 2}))
    with pytest.raises(DatasetInvalid, match="version 2"):
        open_dataset(copy)
    (copy / "dataset.json").write_text("[]")
    with pytest.raises(DatasetInvalid):
        open_dataset(copy)
    (copy / "dataset.json").write_text(json.dumps(info))
    (copy / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(DatasetInvalid, match="rows"):
        open_dataset(copy)


def test_another_key_is_refused(dataset: DatasetFolder) -> None:
    with pytest.raises(DatasetInvalid, match="key"):
        check_dataset(dataset, pseudonymiser=Pseudonymiser(b"some other key of enough bytes"))


def test_the_command_lists_faults_and_exits_with_1(hospital: Hospital, built: BuildSummary, copy: Path) -> None:
    key = ["--key-file", str(hospital.key_file)]
    good = runner.invoke(app, ["dataset", "check", str(built.output), *key])
    assert (good.exit_code, good.stdout) == (0, "")
    assert "nothing is wrong" in good.stderr
    rewritten(copy, move_one_row)
    bad = runner.invoke(app, ["dataset", "check", str(copy), *key, "--json"])
    assert bad.exit_code == 1
    assert [fault["kind"] for fault in json.loads(bad.stdout)["faults"]] == ["leak: patient", "leak: text"]
    assert runner.invoke(app, ["dataset", "check", str(hospital.folder)]).exit_code == 2


def test_the_digest_changes_with_a_row(dataset: DatasetFolder, copy: Path) -> None:
    assert open_dataset(copy).digest == dataset.digest
    assert rewritten(copy, drop_a_row).digest != dataset.digest
