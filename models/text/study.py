"""From findings to the labels of a study: two read-outs of one reading.

The literal read-out gives four values as the text says. The coded read-out predicts what human coders assign: in the
training reports of Open-i they coded bare alternatives ("atelectasis or scarring") 96 of 107 times and modal hedges
("may represent") 18 of 138, so the first count as present and the second do not (docs/label-semantics.md, "Two read-
outs").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from corpora.findings import Assertion, Finding, Hedge, StudyLabel
from corpora.reports import SectionKind
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import FindingKind, LabelEntry, LabelRule, LabelSet, Readout
from models.text.encoder.readout import ReadOut, StudyReadout
from models.text.report_reader import ReadFinding, Reading

_RANK = {Assertion.POSITIVE: 2, Assertion.UNCERTAIN: 1, Assertion.NEGATIVE: 0}


class StudyReader:
    """Turns readings into labels for fixed label sets; what each label covers is worked out once.

    ``learned`` is a learned reader's own read-out: it gives the labels it was trained on where the set's read-out is
    coded, and everything else comes from the findings.
    """

    def __init__(
        self, vocabulary: Vocabulary, label_sets: Sequence[LabelSet], learned: StudyReadout | None = None
    ) -> None:
        self._vocabulary = vocabulary
        self._learned = learned
        self._label_sets = tuple(label_sets)
        self._covered = {
            (label_set.id, label.name): _covered_concepts(vocabulary, label)
            for label_set in label_sets
            for label in label_set.labels
        }

    def labels(self, reading: Reading) -> dict[str, dict[str, StudyLabel]]:
        """Return value and evidence of every label, by label set and label."""
        said = self._learned.read(reading.scores) if self._learned else {}
        return {label_set.id: self._labels(label_set, reading, said) for label_set in self._label_sets}

    def _labels(
        self, label_set: LabelSet, reading: Reading, said: Mapping[tuple[str, str], ReadOut]
    ) -> dict[str, StudyLabel]:
        read_out = _literal if label_set.readout is Readout.LITERAL else _coded
        is_elsewhere = label_set.region == "chest" and not reading.is_chest
        by_concept: dict[str, list[int]] = {}
        for i, item in enumerate(reading.findings):
            if is_elsewhere and not item.in_chest:
                continue
            by_concept.setdefault(item.finding.concept_id, []).append(i)
        labels: dict[str, StudyLabel] = {}
        for label in label_set.labels:
            if label.rule is None:
                covered = self._covered[label_set.id, label.name]
                indices = sorted(i for c in by_concept if c in covered for i in by_concept[c])
                labels[label.name] = read_out(reading.findings, indices) if indices else StudyLabel(None)
                learned = said.get((label_set.id, label.name))
                if learned is not None and label_set.readout is Readout.CODED and not is_elsewhere:
                    labels[label.name] = _learned(learned, labels[label.name], reading.findings, indices)
        for label in label_set.labels:
            if label.rule is LabelRule.NO_FINDING:
                labels[label.name] = self._no_finding(label_set, labels, reading)
        return {label.name: labels[label.name] for label in label_set.labels}

    def _no_finding(self, label_set: LabelSet, labels: Mapping[str, StudyLabel], reading: Reading) -> StudyLabel:
        """Return positive if no pathology of the set is there or possible, for a chest study; else null."""
        if not reading.is_chest:
            return StudyLabel(None, basis="rule")
        for label in label_set.labels:
            if label.rule is None and not self._is_device_label(label):
                value = labels[label.name].value
                if value in (Assertion.POSITIVE, Assertion.UNCERTAIN):
                    return StudyLabel(None, basis="rule")
        return StudyLabel(Assertion.POSITIVE, basis="rule")

    def _is_device_label(self, label: LabelEntry) -> bool:
        kinds = {self._vocabulary.findings[concept].kind for concept in label.concepts}
        return FindingKind.PATHOLOGY not in kinds


def _learned(
    learned: ReadOut, by_findings: StudyLabel, findings: Sequence[ReadFinding], indices: Sequence[int]
) -> StudyLabel:
    """Return a learned label with the findings that show it: those that would give it by themselves, else those of the
    label in the most attended sentence, else none.
    """
    probability = {Assertion.POSITIVE.value: learned.probability}
    if not learned.is_given:
        return StudyLabel(None, basis="attention", probability=probability)
    if by_findings.evidence:
        return StudyLabel(Assertion.POSITIVE, "span", by_findings.evidence, probability)
    attended = tuple(
        i
        for i in indices
        if findings[i].finding.sentence == learned.sentence and findings[i].finding.assertion is not Assertion.NEGATIVE
    )
    return StudyLabel(Assertion.POSITIVE, "attention", attended, probability)


def _covered_concepts(vocabulary: Vocabulary, label: LabelEntry) -> frozenset[str]:
    covered: set[str] = set()
    for concept in label.concepts:
        covered |= vocabulary.descendants(concept)
    for concept in label.exclude:
        covered -= vocabulary.descendants(concept)
    return frozenset(covered)


def _literal(findings: Sequence[ReadFinding], indices: Sequence[int]) -> StudyLabel:
    """Return positive over uncertain over negative, the addendum over all, a withdrawing impression over the body."""
    indices = _standing(findings, indices)
    best = max(indices, key=lambda i: _RANK[findings[i].finding.assertion])
    value = findings[best].finding.assertion
    evidence = _evidence(findings, indices, value)
    chances = [p for i in evidence if (p := findings[i].finding.probability) is not None]
    return StudyLabel(value, evidence=evidence, probability={value.value: max(chances)} if chances else None)


def _coded(findings: Sequence[ReadFinding], indices: Sequence[int]) -> StudyLabel:
    """Return positive where coders would code the finding, else null."""
    indices = [i for i in _standing(findings, indices) if _is_coded(findings[i].finding)]
    if not indices:
        return StudyLabel(None)
    return StudyLabel(Assertion.POSITIVE, evidence=tuple(indices))


def _is_coded(finding: Finding) -> bool:
    return finding.assertion is Assertion.POSITIVE or finding.hedge in (
        Hedge.ALTERNATIVE,
        Hedge.PROBABLE,
        Hedge.BORDERLINE,
    )


def _evidence(findings: Sequence[ReadFinding], indices: Iterable[int], value: Assertion) -> tuple[int, ...]:
    return tuple(i for i in indices if findings[i].finding.assertion is value)


def _standing(findings: Sequence[ReadFinding], indices: Sequence[int]) -> list[int]:
    """Return the mentions that still stand: those of an addendum alone if it speaks of the label, else all but the
    mentions of the body that the impression withdraws.
    """
    addenda = [i for i in indices if findings[i].finding.section == SectionKind.ADDENDUM]
    if addenda:
        return addenda
    denials = [
        findings[i].finding
        for i in indices
        if findings[i].finding.section == SectionKind.IMPRESSION
        and findings[i].finding.assertion is Assertion.NEGATIVE
        and not findings[i].is_restricted
    ]
    if not denials:
        return list(indices)
    return [i for i in indices if not any(_withdraws(denial, findings[i].finding) for denial in denials)]


def _withdraws(denial: Finding, finding: Finding) -> bool:
    return (
        finding.section != SectionKind.IMPRESSION
        and finding.assertion is not Assertion.NEGATIVE
        and finding.concept_id == denial.concept_id
        and (denial.laterality is None or denial.laterality in (finding.laterality, "bilateral"))
    )
