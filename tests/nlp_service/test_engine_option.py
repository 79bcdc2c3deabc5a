"""What `--engine` and `--reader` mean, and what is said where an engine cannot be had. Nothing here starts Ray."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nlp_service.batch import label_files
from nlp_service.cli.app import app
from nlp_service.engines import EngineName, EngineOptions
from nlp_service.errors import EngineUnavailable
from nlp_service.settings import ServiceSettings
from tests.nlp_service.invented import invented_rows, write_csv


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "reports.csv", invented_rows(12))


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.stderr.replace("│", " ").split())


def test_engine_names_of_before_still_choose_the_reader(tmp_path: Path, reports: Path) -> None:
    new, old = tmp_path / "new.jsonl", tmp_path / "old.jsonl"
    assert run("label", reports, "-o", new, "--reader", "rules")[0] == 0
    code, err = run("label", reports, "-o", old, "--engine", "rules")
    assert code == 0
    assert "--engine rules is called --reader rules now" in err
    assert old.read_bytes() == new.read_bytes()


def test_service_takes_the_variable_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RADLABEL_ENGINE", "rules")
    assert ServiceSettings.load().reader == "rules"
    monkeypatch.setenv("RADLABEL_READER", "encoder")
    assert ServiceSettings.load().reader == "encoder"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--engine", "spark"), "'spark' is neither local nor ray"),
        (("--ray-address", "head:6379"), "these are for --engine ray"),
        (("--gpus-per-worker", "0.5"), "these are for --engine ray"),
        (("--engine", "ray", "--gpus-per-worker", "1.5"), "a part of one GPU, or whole ones"),
        (("-o", "-", "--shard-records", "500"), "stdout cannot be a folder"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, reports: Path, options: tuple[str, ...], reason: str
) -> None:
    code, err = run("label", reports, "-o", tmp_path / "labels.csv", *options)
    assert code == 2
    assert reason in err
    assert not (tmp_path / "labels.csv").exists()


def test_python_callers_get_the_same_refusals() -> None:
    refused: list[dict[str, Any]] = [{"ray_address": "head:6379"}, {"gpus_per_worker": 0.5}, {"workers": 0}]
    for options in refused:
        with pytest.raises(ValueError, match=r"ray|worker"):
            EngineOptions(**options)
    with pytest.raises(ValueError, match="part of one GPU"):
        EngineOptions(EngineName.RAY, gpus_per_worker=1.5)


def test_address_where_nobody_listens_is_said_so_and_nothing_is_left(tmp_path: Path, reports: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, err = run("label", reports, "-o", tmp_path / "labels.csv", "--engine", "ray", "--ray-address", address)
    assert code == 2
    assert err.startswith(f"error: {address}: no Ray cluster answers there (")
    assert [entry.name for entry in tmp_path.iterdir()] == ["reports.csv"]


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:port", "127.0.0.1:99999"])
def test_address_that_is_none_is_said_so(tmp_path: Path, reports: Path, address: str) -> None:
    with pytest.raises(EngineUnavailable, match=r"HOST:PORT|no Ray cluster answers"):
        label_files([reports], tmp_path / "labels.csv", engine="ray", ray_address=address, reader="rules")


def test_without_ray_the_extra_is_named(tmp_path: Path, reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'radlabel\[ray\]'"):
        label_files([reports], tmp_path / "labels.csv", engine="ray", reader="rules")
    assert not (tmp_path / "labels.csv.part").exists()
