"""A marked report goes through every door of the command; the mark comes out in results alone."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from corpora import LabeledReport, Report
from nlp_service import Labeler
from nlp_service.chunks import Chunk, Origin, Reject
from nlp_service.cli.app import app
from nlp_service.work import ChunkResult, Counts
from tests.nlp_service.invented import environment, invented_rows, write_csv

MARK = "XQMARKQX"
TEXT = f"{MARK} was seen for cough. Small left pleural effusion. {MARK}"


def run(*arguments: str | Path) -> tuple[int, str]:
    """Return the exit code, and all that was said."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    said = result.stdout + result.stderr + repr(result.exception)
    return result.exit_code, said


def write_table(
    path: Path, *rows: tuple[str, ...], header: tuple[str, ...] = ("report_id", "accession_number", "text")
) -> Path:
    return write_csv(path, rows, header)


BAD: Mapping[str, Callable[[Path], object]] = {
    "duplicate.csv": lambda path: write_table(path, (MARK, MARK, TEXT), (MARK, MARK, TEXT)),
    "ragged.csv": lambda path: write_table(path, (MARK, MARK, TEXT), (MARK, TEXT)),
    "header.csv": lambda path: write_table(path, (MARK, MARK, TEXT), header=(MARK, TEXT, MARK)),
    "quote.csv": lambda path: path.write_text(f'report_id,text\n{MARK},"{TEXT}\n'),
    "bytes.csv": lambda path: path.write_bytes(f"report_id,text\nä{MARK},{TEXT}\n".encode("cp1252")),
    "cut.jsonl": lambda path: path.write_text(f'{{"report_id": "{MARK}", "text": "{TEXT}\n'),
    "types.jsonl": lambda path: path.write_text(json.dumps({"report_id": [MARK], "text": {MARK: TEXT}}) + "\n"),
    "cut.parquet": lambda path: path.write_bytes(b"PAR1" + TEXT.encode() * 10),
    "types.parquet": lambda path: pq.write_table(pa.table({"report_id": [MARK], "text": [[TEXT]]}), path),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("options", [(), ("--encoding", "utf-8"), ("--encoding", "utf-16"), ("--json",)])
def test_bad_input_is_not_quoted(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    source = tmp_path / name
    BAD[name](source)
    output = tmp_path / "labels.jsonl"
    _, said = run("label", source, "-o", output, *options)
    assert MARK not in said
    rejects = tmp_path / "labels.jsonl.rejects.jsonl"
    for line in rejects.read_text().splitlines() if rejects.exists() else ():
        reject = json.loads(line)
        del reject["report_id"]
        assert MARK not in json.dumps(reject)


def test_good_input_is_not_quoted(tmp_path: Path) -> None:
    source = write_table(tmp_path / "a.csv", (MARK, MARK, TEXT))
    for options in ((), ("--json", "--overwrite"), ("--resume",)):
        code, said = run("label", source, "-o", tmp_path / "labels.jsonl", *options)
        assert code == 0
        assert MARK not in said
    assert MARK in (tmp_path / "labels.jsonl").read_text(), "ids are passed through"


def fail_on_mark(_: Labeler, report: Report, reading: object) -> LabeledReport:
    raise ValueError(f"cannot read {report.text!r}")


def test_fault_of_the_reader_costs_its_row_and_quotes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Labeler, "_labeled", fail_on_mark)
    source = write_table(tmp_path / "a.csv", (MARK, MARK, TEXT))
    code, said = run("label", source, "-o", tmp_path / "labels.jsonl")
    assert code == 1
    assert MARK not in said
    [line] = (tmp_path / "labels.jsonl.rejects.jsonl").read_text().splitlines()
    reject = json.loads(line)
    assert reject == {
        "source": "a.csv",
        "row": 1,
        "report_id": MARK,
        "field": None,
        "reason": "the reader failed with ValueError",
    }


def crash(_: Labeler, reports: Iterator[Report]) -> Iterator[LabeledReport]:
    for report in reports:
        raise LookupError(f"no rule for {report!r} with {report.text!r}, {report.report_id}")
    yield from ()


def test_fault_of_the_run_names_kind_and_place_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Labeler, "label_many", crash)
    source = write_table(tmp_path / "a.csv", (MARK, MARK, TEXT))
    code, said = run("label", source, "-o", tmp_path / "labels.jsonl")
    assert code == 2
    assert "error: LookupError in nlp_service.work, line " in said
    assert MARK not in said
    assert not (tmp_path / "labels.jsonl.part").exists()


CRASHING_WORKERS = f"""
import sys
from nlp_service.cli.app import main
from nlp_service.labeler import Labeler

def crash(self, reports):
    for report in reports:
        if {MARK!r} in report.text:
            raise LookupError(report.text)
        yield label(self, report)

label, Labeler.label_many = Labeler.label, crash
if __name__ == "__main__":
    sys.exit(main())
"""


def test_fault_in_a_worker_process_names_kind_and_place_alone(tmp_path: Path) -> None:
    """A worker has a standard error of its own: what is not caught in it would be printed with its message."""
    source = write_table(tmp_path / "a.csv", *invented_rows(2600), (MARK, MARK, TEXT))
    script = tmp_path / "run.py"
    script.write_text(CRASHING_WORKERS, encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, script, "label", source, "-o", tmp_path / "labels.jsonl", "--jobs", "2"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert "error: a worker process failed with LookupError" in finished.stderr
    assert "go on with --resume" in finished.stderr
    assert MARK not in finished.stderr + finished.stdout


def test_nothing_shows_itself_in_a_debug_print() -> None:
    report = Report(MARK, TEXT, MARK)
    reject = Reject(Origin("a.csv", 1), "is empty", None, MARK, MARK)
    labeled = Labeler().label(report)
    result = ChunkResult(0, TEXT.encode(), (reject,), Counts())
    shown = [report, reject, labeled, labeled.findings, Chunk(0, ((Origin("a.csv", 1), report), reject)), result]
    assert MARK not in "".join(f"{thing!r} {thing}" for thing in shown)


def test_labeling_logs_nothing_of_a_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = write_table(tmp_path / "a.csv", (MARK, MARK, TEXT), (MARK, MARK, TEXT))
    run("label", source, "-o", tmp_path / "labels.parquet")
    assert MARK not in caplog.text
