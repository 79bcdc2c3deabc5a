"""A report in, its findings out, by any reader of sentences: what lies between sentences is decided here.

The work is a generator that asks for readings of sentences and is sent them. So one reader answers at once, and another
gathers the sentences of many reports and reads them together; what is decided is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from corpora.findings import Assertion, Finding, Status
from corpora.reports import Report, SectionKind
from corpora.vocabulary import Vocabulary
from models.text.forms import without_unticked
from models.text.kind_of_text import TextKind, judge_text
from models.text.sections import split_sections
from models.text.sentence_reader import Sentence, SentenceFinding, SentenceReading
from models.text.sentences import SentenceSpan, split_sentences

# Never evidence (design, "Label semantics"): what was asked, how it was done, what is advised.
SILENT = frozenset({SectionKind.INDICATION, SectionKind.TECHNIQUE, SectionKind.RECOMMENDATION})
# The beginnings of the cues "pronoun" (data/cues.yaml).
_REFERS_BACK = re.compile(
    r"\W*(?:(?:it|this|these|they|both|neither|none)\b|(?:the|that|those|all)\s+(?:above|described|aforementioned"
    r"|former|latter|findings?|abnormalit(?:y|ies)|changes?|lesions?|process(?:es)?|areas?)\b)",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\W*(?:it|they|this|these|both)\b", re.IGNORECASE)
# "The appearance suggests atelectasis", "Adjacent pleural thickening": the place is the one just spoken of.
_SAME_PLACE = re.compile(
    r"\W*(?:it|this|these|they|findings?|the findings?|differential|considerations"
    r"|(?:the |its |their )?(?:\w+ )?appearances?"
    r"|(?:there (?:is|are) )?(?:\w+ )?(?:adjacent|surrounding|associated|superimposed|underlying|accompanying))\b",
    re.IGNORECASE,
)


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
class SentenceScores:
    """What a learned reader gives for the study labels in one sentence: ``values`` (labels, 2), its place in the
    report, and the findings in it, as a range of indices.
    """

    start: int
    end: int
    section: str
    sentence: int
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Reading:
    """All that was read in a report: the status of the text, whether it is a chest study, its findings in order, and
    the scores of its sentences if the reader gives any.
    """

    status: Status
    is_chest: bool
    findings: tuple[ReadFinding, ...] = ()
    scores: tuple[SentenceScores, ...] = ()


Steps = Generator[Sequence[Sentence], Sequence[SentenceReading], Reading]


def read_at_once(steps: Steps, read: Callable[[Sentence], SentenceReading]) -> Reading:
    """Return the reading of a report by a reader that answers every sentence at once."""
    try:
        wanted = next(steps)
        while True:
            wanted = steps.send([read(sentence) for sentence in wanted])
    except StopIteration as done:
        reading: Reading = done.value
        return reading


def read_together(
    steps: Sequence[Steps], read_many: Callable[[Sequence[Sentence]], Sequence[SentenceReading]]
) -> list[Reading | Exception]:
    """Return the readings of several reports, their sentences read together in rounds.

    A report that fails gives its exception in its place, and the others go on.
    """
    readings: list[Reading | Exception | None] = [None] * len(steps)
    wanted: dict[int, Sequence[Sentence]] = {}

    def advance(i: int, answer: Sequence[SentenceReading] | None) -> None:
        try:
            wanted[i] = next(steps[i]) if answer is None else steps[i].send(answer)
        except StopIteration as done:
            readings[i] = done.value
        except Exception as error:  # handed to the caller, in the report's place
            readings[i] = error

    for i in range(len(steps)):
        advance(i, None)
    while wanted:
        asked, wanted = wanted, {}
        answers = iter(read_many([sentence for sentences in asked.values() for sentence in sentences]))
        for i, sentences in asked.items():
            advance(i, [next(answers) for _ in sentences])
    return [reading for reading in readings if reading is not None]


class ReportReader:
    """Puts readings of sentences together to readings of reports; what it decides depends on the vocabulary alone."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def steps(self, report: Report) -> Steps:
        """Ask for the sentences of a report and return what it says.

        First all sentences are asked for that stand alone, then, one by one, those that refer back ("it has resolved"):
        what they refer to is known by then. A report without any text gets ``no_text``, other texts
        ``not_applicable``.
        """
        if not any(character.isalnum() for character in report.text):
            return Reading(Status.NO_TEXT, is_chest=False)
        spans: list[SentenceSpan] = []
        for section in split_sections(report):
            spans.extend(split_sentences(report.text, section))
        if report.sections and not any(
            s.section not in SILENT and s.section is not SectionKind.COMPARISON for s in spans
        ):
            # The source names the parts, and those that could hold a reading are empty.
            return Reading(Status.NO_TEXT, is_chest=False)
        ticked = without_unticked(report.text)
        texts = [ticked[span.start : span.end] for span in spans]
        alone = [i for i, text in enumerate(texts) if not _REFERS_BACK.match(text)]
        asked = [Sentence(texts[i], spans[i].heading, (), spans[i].section.value) for i in alone]
        answered = dict(zip(alone, (yield asked), strict=True)) if asked else {}
        readings: list[SentenceReading] = []
        scores: list[SentenceScores] = []
        found: list[ReadFinding] = []
        previous: list[int] = []  # indices into `found` of the last sentence's findings
        spoken_of: tuple[str, ...] = ()  # what the last sentence named without observing it
        subject = ""
        for number, span in enumerate(spans):
            text = texts[number]
            reading = answered.get(number)
            if reading is None:  # it refers back; only then: what a sentence does not need splits the cache
                heading = span.heading
                antecedents = tuple(dict.fromkeys([*(found[i].finding.concept_id for i in previous), *spoken_of]))
                if not heading and not antecedents and _PRONOUN.match(text):
                    heading = subject  # "The heart is not normal; it is enlarged."
                (reading,) = yield [Sentence(text, heading, antecedents, span.section.value)]
            place = self._place_of(found, previous) if _SAME_PLACE.match(text) else None
            readings.append(reading)
            if span.section in SILENT:
                continue
            if reading.scores is not None:
                scores.append(SentenceScores(span.start, span.end, span.section.value, number, reading.scores))
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
                if place is not None and item.concept_id in self.vocabulary.pulmonary:
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
        return Reading(Status.OK, is_chest=kind is TextKind.CHEST, findings=tuple(found), scores=tuple(scores))

    def _in_organ(self, item: ReadFinding, organ: str) -> ReadFinding:
        """Return a finding without a place of its own as one of the organ examined: a mass on a liver MRI is a liver
        lesion.
        """
        finding = item.finding
        concept = self.vocabulary.findings[finding.concept_id]
        if finding.location or finding.anatomy != concept.anatomy or item.in_chest:
            return item
        refined = self.vocabulary.findings[self.vocabulary.refined(concept.id, [organ])]
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
            if finding.concept_id in self.vocabulary.pulmonary and (finding.laterality or finding.location):
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
            probability=item.probability,
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
