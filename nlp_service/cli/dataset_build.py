"""`radlabel dataset build`: reports and images become a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlp_service.cli.dataset_progress import shown_stages
from nlp_service.cli.engine_options import EngineOption, GpusPerWorkerOption, RayAddressOption, checked_engine
from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error, stop_on_sigterm
from nlp_service.cli.label import _column_mapping
from nlp_service.engines import EngineName, EngineOptions

if TYPE_CHECKING:
    from corpora.dataset import Recipe
    from nlp_service.datasets import BuildSummary

_JSON = typer.Option("--json", help="Progress as JSON lines on stderr, the summary as JSON on stdout.")


def build(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The folder that is made.", show_default=False)
    ],
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="[RECIPE]", help="A recipe (YAML); options take the place of its keys."),
    ] = None,
    recipe_option: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="The same, as an option.", show_default=False)
    ] = None,
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="R",
            help="Reports: files or folders in any format that is read; may be given again.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL|MANIFEST|INDEX",
            help="A folder of DICOM files, a DICOMweb server, a CSV of PNG and JPEG files, or an index of them.",
            show_default=False,
        ),
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Boxes for a manifest: COCO JSON or CSV.", show_default=False)
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Masks for a manifest: a folder of image_id.png.", show_default=False),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rows of `radlabel label` (Parquet), where the reports are labelled already.",
            show_default=False,
        ),
    ] = None,
    chexpert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels as a CSV in CheXpert's form, in place of reports; --images is the folder of its paths.",
            show_default=False,
        ),
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Values that people gave in place of those that were read: a CSV of `radlabel review export`.",
            show_default=False,
        ),
    ] = None,
    label_set: Annotated[
        str | None, typer.Option(help="Labels to give (default: chexpert14).", show_default=False)
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Label policy (docs/weak-labels.md).", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", help="Longest side of the pictures (default: 1024).", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the data set (default: dataset).", show_default=False)
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Column that holds a field of the report, as accession_number=ACC; may be given again.",
            show_default=False,
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Key of the pseudonyms (default: DIR.key, made if it is not there).",
            show_default=False,
        ),
    ] = None,
    map_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the map from identifiers to pseudonyms, for your eyes alone.",
            show_default=False,
        ),
    ] = None,
    keep_identifiers: Annotated[
        bool, typer.Option("--keep-identifiers", help="No pseudonyms: identifiers and dates stay as they are.")
    ] = False,
    processes: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, help="Number of processes (default: one a core).", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of workers on the Ray cluster that label (default: as many as it has room for).",
            show_default=False,
        ),
    ] = None,
    engine: EngineOption = EngineName.LOCAL.value,
    ray_address: RayAddressOption = None,
    gpus_per_worker: GpusPerWorkerOption = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a build that was stopped.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the data set in DIR, and forget a build that was stopped.")
    ] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Build a data set from reports and images.

    Images are indexed, reports labelled and linked with the images; pictures, labels, targets, region hints and splits
    by patient go to DIR, with a card that says what is in it. Identifiers become pseudonyms, made with a key that stays
    with you. The same inputs and recipe give the same bytes; a build that was stopped goes on with --resume.

    Exit codes: 0 all was read, 1 some reports or images could not be read and are listed in DIR/excluded.csv, 2 nothing
    was done.

    For example:

        radlabel dataset build --reports reports.csv --images dicom -o chest
        radlabel dataset build --reports ris.csv --images https://pacs.example/dicom-web -o chest --size 512
        radlabel dataset build recipe.yaml -o chest
        radlabel dataset build recipe.yaml -o chest --engine ray --ray-address head:6379
    """
    if recipe is not None and recipe_option is not None:
        raise typer.BadParameter("the recipe is given twice", param_hint="--recipe")
    if resume and overwrite:
        raise typer.BadParameter("go on with the build, or start over: not both", param_hint="--resume, --overwrite")
    if keep_identifiers and (key_file or map_file):
        raise typer.BadParameter("without pseudonyms there is no key and no map", param_hint="--keep-identifiers")
    engine_name = checked_engine(engine, ray_address, gpus_per_worker)
    if workers is not None and engine_name is not EngineName.RAY:
        raise typer.BadParameter("these are for --engine ray", param_hint="--workers")
    changes: dict[str, Any] = {}
    _set(changes, "reports", tuple(path.absolute() for path in reports) if reports else None)
    _set(changes, "images", _place(images))
    _set(changes, "boxes", boxes)
    _set(changes, "masks", masks)
    _set(changes, "name", name)
    _set(changes, "policy", policy)
    _set(changes, "labels", _given(rows=labels, chexpert=chexpert, corrections=corrections, label_set=label_set))
    _set(changes, "image", _given(size=size))
    _set(changes, "reading", _given(columns=_column_mapping(column) if column else None))
    _set(
        changes,
        "deidentify",
        _given(key_file=key_file, map_file=map_file, enabled=False if keep_identifiers else None),
    )
    with exit_on_error(), stop_on_sigterm():
        from corpora.imaging.server import access_from_environment
        from nlp_service.batch import usable_cores
        from nlp_service.datasets import BuildOptions
        from nlp_service.datasets import build as build_it

        # Off the cluster, the processes of the build label too.
        on_cluster = (
            EngineOptions(engine_name, workers, ray_address, gpus_per_worker) if engine_name is EngineName.RAY else None
        )
        with shown_stages(as_json) as show:
            summary = build_it(
                _recipe(recipe or recipe_option, changes),
                output,
                BuildOptions(
                    resume=resume,
                    overwrite=overwrite,
                    processes=processes or usable_cores(),
                    engine=on_cluster,
                    command=_command(recipe or recipe_option, changes),
                    access=access_from_environment(),
                    on_progress=show,
                ),
            )
    _report(summary, as_json)
    if any(summary.failed.values()):
        raise typer.Exit(EXIT_ROWS_FAILED)


