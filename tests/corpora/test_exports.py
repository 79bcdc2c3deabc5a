"""What `corpora` exports, and what importing it costs."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import corpora

HEAVY = ("pyarrow", "numpy", "charset_normalizer", "defusedxml", "platformdirs", "pydantic", "yaml", "spacy", "torch")


def test_exported_list_is_what_the_package_imports() -> None:
    assert corpora.__file__ is not None
    tree = ast.parse(Path(corpora.__file__).read_text(encoding="utf-8"))
    imported = [
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert sorted(imported) == sorted(corpora.__all__)


def test_every_exported_name_is_documented() -> None:
    for name in corpora.__all__:
        assert getattr(corpora, name).__doc__, name


def test_importing_reports_and_readers_loads_no_heavy_library() -> None:
    code = (
        "import json, sys; from corpora import Report, read_reports;"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(finished.stdout) == []
