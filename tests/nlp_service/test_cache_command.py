"""`radlabel cache build` and `radlabel label --cache`: the same labels, and a file that gives nothing away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nlp_service import chunks
from nlp_service.batch import label_files
from nlp_service.cache_build import build_cache
from nlp_service.cli.app import app
from tests.nlp_service.invented import SENTENCES, invented_rows, write_csv

SECRET = "Mr. Zwicky of 12 Elm Street has a small right pleural effusion."


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with reports, one of them with a sentence of its own, and the cache built from them."""
    folder = tmp_path_factory.mktemp("cache")
    rows = [*invented_rows(120), ("s1", "S1", f"FINDINGS: {SECRET} The lungs are clear."), ("bad", "row")]
    build_cache([write_csv(folder / "reports.csv", rows)], folder / "frequent.cache")
    return folder


def test_summary_counts_and_the_file_is_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.cache"
    code, out, _ = run("cache", "build", folder / "reports.csv", "-o", again, "--json")
    assert code == 0
    summary = json.loads(out)
    assert (summary["reports"], summary["failed"]) == (121, 1)
    assert summary["kept"] < summary["distinct"] < summary["sentences"]
    assert summary["covered_share"] > 0.9
    assert again.read_bytes() == (folder / "frequent.cache").read_bytes()
    assert summary["bytes"] == again.stat().st_size


def test_labels_with_the_file_are_those_without(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    plain, cached = tmp_path / "plain.jsonl", tmp_path / "cached.jsonl"
    label_files([folder / "reports.csv"], plain, jobs=1)
    code, _, err = run(
        "label", folder / "reports.csv", "-o", cached, "--cache", folder / "frequent.cache", "--jobs", "1", "--json"
    )
    assert code == 1, err  # one row is none
    assert cached.read_bytes() == plain.read_bytes()


def test_no_sentence_and_nothing_of_a_rare_one_is_in_the_file(folder: Path) -> None:
    content = (folder / "frequent.cache").read_bytes().lower()
    for sentence in (*SENTENCES, SECRET):
        assert sentence.lower().encode() not in content
    assert b"zwicky" not in content


def test_most_frequent_are_kept_where_there_are_too_many(folder: Path, tmp_path: Path) -> None:
    summary = build_cache([folder / "reports.csv"], tmp_path / "small.cache", max_sentences=5)
    assert summary.kept == 5
    assert summary.covered / summary.kept > summary.sentences / summary.distinct


def test_cache_of_another_vocabulary_or_reader_is_refused(folder: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("findings: [{id: own_sign, name: Own sign, synonyms: [sign of our own]}]\n", encoding="utf-8")
    label = ("label", folder / "reports.csv", "-o", tmp_path / "l.csv", "--cache", folder / "frequent.cache")
    code, _, err = run(*label, "--vocabulary", own)
    assert code == 2
    assert f"error: {folder / 'frequent.cache'}: was built with another model, vocabulary or version" in err
    assert "the rules read without a cache file" in run(*label, "--reader", "rules")[2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.yaml"]


def test_output_is_neither_an_input_nor_replaced_unasked(folder: Path) -> None:
    before = (folder / "reports.csv").read_bytes()
    code, _, err = run("cache", "build", folder / "reports.csv", "-o", folder / "reports.csv", "--overwrite")
    assert (code, "is one of the inputs" in err) == (2, True)
    code, _, err = run("cache", "build", folder / "reports.csv", "-o", folder / "frequent.cache")
    assert (code, "replace it with --overwrite" in err) == (2, True)
    assert (folder / "reports.csv").read_bytes() == before
