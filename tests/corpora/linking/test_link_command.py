"""`radlabel link`, as a user runs it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nlp_service.cli.app import app
from tests.corpora.linking.small import image, report, write_index, write_reports


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    reports = write_reports(tmp_path / "r.csv", [report("r"), report("s", "SECRET9")])
    index = write_index(tmp_path / "i.parquet", [image("1"), image("2", "A2", "P2")])
    return ["--reports", str(reports), "--images", str(index), "-o", str(tmp_path / "linked")]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["link", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_counts_are_told_in_words(inputs: list[str]) -> None:
    code, said, told = run(*inputs)
    assert (code, said) == (0, "")
    assert "2 report rows = 1 linked + 1 none" in told
    assert "2 studies = 1 linked + 1 none" in told
    assert "SECRET9" not in told


def test_json_is_for_programs(inputs: list[str], tmp_path: Path) -> None:
    code, said, told = run(*inputs, "--json", "--ignore-leading-zeros", "--versions", "all")
    summary = json.loads(said)
    account = json.loads((tmp_path / "linked" / "link_report.json").read_text(encoding="utf-8"))
    assert code == 0
    assert summary["reports"] == account["reports"]
    assert account["settings"]["versions"] == "all"
    events = [json.loads(line) for line in told.splitlines()]
    assert [event["stage"] for event in events][-1] == "writing"
    assert {event["event"] for event in events} == {"progress"}


def test_rows_that_cannot_be_read_give_exit_code_1(inputs: list[str]) -> None:
    with Path(inputs[1]).open("a", encoding="utf-8") as stream:
        stream.write("too,few\n")
    code, _, told = run(*inputs)
    assert code == 1
    assert "1 invalid" in told


@pytest.mark.parametrize(
    "more",
    [
        ["--images", "nowhere.parquet"],
        ["--reports", "nowhere.csv"],
        ["--patient-date-window", "99"],
        ["--column", "nonsense=X"],
        ["--memory", "1"],
    ],
)
def test_what_cannot_be_done_gives_exit_code_2(more: list[str], inputs: list[str], tmp_path: Path) -> None:
    code, said, told = run(*inputs, *more)
    assert (code, said) == (2, "")
    assert told
    assert not (tmp_path / "linked").exists()
