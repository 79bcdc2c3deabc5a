"""The lean install, made as the Dockerfile makes it: an environment of its own, without extras, used as a user does.

No container engine is needed: every step of the builder stage runs in a temporary folder that stands for the image's
root, and the commands of the final stage run from there.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dockerfile import Stage, read_dockerfile

HEAVY = ("torch", "transformers", "datasets", "onnx")
DEMO_REPORTS = 60


@dataclass(frozen=True)
class Image:
    """The folder that stands for the image, and the two stages that it was made by."""

    root: Path
    builder: Stage
    final: Stage

    def at(self, text: str) -> str:
        """Return a command or path with the image's absolute paths led into the folder."""
        return re.sub(r"(?<![\w./])/(build|opt|data|tmp)\b", rf"{self.root}/\1", text)

    def run(self, command: Sequence[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command of the final stage, with nothing of this process's environment but what the image sets."""
        environment = {name: self.at(value) for name, value in self.final.environment().items()}
        environment["PATH"] = environment["PATH"].replace("$PATH", os.defpath)
        return subprocess.run(
            [shutil.which(command[0], path=environment["PATH"]) or command[0], *command[1:]],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def image(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Carry out the builder stage and return the image."""
    builder, final = read_dockerfile(repository / "Dockerfile")
    image = Image(tmp_path_factory.mktemp("image"), builder, final)
    for name in ("tmp", "data", "opt", "bin"):
        (image.root / name).mkdir()
    # The image's `python` is the interpreter below this one: an environment made from an environment would see it.
    shim = image.root / "bin" / "python"
    shim.write_text(f'#!/bin/sh\nexec "{getattr(sys, "_base_executable", sys.executable)}" "$@"\n', encoding="utf-8")
    shim.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{shim.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    folder = image.root
    for instruction in builder.instructions:
        if instruction.keyword == "WORKDIR":
            folder = Path(image.at(instruction.value))
            folder.mkdir()
        elif instruction.keyword == "COPY":
            *sources, target = instruction.words
            for source in sources:
                copy_into(repository / source, folder / target)
        elif instruction.keyword == "RUN":
            finished = subprocess.run(
                ["sh", "-c", image.at(instruction.value)],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert finished.returncode == 0, f"{instruction.value}\n{finished.stderr}"
    return image


def copy_into(source: Path, target: Path) -> None:
    """Copy as ``COPY`` does: the content of a folder, or a file into a folder."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


@pytest.fixture
def crowded_folder(repository: Path, tmp_path: Path) -> Path:
    """Return a folder that holds the demo reports, and packages with the names of ours that must not be imported."""
    for name in ("corpora", "models", "nlp_service"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('the folder of the user was imported')\n")
    shutil.copy(repository / "nlp_service" / "examples" / "reports.csv", tmp_path)
    return tmp_path


def test_core_install_brings_no_training_package(image: Image, tmp_path: Path) -> None:
    code = f"import importlib.util; print([n for n in {HEAVY!r} if importlib.util.find_spec(n)])"
    finished = image.run(["python", "-c", code], cwd=tmp_path)
    assert (finished.returncode, finished.stdout.strip()) == (0, "[]"), finished.stderr
    finished = image.run(["python", "-c", "import torch"], cwd=tmp_path)
    assert "No module named 'torch'" in finished.stderr


def test_command_labels_a_file_in_a_folder_with_our_names(image: Image, crowded_folder: Path) -> None:
    finished = image.run(["radlabel", "label", "reports.csv", "-o", "labels.csv"], cwd=crowded_folder)
    assert finished.returncode == 0, finished.stderr
    with (crowded_folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["report_id"] for row in rows] == [f"demo-{i:02d}" for i in range(1, DEMO_REPORTS + 1)]
    assert rows[0]["accession_number"] == "DEMO0001"
    assert {row["status"] for row in rows} == {"ok", "no_text", "not_applicable"}


def test_python_interface_serves_without_torch(image: Image, tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        "from corpora import Report, read_reports\n"
        "from nlp_service import Labeler\n"
        "labeled = Labeler().label(Report('r1', 'Small left pleural effusion. No pneumothorax.'))\n"
        "values = {n: l.value and l.value.value for n, l in labeled.labels['chexpert14'].items()}\n"
        f"print(json.dumps([values, [n for n in {HEAVY!r} if n in sys.modules]]))\n"
    )
    finished = image.run(["python", "-c", code], cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    values, loaded = json.loads(finished.stdout)
    assert (values["Pleural Effusion"], values["Pneumothorax"], values["Fracture"]) == ("positive", "negative", None)
    assert loaded == []


def test_demo_shows_every_report_and_writes_both_forms(image: Image, crowded_folder: Path) -> None:
    finished = image.run(["radlabel", "demo", "--output", "out"], cwd=crowded_folder)
    assert finished.returncode == 0, finished.stderr
    assert all(f"DEMO{i:04d}" in finished.stdout for i in range(1, DEMO_REPORTS + 1))
    written = (crowded_folder / "out" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(written) == DEMO_REPORTS
    assert (crowded_folder / "out" / "labels.csv").read_text(encoding="utf-8").count("DEMO") == DEMO_REPORTS


def test_image_starts_with_its_help(image: Image) -> None:
    [entrypoint], [command] = image.final.values("ENTRYPOINT"), image.final.values("CMD")
    finished = image.run([*entrypoint.words, *command.words], cwd=image.root / "data")
    assert finished.returncode == 0, finished.stderr
    assert "label" in finished.stdout


def test_health_check_of_the_image_passes(image: Image) -> None:
    [check] = image.final.values("HEALTHCHECK")
    command = json.loads(check.value.partition(" CMD ")[2])
    finished = image.run(command, cwd=image.root / "data")
    assert finished.returncode == 0, finished.stderr
    assert list((image.root / "data").iterdir()) == []


def test_image_copies_what_the_builder_made(image: Image) -> None:
    for instruction in image.final.values("COPY"):
        origin, source, target = instruction.words
        assert origin == f"--from={image.builder.name}"
        assert Path(image.at(source)).is_dir()
        # An environment holds absolute paths: it works only where it was made.
        assert source == target


def test_image_runs_as_a_user_without_rights(image: Image) -> None:
    [user] = image.final.values("USER")
    # A number, so that an orchestrator can tell that it is not root without reading the image's user table.
    assert re.fullmatch(r"[1-9]\d{4}:[1-9]\d{4}", user.value)
    after = image.final.instructions[image.final.instructions.index(user) :]
    assert not [instruction for instruction in after if instruction.keyword in ("RUN", "COPY", "ADD")]


def test_dockerfile_names_no_secret_and_no_host(image: Image, repository: Path) -> None:
    text = (repository / "Dockerfile").read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"token|password|secret|credential|index-url", text, re.IGNORECASE)
    for stage in (image.builder, image.final):
        assert re.search(r":\d", stage.image), f"{stage.image} has no version"
