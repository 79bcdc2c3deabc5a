"""Phantoms with their reports: what the report says is what is drawn, where it says."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpora.findings import Assertion, Finding
from corpora.grammar import GrammarFinding, SentenceGrammar, SyntheticSentence
from corpora.phantoms.draw import DRAWN, Anatomy, Mask, draw, draw_anatomy, place_finding
from corpora.reports import Report, SectionKind
from corpora.vocabulary import Vocabulary, load_vocabulary
from corpora.weak_labels.region_table import RegionTable, load_regions
from corpora.weak_labels.regions import ChestGeometry, hint_regions
from corpora.weak_labels.shapes import Box, box_of_mask

_SAYING = ("attributes", "sides", "presence")
_TRIES = 4000


@dataclass(frozen=True, slots=True, repr=False)
class PlacedFinding:
    """A finding that was drawn: the patient's side, its mask (height, width) and the box around it."""

    concept_id: str
    side: str | None
    mask: Mask
    box: Box


@dataclass(frozen=True, slots=True, repr=False)
class Phantom:
    """A picture (size, size; 8-bit), what is in it, and the report about it."""

    picture: NDArray[np.uint8]
    report: Report
    findings: tuple[PlacedFinding, ...]
    denied: tuple[str, ...]
    anatomy: Anatomy

    def __repr__(self) -> str:
        return f"Phantom({self.anatomy.size} px, {len(self.findings)} findings)"

    @property
    def lung_mask(self) -> Mask:
        """Return the mask of both lungs."""
        return self.anatomy.right_lung | self.anatomy.left_lung


class PhantomMaker:
    """Makes phantoms. The same seed and number give the same phantom, whatever was made before.

    >>> phantom = PhantomMaker(size=64).make(0, seed=1)
    >>> phantom.picture.shape, phantom.report.report_id
    ((64, 64), 'phantom-1-0')
    """

    def __init__(self, *, size: int = 96, vocabulary: Vocabulary | None = None) -> None:
        self.size = size
        self.vocabulary = vocabulary or load_vocabulary(())
        self._grammar = SentenceGrammar(self.vocabulary)
        self._table: RegionTable = load_regions(self.vocabulary)

    def make(self, number: int, *, seed: int = 0) -> Phantom:
        """Return a phantom: two in five are normal, the others have a sentence or two of findings."""
        words = random.Random(f"phantom {seed} {number}")
        generator = np.random.default_rng([seed, number])
        anatomy = draw_anatomy(self.size, generator)
        geometry = ChestGeometry.of_image(self._table, view="PA", right=anatomy.right_box, left=anatomy.left_box)
        said: list[str] = []
        placed: list[PlacedFinding] = []
        for _ in range(words.choice((0, 0, 1, 1, 2))):
            sentence, found = self._describe(words, generator, anatomy, geometry, {f.concept_id for f in placed})
            said.append(sentence.text)
            placed += found
        present = {finding.concept_id for finding in placed}
        denial = self._deny(words, present)
        denied = tuple(finding.concept_id for finding in denial.findings)
        body = " ".join([*said, denial.text])
        report = Report.from_sections(f"phantom-{seed}-{number}", [(SectionKind.FINDINGS, body)])
        picture = draw(anatomy, [(finding.concept_id, finding.mask) for finding in placed], generator)
        return Phantom(picture, report, tuple(placed), denied, anatomy)

    def _describe(
        self,
        words: random.Random,
        generator: np.random.Generator,
        anatomy: Anatomy,
        geometry: ChestGeometry,
        taken: set[str],
    ) -> tuple[SyntheticSentence, list[PlacedFinding]]:
        """Return a sentence all of whose findings can be drawn where it says, and the findings drawn."""
        for _ in range(_TRIES):
            sentence = self._grammar.generate_about(words.choice(_SAYING), "chest", words)
            if sentence is None or not sentence.findings or sentence.heading:
                continue
            concepts = [finding.concept_id for finding in sentence.findings]
            if not set(concepts) <= DRAWN - taken or len(set(concepts)) < len(concepts):
                continue
            if any(f.assertion is not Assertion.POSITIVE or f.temporality for f in sentence.findings):
                continue
            found = self._place(sentence.findings, generator, anatomy, geometry)
            if found is not None:
                return sentence, found
        raise RuntimeError("the grammar gave no sentence that can be drawn")

    def _place(
        self,
        findings: tuple[GrammarFinding, ...],
        generator: np.random.Generator,
        anatomy: Anatomy,
        geometry: ChestGeometry,
    ) -> list[PlacedFinding] | None:
        placed = []
        for said in findings:
            hints = hint_regions([self._finding(said)], geometry, self._table, self.vocabulary)
            if not hints.hints or hints.without:
                return None
            for hint in hints.hints:
                mask = place_finding(said.concept_id, hint.polygon, anatomy, generator)
                box = None if mask is None else box_of_mask(mask)
                if mask is None or box is None:
                    return None
                placed.append(PlacedFinding(said.concept_id, hint.side, mask, box))
        return placed

    def _finding(self, said: GrammarFinding) -> Finding:
        concept = self.vocabulary.findings[said.concept_id]
        return Finding(
            text="",
            start=0,
            end=0,
            section=SectionKind.FINDINGS,
            sentence=0,
            concept_id=said.concept_id,
            concept_name=concept.name,
            cui=concept.cui,
            assertion=said.assertion,
            laterality=said.laterality,
            location=said.location,
            severity=said.severity,
            anatomy=concept.anatomy,
        )

    def _deny(self, words: random.Random, present: set[str]) -> SyntheticSentence:
        """Return a sentence that denies what was not drawn."""
        for _ in range(_TRIES):
            sentence = self._grammar.generate_about("negation", "chest", words)
            if sentence is None or not sentence.findings or sentence.heading:
                continue
            concepts = {finding.concept_id for finding in sentence.findings}
            if concepts <= DRAWN - present and all(f.assertion is Assertion.NEGATIVE for f in sentence.findings):
                return sentence
        raise RuntimeError("the grammar gave no sentence that denies what is absent")
