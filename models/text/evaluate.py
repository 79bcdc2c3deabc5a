"""How well a reader reads: against human codes, against their qualifiers, and against the semantics table.

The functions take labelled reports and do not care which engine made them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from corpora.findings import Assertion, Finding, LabeledReport
from corpora.mesh import MeshCode, labels_from_codes, load_qualifiers, parse_code
from corpora.reports import Report
from corpora.semantics import LABELS, ExpectedFinding, SemanticCase
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import LabelEntry, LabelSet
from models.text.metrics import (
    MultilabelReport,
    bootstrap_counts,
    divide,
    interval,
    score_counts,
    score_multilabel,
)

# The published labels have no Hernia (its column is empty by mistake): our own mapping scores it, outside all averages.
UNSCORED = {"nih14": frozenset({"Hernia"})}


def positives(labeled: Iterable[LabeledReport], label_set: str) -> dict[str, frozenset[str]]:
    """Return the positive labels of every report by report id; a report that was not read has none."""
    found: dict[str, frozenset[str]] = {}
    for report in labeled:
        if report.report_id in found:
            raise ValueError("two labelled reports have the same id")
        found[report.report_id] = frozenset(
            name for name, label in report.labels.get(label_set, {}).items() if label.value is Assertion.POSITIVE
        )
    return found


def evaluate_codes(
    codes: Mapping[str, Sequence[str]],
    labeled: Iterable[LabeledReport],
    label_set: LabelSet,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> MultilabelReport:
    """Return the scores of labelled reports against their human codes, on exactly the reports in ``codes``.

    A report without text has no positive label and counts as negative for all. Raises `ValueError` where a report with
    codes was not labelled at all, which is no negative, or the label set has no MeSH headings to measure by.
    """
    named = [label.name for label in label_set.labels if label.mesh]
    if not named:
        raise ValueError(f"the label set {label_set.id} has no MeSH headings, so codes say nothing of its labels")
    predicted = positives(labeled, label_set.id)
    if missing := len(codes.keys() - predicted.keys()):
        raise ValueError(f"{missing} of {len(codes)} reports with codes were not labelled")
    unscored = UNSCORED.get(label_set.id, frozenset())
    return score_multilabel(
        {report_id: labels_from_codes(of_report, label_set) for report_id, of_report in codes.items()},
        predicted,
        [name for name in named if name not in unscored],
        apart=[name for name in named if name in unscored],
        n_bootstrap=n_bootstrap,
        seed=seed,
    )


@dataclass(frozen=True, slots=True)
class HeadingAttributes:
    """The counts of `AttributeReport` for one heading."""

    heading: str
    n_sides_coded: int = 0
    n_sides: int = 0
    n_sides_right: int = 0
    n_places_coded: int = 0
    n_places: int = 0
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0


@dataclass(frozen=True, slots=True)
class AttributeReport:
    """Side and place against the qualifiers of the codes.

    Scored is every pair of a report and a heading whose codes give a side (a place) and of which the reader found a
    positive mention. Codes and mentions are unions over the pair, compared as sets. ``side_accuracy``: the set of sides
    read equals the set coded (bilateral is both), so a reader that gives no side is wrong. ``place_*``: precision,
    recall and F1 over the places of all pairs. ``n_sides_coded`` and ``n_places_coded`` count the pairs that codes give
    at all, ``n_sides`` and ``n_places`` those of them that are scored: the rest was not found, which is the business of
    the label scores. ``low`` and ``high`` bound 95 % of bootstrap samples of the reports.
    """

    side_accuracy: float | None
    side_low: float | None
    side_high: float | None
    n_sides: int
    n_sides_coded: int
    place_precision: float | None
    place_recall: float | None
    place_f1: float | None
    place_f1_low: float | None
    place_f1_high: float | None
    n_places: int
    n_places_coded: int
    headings: tuple[HeadingAttributes, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


_COUNTS = tuple(field.name for field in fields(HeadingAttributes))[1:]


def evaluate_attributes(
    codes: Mapping[str, Sequence[str]],
    labeled: Iterable[LabeledReport],
    label_set: LabelSet,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> AttributeReport:
    """Return how well sides and places agree with the qualifiers of the codes, for the headings of ``label_set``.

    What qualifiers and places of the vocabulary stand for is in ``corpora/data/mesh_qualifiers.yaml``. A mention is one
    that the reader gives as evidence of the heading's label. Labelled reports without codes do not count.
    """
    pairs: dict[str, list[HeadingAttributes]] = {}
    for report in labeled:
        if report.report_id in codes:
            parsed = [parse_code(code) for code in codes[report.report_id]]
            pairs[report.report_id] = [
                _score_pair(label, parsed, report, label_set.id) for label in label_set.labels if label.mesh
            ]
    # What is drawn depends on the order of reports, which must not matter: they are sorted.
    rows = [[[getattr(pair, name) for name in _COUNTS] for pair in pairs[report_id]] for report_id in sorted(pairs)]
    names = [label.name for label in label_set.labels if label.mesh]
    counts = np.array(rows, dtype=np.int64).reshape(len(rows), len(names), len(_COUNTS))
    by_heading = counts.sum(axis=0)
    samples = bootstrap_counts(counts.sum(axis=1)[np.newaxis], n_bootstrap, seed)[:, 0]  # (samples, counts)
    total = dict(zip(_COUNTS, by_heading.sum(axis=0).tolist(), strict=True))
    column = {name: samples[:, i] for i, name in enumerate(_COUNTS)}
    ratios = ["true_positives", "false_positives", "false_negatives"]
    places = score_counts(
        "places",
        np.array([total[name] for name in ratios], dtype=np.int64),
        np.stack([column[name] for name in ratios], axis=1),
    )
    side_low, side_high = interval(divide(column["n_sides_right"], column["n_sides"]))
    return AttributeReport(
        side_accuracy=total["n_sides_right"] / total["n_sides"] if total["n_sides"] else None,
        side_low=side_low,
        side_high=side_high,
        n_sides=total["n_sides"],
        n_sides_coded=total["n_sides_coded"],
        place_precision=places.precision,
        place_recall=places.recall,
        place_f1=places.f1,
        place_f1_low=places.f1_low,
        place_f1_high=places.f1_high,
        n_places=total["n_places"],
        n_places_coded=total["n_places_coded"],
        headings=tuple(
            HeadingAttributes(name, *row) for name, row in zip(names, by_heading.tolist(), strict=True) if any(row)
        ),
    )


def _score_pair(
    label: LabelEntry, codes: Sequence[MeshCode], report: LabeledReport, label_set: str
) -> HeadingAttributes:
    mapping = load_qualifiers()
    mine = [code for code in codes if code.heading in label.mesh]
    gold_sides, gold_places = mapping.sides_of(mine), mapping.places_of(label.name, mine)
    study_label = report.labels.get(label_set, {}).get(label.name)
    is_read = study_label is not None and study_label.value is Assertion.POSITIVE
    read = [report.findings[i] for i in study_label.evidence] if study_label and is_read else []
    said = mapping.scored(label.name, _places(read))
    has_sides, has_places = bool(gold_sides and read), bool(gold_places and read)
    return HeadingAttributes(
        label.name,
        n_sides_coded=bool(gold_sides),
        n_sides=has_sides,
        n_sides_right=has_sides and _sides(read) == gold_sides,
        n_places_coded=bool(gold_places),
        n_places=has_places,
        true_positives=len(gold_places & said) if has_places else 0,
        false_positives=len(said - gold_places) if has_places else 0,
        false_negatives=len(gold_places - said) if has_places else 0,
    )


def _sides(findings: Iterable[Finding]) -> frozenset[str]:
    sides: set[str] = set()
    for finding in findings:
        if finding.laterality == "bilateral":
            sides |= {"left", "right"}
        elif finding.laterality:
            sides.add(finding.laterality)
    return frozenset(sides)


def _places(findings: Iterable[Finding]) -> list[tuple[str, str | None]]:
    """Return the places that findings name, each with the side of its finding."""
    return [
        (place, finding.laterality)
        for finding in findings
        for place in (*finding.location, *((finding.anatomy,) if finding.anatomy else ()))
    ]


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """The semantics table, one category or all of it.

    A cell is one label of a case (or a concept that the case names) where gold or reading is not null. A case is
    right if all of its cells and its status are. Attributes are those that the case expects of a mention.
    """

    category: str
    cells: int
    right_cells: int
    cases: int
    right_cases: int
    attributes: int
    right_attributes: int

    @property
    def cell_accuracy(self) -> float | None:
        """Return the share of right cells; ``None`` for a category without cells (texts that are no reports)."""
        return self.right_cells / self.cells if self.cells else None

    @property
    def case_accuracy(self) -> float:
        """Return the share of cases with everything right."""
        return self.right_cases / self.cases

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, the shares among them."""
        return asdict(self) | {"cell_accuracy": self.cell_accuracy, "case_accuracy": self.case_accuracy}


