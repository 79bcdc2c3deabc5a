"""`radlabel cache`: readings of frequent sentences, kept in a file for the runs to come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nlp_service.cli.errors import exit_on_error, stop_on_sigterm
from nlp_service.cli.text_train import column_mapping

app = typer.Typer(
    name="cache", help="Keep the readings of frequent sentences in a file, for the runs to come.", no_args_is_help=True
)


@app.callback()
def cache() -> None:
    """Keep the readings of frequent sentences in a file, for the runs to come."""


@app.command()
def build(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="REPORTS",
            help="Files or folders of reports, as `radlabel label` takes them: a few hundred thousand are enough.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The cache file.", show_default=False)],
    min_reports: Annotated[int, typer.Option(min=2, help="Keep sentences that stand in at least so many reports.")] = 3,
    max_sentences: Annotated[
        int, typer.Option(min=1, help="Keep so many at most, the most frequent ones; each takes some 700 bytes.")
    ] = 1_000_000,
    model: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of an encoder of your own.", show_default=False)
    ] = None,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="YAML file that adds findings; may be given again.", show_default=False),
    ] = None,
    format: Annotated[str | None, typer.Option(help="Format of the inputs.", show_default=False)] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="Column that holds a field of the report.", show_default=False),
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of text inputs.", show_default=False)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Read so many reports at most.", show_default=False)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read reports, and keep the readings of the sentences that many of them have.

    `radlabel label --cache FILE` and the setting RADLABEL_CACHE_FILE use it: those sentences are not read again, and
    the labels are the same. The file holds digests of sentences and what was read in them, never a sentence, and
    belongs to one model: another one refuses it.

    For example:

        radlabel cache build archive.csv -o frequent.cache
        radlabel label reports.csv -o labels.csv --cache frequent.cache
    """
    columns = column_mapping(column or ())
    with exit_on_error(), stop_on_sigterm():
        from nlp_service.cache_build import build_cache

        summary = build_cache(
            inputs,
            output,
            model=model,
            vocabulary=vocabulary or (),
            min_reports=min_reports,
            max_sentences=max_sentences,
            format=format,
            columns=columns,
            encoding=encoding,
            limit=limit,
            overwrite=overwrite,
        )
    share = summary.covered / summary.sentences if summary.sentences else 0.0
    if as_json:
        facts = {
            "event": "summary",
            "output": str(summary.path),
            "reports": summary.reports,
            "failed": summary.failed,
            "sentences": summary.sentences,
            "distinct": summary.distinct,
            "kept": summary.kept,
            "covered_share": round(share, 4),
            "bytes": summary.bytes,
        }
        typer.echo(json.dumps(facts))
        return
    typer.echo(
        f"{summary.path}: {summary.kept:,} of {summary.distinct:,} distinct sentences in {summary.reports:,} reports; "
        f"they are {share:.1%} of all sentences ({summary.bytes:,} bytes, {summary.failed:,} records failed)",
        err=True,
    )
