"""`radlabel images`: an index of the images of a folder, a DICOMweb server or a manifest, and what it holds."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error, stop_on_sigterm
from nlp_service.cli.progress import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from corpora.imaging.dicom_folder import ScanProgress
    from corpora.imaging.index_table import IndexInfo

app = typer.Typer(
    name="images",
    help="Index images of a folder, a DICOMweb server or a manifest.",
    no_args_is_help=True,
)

# What `info` counts. None of these says who a patient is.
_COUNTED = (
    "source",
    "modality",
    "body_part",
    "view",
    "laterality",
    "manufacturer",
    "model_name",
    "photometric_interpretation",
    "bits_stored",
    "transfer_syntax_uid",
    "patient_sex",
    "burned_in_annotation",
    "split",
)
_DISTINCT = ("patient_id", "accession_number", "study_instance_uid", "series_instance_uid", "image_id")


@app.command()
def index(
    source: Annotated[
        str,
        typer.Argument(
            metavar="DIR|URL|MANIFEST",
            help="A folder of DICOM files, the address of a DICOMweb server, or a CSV file of PNG and JPEG files.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="INDEX", help="The Parquet file to write.", show_default=False)
    ],
    boxes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Boxes for a manifest: COCO JSON or CSV.", show_default=False)
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Masks for a manifest: a folder of image_id.png.", show_default=False),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Processes that read headers (default: cores).", show_default=False)
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=32, help="Requests to a server at a time.")] = 4,
    query: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEYWORD=VALUE",
            help="Only studies of a server that match, as ModalitiesInStudy=DX or StudyDate=20200101-20201231. May be "
            "given again.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read every file of a folder again, not only new and changed ones.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a server where a run was cut off.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress as JSON lines on stderr, the summary as JSON on stdout.")
    ] = False,
) -> None:
    """Index the images of a folder, a DICOMweb server or a manifest.

    INDEX gets a row an image. Files that cannot be used are listed in INDEX.unreadable.csv with their reason. Both
    hold identifiers and stay on this machine. For a server, RADLABEL_DICOMWEB_USER and RADLABEL_DICOMWEB_PASSWORD, or
    RADLABEL_DICOMWEB_TOKEN, say who asks.

    Exit codes: 0 all is indexed, 1 some files could not be read and are listed, 2 nothing was done.

    For example:

        radlabel images index /data/pacs -o index.parquet
        radlabel images index https://pacs.example/dicom-web -o index.parquet --query ModalitiesInStudy=DX --resume
        radlabel images index manifest.csv -o index.parquet --boxes boxes.json --masks masks
    """
    from corpora.errors import SourceUnreadable

    is_url = source.lower().startswith(("http://", "https://"))
    path = Path(source)
    if (boxes or masks) and (is_url or path.is_dir()):
        raise typer.BadParameter("boxes and masks belong to a manifest", param_hint="--boxes, --masks")
    if query and not is_url:
        raise typer.BadParameter("only a server can be asked for some studies", param_hint="--query")
    if resume and not is_url:
        raise typer.BadParameter("only a server can be resumed; a folder is refreshed anyway", param_hint="--resume")
    with exit_on_error(), stop_on_sigterm(), _shown(as_json) as show:
        if not is_url and not path.exists():
            raise SourceUnreadable(f"{path.name}: there is no such file or folder")
        if is_url:
            from corpora.imaging.dicomweb import index_dicomweb
            from corpora.imaging.server import access_from_environment

            access = access_from_environment()
            info = index_dicomweb(
                source,
                output,
                access=access,
                resume=resume,
                connections=connections,
                query=_as_mapping(query or []),
                on_progress=show,
            )
        elif path.is_dir():
            from corpora.imaging.dicom_folder import index_folder

            info = index_folder(path, output, processes=processes, refresh=not full, on_progress=show)
        else:
            from corpora.imaging.manifest import index_manifest

            info = index_manifest(path, output, boxes=boxes, masks=masks, on_progress=show)
    if as_json:
        typer.echo(json.dumps({"event": "summary", "output": str(output), **_counts(info)}))
    else:
        typer.echo(f"{output}: {_in_words(info)}", err=True)
        if info.unreadable:
            typer.echo(f"what could not be read is listed in {output}.unreadable.csv", err=True)
    if info.unreadable:
        raise typer.Exit(EXIT_ROWS_FAILED)


@app.command("info")
def show_info(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="An index of images.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Count what an index holds: modalities, views, manufacturers and more, but no identifier."""
    with exit_on_error():
        from corpora.imaging.index_table import iter_tables, read_info

        info = read_info(index)
        counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
        distinct: dict[str, set[str]] = {name: set() for name in _DISTINCT}
        for table in iter_tables(index, [*_COUNTED, *_DISTINCT]):
            for name, counter in counts.items():
                for item in table[name].value_counts().to_pylist():
                    counter["" if item["values"] is None else str(item["values"])] += item["counts"]
            for name, known in distinct.items():
                known.update(value for value in table[name].unique().to_pylist() if value is not None)
    numbers = {name: len(known) for name, known in distinct.items()}
    if as_json:
        ordered = {name: dict(counter.most_common()) for name, counter in counts.items()}
        typer.echo(json.dumps({**_counts(info), "distinct": numbers, "by": ordered}))
        return
    typer.echo(f"{index}: {_in_words(info)}")
    typer.echo("different: " + ", ".join(f"{number:,} {name}" for name, number in numbers.items()))
    for name, counter in counts.items():
        typer.echo(
            f"{name}: " + ", ".join(f"{value or '(none)'} {count:,}" for value, count in counter.most_common(20))
        )


def _as_mapping(query: list[str]) -> dict[str, str]:
    """Return what is asked for by keyword; raise `typer.BadParameter` for what is no keyword of DICOM."""
    from pydicom.datadict import tag_for_keyword

    found = {}
    for pair in query:
        keyword, equals, value = pair.partition("=")
        if not equals or not value or tag_for_keyword(keyword) is None:
            raise typer.BadParameter("use KEYWORD=VALUE with a keyword of DICOM, as StudyDate", param_hint="--query")
        found[keyword] = value
    return found


def _counts(info: IndexInfo) -> dict[str, Any]:
    names = ("seen", "images", "not_images", "unreadable")
    return {name: getattr(info, name) for name in names}


def _in_words(info: IndexInfo) -> str:
    return (
        f"{info.seen:,} seen = {info.images:,} images + {info.not_images:,} not images + {info.unreadable:,} unreadable"
    )


@contextmanager
def _shown(as_json: bool) -> Iterator[Callable[[ScanProgress], None]]:
    """Give a function that shows progress on standard error: JSON lines, a spinner on a terminal, or nothing."""
    if as_json:
        yield _line_writer()
        return
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} files"), TextColumn("{task.fields[bad]:,} unreadable"))
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, bad=0)
        yield lambda progress: bar.update(task, completed=progress.seen, bad=progress.unreadable)


def _line_writer() -> Callable[[ScanProgress], None]:
    shown = 0.0

    def write(progress: ScanProgress) -> None:
        nonlocal shown
        now = time.monotonic()
        if now - shown >= SECONDS_BETWEEN_LINES:
            shown = now
            numbers = {name: getattr(progress, name) for name in ("seen", "images", "unchanged", "unreadable")}
            typer.echo(json.dumps({"event": "progress", **numbers}), err=True)

    return write