@dataclass(frozen=True, slots=True)
class SemanticsReport:
    """The scores on the semantics table, and the ids of the cases that are not right."""

    categories: tuple[CategoryScore, ...]
    overall: CategoryScore
    wrong: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "categories": [category.as_dict() for category in self.categories],
            "overall": self.overall.as_dict(),
            "wrong": list(self.wrong),
        }


def score_semantics(
    cases: Iterable[SemanticCase], label: Callable[[Report], LabeledReport], vocabulary: Vocabulary
) -> SemanticsReport:
    """Return how a reader does on the semantics table; ``label`` must give the label set ``chexpert14``."""
    tallies: defaultdict[str, list[int]] = defaultdict(lambda: [0] * 6)
    wrong: list[str] = []
    for case in cases:
        labeled = label(case.report())
        cells, right = _score_cells(case, labeled)
        is_right = cells == right and labeled.status is case.status
        expected, met = _score_expectations(case.findings, labeled.findings, vocabulary)
        for category in (case.category, "all"):
            for i, n in enumerate((cells, right, 1, is_right, expected, met)):
                tallies[category][i] += int(n)
        if not is_right:
            wrong.append(case.id)
    overall = CategoryScore("all", *tallies.pop("all", [0] * 6))
    return SemanticsReport(tuple(CategoryScore(name, *n) for name, n in tallies.items()), overall, tuple(wrong))


