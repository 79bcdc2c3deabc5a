"""`radlabel vision`: image models trained from weak labels, measured, and used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from models.vision.recipe import Task
from nlp_service.cli.engine_options import (
    EngineOption,
    GpusPerWorkerOption,
    PictureWorkersOption,
    RayAddressOption,
    checked_engine,
)
from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error, stop_on_sigterm
from nlp_service.cli.vision_progress import shown_count, shown_training
from nlp_service.cli.vision_push import push
from nlp_service.engines import EngineName, EngineOptions

app = typer.Typer(
    name="vision",
    help="Train image models from a data set's weak labels, measure them, and read images with them.",
    no_args_is_help=True,
)

DatasetOption = Annotated[
    Path, typer.Option("--dataset", "-d", metavar="DIR", help="Data set folder (radlabel dataset build).")
]
ModelOption = Annotated[Path, typer.Option("--model", "-m", metavar="DIR", help="Folder of a trained model.")]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads to compute with (default: all cores).", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Progress as JSON lines on stderr, the result on stdout.")]


@app.callback()
def vision() -> None:
    """Train image models from a data set's weak labels, measure them, and read images with them."""


@app.command()
def train(
    dataset: DatasetOption,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder of the model to make.")],
    task: Annotated[
        Task | None, typer.Option(help="What the model is to do; a recipe says it too.", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="YAML recipe (docs/vision.md); by default the task's own.", show_default=False
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.", show_default=False)] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Keep the features of frozen blocks here, for other runs over the same pictures (some seeds, say).",
            show_default=False,
        ),
    ] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a model on a data set's splits train and validation; the split test is never read.

    A run that was stopped goes on when it is started again with the same options, and ends with the same weights. It
    keeps its checkpoint and metrics in DIR.run. Needs the extras named train and images.

    For example:

        radlabel vision train --task classification --dataset chest --out chest-model
        radlabel vision train --recipe mine.yaml --dataset chest --out chest-model
    """
    if task is None and recipe is None:
        raise typer.BadParameter("say what the model is to do", param_hint="--task or --recipe")
    with exit_on_error(), stop_on_sigterm():
        from models.text.training.extras import require_training

        require_training("training image models")
        from corpora.dataset.folder import open_dataset
        from models.vision.recipe import load_recipe, shipped_recipe
        from models.vision.training.train import train as run

        chosen = load_recipe(recipe, task) if recipe is not None else shipped_recipe(task or Task.CLASSIFICATION)
        if seed is not None:
            chosen = chosen.model_copy(update={"seed": seed})
        with shown_training(as_json) as (on_progress, say):
            if cache is not None:
                cache.mkdir(parents=True, exist_ok=True)
            trained = run(
                open_dataset(dataset), chosen, out, on_progress=on_progress, say=say, threads=threads, cache=cache
            )
    facts = {"event": "summary", "model": str(trained.folder), "digest": trained.manifest.digest}
    _report(facts | {"validation": trained.measures}, as_json)


@app.command()
def evaluate(
    dataset: DatasetOption,
    model: ModelOption,
    split: Annotated[str, typer.Option(help="The rows to measure on: train, validation or test.")] = "test",
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the patients for the 95 % intervals.")] = 1000,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the numbers to this JSON file.", show_default=False)
    ] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on a split of a data set, with 95 % intervals from resampled patients. Needs no torch.

    For example:

        radlabel vision evaluate --dataset chest --model chest-model
    """
    with exit_on_error(), stop_on_sigterm():
        from corpora.dataset.folder import open_dataset
        from models.vision.evaluate import evaluate as measure
        from models.vision.runtime import VisionModel

        with shown_count(as_json, "images") as show:
            facts = measure(
                VisionModel(model, threads=threads), open_dataset(dataset), split, resamples=bootstrap, on_rows=show
            )
        if output is not None:
            output.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(facts, indent=None if as_json else 2))


