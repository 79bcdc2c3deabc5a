"""How a training or a reading of images shows how far it is: a bar on a terminal, JSON lines for a program."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from nlp_service.cli.progress import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from models.vision.training.loop import Progress as Step

Say = Callable[[str], None]


@contextmanager
def shown_training(as_json: bool) -> Iterator[tuple[Callable[[Step], None], Say]]:
    """Give two functions that show on standard error what a training does: its steps, and what it says."""
    if as_json:
        line = _Lines()
        yield (
            lambda step: line.write(_facts(step), always=step.measures is not None),
            lambda message: line.write({"message": message}),
        )
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda step: None, lambda message: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[now]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("preparing", total=None, now="")

        def show(step: Step) -> None:
            losses = ", ".join(f"{name} {value:.3f}" for name, value in step.losses.items())
            bar.update(
                task,
                description="training",
                total=step.epochs * step.steps,
                completed=step.epoch * step.steps + (step.step if step.measures is None else 0),
                now=f"epoch {step.epoch} of {step.epochs}, loss: {losses}",
            )

        yield show, lambda message: bar.update(task, now=message)


@contextmanager
def shown_count(as_json: bool, noun: str) -> Iterator[Callable[[int, int | None], None]]:
    """Give a function that shows on standard error how many of how many are done."""
    if as_json:
        line = _Lines()
        yield lambda done, total: line.write({"done": done, "total": total})
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), BarColumn(), TextColumn("{task.completed:,} " + noun))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _facts(step: Step) -> dict[str, Any]:
    facts: dict[str, Any] = {"epoch": step.epoch, "epochs": step.epochs, "step": step.step, "steps": step.steps}
    facts["losses"] = {name: round(value, 5) for name, value in step.losses.items()}
    return facts if step.measures is None else facts | {"validation": step.measures}


class _Lines:
    def __init__(self) -> None:
        self._last = 0.0

    def write(self, facts: dict[str, Any], *, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            typer.echo(json.dumps({"event": "progress", **facts}), err=True)
