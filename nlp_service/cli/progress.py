"""How a run shows how far it is: a bar on a terminal, JSON lines for a program, nothing into a file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from nlp_service.batch import Progress

SECONDS_BETWEEN_LINES = 1.0


def progress_as_json(progress: Progress) -> dict[str, object]:
    """Return the counts and the speed as they stand in lines and in the summary."""
    counts = progress.counts
    return {
        "read": counts.read,
        "ok": counts.ok,
        "no_text": counts.no_text,
        "not_applicable": counts.not_applicable,
        "rejected": counts.rejected,
        "resumed": progress.resumed,
        "elapsed_s": round(progress.elapsed_s, 3),
        "reports_per_s": round(progress.reports_per_s, 1),
    }


@contextmanager
def shown_progress(as_json: bool, total: int | None = None) -> Iterator[Callable[[Progress], None]]:
    """Give a function that shows progress on standard error, as JSON lines or, on a terminal, as a bar."""
    if as_json:
        yield _line_writer()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda progress: None
        return
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.completed:,} reports"),
        TextColumn("{task.fields[speed]:,.0f}/s"),
        TextColumn("{task.fields[rejected]:,} rejected"),
        TimeElapsedColumn(),
        *([] if total is None else [TimeRemainingColumn()]),
    )
    # transient: the last line is the summary
    with Bars(*columns, console=console, transient=True) as bars:
        task = bars.add_task("", total=total, speed=0.0, rejected=0)
        yield lambda progress: bars.update(
            task,
            completed=progress.counts.read,
            speed=progress.reports_per_s,
            rejected=progress.counts.rejected,
        )


def _line_writer() -> Callable[[Progress], None]:
    last = 0.0

    def write(progress: Progress) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            typer.echo(json.dumps({"event": "progress", **progress_as_json(progress)}), err=True)

    return write
