"""Whole reports: sentences of the grammar under their sections, none of which takes back what another says."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corpora.findings import Assertion
from corpora.grammar.sentences import GrammarFinding, PlacedSentence, SyntheticReport, SyntheticSentence
from corpora.reports import Report, SectionKind
from corpora.vocabulary import Vocabulary

if TYPE_CHECKING:
    from corpora.grammar.generate import SentenceGrammar

_REGIONS = ("chest", "chest", "chest", "chest", "abdomen", "head", "limbs")
_TRIES = 12
# What a section is made of: phenomena whose sentences can stand in it.
_INDICATION = ("not_observed",)
_NOT_IN_FINDINGS = frozenset({"not_observed", "telegraphic", "other_regions"})
_IMPRESSION = ("presence", "attributes", "negation_lists", "hedge_modal", "hedge_probable", "temporality")


def compose_report(grammar: SentenceGrammar, rng: random.Random) -> SyntheticReport:
    """Return a report of two to four sections about one part of the body, with its sentences and their offsets."""
    region = rng.choice(_REGIONS)
    said: dict[str, Assertion] = {}
    body = [name for name in grammar.drawn_categories if name not in _NOT_IN_FINDINGS]
    plan: list[tuple[SectionKind, list[SyntheticSentence]]] = []
    if rng.random() < 0.6:
        plan.append((SectionKind.INDICATION, _sentences(grammar, rng, _INDICATION, 1, region, said)))
    plan.append((SectionKind.FINDINGS, _sentences(grammar, rng, body, rng.randint(2, 8), region, said)))
    if rng.random() < 0.8:
        plan.append((SectionKind.IMPRESSION, _sentences(grammar, rng, _IMPRESSION, rng.randint(1, 3), region, said)))
    bodies: list[tuple[SectionKind, str]] = []
    placed: list[tuple[SyntheticSentence, int]] = []
    for kind, sentences in plan:
        text = ""
        for sentence in sentences:
            text += (" " if text else "") + (f"{sentence.heading}: " if sentence.heading else "")
            placed.append((sentence, len(text)))
            text += sentence.text
        bodies.append((kind, text))
    report = Report.from_sections(f"synthetic-{rng.getrandbits(48):012x}", bodies)
    starts = {section.kind: section.start for section in report.sections}
    kinds = [kind for kind, sentences in plan for _ in sentences]
    return SyntheticReport(
        report=report,
        sentences=tuple(
            PlacedSentence(sentence, start=starts[kind] + offset, section=kind)
            for (sentence, offset), kind in zip(placed, kinds, strict=True)
        ),
    )


def _sentences(
    grammar: SentenceGrammar,
    rng: random.Random,
    categories: Iterable[str],
    count: int,
    region: str,
    said: dict[str, Assertion],
) -> list[SyntheticSentence]:
    names = [name for name in categories if name in grammar.drawn_categories]
    sentences: list[SyntheticSentence] = []
    for _ in range(count):
        for _ in range(_TRIES):
            sentence = grammar.generate_about(rng.choice(names), region, rng)
            if sentence is not None and not _contradicts(sentence.findings, said, grammar.vocabulary):
                said.update((finding.concept_id, finding.assertion) for finding in sentence.findings)
                sentences.append(sentence)
                break
    return sentences or [grammar.generate(rng)]


def _contradicts(findings: Iterable[GrammarFinding], said: dict[str, Assertion], vocabulary: Vocabulary) -> bool:
    """Whether a sentence says otherwise of something than the report does so far.

    What is denied is denied with all that is below it; what is there is there with all that is above it.
    """
    for finding in findings:
        concept, assertion = finding.concept_id, finding.assertion
        if said.get(concept, assertion) is not assertion:
            return True
        related = vocabulary.descendants(concept) if assertion is Assertion.NEGATIVE else vocabulary.ancestors(concept)
        is_denied = assertion is Assertion.NEGATIVE
        if any(said[c] is not assertion for c in related if c in said and (is_denied or said[c] is Assertion.NEGATIVE)):
            return True
    return False
