"""`radlabel demo`: sixty invented reports, labelled and shown, so that a first look needs no data."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from corpora.findings import Assertion, Finding, LabeledReport, Status
from corpora.sources import read_reports
from nlp_service.batch import label_files
from nlp_service.cli.errors import exit_on_error
from nlp_service.labeler import DEFAULT_LABEL_SETS, Labeler

STYLES = {Assertion.POSITIVE: "bold", Assertion.UNCERTAIN: "yellow"}
STATUSES = {
    Status.OK: "labelled",
    Status.NO_TEXT: "without text",
    Status.NOT_APPLICABLE: "no radiology report",
    Status.ERROR: "failed",
}
PLAIN_WIDTH = 140  # columns of the table where there is no terminal to ask


def demo(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write labels.csv and labels.jsonl to this folder.", show_default=False),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell whether everything works: one line, exit code 0 or 1.")
    ] = False,
) -> None:
    """Label sixty invented reports and show what was read in them. They come with radlabel."""
    with exit_on_error(), demo_reports() as reports:
        started = time.perf_counter()
        labeled = list(Labeler().label_many(read_reports(reports)))
        elapsed_s = time.perf_counter() - started
        written = write_results(reports, output) if output else []
    failed = any(report.status is Status.ERROR for report in labeled)
    counted = Counter(STATUSES[report.status] for report in labeled)
    findings = sum(len(report.findings) for report in labeled)
    summary = f"{len(labeled)} reports in {elapsed_s:.1f} s: {findings} findings; " + ", ".join(
        f"{count} {name}" for name, count in counted.items()
    )
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    if not check:
        console.print(results_table(labeled))
    console.print(summary)
    for path in written:
        console.print(f"written: {path}", soft_wrap=True)
    if not check:
        console.print("Reports of your own: radlabel label reports.csv -o labels.csv")
    if failed:
        raise typer.Exit(1)


@contextmanager
def demo_reports() -> Iterator[Path]:
    """Give the path of the packaged reports, as CSV."""
    with as_file(files("nlp_service") / "examples" / "reports.csv") as path:
        yield path


def write_results(reports: Path, folder: Path) -> list[Path]:
    """Label a file of reports as `radlabel label` does, to CSV and to JSON Lines; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    outputs = [folder / "labels.csv", folder / "labels.jsonl"]
    for output in outputs:
        label_files([reports], output, overwrite=True, jobs=1)
    return outputs


def results_table(labeled: list[LabeledReport]) -> Table:
    """Return a row a report: what is there or may be there, as labels and in the words that say so."""
    table = Table(title="What the reports say", title_justify="left", caption_justify="left", expand=True)
    table.add_column("accession", no_wrap=True)
    table.add_column("labels", ratio=2)
    table.add_column("findings in the words of the report", ratio=5)
    for report in labeled:
        if report.status is Status.OK:
            table.add_row(report.accession_number, shown_labels(report), shown_findings(report))
        else:
            table.add_row(report.accession_number, Text(STATUSES[report.status], style="dim"), "")
    table.caption = "? marks what is uncertain; what is denied stands in the files (--output)"
    return table


def shown_labels(report: LabeledReport) -> Text:
    """Return the labels that are positive or uncertain."""
    labels = report.labels[DEFAULT_LABEL_SETS[0]]
    return Text(", ").join(marked(name, label.value) for name, label in labels.items() if label.value in STYLES)


def shown_findings(report: LabeledReport) -> Text:
    """Return the findings that are not denied, in the report's words with what was read of them; each once."""
    asserted = (finding for finding in report.findings if finding.assertion in STYLES)
    distinct = dict.fromkeys((describe_finding(finding), finding.assertion) for finding in asserted)
    return Text("; ").join(marked(text, assertion) for text, assertion in distinct)


def marked(text: str, value: Assertion | None) -> Text:
    """Return a text in the colour of its value, and readable without colours."""
    if value is None:
        return Text(text)
    return Text(f"{text}?" if value is Assertion.UNCERTAIN else text, style=STYLES[value])


def describe_finding(finding: Finding) -> str:
    """Return a finding's words and attributes: ``effusion (left, small, stable)``."""
    words = " ".join(finding.text.split())
    sizes = " x ".join(f"{value:g}" for value in finding.measurement.values) if finding.measurement else ""
    size = f"{sizes} {finding.measurement.unit}" if finding.measurement else None
    details = [
        detail.replace("_", " ")
        for detail in (finding.laterality, *finding.location, finding.severity, size, finding.temporality)
        if detail
    ]
    return f"{words} ({', '.join(details)})" if details else words
