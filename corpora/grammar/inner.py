"""What a phrase says by itself: places, sides, degrees and changes in the name of a finding.

"Right middle lobe collapse" has a side and a place before any template adds one. The rules are those by which
attributes are read everywhere: the longest phrase wins within a kind, "small bowel" is not small, a right atrium has no
side of the patient's.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from corpora.grammar.template import phrases_of
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import AttributeValue
from corpora.vocabulary.words import fold_words

_Span = tuple[str, int, int]


class _Phrases:
    """Phrases by their folded words."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._values: dict[tuple[str, ...], str] = {}
        for pattern, value in entries:
            for phrase in phrases_of(pattern):
                self._values.setdefault(fold_words(phrase), value)
        self._longest = max((len(words) for words in self._values), default=0)

    def find(self, words: Sequence[str]) -> list[_Span]:
        """Return value, start and end of the phrases in ``words``, the longest first choice, in order."""
        found = [
            (self._values[tuple(words[i:j])], i, j)
            for i in range(len(words))
            for j in range(i + 1, min(len(words), i + self._longest) + 1)
            if tuple(words[i:j]) in self._values
        ]
        kept: list[_Span] = []
        for value, start, end in sorted(found, key=lambda item: (item[1] - item[2], item[1])):
            if all(end <= s or e <= start for _, s, e in kept):
                kept.append((value, start, end))
        return sorted(kept, key=lambda item: item[1])


@dataclass(frozen=True, slots=True)
class Inner:
    """The attributes that a phrase has in itself."""

    places: tuple[str, ...] = ()
    sides: tuple[str, ...] = ()
    severity: str | None = None
    temporality: str | None = None
    ends_in_pair: bool = False  # the last word is a place of which there are two: "hyperexpanded lung"

    @property
    def is_descriptive(self) -> bool:
        """Return whether the phrase says a side, a degree or a change, which a neighbour could be taken to share."""
        return bool(self.sides or self.severity or self.temporality)


class InnerReader:
    """Reads phrases with the vocabulary's places and attributes.

    ``names`` hold words that look like a degree or a change, ``spelt`` are abbreviations written in capitals in names.
    """

    def __init__(self, vocabulary: Vocabulary, names: Iterable[str], spelt: Container[str]) -> None:
        self._vocabulary = vocabulary
        self._places = _Phrases(
            (phrase, entry.id)
            for entry in vocabulary.anatomy.values()
            for phrase in (*entry.synonyms, *(a.lower() for a in entry.abbreviations if a.lower() in spelt))
        )
        self._sides = _Phrases(_pairs(vocabulary.attributes.laterality))
        self._severity = _Phrases(_pairs(vocabulary.attributes.severity))
        self._temporality = _Phrases(_pairs(vocabulary.attributes.temporality))
        self._names = _Phrases((name, name) for name in names)

    def read(self, phrase: str) -> Inner:
        """Return what a phrase says."""
        words = fold_words(phrase)
        places = self._places.find(words)
        names = self._names.find(words)
        sideless = [span for span in places if self._vocabulary.anatomy[span[0]].is_sideless]
        laterality = _outside(self._sides.find(words), sideless)
        severity = _outside(self._severity.find(words), [*places, *names])
        temporality = _outside(self._temporality.find(words), [*laterality, *names])
        sides = [value for value, _, _ in laterality]
        sides += [side for place, _, _ in places if (side := self._vocabulary.anatomy[place].laterality)]
        return Inner(
            places=tuple(dict.fromkeys(value for value, _, _ in places)),
            sides=tuple(dict.fromkeys(sides)),
            severity=severity[0][0] if severity else None,
            temporality=temporality[0][0] if temporality else None,
            ends_in_pair=any(end == len(words) and self._vocabulary.anatomy[p].is_paired for p, _, end in places),
        )


def _pairs(values: Iterable[AttributeValue]) -> Iterator[tuple[str, str]]:
    return ((phrase, value.id) for value in values for phrase in value.phrases)


def _outside(spans: Iterable[_Span], others: Sequence[_Span]) -> list[_Span]:
    return [span for span in spans if not any(o[1] <= span[1] and span[2] <= o[2] for o in others)]
