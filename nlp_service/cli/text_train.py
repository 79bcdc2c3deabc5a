"""`radlabel text train` and `radlabel text export`: models made from recipes, reports and labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corpora.errors import RowInvalid
from nlp_service.cli.corpus import CacheDirOption, resolve_cache_dir
from nlp_service.cli.errors import exit_on_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.text.training.recipe import Recipe
    from models.text.training.runs import Event, GivenReport

SHIPPED, TEACHER_STAGE, SCRATCH = "shipped", "teacher-stage", "scratch"


def train(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the model to make.", show_default=False)
    ],
    reports: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV with your reports, and a column for each label if you have labels. Without it, Open-i is learned "
            "from (radlabel corpus fetch openi).",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[=LABEL]",
            help="Column of the CSV that holds a label (1, 0, blank; positive, negative), and the label's name where "
            "it is another; may be given again. Without it the rules label the reports.",
            show_default=False,
        ),
    ] = None,
    label_set: Annotated[str, typer.Option(help="Label set that the labels belong to.")] = "nih14",
    base: Annotated[
        str,
        typer.Option(
            help=f"Where to start: {SHIPPED} (the model that comes with radlabel), {TEACHER_STAGE} (the same before it "
            f"saw human codes), {SCRATCH} (a general encoder), or the folder of a model."
        ),
    ] = SHIPPED,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML recipe (docs/retraining.md). By default the one that fits: for Open-i that of the shipped "
            "model, for your reports a short one.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Another seed than the recipe's.", show_default=False)] = None,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="YAML file that adds findings or label sets; may be given again. The model then needs it to read.",
            show_default=False,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="Column that holds a field of the report.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads to compute with (default: all).", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress as JSON lines on stderr, the metrics as JSON on stdout.")
    ] = False,
    cache_dir: CacheDirOption = None,
) -> None:
    """Train the encoder, from the recipe of the shipped model or on your own reports.

    A run that was stopped goes on when it is started again with the same options, and ends with the same weights. It
    keeps its checkpoint, metrics and curves in DIR.run. Needs the extra named train.

    For example:

        radlabel text train --base shipped --reports mine.csv --labels Edema --labels big_heart=Cardiomegaly -o mymodel
        radlabel text evaluate --reports test.csv --labels Edema --compare shipped mymodel
        radlabel label reports.csv -o labels.csv --label-set nih14 --model mymodel
    """
    if labels and reports is None:
        raise typer.BadParameter("labels are columns of a CSV: give it with --reports", param_hint="--labels")
    with exit_on_error():
        from models.text.training.extras import require_training

        require_training("training")
        from corpora.vocabulary import load_vocabulary
        from models.text.training.build import build_model, use_threads
        from models.text.training.own import own_reports

        if threads:
            use_threads(threads)
        loaded = load_vocabulary(tuple(vocabulary or ()))
        chosen = _recipe(recipe, "encoder" if reports is None else "retrain", seed)
        start = base_folder(base)
        rejected: list[RowInvalid] = []
        given: list[GivenReport]
        if reports is None:
            given = _openi(resolve_cache_dir(cache_dir), loaded, chosen.label_sets)
            origin = "Open-i (Indiana University chest radiographs, CC BY-NC-ND), without the 771 held-out reports."
            if start is not None:  # the teacher's stage is done
                chosen = chosen.model_copy(update={"stages": chosen.stages[-1:]})
        else:
            names = label_columns(labels or ())
            given = own_reports(
                reports, loaded, label_set, names, columns=column_mapping(column or ()), on_invalid=rejected.append
            )
            origin = f"{len(given):,} reports of the user's own, with labels of {label_set} in {len(names)} columns."
            update: dict[str, Any] = {"label_sets": tuple(dict.fromkeys((*_label_sets_of(start), label_set)))}
            if not names:
                update["stages"] = tuple(s.model_copy(update={"labels": "teacher"}) for s in chosen.stages)
            chosen = chosen.model_copy(update=update)
        for invalid in rejected:
            typer.echo(f"left out: {invalid}", err=True)
        with _shown(as_json) as (on_event, say):
            manifest = build_model(
                chosen,
                loaded,
                given,
                output,
                version=_version_of(output, start, reports is None),
                origin=origin,
                start=start,
                on_event=on_event,
                say=say,
            )
    if as_json:
        typer.echo(json.dumps(manifest.metrics))
    else:
        _report(output, manifest.metrics)


def export(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="ONNX file to write.", show_default=False)
    ],
    model: Annotated[str, typer.Option(help="Folder of a model, or `shipped`.", metavar="DIR")] = SHIPPED,
    precision: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
) -> None:
    """Write the graph of a model as an ONNX file, from its weights in half precision.

    Input `ids` (batch, tokens): sentences of one length as word pieces. Outputs `rows` (a row of numbers for each
    token) and `scores` (two numbers a label); docs/model.md says what they mean. Needs the extra named train.
    """
    if precision not in ("float32", "int8"):
        raise typer.BadParameter("use float32 or int8", param_hint="--precision")
    with exit_on_error():
        from models.text.training.extras import require_training

        require_training("export")
        from models.text.encoder.folder import read_manifest
        from models.text.training.export import load_network, network_graph
        from nlp_service.part_folder import written_whole

        folder = base_folder(model)
        if folder is None:
            raise typer.BadParameter("a general encoder has nothing to export", param_hint="--model")
        network = load_network(folder, read_manifest(folder, files=()).layout)
        with written_whole(output) as stream:
            stream.write(network_graph(network, "int8" if precision == "int8" else "float32"))
    typer.echo(f"{output}: {output.stat().st_size / 1e6:.1f} MB, {precision}", err=True)


def base_folder(name: str) -> Path | None:
    """Return the folder that a base's name stands for, or ``None`` for the general encoder."""
    from models.text.encoder.folder import shipped_model

    if name == SCRATCH:
        return None
    if name == SHIPPED:
        return shipped_model()
    if name == TEACHER_STAGE:
        return shipped_model().with_name("teacher_stage")
    return Path(name)


