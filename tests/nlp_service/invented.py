"""Invented reports, files of them, and the command as it is installed: what the tests of runs share."""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SENTENCES = (
    "The heart is normal in size.",
    "Moderate cardiomegaly.",
    "Small left pleural effusion.",
    "No pleural effusion or pneumothorax.",
    "There is a 12 x 9 mm nodule in the right upper lobe.",
    "Patchy opacity at the left base may represent pneumonia.",
    "Right lower lobe consolidation has resolved.",
    "The lungs are clear.",
    "Endotracheal tube 4 cm above the carina.",
    "Old healed fracture of the left sixth rib.",
    "Bibasilar atelectasis, unchanged.",
)
# A run in a process of its own, with chunks so small that it can be stopped among them.
SMALL_CHUNKS = """
import sys
from nlp_service import chunks
chunks.CHUNK_RECORDS = 20
from nlp_service.cli.app import main
if __name__ == "__main__":
    sys.exit(main())
"""
HEADER = ("report_id", "accession_number", "text")

Rows = Sequence[Sequence[str]]


def invented_rows(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return rows of `HEADER`; every tenth report is empty, every eleventh is none."""
    choose = random.Random(seed)
    rows = []
    for number in range(count):
        text = "FINDINGS: " + " ".join(choose.sample(SENTENCES, 4))
        if number % 10 == 9:
            text = ""
        elif number % 11 == 10:
            text = "Please bring two boxes of paper to the office on the second floor."
        rows.append((f"r{number}", f"ACC{number:06d}", text))
    return rows


def write_csv(path: Path, rows: Rows, header: Sequence[str] = HEADER) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def command(folder: Path) -> list[str]:
    """Return how to call the installed `radlabel`, or a script like the one that pip makes, written to ``folder``."""
    installed = Path(sys.executable).with_name("radlabel")
    if installed.is_file():
        return [str(installed)]
    script = folder / "bin" / "radlabel"
    if not script.is_file():
        script.parent.mkdir()
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom nlp_service.cli.app import main\n"
            "if __name__ == '__main__':\n    sys.exit(main())\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
    return [str(script)]


def environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}


def radlabel(
    folder: Path, *arguments: str | Path, cwd: Path | None = None, stdout: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [*command(folder), *map(str, arguments)],
        cwd=cwd or folder,
        env=environment(),
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )
