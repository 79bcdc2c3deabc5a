"""`radlabel link`: reports and an image index in, a folder with the linked table and its accounts out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corpora.linking.outcomes import Outcome, SeveralStudies, Versions
from corpora.linking.settings import DEFAULT_MAX_DAYS_APART, DEFAULT_MEMORY_MIB, MAX_WINDOW_DAYS, MIN_MEMORY_MIB
from nlp_service.cli.errors import EXIT_ROWS_FAILED, exit_on_error, stop_on_sigterm
from nlp_service.cli.label import _column_mapping
from nlp_service.cli.progress import SECONDS_BETWEEN_LINES

if TYPE_CHECKING:
    from corpora.linking import LinkSummary, Stage


def link(
    reports: Annotated[
        list[Path],
        typer.Option(
            metavar="R",
            help="Reports, or the rows that `radlabel label` wrote: files or folders in any format that is read; may "
            "be given again.",
            show_default=False,
        ),
    ],
    images: Annotated[
        Path,
        typer.Option(
            metavar="INDEX",
            help="The image index: Parquet, a row for each image (docs/linking.md).",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="The folder that is made.", show_default=False),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rows of `radlabel label` (Parquet) to join: labels.parquet in DIR has one for each report and image.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help="Format of the reports, as of `radlabel label` (default: by suffix or content).", show_default=False
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=COLUMN",
            help="Column that holds a field of the report, as accession_number=ACC; report_status and report_time too. "
            "May be given again. Usual names are found by themselves.",
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Encoding of text inputs (default: detected per file).", show_default=False)
    ] = None,
    ignore_leading_zeros: Annotated[
        bool, typer.Option("--ignore-leading-zeros", help="Accession numbers may lack zeros at their start.")
    ] = False,
    ignore_patient_leading_zeros: Annotated[
        bool, typer.Option("--ignore-patient-leading-zeros", help="Patient ids may lack zeros at their start.")
    ] = False,
    ignore_study_uids: Annotated[
        bool, typer.Option("--ignore-study-uids", help="Do not look at Study Instance UIDs of reports.")
    ] = False,
    patient_date_window: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MAX_WINDOW_DAYS,
            metavar="DAYS",
            help="Where nothing else links: link by patient and date, so many days apart at most (default: do not).",
            show_default=False,
        ),
    ] = None,
    max_days_apart: Annotated[
        int,
        typer.Option(min=0, metavar="DAYS", help="Refuse accession numbers whose dates are further apart than this."),
    ] = DEFAULT_MAX_DAYS_APART,
    ignore_dates: Annotated[
        bool, typer.Option("--ignore-dates", help="Dates say nothing, as where they were shifted on one side.")
    ] = False,
    require_patient: Annotated[
        bool, typer.Option("--require-patient", help="Only link where the patient is known on both sides.")
    ] = False,
    versions: Annotated[
        Versions,
        typer.Option(help="Of several reports of a study: the latest final one and all addenda, or all of them."),
    ] = Versions.LATEST_FINAL,
    several_studies: Annotated[
        SeveralStudies,
        typer.Option(help="If one patient has several studies under an accession number: report it, or link to all."),
    ] = SeveralStudies.REPORT,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what linking has put into DIR before.")
    ] = False,
    memory: Annotated[
        int, typer.Option(min=MIN_MEMORY_MIB, metavar="MIB", help="Memory of the database; beyond it, disk is used.")
    ] = DEFAULT_MEMORY_MIB,
    as_json: Annotated[
        bool, typer.Option("--json", help="Progress as JSON lines on stderr, the summary as JSON on stdout.")
    ] = False,
) -> None:
    """Link reports to the images they are about.

    By accession number and its issuer, after a stated normalisation; by Study Instance UID where reports have one; by
    patient and date only if asked for. What contradicts itself does not link. Every report and every study gets one
    outcome with a reason, and the counts add up. DIR gets linked.parquet, link_report.json, unlinked_reports.csv,
    unlinked_studies.csv and unlinked_images.csv; it holds identifiers and stays on this machine.

    Exit codes: 0 all rows were read (linked or not), 1 some could not be read and are listed, 2 nothing was done.

    For example:

        radlabel link --reports reports.csv --images index.parquet -o linked
        radlabel link --reports ris.csv --images index.parquet -o linked --column accession_number=ACC
        radlabel link --reports ris.csv --images index.parquet --labels labels.parquet -o linked --require-patient
    """
    columns = _column_mapping(column or [])
    with exit_on_error(), stop_on_sigterm():
        from corpora.linking import LinkSettings, link_files

        settings = LinkSettings(
            ignore_leading_zeros=ignore_leading_zeros,
            ignore_patient_leading_zeros=ignore_patient_leading_zeros,
            use_study_instance_uid=not ignore_study_uids,
            patient_date_window_days=patient_date_window,
            max_days_apart=None if ignore_dates else max_days_apart,
            require_patient=require_patient,
            versions=versions,
            several_studies=several_studies,
        )
        with _shown(as_json) as show:
            summary = link_files(
                reports,
                images,
                output,
                labels=labels,
                settings=settings,
                format=format,
                columns=columns,
                encoding=encoding,
                overwrite=overwrite,
                memory_mib=memory,
                on_progress=show,
            )
    _report(summary, as_json)
    if summary.of("reports", Outcome.INVALID):
        raise typer.Exit(EXIT_ROWS_FAILED)


@contextmanager
def _shown(as_json: bool) -> Iterator[Callable[[Stage, int], None]]:
    """Give a function that shows the stage on standard error: JSON lines, a spinner on a terminal, or nothing."""
    if as_json:
        yield _line_writer()
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage, count: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:,} reports"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task("")
        yield lambda stage, count: bar.update(task, description=stage.value, completed=count)


def _line_writer() -> Callable[[Stage, int], None]:
    shown: tuple[Stage | None, float] = (None, 0.0)

    def write(stage: Stage, count: int) -> None:
        nonlocal shown
        now = time.monotonic()
        if stage is not shown[0] or now - shown[1] >= SECONDS_BETWEEN_LINES:
            shown = (stage, now)
            typer.echo(json.dumps({"event": "progress", "stage": stage.value, "reports": count}), err=True)

    return write


def _report(summary: LinkSummary, as_json: bool) -> None:
    """Tell what was done: in words on standard error, or as JSON on stdout. Numbers only, no identifier."""
    if as_json:
        typer.echo(json.dumps({"event": "summary", "output": str(summary.output), **summary.as_json()}))
        return
    for kind, noun, total in (
        ("reports", "report rows", summary.report_rows),
        ("studies", "studies", summary.totals["studies"]),
        ("images", "images", summary.totals["distinct_images"]),
    ):
        counts = [(outcome.value, summary.of(kind, outcome)) for outcome in Outcome]
        parts = " + ".join(f"{number:,} {word}" for word, number in counts if number)
        typer.echo(f"{summary.output}: {total:,} {noun} = {parts or '0'}", err=True)
    typer.echo(f"what did not link, and why: {summary.output / 'link_report.json'}", err=True)
