"""`radlabel text evaluate`, as a user runs it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpora.semantics import CATEGORIES, load_cases
from nlp_service.cli.text import app


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_semantics_table_is_scored_by_category(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    code, out, err = run("evaluate", "--corpus", "semantics", "--output", target)
    assert (code, err) == (0, "")
    facts = json.loads(target.read_text())
    assert [row["category"] for row in facts["semantics"]["categories"]] == list(CATEGORIES)
    assert facts["semantics"]["overall"]["cases"] == len(load_cases())
    assert all(category in out for category in CATEGORIES)
    assert max(map(len, out.splitlines()[:-1])) <= 80


def test_json_on_stdout_is_the_json_of_the_file(tmp_path: Path) -> None:
    target = tmp_path / "scores.json"
    code, out, _ = run("evaluate", "--corpus", "semantics", "--json", "-o", target)
    assert code == 0
    assert json.loads(out) == json.loads(target.read_text())


@pytest.mark.usefixtures("openi_corpus")
def test_openi_split_is_scored_against_its_codes(tmp_path: Path) -> None:
    # The held-out reports are measured by hand, with the command's defaults; the tests look at a tenth of the others.
    target = tmp_path / "scores.json"
    code, out, err = run("evaluate", "--split", "dev", "--bootstrap", "50", "-o", target)
    assert (code, err) == (0, "")
    facts = json.loads(target.read_text())
    assert (facts["corpus"], facts["split"], facts["label_set"]) == ("openi", "dev", "nih14")
    assert sum(facts["statuses"].values()) == facts["labels"]["n_reports"] == 306
    assert len(facts["labels"]["labels"]) == 13
    assert [score["name"] for score in facts["labels"]["apart"]] == ["Hernia"]
    assert 0.85 < facts["labels"]["micro"]["f1_low"] < facts["labels"]["micro"]["f1"] < 1
    assert facts["attributes"]["n_sides"] <= facts["attributes"]["n_sides_coded"]
    assert set(facts["model"]) == {"name", "version", "digest"}
    for shown in ("Pleural_Thickening", "micro", "macro", "Hernia", "side (accuracy)", "place (micro-F1)"):
        assert shown in out
    assert "CXR" not in out + target.read_text()


@pytest.mark.usefixtures("openi_corpus")
def test_other_label_sets_with_headings_can_be_measured(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "label_sets:\n  - id: own\n    name: Own\n    readout: coded\n    labels:\n"
        "      - {name: Fluid, mesh: [Pleural Effusion], concepts: [pleural_effusion]}\n"
    )
    arguments = ("evaluate", "--split", "dev", "--bootstrap", "5", "--json", "--label-set")
    code, out, _ = run(*arguments, "own", "--vocabulary", own)
    assert code == 0
    assert [score["name"] for score in json.loads(out)["labels"]["labels"]] == ["Fluid"]
    code, out, _ = run(*arguments, "openi")
    assert code == 0
    assert len(json.loads(out)["labels"]["labels"]) == 53


def test_what_codes_cannot_measure_is_refused() -> None:
    code, _, err = run("evaluate", "--label-set", "chexpert14")
    assert code == 2
    assert "has no MeSH headings" in err
    code, _, err = run("evaluate", "--corpus", "semantics", "--label-set", "nih14")
    assert code == 2
    assert "chexpert14" in err


def test_errors_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code, out, err = run("evaluate", "--label-set", "nobody's")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    code, _, err = run("evaluate", "--cache-dir", tmp_path)
    assert code == 2
    assert "run: radlabel corpus fetch openi" in err
    code, _, err = run("evaluate", "--corpus", "semantics", "-o", tmp_path / "missing" / "scores.json")
    assert code == 2
    assert "scores.json" in err


def test_cache_folder_is_the_one_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLABEL_CACHE_DIR", str(tmp_path))
    code, _, err = run("evaluate")
    assert code == 2
    assert tmp_path.name in err.replace("\n", "")
