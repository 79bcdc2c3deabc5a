"""`radlabel label`, as a user runs it: outputs, messages, exit codes, signals."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from corpora.sources import SOURCES
from nlp_service._version import __version__
from nlp_service.cli.app import COMMANDS, app, load_command
from nlp_service.labeler import DEFAULT_LABEL_SETS
from nlp_service.writers import SUFFIXES
from tests.nlp_service.invented import command, environment, invented_rows, radlabel, write_csv

SUMMARY = re.compile(
    r"read(?:, [\d,]+ of them before)? = "
    r"([\d,]+) ok \+ ([\d,]+) no_text \+ ([\d,]+) not_applicable \+ ([\d,]+) rejected "
)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "reports.csv", invented_rows(30))


def test_labels_go_to_the_file_and_the_counts_to_stderr(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.csv"
    code, out, err = run("label", reports, "-o", output)
    assert (code, out) == (0, "")
    assert err.startswith(f"{output}: 30 read = ")
    found = SUMMARY.search(err)
    assert found
    assert sum(map(int, found.groups())) == 30
    with output.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["report_id"] for row in rows] == [f"r{number}" for number in range(30)]
    assert rows[0]["accession_number"] == "ACC000000"
    assert {row["chexpert14:Pneumonia"] for row in rows} <= {"positive", "negative", "uncertain", ""}
    assert [row["status"] for row in rows if not row["chexpert14:No Finding"]] != []


def test_rows_that_fail_are_listed_and_the_exit_code_is_1(tmp_path: Path, reports: Path) -> None:
    with reports.open("a", encoding="utf-8") as stream:
        stream.write("r3,ACC000003,Clear.\r\n,,Clear.\r\n")
    output = tmp_path / "labels.jsonl"
    code, _, err = run("label", reports, "-o", output)
    assert code == 1
    assert "32 read" in err
    assert "2 rejected" in err
    assert f"rejected rows are listed in {output}.rejects.jsonl" in err
    assert len(output.read_text().splitlines()) == 30
    code, _, err = run(
        "label", reports, "-o", output, "--overwrite", "--keep-errors", "--reject-file", tmp_path / "bad.jsonl"
    )
    assert code == 1
    assert f"rejected rows are listed in {tmp_path / 'bad.jsonl'}" in err
    assert len(output.read_text().splitlines()) == 32


def test_stdout_gets_json_lines_and_nothing_else(tmp_path: Path, reports: Path) -> None:
    with reports.open("a", encoding="utf-8") as stream:
        stream.write("r3,ACC000003,Clear.\r\n")
    finished = radlabel(tmp_path, "label", reports, "-o", "-", "--label-set", "nih14", "--label-set", "chexpert14")
    assert finished.returncode == 1
    rows = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(rows) == 30
    assert list(rows[0]["labels"]) == ["nih14", "chexpert14"]
    assert (
        "rejected: reports.csv, row 31, field 'report_id': has the report id of row 4, which was taken"
        in finished.stderr
    )


def test_reader_of_stdout_may_have_enough(tmp_path: Path) -> None:
    reports = write_csv(tmp_path / "many.csv", invented_rows(1200))
    shell = " ".join([*command(tmp_path), "label", str(reports), "-o", "-", "--jobs", "1"])
    finished = subprocess.run(
        f"{shell} | head -n 1", shell=True, env=environment(), capture_output=True, text=True, check=False
    )
    assert len(finished.stdout.splitlines()) == 1
    assert "Traceback" not in finished.stderr
    assert "Exception" not in finished.stderr


def test_json_has_progress_on_stderr_and_the_summary_on_stdout(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.parquet"
    code, out, err = run("label", reports, "-o", output, "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["event"] == "summary"
    assert summary["output"] == str(output)
    assert summary["reject_file"] is None
    counted = [summary[name] for name in ("ok", "no_text", "not_applicable", "rejected")]
    assert sum(counted) == summary["read"] == 30
    assert list(summary["model"]) == ["name", "version", "digest"]
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["event"] for event in events] == ["progress"]
    assert events[0]["read"] == 30
    code, out, _ = run("label", reports, "-o", output, "--json", "--resume")
    assert (code, json.loads(out)["was_complete"]) == (0, True)


def test_columns_are_mapped_by_field(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "a.csv", [("7", "A7", "Moderate cardiomegaly.")], ("EXAM", "ORDER", "BODY_OF_IT"))
    output = tmp_path / "labels.csv"
    columns = ["report_id=EXAM", "accession_number=ORDER", "text=BODY_OF_IT"]
    code, _, err = run("label", source, "-o", output, *(word for pair in columns for word in ("--column", pair)))
    assert code == 0, err
    assert output.read_text().splitlines()[1].startswith("7,A7,ok,")
    code, _, err = run("label", source, "-o", output, "--column", "text")
    assert code == 2
    assert "'text' is not of the form FIELD=COLUMN" in err


def test_several_inputs_are_one_output(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", invented_rows(3))
    (tmp_path / "b.jsonl").write_text('{"id": "x", "text": "No effusion."}\n', encoding="utf-8")
    output = tmp_path / "labels.jsonl"
    assert run("label", tmp_path / "a.csv", tmp_path / "b.jsonl", "-o", output)[0] == 0
    assert [json.loads(line)["report_id"] for line in output.read_text().splitlines()] == ["r0", "r1", "r2", "x"]


def test_options_that_exclude_each_other(tmp_path: Path, reports: Path) -> None:
    assert run("label", reports, "-o", tmp_path / "l.csv", "--resume", "--overwrite")[0] == 2
    assert run("label", reports, "-o", "-", "--resume")[0] == 2


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_stopped_run_says_how_to_go_on(tmp_path: Path, name: str, code: int, jobs: str) -> None:
    reports = write_csv(tmp_path / "many.csv", invented_rows(40_000))
    output = tmp_path / "labels.jsonl"
    process = subprocess.Popen(
        [*command(tmp_path), "label", reports, "-o", output, "--jobs", jobs],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    part = tmp_path / "labels.jsonl.part"
    while not list(part.glob("chunk-??????")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=20)
    assert process.returncode == code
    assert err.startswith("error: stopped")
    assert f"what was done so far is kept in {part}; go on with --resume" in err
    assert len(err.splitlines()) == 2
    assert not output.exists()


def test_installed_command_is_not_misled_by_the_folder_it_runs_in(tmp_path: Path) -> None:
    """``corpora`` and ``models`` are common names; worker processes look for modules once more by themselves."""
    crowded = tmp_path / "crowded"
    for package in ("corpora", "models"):
        (crowded / package).mkdir(parents=True)
        (crowded / package / "__init__.py").write_text("raise ImportError('the folder of the user was imported')\n")
    (crowded / "nlp_service.py").write_text("raise ImportError('the file of the user was imported')\n")
    write_csv(crowded / "reports.csv", invented_rows(3000))
    finished = radlabel(tmp_path, "label", "reports.csv", "-o", "labels.csv", "--jobs", "2", cwd=crowded)
    assert finished.returncode == 0, finished.stderr
    assert "3,000 read" in finished.stderr


def test_help_loads_no_reader() -> None:
    code = (
        "import sys\nfrom nlp_service.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'spacy', 'pyarrow', 'torch', 'numpy', 'yaml', 'models', 'corpora.vocabulary'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))\n"
    )
    for arguments in (["--help"], ["--version"], ["label", "--help"]):
        finished = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, check=True
        )
        assert finished.stdout.endswith("loaded: []\n")


def test_version_is_shown() -> None:
    assert run("--version") == (0, f"radlabel {__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_overview_tells_of_each_command_what_its_help_tells(name: str) -> None:
    code, overview, _ = run("--help")
    assert code == 0
    assert name in overview
    assert load_command(name).help.split("\n\n")[0].replace("\n", " ").strip() == COMMANDS[name][1]


def test_unknown_command_is_refused() -> None:
    code, _, err = run("lable")
    assert code == 2
    assert "No such command" in err


def test_help_names_what_there_is() -> None:
    texts = " ".join(parameter.help or "" for parameter in load_command("label").params)
    assert f"(default: {DEFAULT_LABEL_SETS[0]})" in texts
    assert [name for name in (*SOURCES, *SUFFIXES) if name not in texts] == []


@pytest.mark.parametrize(("reader", "name"), [("rules", "radlabel-rules"), ("encoder", "radlabel-encoder")])
def test_the_reader_is_the_users_choice_and_is_named_in_every_row(
    tmp_path: Path, reports: Path, reader: str, name: str
) -> None:
    output = tmp_path / "labels.csv"
    code, _, _ = run("label", reports, "-o", output, "--reader", reader)
    assert code == 0
    with output.open(encoding="utf-8", newline="") as stream:
        assert {row["model_name"] for row in csv.DictReader(stream)} == {name}


def test_labels_within_the_band_get_no_value_and_are_listed_for_review(tmp_path: Path, reports: Path) -> None:
    plain, careful = tmp_path / "plain.jsonl", tmp_path / "careful.jsonl"
    assert run("label", reports, "-o", plain, "--label-set", "nih14")[0] == 0
    code, _, err = run("label", reports, "-o", careful, "--label-set", "nih14", "--abstain", "0.02", "0.98")
    review = tmp_path / "careful.jsonl.review.jsonl"
    assert code == 0
    assert str(review) in err
    listed = {
        (line["report_id"], line["label"]): line for line in map(json.loads, review.read_text("utf-8").splitlines())
    }
    for before, after in zip(*(path.read_text("utf-8").splitlines() for path in (plain, careful)), strict=True):
        old, new = json.loads(before), json.loads(after)
        for label, value in old["labels"]["nih14"].items():
            close = value["probability"] is not None and 0.02 <= value["probability"]["positive"] <= 0.98
            given = new["labels"]["nih14"][label]
            assert given["value"] == (None if close else value["value"])
            assert ((new["report_id"], label) in listed) == close
            if close:
                assert listed[new["report_id"], label]["probability"] == value["probability"]
    assert listed


def test_a_review_file_has_the_same_bytes_with_one_process_and_with_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nlp_service import batch, chunks

    monkeypatch.setattr(batch, "CHUNKS_BEFORE_WORKERS", 0)
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    reports = write_csv(tmp_path / "many.csv", invented_rows(90))
    found = []
    for jobs in ("1", "2"):
        output = tmp_path / f"labels{jobs}.csv"
        options = ("--label-set", "nih14", "--abstain", "0.02", "0.98", "--jobs", jobs)
        assert run("label", reports, "-o", output, *options)[0] == 0
        found.append((output.read_bytes(), Path(f"{output}.review.jsonl").read_bytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--abstain", "0.7", "0.3"), "lower one first"),
        (("--review-file", "r.jsonl"), "without --abstain"),
        (("--reader", "rules", "--model", "m"), "without a model"),
        (("--reader", "magic"), "magic"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, reports: Path, options: tuple[str, ...], reason: str
) -> None:
    code, _, err = run("label", reports, "-o", tmp_path / "labels.csv", *options)
    assert code == 2
    assert reason in " ".join(err.replace("│", " ").split())
    assert not (tmp_path / "labels.csv").exists()


def test_a_model_folder_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, reports: Path) -> None:
    code, _, err = run("label", reports, "-o", tmp_path / "labels.csv", "--model", tmp_path)
    assert code == 2
    assert "no model folder" in err
    assert {path.name for path in tmp_path.iterdir()} == {"reports.csv"}
