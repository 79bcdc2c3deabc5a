"""What bad input, a bad machine and a bad request get: a clear line or a reject, and nothing else is lost."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nlp_service.cli.app import app
from tests.nlp_service.invented import SMALL_CHUNKS, environment, invented_rows, radlabel, write_csv


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_refused(folder: Path, code: int, err: str, *parts: str) -> None:
    """One line that says what is wrong, exit code 2, and no trace of an output."""
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert [part for part in parts if part not in err] == []
    assert [entry.name for entry in folder.iterdir() if entry.name.startswith("labels")] == []


def test_text_column_that_is_missing(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", [("r1", "x")], ("report_id", "dictation"))
    code, _, err = run("label", source, "-o", tmp_path / "labels.csv")
    assert_refused(tmp_path, code, err, "a.csv", "dictation")
    code, _, err = run("label", source, "-o", tmp_path / "labels.csv", "--column", "text=REPORT")
    assert_refused(tmp_path, code, err, "'REPORT'", "dictation")
    code, _, err = run("label", source, "-o", tmp_path / "labels.csv", "--column", "body=dictation")
    assert_refused(tmp_path, code, err, "'body'", "report_id, text")
    assert run("label", source, "-o", tmp_path / "labels.csv", "--column", "text=dictation")[0] == 0


def test_encoding_that_does_not_fit_costs_the_rows_it_breaks(tmp_path: Path) -> None:
    source = tmp_path / "a.csv"
    source.write_bytes("report_id,text\nr1,No effusion.\nr2,Überhang am Ärmel.\n".encode("cp1252"))
    output = tmp_path / "labels.jsonl"
    assert run("label", source, "-o", output, "--encoding", "utf-8")[0] == 1
    assert [row["report_id"] for row in rows_of(output)] == ["r1"]
    [reject] = rows_of(tmp_path / "labels.jsonl.rejects.jsonl")
    assert (reject["row"], reject["field"], reject["reason"]) == (2, "text", "is not valid utf-8 text")
    assert run("label", source, "-o", output, "--overwrite")[0] == 0
    assert len(rows_of(output)) == 2
    code, _, err = run("label", source, "-o", tmp_path / "other.csv", "--encoding", "utf-99")
    assert_refused(tmp_path / "..", code, err, "utf-99")


def test_report_of_five_megabytes_is_read_to_its_end(tmp_path: Path) -> None:
    filler = "The heart is normal in size. The lungs are clear. "
    text = filler * (5_000_000 // len(filler)) + "There is a large right pneumothorax."
    source = write_csv(tmp_path / "a.csv", [("r1", "", text), ("r2", "", "No effusion.")])
    output = tmp_path / "labels.jsonl"
    assert run("label", source, "-o", output)[0] == 0
    long, short = rows_of(output)
    assert (long["status"], short["status"]) == ("ok", "ok")
    labels, findings = long["labels"], long["findings"]
    assert isinstance(labels, dict)
    assert isinstance(findings, list)
    assert labels["chexpert14"]["Pneumothorax"]["value"] == "positive"
    assert findings[-1]["end"] == len(text) - 1


def test_nulls_are_no_text(tmp_path: Path) -> None:
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"report_id": ["r1", "r2", None], "text": [None, "No effusion.", "Clear."]}), source)
    output = tmp_path / "labels.jsonl"
    assert run("label", source, "-o", output)[0] == 1
    assert [(row["report_id"], row["status"]) for row in rows_of(output)] == [("r1", "no_text"), ("r2", "ok")]
    [reject] = rows_of(tmp_path / "labels.jsonl.rejects.jsonl")
    assert (reject["row"], reject["field"]) == (3, "report_id")


def test_duplicate_id_is_a_reject(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", [("r1", "", "No effusion."), ("r1", "", "Large effusion.")])
    output = tmp_path / "labels.jsonl"
    assert run("label", source, "-o", output)[0] == 1
    assert len(rows_of(output)) == 1
    [reject] = rows_of(tmp_path / "labels.jsonl.rejects.jsonl")
    assert reject["reason"] == "has the report id of row 1, which was taken"


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    source = tmp_path / "a.parquet"
    pq.write_table(pa.table({"report_id": ["r1"], "text": ["No effusion."]}), source)
    source.write_bytes(source.read_bytes()[:-20])
    code, _, err = run("label", source, "-o", tmp_path / "labels.csv")
    assert_refused(tmp_path, code, err, "a.parquet", "no Parquet file, or one that is cut off")


def test_label_set_that_nobody_defined(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    code, _, err = run("label", source, "-o", tmp_path / "labels.csv", "--label-set", "chexpert")
    assert_refused(tmp_path, code, err, "'chexpert'", "chexpert14", "nih14", "openi")


def test_vocabulary_file_with_a_synonym_that_is_taken(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("findings: [{id: own_sign, name: Own sign, synonyms: [pleural effusion]}]\n", encoding="utf-8")
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    code, _, err = run("label", source, "-o", tmp_path / "labels.csv", "--vocabulary", own)
    assert_refused(tmp_path, code, err, "own.yaml", "own_sign", "pleural effusion")
    code, _, err = run("vocabulary", "check", own)
    assert_refused(tmp_path, code, err, "own.yaml", "own_sign", "pleural effusion")


def test_vocabulary_files_of_ones_own_are_used_and_looked_up(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "findings: [{id: own_sign, name: Own sign, synonyms: [zebra sign]}]\n"
        "label_sets: [{id: own, name: Own labels, labels: [{name: Zebra, concepts: [own_sign]}]}]\n",
        encoding="utf-8",
    )
    code, out, _ = run("vocabulary", "check", own)
    assert (code, out) == (0, "valid; adds 1 findings and 1 label sets\n  own_sign\n  own\n")
    assert "own_sign" in run("vocabulary", "list", "zebra", "--vocabulary", own)[1]
    assert "own:Zebra" in run("vocabulary", "show", "own_sign", "--vocabulary", own)[1]
    source = write_csv(tmp_path / "a.csv", [("r1", "", "FINDINGS: Zebra sign in the lungs. No pneumothorax.")])
    output = tmp_path / "labels.csv"
    assert run("label", source, "-o", output, "--vocabulary", own, "--label-set", "own")[0] == 0
    assert output.read_text().splitlines()[1].startswith("r1,,ok,positive,")


def test_vocabulary_is_looked_up() -> None:
    code, out, _ = run("vocabulary", "list", "--label-sets")
    assert code == 0
    assert all(name in out for name in ("chexpert14", "nih14", "openi"))
    assert "Pneumothorax" in run("vocabulary", "show", "chexpert14")[1]
    code, _, err = run("vocabulary", "show", "nothing_of_the_kind")
    assert code == 2
    assert err.startswith("error: nothing_of_the_kind: no such finding or label set")


@pytest.mark.parametrize("output", ["/proc/labels.csv", "{folder}/file/labels.csv", "{folder}/missing/labels.csv"])
def test_output_that_cannot_be_written(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("")
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    code, _, err = run("label", source, "-o", output.format(folder=tmp_path))
    assert_refused(tmp_path, code, err, "labels.csv", "cannot be written")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    code, _, err = run("label", source, "-o", closed / "labels.csv")
    assert_refused(tmp_path, code, err, "labels.csv", "Permission denied")


def test_output_whose_suffix_names_no_format(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    code, _, err = run("label", source, "-o", tmp_path / "labels.xlsx")
    assert_refused(tmp_path, code, err, "labels.xlsx", ".parquet")


@pytest.mark.parametrize("name", ["missing.csv", "."])
def test_input_that_is_none(tmp_path: Path, name: str) -> None:
    code, _, err = run("label", tmp_path / name, "-o", tmp_path / "labels.csv")
    assert_refused(tmp_path, code, err)


def label_with_file_limit(folder: Path, size: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Label in chunks of 20 reports where no file can grow beyond ``size`` bytes: the same errors as on a full disk."""
    script = folder / "run.py"
    script.write_text(SMALL_CHUNKS, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script, "label", *arguments, "--jobs", "1"],
        env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_disk_that_is_full_leaves_nothing_half_written(tmp_path: Path, suffix: str) -> None:
    source = write_csv(tmp_path / "a.csv", invented_rows(3000))
    output = tmp_path / f"labels{suffix}"
    whole = label_with_file_limit(tmp_path, resource.RLIM_INFINITY, source, "-o", output)
    assert whole.returncode == 0, whole.stderr
    expected = output.read_bytes()
    output.write_text("of yesterday")

    # Not even a first chunk fits: all is as it was.
    finished = label_with_file_limit(tmp_path, 1500, source, "-o", output, "--overwrite")
    assert_full(finished, output)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.csv", output.name, "run.py"]

    # The chunks fit, the output does not: they are kept, and serve when there is room again.
    finished = label_with_file_limit(tmp_path, len(expected) - 1, source, "-o", output, "--overwrite")
    assert_full(finished, output)
    assert "go on with --resume" in finished.stderr
    resumed = label_with_file_limit(tmp_path, resource.RLIM_INFINITY, source, "-o", output, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "3,000 read, 3,000 of them before" in resumed.stderr
    assert output.read_bytes() == expected


def assert_full(finished: subprocess.CompletedProcess[str], output: Path) -> None:
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr.startswith("error: ")
    assert "cannot be written: File too large" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert output.read_text() == "of yesterday"
    assert list(output.parent.rglob("*.tmp")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_stdout_that_is_full(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", invented_rows(30))
    with Path("/dev/full").open("wb") as full:
        finished = radlabel(tmp_path, "label", source, "-o", "-", stdout=full.fileno())
    assert finished.returncode == 2
    assert finished.stderr == "error: stdout: cannot be written: No space left on device\n"


def test_folder_is_no_output(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    target = tmp_path / "folder.csv"
    target.mkdir()
    code, _, err = run("label", source, "-o", target, "--overwrite")
    assert code == 2
    assert "it is no regular file" in err


@pytest.mark.parametrize("option", ["-o", "--reject-file", "--review-file"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, option: str) -> None:
    """A pipe stands for every device: replaced by a file it would be gone, for others as well."""
    source = write_csv(tmp_path / "a.csv", invented_rows(1))
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    output: list[str | Path] = [] if option == "-o" else ["-o", tmp_path / "labels.csv"]
    abstain = ["--abstain", "0.4", "0.6"] if option == "--review-file" else []
    code, _, err = run("label", source, *output, option, pipe, *abstain, "--overwrite")
    assert_refused(tmp_path, code, err, "pipe.csv: cannot be written: it is no regular file")
    assert pipe.is_fifo()


def test_a_model_graph_does_not_replace_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.onnx"
    os.mkfifo(pipe)
    code, _, err = run("text", "export", "-o", pipe)
    assert_refused(tmp_path, code, err, "pipe.onnx: cannot be written: it is no regular file")
    assert pipe.is_fifo()
