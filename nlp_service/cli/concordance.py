"""`radlabel concordance`: where image scores speak against report labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nlp_service.cli.errors import exit_on_error, stop_on_sigterm
from nlp_service.cli.vision import DatasetOption, JsonOption, ModelOption, ThreadsOption
from nlp_service.cli.vision_progress import shown_training


def concordance(
    dataset: DatasetOption,
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is made.")],
    folds: Annotated[int, typer.Option(min=2, max=20, help="Folds of patients.")] = 5,
    most: Annotated[
        int, typer.Option(min=1, help="Rows of each label that are listed, the likeliest errors first.")
    ] = 1000,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find report labels that the images speak against, and estimate how many labels of each finding are wrong.

    The model's recipe is trained anew on folds of patients, and every image is scored by a model that did not see its
    patient. Rows of the split test are not read. A disagreement is a reason to look again, not a correction. Needs the
    extras named train and images.

    For example:

        radlabel concordance --dataset chest --model chest-model --out chest-audit
    """
    with exit_on_error(), stop_on_sigterm():
        from models.text.training.extras import require_training

        require_training("a concordance")
        from corpora.dataset.folder import open_dataset
        from models.vision.concordance import audit
        from models.vision.runtime import VisionModel

        with shown_training(as_json) as (_, say):
            summary = audit(
                open_dataset(dataset), VisionModel(model), out, folds=folds, most=most, threads=threads, say=say
            )
    typer.echo(json.dumps(summary, indent=None if as_json else 2))
