"""How well a reader reads: against human codes, against their qualifiers, and against the semantics table.

The functions take labelled reports and do not care which engine made them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corpora.findings import Assertion, Finding, LabeledReport
from corpora.mesh import labels_from_codes, load_qualifiers, parse_code
from corpora.reports import Report
from corpora.semantics import LABELS, ExpectedFinding, SemanticCase
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import LabelSet
from models.text.metrics import MultilabelReport, score_multilabel

# The published labels have no Hernia (its column is empty by mistake), so the comparison leaves it out.
UNSCORED = {"nih14": frozenset({"Hernia"})}


def positives(labeled: Iterable[LabeledReport], label_set: str) -> dict[str, frozenset[str]]:
    """Return the positive labels of every report by report id; a report that was not read has none."""
    return {
        report.report_id: frozenset(
            name for name, label in report.labels.get(label_set, {}).items() if label.value is Assertion.POSITIVE
        )
        for report in labeled
    }


def evaluate_codes(
    codes: Mapping[str, Sequence[str]],
    labeled: Iterable[LabeledReport],
    label_set: LabelSet,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> MultilabelReport:
    """Return the scores of labelled reports against their human codes, on exactly the reports in ``codes``."""
    names = [
        label.name
        for label in label_set.labels
        if label.mesh and label.name not in UNSCORED.get(label_set.id, frozenset())
    ]
    gold = {report_id: labels_from_codes(of_report, label_set) for report_id, of_report in codes.items()}
    return score_multilabel(gold, positives(labeled, label_set.id), names, n_bootstrap=n_bootstrap, seed=seed)


@dataclass(frozen=True, slots=True)
class AttributeReport:
    """Side and place against the qualifiers of the codes.

    Scored is every pair of a report and a heading whose codes give a side (a place) and of which the reader found a
    positive mention. ``side_accuracy``: the set of sides read equals the set coded (bilateral is both). ``place_*``:
    precision, recall and F1 over the places of all pairs. ``n_coded`` counts the pairs that codes give at all: the rest
    was not found, which is the business of the label scores.
    """

    side_accuracy: float | None
    n_sides: int
    n_sides_coded: int
    place_precision: float | None
    place_recall: float | None
    place_f1: float | None
    n_places: int
    n_places_coded: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def evaluate_attributes(
    codes: Mapping[str, Sequence[str]], labeled: Iterable[LabeledReport], label_set: LabelSet
) -> AttributeReport:
    """Return how well sides and places agree with the qualifiers of the codes
    (``corpora/data/mesh_qualifiers.yaml``).
    """
    mapping = load_qualifiers()
    sides = right_sides = sides_coded = places = places_coded = tp = fp = fn = 0
    for report in labeled:
        if report.report_id not in codes:
            continue
        parsed = [parse_code(code) for code in codes[report.report_id]]
        for label in label_set.labels:
            mine = [code for code in parsed if code.heading in label.mesh]
            gold_sides, gold_places = mapping.sides_of(mine), mapping.places_of(label.name, mine)
            study_label = report.labels.get(label_set.id, {}).get(label.name)
            read = [report.findings[i] for i in study_label.evidence] if study_label and study_label.value else []
            sides_coded += bool(gold_sides)
            places_coded += bool(gold_places)
            if gold_sides and read:
                sides += 1
                right_sides += _sides(read) == gold_sides
            if gold_places and read:
                places += 1
                said = mapping.scored(label.name, _places(read))
                tp, fp, fn = tp + len(gold_places & said), fp + len(said - gold_places), fn + len(gold_places - said)
    return AttributeReport(
        side_accuracy=right_sides / sides if sides else None,
        n_sides=sides,
        n_sides_coded=sides_coded,
        place_precision=tp / (tp + fp) if tp + fp else None,
        place_recall=tp / (tp + fn) if tp + fn else None,
        place_f1=2 * tp / (2 * tp + fp + fn) if tp + fp + fn else None,
        n_places=places,
        n_places_coded=places_coded,
    )


def _sides(findings: Iterable[Finding]) -> frozenset[str]:
    sides: set[str] = set()
    for finding in findings:
        if finding.laterality == "bilateral":
            sides |= {"left", "right"}
        elif finding.laterality:
            sides.add(finding.laterality)
    return frozenset(sides)


def _places(findings: Iterable[Finding]) -> Iterable[str]:
    for finding in findings:
        yield from finding.location
        if finding.anatomy:
            yield finding.anatomy


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


@dataclass(frozen=True, slots=True)
class SemanticsReport:
    """The scores on the semantics table, and the ids of the cases that are not right."""

    categories: tuple[CategoryScore, ...]
    overall: CategoryScore
    wrong: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


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
