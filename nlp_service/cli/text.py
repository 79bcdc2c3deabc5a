"""`radlabel text`: how well the reader of reports reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from corpora.fetch import open_corpus
from corpora.openi_split import Split, select_split
from corpora.semantics import load_cases
from corpora.sources import read_reports
from corpora.sources.openi import iter_openi_codes
from corpora.vocabulary import load_vocabulary
from models.text.evaluate import (
    AttributeReport,
    CategoryScore,
    SemanticsReport,
    evaluate_attributes,
    evaluate_codes,
    score_semantics,
)
from models.text.metrics import MultilabelReport, Score
from nlp_service.cli.corpus import CacheDirOption, resolve_cache_dir
from nlp_service.cli.errors import exit_on_error
from nlp_service.labeler import Labeler

SEMANTICS_LABEL_SET = "chexpert14"
ATTRIBUTE_LABEL_SET = "openi"

app = typer.Typer(name="text", help="Measure the reader of reports.", no_args_is_help=True)


class Corpus(StrEnum):
    """What the reader can be measured on."""

    OPENI = "openi"
    SEMANTICS = "semantics"


@app.callback()
def text() -> None:
    """Measure the reader of reports."""


@app.command()
def evaluate(
    corpus: Annotated[
        Corpus, typer.Option(help="openi: the codes that people gave Open-i's reports; semantics: the semantics table.")
    ] = Corpus.OPENI,
    split: Annotated[
        Split,
        typer.Option(
            help="Of openi: the 771 held-out reports, the 3,080 others with images, a tenth of those, or all 3,955."
        ),
    ] = Split.TEST,
    label_set: Annotated[
        str | None,
        typer.Option(
            help="Labels to measure: for openi a label set with MeSH headings (nih14, openi, your own; by default "
            "nih14), for semantics chexpert14.",
            show_default=False,
        ),
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
    """
    if corpus is Corpus.SEMANTICS and label_set not in (None, SEMANTICS_LABEL_SET):
        raise typer.BadParameter(f"the semantics table gives values of {SEMANTICS_LABEL_SET}", param_hint="--label-set")
    files = vocabulary or []
    with exit_on_error():
        if corpus is Corpus.SEMANTICS:
            facts, show = measure_semantics(files)
        else:
            name = label_set or "nih14"
            if not any(label.mesh for label in load_vocabulary(tuple(files)).label_set(name).labels):
                raise typer.BadParameter(
                    f"{name} has no MeSH headings, so codes say nothing of its labels", param_hint="--label-set"
                )
            facts, show = measure_openi(resolve_cache_dir(cache_dir), split, name, files, bootstrap, seed)
        numbers = json.dumps(facts, indent=2) + "\n"
        if output is not None:
            output.write_text(numbers, encoding="utf-8")
    if as_json:
        typer.echo(numbers, nl=False)
    else:
        show(Console(highlight=False))
    if facts.get("statuses", {}).get("error"):
        raise typer.Exit(1)


Show = Callable[[Console], None]


def measure_openi(
    cache_dir: Path,
    split: Split,
    label_set: str,
    vocabulary: Sequence[Path] = (),
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, Any], Show]:
    """Return how the reader agrees with Open-i's codes, as values for JSON, and what prints them as tables.

    Gold comes from the codes by the label set's own headings. Sides and places are measured by the MeSH headings of the
    label set ``openi``, whichever labels are.
    """
    labeler = Labeler(label_sets=(label_set, ATTRIBUTE_LABEL_SET), vocabulary=vocabulary)
    sets = {entry.id: entry for entry in labeler.label_sets}
    path = open_corpus("openi", cache_dir)
    reports = select_split(list(read_reports(path)), split)
    wanted = {report.report_id for report in reports}
    codes = {report_id: of_report for report_id, of_report in iter_openi_codes(path) if report_id in wanted}
    labeled = list(labeler.label_many(reports))
    statuses: dict[str, int] = {}
    for report in labeled:
        statuses[report.status.value] = statuses.get(report.status.value, 0) + 1
    labels = evaluate_codes(codes, labeled, sets[label_set], n_bootstrap=n_bootstrap, seed=seed)
    attributes = evaluate_attributes(codes, labeled, sets[ATTRIBUTE_LABEL_SET], n_bootstrap=n_bootstrap, seed=seed)
    facts = {
        "corpus": "openi",
        "split": split.value,
        "label_set": label_set,
        "model": asdict(labeler.model),
        "statuses": statuses,
        "labels": labels.as_dict(),
        "attributes": attributes.as_dict(),
    }

    def show(console: Console) -> None:
        console.print(_label_table(f"{label_set} on Open-i, split {split.value}: {len(codes):,} reports", labels))
        console.print(_attribute_table(attributes))

    return facts, show