def _recipe(path: Path | None, name: str, seed: int | None) -> Recipe:
    from models.text.training.recipe import load_recipe

    found = path or Path(str(resources.files("models.text.training").joinpath("data", f"{name}.yaml")))
    recipe = load_recipe(found)
    return recipe if seed is None else recipe.model_copy(update={"seed": seed})


def _openi(cache_dir: Path, vocabulary: Any, label_sets: tuple[str, ...]) -> list[GivenReport]:
    from corpora.fetch import open_corpus
    from corpora.sources import read_reports
    from corpora.sources.openi import iter_openi_codes
    from models.text.training.build import openi_training_reports

    path = open_corpus("openi", cache_dir)
    return openi_training_reports(list(read_reports(path)), dict(iter_openi_codes(path)), vocabulary, label_sets)


def _label_sets_of(start: Path | None) -> list[str]:
    """Return the label sets that a model reads out, which a model trained on keeps."""
    from models.text.encoder.folder import read_manifest

    if start is None:
        return []
    return list(dict.fromkeys(name.label_set for name in read_manifest(start, files=()).layout.labels))


def _version_of(output: Path, start: Path | None, is_shipped_recipe: bool) -> str:
    from models.text.training.build import VERSION

    return VERSION if is_shipped_recipe else f"{VERSION}+{output.name}"


def column_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Return field to column from ``FIELD=COLUMN``."""
    columns = {}
    for pair in pairs:
        field, equals, name = pair.partition("=")
        if not equals or not field:
            raise typer.BadParameter(f"{pair!r} is not of the form FIELD=COLUMN", param_hint="--column")
        columns[field.strip()] = name.strip()
    return columns


@contextmanager
def _shown(as_json: bool) -> Iterator[tuple[Callable[[Event], None], Callable[[str], None]]]:
    """Show what happens: as a bar on a terminal, or as JSON lines on standard error."""
    if as_json:
        yield _json_event, lambda message: typer.echo(json.dumps({"event": "message", "message": message}), err=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True)) as bar:
        tasks: dict[str, Any] = {}

        def show(event: Event) -> None:
            if event.step and event.stage not in tasks:
                tasks[event.stage] = bar.add_task(event.stage, total=event.step.n_steps, note="")
            if event.step:
                bar.update(tasks[event.stage], completed=event.step.step)
            if event.dev and event.stage in tasks:
                scores = ", ".join(f"{name} {value:.3f}" for name, value in event.dev.micro_f1.items())
                bar.update(tasks[event.stage], note=f"dev {scores}")

        yield show, lambda message: bar.console.print(message, highlight=False, markup=False)


def _json_event(event: Event) -> None:
    values: dict[str, Any] = {"event": "stage" if event.is_done else "step", "stage": event.stage}
    if event.step:
        if event.step.step % 10:
            return
        values |= {"step": event.step.step, "steps": event.step.n_steps}
    if event.dev:
        values |= {"event": "evaluation", "dev": event.dev.micro_f1}
    typer.echo(json.dumps(values), err=True)


def _report(output: Path, metrics: dict[str, Any]) -> None:
    development = metrics.get("development", {})
    scores = ", ".join(f"{name} {value:.3f}" for name, value in development.items() if name.endswith("micro-F1"))
    typer.echo(
        f"{output}: written" + (f"; on {development['reports']:,} development reports: {scores}" if scores else "")
    )


def label_columns(pairs: Sequence[str]) -> dict[str, str]:
    """Return label to column from ``COLUMN`` or ``COLUMN=LABEL``.

    >>> label_columns(["Edema", "heart_big=Cardiomegaly"])
    {'Edema': 'Edema', 'Cardiomegaly': 'heart_big'}
    """
    columns: dict[str, str] = {}
    for pair in pairs:
        column, _, label = pair.partition("=")
        columns[(label or column).strip()] = column.strip()
    return columns
