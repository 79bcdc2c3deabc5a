"""`radlabel text`: how well the reader of reports reads, and readers of one's own."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from corpora.openi_split import Split
from corpora.vocabulary import load_vocabulary
from nlp_service.cli.corpus import CacheDirOption, resolve_cache_dir
from nlp_service.cli.errors import exit_on_error
from nlp_service.cli.text_measures import (
    SEMANTICS_LABEL_SET,
    Facts,
    Reader,
    Resampling,
    compare_on_openi,
    compare_on_own,
    measure_grammar,
    measure_openi,
    measure_own,
    measure_semantics,
)
from nlp_service.cli.text_train import column_mapping, export, label_columns, train
from nlp_service.readers import DEFAULT_READER, ReaderKind

app = typer.Typer(name="text", help="Measure the reader of reports, and train one of your own.", no_args_is_help=True)


class Corpus(StrEnum):
    """What the reader can be measured on."""

    OPENI = "openi"
    SEMANTICS = "semantics"
    GRAMMAR = "grammar"


@app.callback()
def text() -> None:
    """Measure the reader of reports, and train one of your own."""


@app.command()
def evaluate(
    corpus: Annotated[
        Corpus,
        typer.Option(
            help="openi: the codes that people gave Open-i's reports; semantics: the semantics table; grammar: made-up "
            "sentences of the held-out families and synonyms."
        ),
    ] = Corpus.OPENI,
    reports: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Measure on a CSV of your own instead, with --labels.", show_default=False),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN[=LABEL]",
            help="Column of the CSV that holds a label, and the label's name where it is another; may be given again.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        Split,
        typer.Option(
            help="Of openi: the 771 held-out reports, the 3,080 others with images, a tenth of those, or all 3,955."
        ),
    ] = Split.TEST,
    unseen: Annotated[
        bool, typer.Option("--unseen", help="Of openi: leave out reports whose text occurs in a training report.")
    ] = False,
    label_set: Annotated[
        str | None,
        typer.Option(
            help="Labels to measure: for openi a label set with MeSH headings (nih14, openi, your own; by default "
            "nih14), for semantics chexpert14.",
            show_default=False,
        ),
    ] = None,
    reader_kind: Annotated[
        ReaderKind,
        typer.Option("--reader", "--engine", help="What reads the sentences: the transformer encoder, or the rules."),
    ] = DEFAULT_READER,
    model: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of an encoder of your own.", show_default=False),
    ] = None,
    rules_check: Annotated[
        bool,
        typer.Option(
            "--rules-check/--no-rules-check", help="Let the rules read the sentences that the encoder is not sure of."
        ),
    ] = True,
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Compare two readers on the same reports, by a paired bootstrap: each is `rules`, `shipped` or the "
            "folder of a model.",
            show_default=False,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="Column that holds a field of the report.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the numbers to this JSON file.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers as one JSON object, not as tables.")
    ] = False,
    vocabulary: Annotated[
        list[Path] | None,
        typer.Option(help="YAML file that adds findings or label sets; may be given again.", show_default=False),
    ] = None,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the reports for the 95 % intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    cache_dir: CacheDirOption = None,
) -> None:
    """Compare what is read with what people read: precision, recall, F1, sides and places, with 95 % intervals.

    No text is shown. The held-out reports measure a reader and must not shape it: use `--split train` while working.

    For example:

        radlabel text evaluate
        radlabel text evaluate --compare rules shipped
        radlabel text evaluate --reports test.csv --labels Edema --compare shipped mymodel
    """
    if corpus is Corpus.SEMANTICS and label_set not in (None, SEMANTICS_LABEL_SET):
        raise typer.BadParameter(f"the semantics table gives values of {SEMANTICS_LABEL_SET}", param_hint="--label-set")
    if (reports is None) != (not labels):
        raise typer.BadParameter("a CSV and its columns of labels go together", param_hint="--reports, --labels")
    if model is not None and reader_kind is ReaderKind.RULES:
        raise typer.BadParameter("the rules read without a model", param_hint="--model")
    if compare is not None and reports is None and corpus is not Corpus.OPENI:
        raise typer.BadParameter("readers are compared on openi, or on a CSV", param_hint="--compare")
    files = tuple(vocabulary or ())
    reader = Reader(reader_kind, model, files, rules_check)
    pair = [(name, Reader.named(name, files)) for name in compare] if compare else []
    resampling = Resampling(bootstrap, seed)
    name = label_set or "nih14"
    with exit_on_error():
        measured: Facts
        if reports is not None:
            columns = label_columns(labels or ())
            fields = column_mapping(column or ())
            measured = (
                compare_on_own(pair[0], pair[1], reports, columns, name, fields, resampling)
                if pair
                else measure_own(reader, reports, columns, name, fields, resampling)
            )
        elif corpus is Corpus.SEMANTICS:
            measured = measure_semantics(reader)
        elif corpus is Corpus.GRAMMAR:
            measured = measure_grammar(reader, seed)
        else:
            if not any(label.mesh for label in load_vocabulary(files).label_set(name).labels):
                raise typer.BadParameter(
                    f"{name} has no MeSH headings, so codes say nothing of its labels", param_hint="--label-set"
                )
            folder = resolve_cache_dir(cache_dir)
            measured = (
                compare_on_openi(pair[0], pair[1], folder, split, name, resampling, only_unseen=unseen)
                if pair
                else measure_openi(reader, folder, split, name, resampling, only_unseen=unseen)
            )
        facts, show = measured
        numbers = json.dumps(facts, indent=2) + "\n"
        if output is not None:
            output.write_text(numbers, encoding="utf-8")
    if as_json:
        typer.echo(numbers, nl=False)
    else:
        show(Console(highlight=False))
    if facts.get("statuses", {}).get("error"):
        raise typer.Exit(1)


app.command()(train)
app.command()(export)
