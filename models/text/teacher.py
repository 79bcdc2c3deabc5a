"""The rule teacher: a report in, its findings out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib import resources

from corpora.findings import Assertion, Finding, Status
from corpora.reports import Report, SectionKind
from corpora.vocabulary import Vocabulary
from models.text.kind_of_text import TextKind, judge_text
from models.text.sections import split_sections
from models.text.sentence_reader import CACHE_SIZE, Sentence, SentenceFinding, SentenceReader, SentenceReading
from models.text.sentences import SentenceSpan, split_sentences

# Never evidence (design, "Label semantics"): what was asked, how it was done, what is advised.
_SILENT = frozenset({SectionKind.INDICATION, SectionKind.TECHNIQUE, SectionKind.RECOMMENDATION})
_REFERS_BACK = re.compile(r"\W*(?:it|this|these|they|both|that|those|all|the|neither|none)\b", re.IGNORECASE)
_PRONOUN = re.compile(r"\W*(?:it|they|this|these|both)\b", re.IGNORECASE)
# "The appearance suggests atelectasis", "Adjacent pleural thickening": the place is the one just spoken of.
_SAME_PLACE = re.compile(
    r"\W*(?:it|this|these|they|findings?|the findings?|differential|considerations"
    r"|(?:the |its |their )?(?:\w+ )?appearances?"
    r"|(?:there (?:is|are) )?(?:\w+ )?(?:adjacent|surrounding|associated|superimposed|underlying|accompanying))\b",
    re.IGNORECASE,
)
NAME = "radlabel-rules"
VERSION = "1"


@dataclass(frozen=True, slots=True)
class ReadFinding:
    """A finding with what only the read-out needs: whether it denies in part, is still there, is said to be in the
    chest.
    """

    finding: Finding
    is_restricted: bool = False
    persists: bool = False
    in_chest: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """All that was read in a report: the status of the text, whether it is a chest study, and its findings in order."""

    status: Status
    is_chest: bool
    findings: tuple[ReadFinding, ...] = ()


class RuleTeacher:
    """Reads reports by rules over a vocabulary (`models.text.sentence_reader`).

    One instance serves one thread; readings depend on the report and the vocabulary alone.
    """

    def __init__(self, vocabulary: Vocabulary, *, cache_size: int = CACHE_SIZE) -> None:
        self.vocabulary = vocabulary
        self.sentences = SentenceReader(vocabulary, cache_size=cache_size)

    @property
    def digest(self) -> str:
        """Return the SHA-256-sized digest of all that the readings depend on: the vocabulary, the cues and the
        rules.
        """
        parts = [self.vocabulary.digest, VERSION]
        for resource in sorted(resources.files(__package__).iterdir(), key=lambda r: r.name):
            if resource.name.endswith(".py"):
                parts.append(blake2b(resource.read_bytes()).hexdigest())
        parts += [
            blake2b(r.read_bytes()).hexdigest()
            for r in sorted(resources.files(__package__).joinpath("data").iterdir(), key=lambda r: r.name)
            if r.is_file()
        ]
        return blake2b("\n".join(parts).encode(), digest_size=32).hexdigest()

    def read(self, report: Report) -> Reading:
        """Return what a report says. A report without any text gets ``no_text``, other texts ``not_applicable``."""
        if not any(character.isalnum() for character in report.text):
            return Reading(Status.NO_TEXT, is_chest=False)
        spans: list[SentenceSpan] = []
        for section in split_sections(report):
            spans.extend(split_sentences(report.text, section))
        if report.sections and not any(
            s.section not in _SILENT and s.section is not SectionKind.COMPARISON for s in spans
        ):
            # The source names the parts, and those that could hold a reading are empty.
            return Reading(Status.NO_TEXT, is_chest=False)
        readings: list[SentenceReading] = []
        found: list[ReadFinding] = []
        previous: list[int] = []  # indices into `found` of the last sentence's findings
        spoken_of: tuple[str, ...] = ()  # what the last sentence named without observing it
        subject = ""
        for number, span in enumerate(spans):
            text = report.text[span.start : span.end]
            antecedents: tuple[str, ...] = ()
            heading = span.heading
            if _REFERS_BACK.match(text):  # only then: what a sentence does not need splits the cache
                antecedents = tuple(dict.fromkeys([*(found[i].finding.concept_id for i in previous), *spoken_of]))
                if not heading and not antecedents and _PRONOUN.match(text):
                    heading = subject  # "The heart is not normal; it is enlarged."
            sentence = Sentence(text, heading, antecedents)
            reading = self.sentences.read(sentence)
            place = self._place_of(found, previous) if _SAME_PLACE.match(text) else None
            readings.append(reading)
            if span.section in _SILENT:
                continue
            current: list[int] = []
            for item in reading.findings:
                if span.section is SectionKind.COMPARISON and not (
                    item.persists or item.temporality in {"stable", "persistent", "resolved"}
                ):
                    continue
                if item.is_pronoun:
                    if item.concept_id not in spoken_of:
                        _apply_to_antecedent(found, previous, item)
                    elif item.assertion is not Assertion.POSITIVE:
                        found.append(self._record(report, span, number, item))
                    continue
                if place is not None and item.concept_id in self.sentences.pulmonary:
                    item = _placed(item, place)
                current.append(len(found))
                found.append(self._record(report, span, number, item))
            said = [i for i in current if found[i].finding.assertion is not Assertion.NEGATIVE]
            # "It", "this" speak of what was last said to be there; a sentence without findings does not end that.
            if said or current or reading.spoken_of:
                previous, spoken_of = said, reading.spoken_of
            subject = reading.subject or subject
        kind = judge_text(report, readings, spans)
        if kind is TextKind.OTHER:
            return Reading(Status.NOT_APPLICABLE, is_chest=False)
        if kind is TextKind.OTHER_STUDY:
            organ = next((r.exam_organ for r in readings if r.exam_organ), None)
            found = [self._in_organ(item, organ) for item in found] if organ else found
        return Reading(Status.OK, is_chest=kind is TextKind.CHEST, findings=tuple(found))

    def _in_organ(self, item: ReadFinding, organ: str) -> ReadFinding:
        """Return a finding without a place of its own as one of the organ examined: a mass on a liver MRI is a liver
        lesion.
        """
        finding = item.finding
        concept = self.vocabulary.findings[finding.concept_id]
        if finding.location or finding.anatomy != concept.anatomy or item.in_chest:
            return item
        refined = self.vocabulary.findings[self.sentences.refined(concept.id, [organ])]
        if refined is concept:
            return item
        return replace(
            item,
            finding=replace(
                finding,
                concept_id=refined.id,
                concept_name=refined.name,
                cui=refined.cui,
                anatomy=refined.anatomy or organ,
            ),
        )

    def _place_of(self, found: Sequence[ReadFinding], previous: Sequence[int]) -> Finding | None:
        """Return the last finding of lung or pleura of the sentence before that has a side or a place."""
        for i in reversed(previous):
            finding = found[i].finding
            if finding.concept_id in self.sentences.pulmonary and (finding.laterality or finding.location):
                return finding
        return None

    def _record(self, report: Report, span: SentenceSpan, number: int, item: SentenceFinding) -> ReadFinding:
        concept = self.vocabulary.findings[item.concept_id]
        start, end = span.start + item.start, span.start + item.end
        finding = Finding(
            text=report.text[start:end],
            start=start,
            end=end,
            section=span.section.value,
            sentence=number,
            concept_id=concept.id,
            concept_name=concept.name,
            cui=concept.cui,
            assertion=item.assertion,
            anatomy=item.anatomy,
            laterality=item.laterality,
            location=item.location,
            severity=item.severity,
            temporality=item.temporality,
            measurement=item.measurement,
            hedge=item.hedge,
        )
        return ReadFinding(finding, item.is_restricted, item.persists, item.in_chest)


def _placed(item: SentenceFinding, place: Finding) -> SentenceFinding:
    if item.laterality or item.location:
        return item
    return replace(item, laterality=place.laterality, location=place.location)


def _apply_to_antecedent(found: list[ReadFinding], previous: Sequence[int], item: SentenceFinding) -> None:
    """Let "it has resolved" or "this may be artifact" change what the sentence before said; "it is stable" changes
    nothing.
    """
    if item.assertion is Assertion.POSITIVE:
        return
    for i in previous:
        earlier = found[i]
        if earlier.finding.concept_id == item.concept_id:
            found[i] = replace(
                earlier,
                finding=replace(
                    earlier.finding,
                    assertion=item.assertion,
                    hedge=item.hedge,
                    temporality=item.temporality or earlier.finding.temporality,
                ),
            )
