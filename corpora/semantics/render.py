"""The semantics table as Markdown, for people to read and correct."""

from __future__ import annotations

import re
from collections.abc import Iterable

from corpora.findings import Status
from corpora.semantics import CATEGORIES, LABELS, ExpectedFinding, SemanticCase

_MARKUP = re.compile(r"([\\`*_\[\]|~])")


def render_cases(cases: Iterable[SemanticCase]) -> str:
    r"""Return one section with one table for each category that has cases, in the order of `CATEGORIES`.

    Texts come out as they are: characters that Markdown or HTML would take for markup are escaped, line breaks become
    ``<br>``. No cases give an empty string.

    >>> from corpora.semantics import load_cases
    >>> print(render_cases(load_cases()[:1]))
    ## Simple
    <BLANKLINE>
    One plain statement. 1 case.
    <BLANKLINE>
    | case | text | reading | why |
    | --- | --- | --- | --- |
    | simple\_001 | Small left pleural effusion. | Pleural Effusion: positive<br>pleural effusion: left, small |  |
    <BLANKLINE>
    """
    by_category: dict[str, list[SemanticCase]] = {category: [] for category in CATEGORIES}
    for case in cases:
        by_category[case.category].append(case)
    return "\n".join(_section(category, group) for category, group in by_category.items() if group)


def _section(category: str, cases: list[SemanticCase]) -> str:
    count = f"{len(cases)} case" + ("s" if len(cases) != 1 else "")
    lines = [
        f"## {category.replace('_', ' ').capitalize()}",
        "",
        f"{CATEGORIES[category]} {count}.",
        "",
        "| case | text | reading | why |",
        "| --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(_row(case) for case in cases)]) + "\n"


def _row(case: SemanticCase) -> str:
    return f"| {_escape(case.id)} | {_text(case)} | {_reading(case)} | {_escape(case.why or '')} |"


def _text(case: SemanticCase) -> str:
    if not case.text:
        return "(empty)"
    if not case.text.strip():
        return "(white space only)"
    known = [value for value in (case.modality, case.body_part) if value]
    study = f"(study: {_escape(' '.join(known))}) " if known else ""
    return study + _escape(case.text)


def _reading(case: SemanticCase) -> str:
    values = {str(label): value for label, value in case.labels.items()}
    lines = [f"{label}: {values[label].value}" for label in LABELS if label in values] or ["all null"]
    if case.status is not Status.OK:
        lines.insert(0, f"status {case.status.value.replace('_', ' ')}")
    lines += [f"{concept.replace('_', ' ')}: {value.value}" for concept, value in case.concepts.items()]
    lines += [_finding(finding) for finding in case.findings]
    return "<br>".join(_escape(line) for line in lines)


def _finding(finding: ExpectedFinding) -> str:
    attributes = [finding.laterality, *(finding.location or ()), finding.severity, finding.temporality]
    words = [attribute.replace("_", " ") for attribute in attributes if attribute]
    if finding.size_mm:
        words.append(" x ".join(f"{extent:g}" for extent in finding.size_mm) + " mm")
    return f"{finding.concept.replace('_', ' ')}: {', '.join(words)}"


def _escape(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\1", text).replace("\n", "<br>")
