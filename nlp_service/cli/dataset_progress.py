"""How a build shows how far it is: its stage and a number, on a terminal or as JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from nlp_service.cli.progress import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from corpora.dataset.builder import OnProgress, Stage


@contextmanager
def shown_stages(as_json: bool) -> Iterator[OnProgress]:
    """Give a function that shows the stage on standard error: JSON lines, a bar on a terminal, or nothing."""
    if as_json:
        yield _line_writer()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda stage, done, total: bar.update(task, description=stage.value, completed=done, total=total)


def _line_writer() -> OnProgress:
    shown: tuple[Stage | None, float] = (None, 0.0)

    def write(stage: Stage, done: int, total: int | None) -> None:
        nonlocal shown
        now = time.monotonic()
        if stage is not shown[0] or now - shown[1] >= SECONDS_BETWEEN_LINES:
            shown = (stage, now)
            line = {"event": "progress", "stage": stage.value, "done": done, "total": total}
            typer.echo(json.dumps(line), err=True)

    return write
