"""What happened in a run, step by step: ``metrics.jsonl``, and its curves as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class MetricsFile:
    """A ``metrics.jsonl``: a line for what a step brought, in the order of the steps."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, stage: str, values: Mapping[str, Any]) -> None:
        """Add a line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": stage, **values}) + "\n")

    def cut(self, stage: str, step: int) -> None:
        """Remove what a run that stopped wrote of ``stage`` behind ``step``: these steps are done again.

        A line that was not written to its end goes, too.
        """
        if not self._path.is_file():
            return
        kept = []
        for line in self._path.read_text("utf-8").splitlines(keepends=True):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["stage"] != stage or row["step"] <= step:
                kept.append(line)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text("".join(kept), "utf-8")
        temporary.replace(self._path)


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw losses and development scores of a ``metrics.jsonl`` into a PNG, the stages side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    figure, axes = pyplot.subplots(1, max(len(stages), 1), figsize=(6 * max(len(stages), 1), 4), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=False):
        steps = [row for row in rows if row["stage"] == stage and "tokens" in row]
        for name in ("tokens", "labels"):
            axis.plot([r["step"] for r in steps], [r[name] for r in steps], label=f"loss: {name}", alpha=0.7)
        axis.set_yscale("log")
        axis.set_title(stage)
        axis.set_xlabel("step")
        points = [row for row in rows if row["stage"] == stage and "dev" in row]
        if points:
            scores = axis.twinx()
            for name in points[0]["dev"]:
                values = [point["dev"][name] for point in points]
                scores.plot([p["step"] for p in points], values, "o--", label=f"dev micro-F1: {name}")
            scores.legend(loc="lower right")
        axis.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)
