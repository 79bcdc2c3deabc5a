"""How well made-up sentences are read: spans, assertions and attributes against what the sentences were made to say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from corpora.grammar import GrammarFinding, SyntheticSentence
from models.text.sentence_reader import Sentence, SentenceFinding, SentenceReading

ReadSentences = Callable[[Sequence[Sentence]], Sequence[SentenceReading]]


@dataclass(frozen=True, slots=True)
class GrammarScores:
    """Scores on made-up sentences.

    A span is right if concept, start and end are. Assertion and attributes are accuracies over the right spans, the
    attributes where either side gives one.
    """

    sentences: int
    spans: int
    span_precision: float | None
    span_recall: float | None
    span_f1: float | None
    assertion_accuracy: float | None
    side: float | None
    place: float | None
    severity: float | None
    change: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def score_grammar(sentences: Sequence[SyntheticSentence], read: ReadSentences) -> GrammarScores:
    """Return how sentences of the grammar are read."""
    readings = read([Sentence(s.text, s.heading) for s in sentences])
    n_given = n_said = n_right = 0
    agreed: list[tuple[GrammarFinding, SentenceFinding]] = []
    for sentence, reading in zip(sentences, readings, strict=True):
        given = {(f.concept_id, f.start, f.end): f for f in sentence.findings}
        said = {(f.concept_id, f.start, f.end): f for f in reading.findings}
        n_given += len(given)
        n_said += len(said)
        both = given.keys() & said.keys()
        n_right += len(both)
        agreed += [(given[key], said[key]) for key in both]
    return GrammarScores(
        sentences=len(sentences),
        spans=n_given,
        span_precision=_share(n_right, n_said),
        span_recall=_share(n_right, n_given),
        span_f1=_share(2 * n_right, n_given + n_said),
        assertion_accuracy=_share(sum(a.assertion is b.assertion for a, b in agreed), len(agreed)),
        side=_agreement([(a.laterality, b.laterality) for a, b in agreed]),
        place=_agreement([(set(a.location), set(b.location)) for a, b in agreed]),
        severity=_agreement([(a.severity, b.severity) for a, b in agreed]),
        change=_agreement([(a.temporality, b.temporality) for a, b in agreed]),
    )


def _agreement(pairs: Sequence[tuple[object, object]]) -> float | None:
    counted = [(a, b) for a, b in pairs if a or b]
    return _share(sum(a == b for a, b in counted), len(counted))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
