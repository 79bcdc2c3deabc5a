"""`radlabel text train`, `export` and `evaluate --compare`, as a researcher runs them on reports of their own."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.text.encoder.folder import read_manifest, shipped_model
from models.text.encoder.session import OnnxNetwork
from nlp_service.cli.app import app

# This site calls fluid in the pleura "wet base", which nobody else does.
WET = ("There is a wet base on the left.", "Wet base on the right, small.", "Wet bases on both sides.")
DRY = ("The lungs are clear.", "No wet base.", "Heart size is normal. Bases are dry.")


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "short.yaml"
    path.write_text(
        "synthetic: {grammar: 50, cues: 0, substituted: 0}\n"
        "stages: [{name: own, labels: given, epochs: 8, reports: 4, synthetic: 2, evaluations: 2}]\n",
        "utf-8",
    )
    return path


def write_reports(path: Path, n: int) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("report_id", "text", "fluid"))
        for i in range(n):
            text = (WET if i % 2 else DRY)[i // 2 % 3]
            writer.writerow((f"r{i}", f"Chest radiograph. FINDINGS: {text} Seen on film {i}.", i % 2))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    reports = write_reports(folder / "mine.csv", 40)
    options = ("--reports", reports, "--labels", "fluid=Effusion", "--recipe", recipe, "-o", folder / "model")
    code, out, err = run("text", "train", *options)
    assert code == 0, err
    assert "written" in out
    return folder / "model"


def test_a_model_trained_on_a_few_reports_reads_their_habit(tmp_path: Path, trained: Path) -> None:
    test = write_reports(tmp_path / "test.csv", 60)
    options = ("--reports", test, "--labels", "fluid=Effusion", "--bootstrap", "200", "--json")
    code, out, err = run("text", "evaluate", *options, "--compare", "shipped", trained)
    assert code == 0, err
    facts = json.loads(out)
    assert facts["reports"] == 60
    assert facts["difference"] > 0
    assert facts["p_value"] < 0.05
    code, out, _ = run("text", "evaluate", *options, "--model", trained)
    assert code == 0
    assert json.loads(out)["labels"]["micro"]["f1"] == facts["micro_f1"][1]


def test_the_model_labels_and_says_so(tmp_path: Path, trained: Path) -> None:
    reports = write_reports(tmp_path / "new.csv", 4)
    output = tmp_path / "labels.jsonl"
    assert run("label", reports, "-o", output, "--label-set", "nih14", "--model", trained)[0] == 0
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert rows[0]["model"]["version"].endswith("+model")
    assert rows[1]["labels"]["nih14"]["Effusion"]["value"] == "positive"


def test_a_model_keeps_the_labels_it_was_not_trained_on(trained: Path) -> None:
    before, after = read_manifest(shipped_model()), read_manifest(trained)
    assert set(before.layout.labels) <= set(after.layout.labels)
    edema = next(c for c in after.calibration if (c.label_set, c.label) == ("nih14", "Edema"))
    same = next(c for c in before.calibration if (c.label_set, c.label) == ("nih14", "Edema"))
    assert (edema.scale, edema.offset, edema.threshold) == (same.scale, same.offset, same.threshold)


def test_without_labels_the_rules_teach(tmp_path: Path, recipe: Path) -> None:
    reports = write_reports(tmp_path / "mine.csv", 12)
    code, _, err = run("text", "train", "--reports", reports, "--recipe", recipe, "-o", tmp_path / "model")
    assert code == 0, err
    assert read_manifest(tmp_path / "model").training["data"]["labelled"] == 0


@pytest.mark.parametrize(
    ("labels", "label_set", "reason"),
    [
        ("fluid=Wetness", "nih14", "no label 'Wetness'"),
        ("fluid=Effusion", "chexpert", "chexpert"),
        ("liquid=Effusion", "nih14", "no column 'liquid'"),
        ("fluid=Pleural Effusion", "chexpert14", "readout: coded"),
    ],
)
def test_labels_that_nobody_knows_are_named(tmp_path: Path, labels: str, label_set: str, reason: str) -> None:
    reports = write_reports(tmp_path / "mine.csv", 4)
    options = ("--labels", labels, "--label-set", label_set, "-o", tmp_path / "model")
    code, _, err = run("text", "train", "--reports", reports, *options)
    assert code == 2
    assert reason in err
    assert not (tmp_path / "model").exists()


def test_rows_with_unknown_values_are_left_out_and_listed(tmp_path: Path, recipe: Path) -> None:
    reports = write_reports(tmp_path / "mine.csv", 12)
    with reports.open("a", encoding="utf-8") as stream:
        stream.write("r99,FINDINGS: Clear.,John Doe\n")
    options = ("--labels", "fluid=Effusion", "--recipe", recipe, "-o", tmp_path / "model")
    code, _, err = run("text", "train", "--reports", reports, *options)
    assert code == 0
    assert "row 13" in err
    assert "John" not in err


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    reports = tmp_path / "mine.csv"
    reports.write_text("report_id,text,fluid\nr1,Wet base.,1\nr2,Wet bases.,1\n", "utf-8")
    code, _, err = run("text", "train", "--reports", reports, "--labels", "fluid=Effusion", "-o", tmp_path / "model")
    assert code == 2
    assert "one value in all reports" in err


def test_the_graph_can_be_exported_whole(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    assert run("text", "export", "-o", target)[0] == 0
    ids = np.array([[2, 5, 20, 21, 3]])
    rows, scores = OnnxNetwork(target).run(ids)
    small, _ = OnnxNetwork(shipped_model() / "model.onnx").run(ids)
    assert rows.shape == small.shape
    assert scores.shape[2] == 2
