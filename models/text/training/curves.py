"""The curves of a run as a picture."""

from __future__ import annotations

import json
from pathlib import Path


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
