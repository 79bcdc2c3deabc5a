"""What the grammar makes: sentences and reports whose findings are known because they were put there."""

from __future__ import annotations

from dataclasses import dataclass, replace

from corpora.findings import Assertion, Hedge
from corpora.reports import Report, SectionKind


@dataclass(frozen=True, slots=True)
class GrammarFinding:
    """A finding that a sentence was made to say; ``start``/``end`` are half-open offsets into the sentence's text.

    The span covers the phrase that names the concept. Side, place, degree and change around it are not in the span
    but in the attributes, as in `corpora.findings.Finding`; ``location`` holds the places that are no organs.
    """

    concept_id: str
    start: int
    end: int
    assertion: Assertion
    hedge: Hedge | None = None
    laterality: str | None = None
    location: tuple[str, ...] = ()
    severity: str | None = None
    temporality: str | None = None

    def moved(self, start: int, end: int) -> GrammarFinding:
        """Return the same finding with other offsets."""
        return replace(self, start=start, end=end)


@dataclass(frozen=True, slots=True)
class SyntheticSentence:
    """A made sentence with its findings in order of their start.

    ``family`` is the id of the template family it comes from, ``heading`` the sub-heading it is to be read under
    ("Lungs" over "Clear."). ``is_held_out`` says that the family or a synonym in it is kept from training.
    """

    text: str
    findings: tuple[GrammarFinding, ...]
    family: str
    heading: str = ""
    is_held_out: bool = False

    def __repr__(self) -> str:
        # The same habit as for real reports: what prints a sentence by accident prints no text.
        held_out = ", held out" if self.is_held_out else ""
        size = f"{len(self.text)} characters, {len(self.findings)} findings"
        return f"SyntheticSentence({self.family!r}, <{size}{held_out}>)"


@dataclass(frozen=True, slots=True)
class PlacedSentence:
    """A sentence of a report: its text begins at ``start`` of the report's text, in a section of kind ``section``."""

    sentence: SyntheticSentence
    start: int
    section: SectionKind

    @property
    def findings(self) -> tuple[GrammarFinding, ...]:
        """Return the sentence's findings with offsets into the report's text."""
        return tuple(f.moved(f.start + self.start, f.end + self.start) for f in self.sentence.findings)


@dataclass(frozen=True, slots=True)
class SyntheticReport:
    """A made report with the sentences it was put together from, in order."""

    report: Report
    sentences: tuple[PlacedSentence, ...]

    @property
    def findings(self) -> tuple[GrammarFinding, ...]:
        """Return the findings of all sentences with offsets into the report's text."""
        return tuple(finding for placed in self.sentences for finding in placed.findings)
