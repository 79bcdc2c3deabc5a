"""`radlabel dataset check`, `card` and `export`: what is done with a data set that was built."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error, stop_on_sigterm

_SHOWN_FAULTS = 50


class ExportFormat(StrEnum):
    """The forms of `corpora.dataset.export.FORMATS`; a test holds the two against one another."""

    HF = "hf"
    PARQUET = "parquet"
    CHEXPERT = "chexpert"
    XRV = "xrv"
    COCO = "coco"
    MASKS = "masks"
    SEG = "seg"
    DICOM = "dicom"


_Dataset = Annotated[Path, typer.Argument(metavar="DIR", help="A data set.", show_default=False)]
_Key = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Key of its pseudonyms (default: DIR.key, if it is there).", show_default=False),
]
_Json = Annotated[bool, typer.Option("--json", help="Progress as JSON lines on stderr, the summary as JSON on stdout.")]


def check(dataset: _Dataset, key_file: _Key = None, as_json: _Json = False) -> None:
    """Check that a data set is whole, and that its splits do not leak.

    Digests are computed and pictures read again. Nothing may stand in two splits: no patient, report text, picture or
    near-identical picture; no test id of a public list may be outside test, for which a data set with pseudonyms needs
    its key.

    Exit codes: 0 all is well, 1 something is wrong and is listed, 2 the folder is no data set.

    For example:

        radlabel dataset check chest
    """
    with exit_on_error(), stop_on_sigterm():
        from corpora.dataset import open_dataset
        from corpora.dataset.check import check_dataset, in_words
        from nlp_service.datasets import key_of

        folder = open_dataset(dataset)
        with _shown_rows(folder.info.rows, as_json) as show:
            found = check_dataset(folder, pseudonymiser=key_of(folder, key_file), on_row=show)
    if as_json:
        faults = [{"kind": one.kind, "where": one.where, "detail": one.detail} for one in found.faults]
        checked = {"texts": found.is_text_checked, "public_tests": found.is_public_test_checked}
        content = {"event": "summary", "rows": found.rows, "faults": faults, "checked": checked}
        typer.echo(json.dumps(content))
    else:
        for line in list(in_words(found.faults))[:_SHOWN_FAULTS]:
            typer.echo(line)
        more = len(found.faults) - _SHOWN_FAULTS
        if more > 0:
            typer.echo(f"and {more:,} more")
        if not found.is_text_checked:
            typer.echo("report texts were not compared: the data set was built from label rows", err=True)
        if not found.is_public_test_checked:
            typer.echo("public test lists were not compared: that needs --key-file", err=True)
        counts = ", ".join(f"{number:,} {kind}" for kind, number in found.counts().items())
        typer.echo(f"{dataset}: {found.rows:,} rows, {counts or 'nothing is wrong'}", err=True)
    if not found.is_good:
        raise typer.Exit(EXIT_ROWS_FAILED)


def card(
    dataset: _Dataset,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="Another folder for it (default: DIR).", show_default=False),
    ] = None,
) -> None:
    """Write the data card again: card.md, card.html and the plots.

    For example:

        radlabel dataset card chest
        radlabel dataset card chest -o published
    """
    with exit_on_error(), stop_on_sigterm():
        from corpora.dataset import open_dataset
        from corpora.dataset.card import write_card

        target = output or dataset
        write_card(open_dataset(dataset), target)
    typer.echo(str(target / "card.html"))


def export(
    dataset: _Dataset,
    format: Annotated[
        ExportFormat,
        typer.Option(
            help="hf (Hugging Face datasets), parquet, chexpert, xrv (torchxrayvision), coco, masks, seg (DICOM SEG), "
            "dicom (de-identified files).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The folder that is made.", show_default=False)
    ],
    images: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL|INDEX",
            help="The DICOM files that the data set was built from, for seg and dicom.",
            show_default=False,
        ),
    ] = None,
    key_file: _Key = None,
    without_images: Annotated[
        bool,
        typer.Option("--without-images", help="Leave the pictures of chexpert, xrv, coco and masks where they are."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an export in OUT.")] = False,
    as_json: _Json = False,
) -> None:
    """Write a data set in a form that others read.

    OUT appears whole or not at all. DICOM objects (seg, dicom) are made from the files that the data set was built
    from, given with --images, and from the key of its pseudonyms.

    For example:

        radlabel dataset export chest --format hf -o chest-hf
        radlabel dataset export chest --format coco -o chest-coco
        radlabel dataset export chest --format seg --images /data/pacs -o chest-seg
    """
    with exit_on_error(), stop_on_sigterm(), tempfile.TemporaryDirectory(prefix="radlabel-") as work:
        from corpora.dataset import open_dataset
        from corpora.dataset.export import FORMATS, export_dataset
        from corpora.imaging.server import access_from_environment
        from nlp_service.datasets import sources_of

        folder = open_dataset(dataset)
        sources = None
        if images is not None and FORMATS[format.value].needs_sources:
            sources = sources_of(images, folder, key_file, Path(work), access_from_environment())
        with _shown_rows(folder.info.rows, as_json) as show:
            summary = export_dataset(
                folder,
                output.absolute(),
                format.value,
                with_images=not without_images,
                sources=sources,
                overwrite=overwrite,
                on_row=show,
            )
    if as_json:
        content = {"event": "summary", "output": str(output), "format": summary.format, "rows": summary.rows}
        typer.echo(json.dumps({**content, "counts": dict(summary.counts)}))
    else:
        counts = ", ".join(f"{number:,} {what}" for what, number in summary.counts.items())
        typer.echo(f"{output}: {summary.rows:,} rows, {counts}", err=True)
    if any(summary.counts.get(what) for what in ("unreadable", "not de-identifiable", "not segmentable")):
        raise typer.Exit(EXIT_ROWS_FAILED)


@contextmanager
def _shown_rows(total: int, as_json: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many rows are done on standard error."""
    from rich.console import Console

    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield (lambda number: _write_line(number, total)) if as_json else (lambda number: None)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.completed:,} rows"), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda number: bar.update(task, completed=number)


def _write_line(number: int, total: int) -> None:
    if number == total or number % 1024 == 0:
        typer.echo(json.dumps({"event": "progress", "rows": number, "total": total}), err=True)
