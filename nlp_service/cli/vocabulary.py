"""`radlabel vocabulary`: which findings and label sets there are, and whether a file of one's own is valid."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from nlp_service.cli.errors import EXIT_ERROR, exit_on_error

if TYPE_CHECKING:
    from corpora.vocabulary import Vocabulary
    from corpora.vocabulary.schema import FindingEntry, LabelSet

app = typer.Typer(
    name="vocabulary",
    help="Look up findings and label sets, and check files of your own.",
    no_args_is_help=True,
)

FilesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--vocabulary", metavar="FILE", help="YAML file that adds findings or label sets.", show_default=False
    ),
]


@app.command("list")
def list_entries(
    word: Annotated[
        str, typer.Argument(help="Only those with this word in their name or synonyms.", show_default=False)
    ] = "",
    label_sets: Annotated[bool, typer.Option("--label-sets", help="List label sets, not findings.")] = False,
    vocabulary: FilesOption = None,
) -> None:
    """List the findings, or the label sets."""
    with exit_on_error():
        loaded = _load(vocabulary)
    wanted = word.lower()
    if label_sets:
        sets = [entry for entry in loaded.label_sets.values() if wanted in f"{entry.id} {entry.name}".lower()]
        _show_table(("label set", "name", "labels"), [(s.id, s.name, str(len(s.labels))) for s in sets])
        return
    findings = [entry for entry in loaded.findings.values() if any(wanted in text for text in _searched(entry))]
    _show_table(("finding", "name", "kind"), [(f.id, f.name, f.kind.value) for f in findings])


@app.command()
def show(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="A finding or a label set.", show_default=False)],
    vocabulary: FilesOption = None,
) -> None:
    """Show all about a finding or a label set."""
    with exit_on_error():
        loaded = _load(vocabulary)
    if entry_id in loaded.findings:
        rows = _finding_rows(loaded, loaded.findings[entry_id])
    elif entry_id in loaded.label_sets:
        rows = _label_set_rows(loaded.label_sets[entry_id])
    else:
        typer.echo(f"error: {entry_id}: no such finding or label set; see: radlabel vocabulary list", err=True)
        raise typer.Exit(EXIT_ERROR)
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    Console(highlight=False).print(table)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files to add.", show_default=False)],
) -> None:
    """Check files that add findings or label sets; an error names file and entry."""
    with exit_on_error():
        packaged, loaded = _load(None), _load(files)
    findings = [entry_id for entry_id in loaded.findings if entry_id not in packaged.findings]
    label_sets = [entry_id for entry_id in loaded.label_sets if entry_id not in packaged.label_sets]
    typer.echo(f"valid; adds {len(findings)} findings and {len(label_sets)} label sets")
    for entry_id in (*findings, *label_sets):
        typer.echo(f"  {entry_id}")


def _load(files: list[Path] | None) -> Vocabulary:
    from corpora.vocabulary import load_vocabulary

    return load_vocabulary(tuple(files or ()))


def _searched(entry: FindingEntry) -> list[str]:
    texts = [entry.id, entry.name, *entry.synonyms, *entry.abbreviations]
    return [text.lower() for text in texts]


def _finding_rows(vocabulary: Vocabulary, entry: FindingEntry) -> list[tuple[str, str]]:
    in_sets = [
        f"{label_set.id}:{label.name}"
        for label_set in vocabulary.label_sets.values()
        for label in label_set.labels
        if any(entry.id in vocabulary.descendants(concept) for concept in label.concepts)
        and not any(entry.id in vocabulary.descendants(concept) for concept in label.exclude)
    ]
    rows = [
        ("finding", entry.id),
        ("name", entry.name),
        ("kind", entry.kind.value),
        ("definition", entry.definition or ""),
        ("UMLS CUI", entry.cui or ""),
        ("more general", ", ".join(entry.parents)),
        ("more specific", ", ".join(sorted(vocabulary.descendants(entry.id) - {entry.id}))),
        ("lies in", entry.anatomy or ""),
        ("synonyms", ", ".join((*entry.synonyms, *entry.abbreviations))),
        ("denied by", ", ".join(entry.normal)),
        ("labels", ", ".join(in_sets)),
    ]
    return [(name, value) for name, value in rows if value]


def _label_set_rows(label_set: LabelSet) -> list[tuple[str, str]]:
    rows = [("label set", label_set.id), ("name", label_set.name), ("read-out", label_set.readout.value)]
    if label_set.source:
        rows.append(("source", label_set.source))
    for label in label_set.labels:
        value = ", ".join(label.concepts) or (f"rule {label.rule.value}" if label.rule else "")
        rows.append((label.name, value + (f", without {', '.join(label.exclude)}" if label.exclude else "")))
    return rows


def _show_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)
    typer.echo(f"{len(rows)} found", err=True)
