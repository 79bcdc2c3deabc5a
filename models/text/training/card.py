"""The model card: what a model was made from, how good it is, and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = """---
license: other
language: en
library_name: radlabel
tags: [radiology, report-labeling, token-classification, text-classification]
---
# radlabel encoder {version}

Reads a sentence of a radiology report: its findings with assertion, side, place, severity and change, and the scores
from which the labels of the study are read out (`docs/model.md`).

For research. Not a medical device: nothing it says may decide about a patient.

## Made from
{origin}

| | |
| --- | --- |
| reports learned from | {reports:,} ({labelled:,} with labels) |
| reports for choosing and calibrating | {development:,} |
| distinct sentences | {sentences:,} |
| made-up sentences | {synthetic:,} |
| seed | {seed} |
| stages | {stages} |
| base | {base} |

The general encoder at the beginning is MiniLM-L6 (`all-MiniLM-L6-v2`, Apache-2.0), of which it keeps the first layers
and the field's word pieces.

## How good it is, on the development reports
They chose the checkpoint and fitted the calibration, so these figures flatter. `radlabel text evaluate` measures a
model on reports that it has never seen; the figures of the shipped one are in `docs/model.md`.

{scores}

| label | positives | calibration error | Brier skill |
| --- | --- | --- | --- |
{labels}

Calibration error: expected error over bins of equal counts, on the reports with a probability of 0.05 or more or with
the label. Brier skill: share by which the Brier score is better than that of the base rate.

## Limits
- English reports; chest radiographs are what most of the training reports describe.
- The codes it learned from were given by two people at one institution, with their habits.
- The labels of a site with other habits call for training on that site's reports: `docs/retraining.md`.
"""


def write_card(training: Mapping[str, Any], metrics: Mapping[str, Any], version: str) -> str:
    """Return the card as Markdown with the front matter of a Hugging Face model."""
    development = metrics.get("development", {})
    labels = [row for row in development.get("labels", ()) if row["positives"]]
    return _HEAD.format(
        version=version,
        seed=training["recipe"]["seed"],
        base=_base(training.get("base")),
        stages=", ".join(f"{s['name']} ({s['epochs']:g} epochs)" for s in training["recipe"]["stages"]),
        scores="\n".join(f"- {name}: {value}" for name, value in development.items() if name.endswith("micro-F1")),
        labels="\n".join(
            f"| {row['label_set']}: {row['label']} | {row['positives']} | {_number(row['ece'])} | "
            f"{_number(row['brier_skill'])} |"
            for row in labels
        ),
        **{"synthetic": 0, **training["data"]},
    )


def _base(base: Mapping[str, str] | None) -> str:
    if base is None:
        return "the general encoder"
    return f"`{base['name']}`, version {base['version']}, digest {base['digest'][:16]}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