@app.command()
def predict(
    images: Annotated[
        Path,
        typer.Argument(
            metavar="IMAGES",
            help="A folder of DICOM files or of PNG and JPEG pictures, an image index (radlabel images index; of a "
            "DICOMweb server too), a manifest, a data set folder, or one file.",
            show_default=False,
        ),
    ],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is made.")],
    format: Annotated[str, typer.Option(metavar="csv|jsonl", help="Form of the rows.")] = "csv",
    overlays: Annotated[bool, typer.Option("--overlays", help="Draw heat maps, boxes, outlines as PNG.")] = False,
    coco: Annotated[bool, typer.Option("--coco", help="Write boxes as a COCO file too.")] = False,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Write masks of DICOM images as DICOM segmentations too.")
    ] = False,
    dicom_sr: Annotated[
        bool,
        typer.Option("--dicom-sr", help="Write scores and boxes of DICOM images as DICOM structured reports too."),
    ] = False,
    split: Annotated[str | None, typer.Option(help="Of a data set: this split alone.", show_default=False)] = None,
    engine: EngineOption = EngineName.LOCAL.value,
    workers: PictureWorkersOption = None,
    ray_address: RayAddressOption = None,
    gpus_per_worker: GpusPerWorkerOption = 0.0,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read images with a model: a row for each, and what the options add. Needs no torch.

    The files have the same bytes whatever the engine and however many workers read.

    Exit codes: 0 all was read, 1 some images could not be read, or a DICOM object not be made of them, and are listed
    in OUT/rejects.csv, 2 nothing was done.

    For example:

        radlabel vision predict dicom --model chest-model --out found --overlays
        radlabel vision predict archive --model chest-model --out found --engine ray --ray-address head:6379
    """
    if format not in ("csv", "jsonl"):
        raise typer.BadParameter("is csv or jsonl", param_hint="--format")
    engine_name = checked_engine(engine, ray_address, gpus_per_worker)
    with exit_on_error(), stop_on_sigterm():
        from models.vision.predict import Format, Wanted
        from nlp_service.vision_work import predict_on

        is_here = engine_name is EngineName.LOCAL and workers is None
        chosen = None if is_here else EngineOptions(engine_name, workers, ray_address, gpus_per_worker)
        rows: Format = "csv" if format == "csv" else "jsonl"
        wanted = Wanted(overlays, dicom_seg, dicom_sr, coco, rows, split, _access(images))
        with shown_count(as_json, "images") as show:
            done, remarks = predict_on(
                chosen, model, images, out, wanted, threads=threads, on_pictures=lambda count: show(count, None)
            )
    for remark in remarks:
        typer.echo(f"warning: {remark}", err=True)
    _report(
        {"event": "summary", "output": str(done.folder), "images": done.pictures, "rejected": done.rejected}, as_json
    )
    if done.rejected:
        raise typer.Exit(EXIT_ROWS_FAILED)


app.command()(push)


@app.command()
def normalise(
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="The same as for `predict`.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is made.")],
    split: Annotated[str | None, typer.Option(help="Of a data set: this split alone.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring chest radiographs into one form: upright, air dark, edges without content cut off.

    Writes the pictures as PNG, and DIR/normalised.csv with what was cut off, by how many degrees clockwise a film lay
    turned, and flags: inverted, rotated, maybe_rotated (left as it is), collimated, lateral, not_frontal, low_contrast,
    saturated, empty, not_frontal_format. No model is needed.

    For example:

        radlabel vision normalise dicom --out even
    """
    with exit_on_error(), stop_on_sigterm():
        from models.vision.predict import normalise_all

        with shown_count(as_json, "images") as show:
            done = normalise_all(
                images, out, split=split, access=_access(images), on_pictures=lambda count: show(count, None)
            )
    _report(
        {"event": "summary", "output": str(done.folder), "images": done.pictures, "rejected": done.rejected}, as_json
    )
    if done.rejected:
        raise typer.Exit(EXIT_ROWS_FAILED)


@app.command()
def locate(
    dataset: DatasetOption,
    lungs: Annotated[Path, typer.Option(metavar="DIR", help="Folder of a model of lung masks.")],
    label: Annotated[str, typer.Option(help="The label of an opacity: Pneumonia, Consolidation, Lung Opacity.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The folder that is made.")],
    count: Annotated[int, typer.Option(min=1, max=5, help="Boxes an image.")] = 1,
    split: Annotated[str | None, typer.Option(help="Boxes for this split alone.", show_default=False)] = None,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Boxes for opacities that reports name, where the lungs are brighter than in films with normal reports.

    No box is learned from: the data set's films with normal reports are the measure, 30 at least. Writes
    DIR/places.csv (which lung, a point, boxes) and DIR/places.coco.json. How high opacities lie, and how often in both
    lungs, is known beforehand from the regions that reports of the split train name. Needs no torch.

    Exit codes: 0 all was done, 1 in some images no two lungs were seen (DIR/rejects.csv), 2 nothing was done.

    For example:

        radlabel vision locate --dataset chest --lungs lung-model --label Pneumonia --out places
    """
    with exit_on_error(), stop_on_sigterm():
        from corpora.dataset.folder import open_dataset
        from models.vision.locate import locate as run
        from models.vision.runtime import VisionModel

        with shown_count(as_json, "images") as show:
            done = run(
                open_dataset(dataset),
                VisionModel(lungs, threads=threads),
                label,
                out,
                count=count,
                split=split,
                on_pictures=lambda number: show(number, None),
            )
    _report(
        {"event": "summary", "output": str(done.folder), "images": done.pictures, "rejected": done.rejected}, as_json
    )
    if done.rejected:
        raise typer.Exit(EXIT_ROWS_FAILED)


def _access(images: Path) -> Any:
    """Return who asks a DICOMweb server, from the environment, where an index may be of one."""
    if images.suffix.lower() != ".parquet":
        return None
    from corpora.imaging.server import access_from_environment

    return access_from_environment()


def _report(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        if name != "event":
            typer.echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}", err=True)
