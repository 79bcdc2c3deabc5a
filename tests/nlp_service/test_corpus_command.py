"""`radlabel corpus fetch` and `radlabel corpus info`, as a user runs them."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpora.fetch import CORPORA, default_cache_dir
from nlp_service.cli.corpus import app

OPENI_FACTS = {
    "reports": 3_955,
    "invalid_rows": 0,
    "with_text": 3_927,
    "with_accession_number": 3_851,
    "with_codes": 3_955,
}


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_info_counts_a_file_without_showing_its_text(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text("id,text,accession\n1,Lungs are clear.,MARK\n2,Lungs are clear.,\n3,,\n4\n")
    code, out, _ = run("info", path, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["reports"] == 3
    assert facts["invalid_rows"] == 1
    assert (facts["with_text"], facts["distinct_texts"], facts["characters_max"]) == (2, 1, 16)
    assert facts["with_accession_number"] == 1
    assert list(facts["sha256"]) == ["reports.csv"]
    code, out, _ = run("info", path)
    assert code == 0
    assert "distinct texts" in out
    assert "clear" not in out
    assert "MARK" not in out


def test_info_of_what_cannot_be_read_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code, out, err = run("info", tmp_path / "gone.csv")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_corpus_that_was_not_fetched_says_what_to_run(tmp_path: Path) -> None:
    code, _, err = run("info", "openi", "--cache-dir", tmp_path)
    assert code == 2
    assert "run: radlabel corpus fetch openi" in err


def test_fetch_of_the_wrong_thing_is_an_error(tmp_path: Path) -> None:
    code, _, err = run("fetch", "mimic", "--cache-dir", tmp_path)
    assert code == 2
    assert err == "error: there is no corpus 'mimic'; there are: openi, padchest\n"
    wrong = tmp_path / CORPORA["openi"].members[0].file_name
    wrong.write_bytes(b"altered")
    code, _, err = run("fetch", "openi", "--from", wrong, "--cache-dir", tmp_path / "cache")
    assert code == 2
    assert "is not the file that was expected" in err


def test_fetched_openi_is_brought_to_another_cache_and_counted(openi_folder: Path, tmp_path: Path) -> None:
    code, out, err = run("fetch", "openi", "--from", openi_folder, "--cache-dir", tmp_path)
    assert (code, out.strip()) == (0, str(tmp_path / "corpora" / "openi"))
    assert "licence: CC BY-NC-ND" in err
    code, _, err = run("fetch", "openi", "--cache-dir", tmp_path)
    assert code == 0
    assert "already there, digests checked" in err
    code, out, _ = run("info", "openi", "--cache-dir", tmp_path, "--json")
    facts = json.loads(out)
    assert {key: facts[key] for key in OPENI_FACTS} == OPENI_FACTS
    assert facts["location"] == str(tmp_path / "corpora" / "openi")
    assert len(facts["sha256"]) == 2


@pytest.fixture
def openi_folder() -> Path:
    folder = default_cache_dir(os.environ) / "corpora" / "openi"
    if not folder.is_dir():
        pytest.skip("the corpus openi is not in the cache; run: radlabel corpus fetch openi")
    return folder