def measure_semantics(vocabulary: Sequence[Path] = ()) -> tuple[dict[str, Any], Show]:
    """Return how the reader does on the semantics table, as values for JSON, and what prints them as a table."""
    labeler = Labeler(label_sets=(SEMANTICS_LABEL_SET,), vocabulary=vocabulary)
    scores = score_semantics(load_cases(), labeler.label, load_vocabulary(tuple(vocabulary)))
    facts = {
        "corpus": "semantics",
        "label_set": SEMANTICS_LABEL_SET,
        "model": asdict(labeler.model),
        "semantics": scores.as_dict(),
    }

    def show(console: Console) -> None:
        console.print(_semantics_table(scores))
        console.print(f"not right: {', '.join(scores.wrong) or 'none'}", soft_wrap=True)

    return facts, show


def _table(title: str, first: str, columns: Sequence[str]) -> Table:
    """Return an empty table that fits 80 columns: only the names in the first column may be broken."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _label_table(title: str, scores: MultilabelReport) -> Table:
    table = _table(title, "label", ("coded", "TP", "FP", "FN", "prec.", "recall", "F1", "95 %"))
    _add_scores(table, scores.labels)
    table.add_section()
    _add_scores(table, [scores.micro])
    table.add_row("macro", *[""] * 6, _share(scores.macro_f1), _interval(scores.macro_f1_low, scores.macro_f1_high))
    if scores.apart:
        table.add_section()
        _add_scores(table, scores.apart)
        table.caption = f"Not in the averages: {', '.join(score.name for score in scores.apart)}"
    return table


def _add_scores(table: Table, scores: Iterable[Score]) -> None:
    for score in scores:
        table.add_row(
            score.name,
            f"{score.support:,}",
            f"{score.true_positives:,}",
            f"{score.false_positives:,}",
            f"{score.false_negatives:,}",
            _share(score.precision),
            _share(score.recall),
            _share(score.f1),
            _interval(score.f1_low, score.f1_high),
        )


def _attribute_table(scores: AttributeReport) -> Table:
    table = _table("Attributes against the qualifiers of the codes", "attribute", ("coded", "found", "score", "95 %"))
    table.add_row(
        "side (accuracy)",
        f"{scores.n_sides_coded:,}",
        f"{scores.n_sides:,}",
        _share(scores.side_accuracy),
        _interval(scores.side_low, scores.side_high),
    )
    table.add_row(
        "place (micro-F1)",
        f"{scores.n_places_coded:,}",
        f"{scores.n_places:,}",
        _share(scores.place_f1),
        _interval(scores.place_f1_low, scores.place_f1_high),
    )
    return table


def _semantics_table(scores: SemanticsReport) -> Table:
    columns = ("cases", "right", "share", "cells", "right", "share", "attributes", "right")
    table = _table("The semantics table", "category", columns)
    for category in scores.categories:
        table.add_row(*_category_row(category))
    table.add_section()
    table.add_row(*_category_row(scores.overall))
    return table


def _category_row(score: CategoryScore) -> list[str]:
    return [
        score.category,
        f"{score.cases:,}",
        f"{score.right_cases:,}",
        _share(score.case_accuracy),
        f"{score.cells:,}",
        f"{score.right_cells:,}",
        _share(score.cell_accuracy),
        f"{score.attributes:,}",
        f"{score.right_attributes:,}",
    ]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f}-{high:.3f}"
