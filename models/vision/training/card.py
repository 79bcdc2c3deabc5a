"""What a model folder tells people: its card and the curves of its training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from models.vision.folder import Manifest

_CARD = """---
license: other
library_name: radlabel
tags: [radiology, chest-x-ray, weak-supervision, {task}]
---
# radlabel model of images: {task}

For research. Not a medical device: nothing it says may decide about a patient.

| | |
| --- | --- |
| task | {task} |
| names | {labels} |
| data set | {dataset} (label set {label_set}), digest {digest} |
| learned from | {counts} |
| backbone | {backbone} |
| seed | {seed} |
| made with | radlabel {version} |

## Measures on the rows kept apart in training
{measures}

They were kept apart from learning, and may have served to fit the calibration. Rows of the split `test` were never
read: `radlabel vision evaluate` measures on them.

## Limits
- What it learned from are labels read from reports, with their errors; the data set's card tells how they were read.
- The data set's hospital, devices and patients are what it knows. Elsewhere it has to be measured again.
- A map shows where the score comes from. It is no outline of a finding.
"""


def write_card(manifest: Manifest, measures: Mapping[str, float]) -> str:
    """Return the card as Markdown with the front matter of a Hugging Face model."""
    dataset = manifest.trained_on["dataset"]
    rows = "\n".join(f"- {name}: {value:.4f}" for name, value in measures.items())
    return _CARD.format(
        task=manifest.task.value,
        labels=", ".join(manifest.labels) or "-",
        dataset=dataset["name"],
        label_set=dataset["label_set"] or "-",
        digest=dataset["digest"][:16],
        counts="; ".join(f"{name}: {value:,}" for name, value in manifest.trained_on["counts"].items()),
        backbone=getattr(manifest.recipe, "backbone", "a residual network of its own"),
        seed=manifest.recipe.seed,
        version=manifest.version,
        measures=rows or "No row was kept apart.",
    )


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw the losses and measures of a ``metrics.jsonl`` into a PNG, the stages side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    figure, axes = pyplot.subplots(1, len(stages), figsize=(6 * len(stages), 4), squeeze=False)
    for axis, stage in zip(axes[0], stages, strict=True):
        points = [row for row in rows if row["stage"] == stage]
        epochs = [point["epoch"] for point in points]
        for name in points[0]["losses"]:
            axis.plot(epochs, [point["losses"][name] for point in points], "o-", label=f"loss: {name}")
        axis.set_title(stage)
        axis.set_xlabel("epoch")
        axis.legend(loc="lower left")
        if points[0]["measures"]:
            right = axis.twinx()
            for name in points[0]["measures"]:
                right.plot(epochs, [point["measures"].get(name) for point in points], "s--", label=name)
            right.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(picture, dpi=100)
    pyplot.close(figure)