def _set(changes: dict[str, Any], key: str, value: Any) -> None:
    if value is not None and value != {}:
        changes[key] = value


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _place(images: str | None) -> str | None:
    from corpora.dataset.recipe import is_url

    return images if images is None or is_url(images) else str(Path(images).absolute())


def _recipe(path: Path | None, changes: dict[str, Any]) -> Recipe:
    from corpora.dataset import load_recipe, recipe_from

    return recipe_from({}, "options", changes=changes) if path is None else load_recipe(path, changes)


def _command(recipe: Path | None, changes: dict[str, Any]) -> tuple[str, ...]:
    """Return the command as the card shows it: with file names, without where they lie, and without the output."""
    words = ["radlabel", "dataset", "build", *([recipe.name] if recipe else [])]
    for key, value in sorted(changes.items()):
        parts = value.items() if isinstance(value, dict) else [(key, value)]
        for name, one in parts:
            option = {"rows": "labels", "columns": "column", "enabled": "keep-identifiers"}.get(name, name)
            words += _words(f"--{option.replace('_', '-')}", one)
    return tuple(words)


def _words(option: str, value: Any) -> list[str]:
    from corpora.dataset.recipe import is_url

    if value is False:
        return [option]
    if isinstance(value, dict):
        return [word for name, column in value.items() for word in (option, f"{name}={column}")]
    found = []
    for one in value if isinstance(value, tuple) else (value,):
        if isinstance(one, str) and is_url(one):
            shown = "URL"
        else:
            shown = one.name if isinstance(one, Path) else Path(one).name if option == "--images" else str(one)
        found += [option, shown]
    return found


def _report(summary: BuildSummary, as_json: bool) -> None:
    """Tell what was done, in numbers."""
    info = summary.info
    if as_json:
        content = {
            "event": "summary",
            "output": str(summary.output),
            "rows": info.rows,
            "splits": dict(info.splits),
            "counts": dict(info.counts),
            "failed": dict(summary.failed),
            "corrected": summary.corrected,
            "key_file": None if summary.made_key is None else str(summary.made_key),
        }
        typer.echo(json.dumps(content))
        return
    images = info.counts["images"]
    left_out = sum(images["excluded"].values())
    splits = " + ".join(f"{number:,} {split}" for split, number in info.splits.items())
    typer.echo(f"{summary.output}: {images['indexed']:,} images = {info.rows:,} rows + {left_out:,} left out", err=True)
    typer.echo(f"{info.rows:,} rows = {splits}", err=True)
    if summary.corrected:
        typer.echo(f"{summary.corrected:,} labels have the value that a person gave", err=True)
    for what, number in summary.failed.items():
        if number:
            typer.echo(f"{number:,} {what} could not be read", err=True)
    typer.echo(f"what is left out, and why: {summary.output / 'excluded.csv'}", err=True)
    typer.echo(f"what is in it: {summary.output / 'card.html'}", err=True)
    if summary.made_key is not None:
        typer.echo(
            f"a key of the pseudonyms was made: {summary.made_key}. Keep it, and keep it from who gets the data set.",
            err=True,
        )
