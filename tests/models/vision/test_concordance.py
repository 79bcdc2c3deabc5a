"""Labels that are wrong on purpose are found again by what the pictures say."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from corpora.dataset.folder import open_dataset
from models.vision.concordance import rank_disagreements
from models.vision.training.cross_fit import fold_patients
from models.vision.training.train import train
from nlp_service.cli.app import app
from tests.models.vision.conftest import Phantoms, recipe
from tests.models.vision.folders import Row, write_folder

LABEL = "Pleural Effusion"


def flipped(rows: list[Row], label: str, share: float, seed: int) -> tuple[list[Row], set[str]]:
    """Return rows of which a share of the training rows has another value of a label, and their ids."""
    training = [row.image_id for row in rows if row.split != "test"]
    drawn = np.random.default_rng(seed).choice(len(training), round(share * len(training)), replace=False)
    ids = {training[index] for index in drawn}
    other = {"positive": "negative", "negative": "positive", None: "positive"}
    return [
        replace(row, values={**row.values, label: other[row.values.get(label)]}) if row.image_id in ids else row
        for row in rows
    ], ids


def test_flipped_labels_come_first(phantoms: Phantoms, tmp_path: Path) -> None:
    rows, ids = flipped([row for _, row in phantoms.made], LABEL, 0.05, seed=3)
    folder = tmp_path / "flipped"
    folder.mkdir()
    write_folder(folder, rows, [LABEL])
    train(open_dataset(folder), recipe(epochs=6, hint_weight=0), tmp_path / "model", threads=1)
    arguments = ["concordance", "--dataset", folder, "--model", tmp_path / "model", "--out", tmp_path / "audit"]
    result = CliRunner().invoke(app, [str(word) for word in (*arguments, "--folds", "3", "--threads", "1")])
    assert result.exit_code == 0, result.stderr
    with (tmp_path / "audit" / "disagreements.csv").open(encoding="utf-8", newline="") as stream:
        listed = list(csv.DictReader(stream))
    first = {row["image_id"] for row in listed[: len(listed) // 10]}
    assert len(first & ids) >= len(ids) / 2
    summary = json.loads((tmp_path / "audit" / "concordance.json").read_text("utf-8"))
    [facts] = summary["labels"]
    assert facts["rows"] == sum(row.split != "test" for row in rows) == len(listed)
    assert 0.01 < facts["estimated_error"] < 0.2
    again = CliRunner().invoke(app, [str(word) for word in arguments])
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_too_few_rows_of_a_value_give_no_estimate() -> None:
    found, ranked = rank_disagreements(
        "Edema", np.array([True] * 3 + [False] * 40), np.zeros(43, dtype=np.float32), np.arange(43)
    )
    assert found.estimated_error is None
    assert ranked == []


@given(st.lists(st.integers(0, 30), min_size=40, max_size=80))
def test_folds_keep_patients_together_whatever_the_order(numbers: list[int]) -> None:
    patients = tuple(f"p{number}" for number in [*numbers, *range(5)])
    folds = fold_patients(patients, 5)
    by_patient: dict[str, set[int]] = {}
    for patient, fold in zip(patients, folds, strict=True):
        by_patient.setdefault(patient, set()).add(int(fold))
    assert all(len(found) == 1 for found in by_patient.values())
    order = np.random.default_rng(1).permutation(len(patients))
    again = fold_patients(tuple(patients[index] for index in order), 5)
    assert again.tolist() == folds[order].tolist()


def test_fewer_patients_than_folds_are_refused() -> None:
    from models.vision.errors import DatasetUnfit

    with pytest.raises(DatasetUnfit, match="folds"):
        fold_patients(("a", "a", "b"), 3)
