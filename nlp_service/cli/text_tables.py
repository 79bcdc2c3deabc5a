"""The tables of `radlabel text evaluate`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from models.text.evaluate import AttributeReport, CategoryScore, SemanticsReport
from models.text.metrics import Comparison, MultilabelReport, Score


def _table(title: str, first: str, columns: Sequence[str]) -> Table:
    """Return an empty table that fits 80 columns: only the names in the first column may be broken."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(first, overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def label_table(title: str, scores: MultilabelReport) -> Table:
    """Return the scores of every label, and of all together."""
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


def attribute_table(scores: AttributeReport) -> Table:
    """Return the scores of sides and places."""
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


def semantics_table(scores: SemanticsReport) -> Table:
    """Return the scores of every category of the semantics table."""
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


def calibration_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return how good the probabilities are, label by label."""
    table = _table("Calibration", "label", ("positives", "cells", "error", "Brier skill"))
    for row in rows:
        table.add_row(
            row["label"], f"{row['positives']:,}", f"{row['cells']:,}", _share(row["ece"]), _share(row["brier_skill"])
        )
    return table


def comparison_line(first: str, second: str, compared: Comparison) -> str:
    """Return a comparison in a sentence."""
    if compared.difference is None:
        return f"{second} against {first}: nothing to compare"
    return (
        f"{second} against {first}: micro-F1 {compared.difference:+.3f} "
        f"(95 % {_interval(compared.low, compared.high)}), p = {compared.p_value:.4f}"
    )


def grammar_table(facts: Mapping[str, Any]) -> Table:
    """Return how sentences of the grammar are read."""
    table = _table("The grammar's held-out families and synonyms", "measure", ("score",))
    for name in (
        "span_precision",
        "span_recall",
        "span_f1",
        "assertion_accuracy",
        "side",
        "place",
        "severity",
        "change",
    ):
        table.add_row(name.replace("_", " "), _share(facts[name]))
    return table
