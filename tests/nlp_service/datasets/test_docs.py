"""What docs/datasets.md says is done as it is written: its commands, its recipe, its Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from nlp_service.cli.app import app
from tests.nlp_service.datasets.conftest import Hospital

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def test_commands_and_examples_are_true(hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dicom").symlink_to(hospital.images)
    (tmp_path / "reports.csv").write_bytes(hospital.reports.read_bytes())
    (tmp_path / "ris.csv").write_bytes(hospital.reports.read_bytes())
    (recipe,) = blocks("yaml")
    (tmp_path / "recipe.yaml").write_text(recipe.replace("/data/pacs", "dicom"), encoding="utf-8")
    lines = [line for block in blocks("console") for line in block.splitlines() if line.startswith("radlabel ")]
    assert len(lines) >= 7
    done = set[str]()
    for line in lines:
        arguments = shlex.split(line)[1:]
        target = arguments[arguments.index("-o") + 1] if "-o" in arguments else ""
        # The page builds `chest` in two ways; the second takes the place of the first.
        arguments += ["--overwrite"] if target in done else []
        done.add(target)
        ran = CliRunner().invoke(app, arguments)
        assert ran.exit_code == 0, (line, ran.output)
    names: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "docs/datasets.md", "exec"), names)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name.startswith("chest")) == [
        *("chest", "chest-512", "chest-coco", "chest-dicom", "chest-hf", "chest-seg")
    ]
    assert yaml.safe_load(recipe)["splits"]["public_tests"] == "test"