def _score_cells(case: SemanticCase, labeled: LabeledReport) -> tuple[int, int]:
    read = labeled.labels.get("chexpert14", {})
    pairs = [(case.value(name), read[name].value if name in read else None) for name in LABELS]
    pairs += [(value, _concept_value(labeled.findings, concept)) for concept, value in case.concepts.items()]
    counted = [(gold, said) for gold, said in pairs if gold is not None or said is not None]
    return len(counted), sum(gold == said for gold, said in counted)


def _concept_value(findings: Iterable[Finding], concept_id: str) -> Assertion | None:
    said = {finding.assertion for finding in findings if finding.concept_id == concept_id}
    return next((a for a in (Assertion.POSITIVE, Assertion.UNCERTAIN, Assertion.NEGATIVE) if a in said), None)


# The table names places as radiologists do; these are the vocabulary's ids for them.
_PLACE_NAMES = {"base": "lung_base", "apex": "lung_apex", "right_middle_lobe": "middle_lobe"}


def _score_expectations(
    expected: Collection[ExpectedFinding], findings: Sequence[Finding], vocabulary: Vocabulary
) -> tuple[int, int]:
    """Return (attributes expected, attributes met), each expectation by the mention that meets most of it."""
    total = met = 0
    for wanted in expected:
        covered = vocabulary.descendants(wanted.concept) if wanted.concept in vocabulary.findings else frozenset()
        checks = [_checks(wanted, finding) for finding in findings if finding.concept_id in covered]
        n = len(_checks(wanted, None))
        total += n
        met += max((sum(check) for check in checks), default=0)
    return total, met


def _checks(wanted: ExpectedFinding, finding: Finding | None) -> list[bool]:
    checks: list[bool] = []
    for name in ("laterality", "severity", "temporality"):
        value = getattr(wanted, name)
        if value is not None:
            checks.append(finding is not None and getattr(finding, name) == value)
    if wanted.location:
        places = {_PLACE_NAMES.get(place, place) for place in wanted.location}
        checks.append(
            finding is not None and places <= {*finding.location, *((finding.anatomy,) if finding.anatomy else ())}
        )
    if wanted.size_mm:
        checks.append(
            finding is not None
            and finding.measurement is not None
            and finding.measurement.size_mm == tuple(wanted.size_mm)
        )
    return checks
