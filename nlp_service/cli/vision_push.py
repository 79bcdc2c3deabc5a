"""`radlabel vision push`: what a model said of images goes to the service, beside the labels of the reports."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from corpora.errors import SourceUnreadable
from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error, stop_on_sigterm

_BATCH_BYTES = 8 * 2**20


def push(
    predictions: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `radlabel vision predict` made.", show_default=False)
    ],
    url: Annotated[str, typer.Option(help="Where the service is.")] = "http://127.0.0.1:8000",
) -> None:
    """Send what a classification model said of images to the service, which shows it beside the labels of the reports.

    Overlays go along if there are any (`predict --overlays`). Images are found by the study that their headers name:
    Study Instance UID, or accession number with issuer. A key, where one is needed, is taken from RADLABEL_API_KEY
    (scope jobs). What is sent again takes the place of what was there.

    Exit codes: 0 all was sent, 1 some images name no study and were left out, 2 nothing was done.

    For example:

        radlabel vision predict dicom --model chest-model --out found --overlays
        radlabel vision push found --url http://127.0.0.1:8000
    """
    with exit_on_error(), stop_on_sigterm():
        from nlp_service.client import Client

        model, labels = _model_of(predictions)
        sent = left_out = 0
        batch: list[dict[str, Any]] = []
        size = 0
        with Client(url, key=os.environ.get("RADLABEL_API_KEY")) as client:
            for row in _rows_of(predictions):
                image = _image_of(row, labels, predictions)
                if image is None:
                    left_out += 1
                    continue
                batch.append(image)
                size += sum(map(len, image["overlays"].values()))
                if len(batch) == 100 or size > _BATCH_BYTES:
                    sent += client.add_image_scores(model, batch)
                    batch, size = [], 0
            if batch:
                sent += client.add_image_scores(model, batch)
    typer.echo(f"{sent:,} images sent", err=True)
    if left_out:
        typer.echo(f"{left_out:,} images name no study (accession number or Study Instance UID): left out", err=True)
        raise typer.Exit(EXIT_ROWS_FAILED)


def _model_of(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Return which model it was, and its labels."""
    from models.vision.predict import MODEL

    try:
        about = json.loads((folder / MODEL).read_text("utf-8"))
        model: dict[str, Any] = {name: str(about[name]) for name in ("name", "version", "digest")}
        # What earlier releases wrote says neither, and no earlier service takes either.
        model |= {name: about[name] for name in ("label_set", "thresholds") if about.get(name)}
        labels = [str(label) for label in about["labels"]]
        task = about["task"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        kind = type(error).__name__
        raise SourceUnreadable(
            f"{folder.name}/{MODEL} cannot be read ({kind}): was it made by vision predict?"
        ) from None
    if task != "classification":
        raise SourceUnreadable(f"{folder.name}: a model for {task} gives no scores by label")
    return model, labels


def _rows_of(folder: Path) -> Iterator[dict[str, Any]]:
    table = folder / "predictions.csv"
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)
        return
    lines = folder / "predictions.jsonl"
    if not lines.is_file():
        raise SourceUnreadable(f"{folder.name}: has neither predictions.csv nor predictions.jsonl")
    with lines.open(encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


def _image_of(row: dict[str, Any], labels: list[str], folder: Path) -> dict[str, Any] | None:
    """Return an image as the service takes it, or ``None`` if it names no study."""
    from models.vision.batches import STUDY_COLUMNS, file_name

    study = {name: row.get(name) or None for name in STUDY_COLUMNS}
    if study["accession_number"] is None and study["study_instance_uid"] is None:
        return None
    overlays = {}
    for label in labels:
        path = folder / "overlays" / f"{file_name(row['image_id'])}.{file_name(label)}.png"
        if path.is_file():
            overlays[label] = base64.b64encode(path.read_bytes()).decode("ascii")
    try:
        scores = {label: float(row[label]) for label in labels}
    except (KeyError, TypeError, ValueError):
        raise SourceUnreadable(f"{folder.name}: a row has no score for a label of its model") from None
    return {"image_id": row["image_id"], **study, "scores": scores, "overlays": overlays}
