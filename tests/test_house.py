"""The house: what is packaged, which way imports run, and that the documentation speaks of commands that exist."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

import nlp_service
from corpora import Assertion, Report
from docs.generate import GENERATED
from nlp_service._version import __version__
from nlp_service.cli.app import app
from tests.conftest import ROOT

PACKAGES = ("corpora", "models", "nlp_service")
# Heavy, or part of an extra: imported inside the function that needs them.
LATE = {"ray", "torch", "transformers", "datasets", "duckdb", "onnx", "onnxruntime", "safetensors", "tokenizers"}
GENERATED_REFERENCE = ROOT / "docs" / "cli.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md"), *(ROOT / "deploy").glob("**/*.md")])
PYTHON_FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def console_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every command in a page's console blocks, continuation lines joined."""
    for block in re.findall(r"^```(?:console|bash|sh)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                yield words


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def is_radlabel(word: str) -> bool:
    return word == "radlabel" or word.endswith("bin/radlabel")


RADLABEL_COMMANDS = [
    pytest.param(words[index:], id=f"{page.name}:{' '.join(words[index : index + 3])}")
    for page in PAGES
    if page != GENERATED_REFERENCE
    for words in console_commands(page)
    for index in range(len(words))
    # The name of the distribution and of the image is no command: pip and docker take it as an argument.
    if is_radlabel(words[index]) and index + 1 < len(words) and words[index - 1] not in ("--tag",)
]


@pytest.mark.parametrize("words", RADLABEL_COMMANDS)
def test_documented_command_exists_with_its_options(words: list[str]) -> None:
    command, arguments = get_command(app), words[1:]
    context = command.make_context("radlabel", [], resilient_parsing=True)
    while isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command = found
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    used = {word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)}
    assert used <= known


def help_texts(command: Any, name: str = "radlabel") -> Iterator[tuple[str, str]]:
    """Yield (command, text) for every help text, of a command and of its options."""
    for text in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
        if text:
            yield name, text
    if isinstance(command, TyperGroup):
        context = command.make_context(name, [], resilient_parsing=True)
        for sub in command.list_commands(context):
            yield from help_texts(command.get_command(context, sub), f"{name} {sub}")


def test_help_has_no_words_in_square_brackets() -> None:
    """The help is shown with markup, which swallows them: `pip install 'radlabel[train]'` would lose its extra."""
    texts = list(help_texts(get_command(app)))
    assert len(texts) > 100
    assert [(name, text) for name, text in texts if re.search(r"\[[a-z#/@][^\[\]]*\]", text)] == []


def test_pages_show_the_command_at_work() -> None:
    assert len(RADLABEL_COMMANDS) > 5


@pytest.mark.parametrize("page", ["README.md", "docs/labeling.md"])
def test_python_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "nlp_service" / "examples" / "reports.csv", tmp_path)
    blocks = code_blocks(ROOT / page, "python")
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), {"__name__": "example"})


def test_yaml_example_is_a_valid_vocabulary(tmp_path: Path) -> None:
    [block] = code_blocks(ROOT / "docs" / "labeling.md", "yaml")
    own = tmp_path / "trial.yaml"
    own.write_text(block, encoding="utf-8")
    labeler = nlp_service.Labeler(label_sets=["our_trial"], vocabulary=[own])
    labels = labeler.label(Report("r1", "CT of the chest: the atoll sign in the left lower lobe.")).labels["our_trial"]
    assert {name: label.value for name, label in labels.items()} == dict.fromkeys(
        ("Halo", "Opacity"), Assertion.POSITIVE
    )


def test_documented_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M))
    named = {words[1] for page in PAGES for words in console_commands(page) if words[0] == "make" and len(words) > 1}
    assert {"demo", "test"} <= named <= targets
    [phony] = re.findall(r"^\.PHONY: (.*)$", makefile, re.M)
    assert set(phony.split()) == targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", GENERATED)
def test_generated_page_is_fresh(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == GENERATED[page](), "run: make docs"


def test_changelog_names_the_version() -> None:
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_exported_names_are_stated_and_documented() -> None:
    assert "Labeler" in nlp_service.__all__
    for name in nlp_service.__all__:
        assert name == "__version__" or getattr(nlp_service, name).__doc__, name


def test_wheel_holds_the_code_and_all_package_data(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.name == f"radlabel-{__version__}-py3-none-any.whl"
    held = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= held
    assert any(name.endswith("chexpert14.yaml") for name in held)
    beside = {name for name in held - expected if ".dist-info/" not in name}
    assert beside == set()
    assert any(name.endswith("licenses/LICENSE") for name in held)


@pytest.mark.parametrize(
    "path",
    [path for path in PYTHON_FILES if "training" not in path.parts],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_module_imports_nothing_heavy_at_its_top(path: Path) -> None:
    """What trains may, and nothing else imports what trains at its top."""
    names = list(top_level_imports(ast.parse(path.read_text(encoding="utf-8")).body))
    assert not {name.partition(".")[0] for name in names} & LATE
    assert not [name for name in names if ".training" in name]


def top_level_imports(body: list[ast.stmt]) -> Iterator[str]:
    """Yield what runs when the module is imported: not the content of functions, nor what only a type checker reads."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from top_level_imports([*node.body, *node.orelse])
        elif isinstance(node, ast.Try | ast.With | ast.ClassDef):
            yield from top_level_imports(node.body)


@pytest.mark.parametrize(
    ("module", "statement", "code"),
    [
        ("models/reader.py", "import corpora", 0),
        ("nlp_service/server.py", "import models", 0),
        ("corpora/source.py", "import models", 1),
        ("corpora/source.py", "def read() -> None:\n    import nlp_service", 1),
        ("models/reader.py", "from nlp_service import Labeler", 1),
        ("nlp_service/server.py", "import torch", 1),
    ],
)
def test_import_contract_allows_one_direction(tmp_path: Path, module: str, statement: str, code: int) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / module).write_text(statement + "\n", encoding="utf-8")
    lint = "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    finished = subprocess.run([sys.executable, "-c", lint], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == code, finished.stdout + finished.stderr


def test_licence_is_stated_alike_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]


def test_constraints_pin_every_core_and_development_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalised(line.partition("==")[0]) for line in lines if not line.startswith("#")}
    assert all("==" in line for line in lines if not line.startswith("#"))
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["dev"], *extras["train"]]:
        assert normalised(re.split(r"[<>=!~\[; ]", requirement)[0]) in {*pinned, "radlabel", "torch"}
    assert "torch" not in pinned  # pyproject.toml has it; a build's own suffix (+cpu) would not be found elsewhere


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_source_tree_speaks_of_no_machine() -> None:
    """No absolute path of a developer and no address of a package index is committed."""
    pattern = re.compile(r"/home/\w|/Users/\w|/root/|https?://[\w.-]*(?:pypi|index)[\w.-]*/simple")
    files = [*PYTHON_FILES, *PAGES, *(ROOT / "tests").rglob("*.py"), ROOT / "constraints.txt", ROOT / "Makefile"]
    assert [path.name for path in files if path != Path(__file__) and pattern.search(path.read_text("utf-8"))] == []
