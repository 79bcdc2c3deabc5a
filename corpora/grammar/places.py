"""Where findings can lie, and the words for it: "in the left lower lobe", "bibasilar", "RUL"."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from corpora.grammar.english import English
from corpora.grammar.inner import InnerReader
from corpora.grammar.schema import PlaceWords
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import AnatomyEntry, FindingEntry


@dataclass(frozen=True, slots=True)
class Place:
    """A place with its words. ``side`` is what the name itself says; a ``is_sided`` place can be left or right.

    ``adjectives`` come with the side that they say themselves ("bibasilar").
    """

    id: str
    preposition: str
    nouns: tuple[str, ...]
    plurals: tuple[str, ...]
    adjectives: tuple[tuple[str, str | None], ...]
    abbreviations: tuple[str, ...]
    side: str | None
    is_sided: bool
    is_paired: bool
    is_two: bool  # "both kidneys", but not "both ribs"
    is_organ: bool


class Places:
    """The places of a vocabulary, and which of them suit a concept."""

    def __init__(self, vocabulary: Vocabulary, words: PlaceWords, english: English, inner: InnerReader) -> None:
        self._vocabulary = vocabulary
        self._words = words
        self._sided = frozenset(words.sided)
        self._by_id = {
            entry.id: self._place(entry, english, inner)
            for entry in vocabulary.anatomy.values()
            if entry.id not in words.unused
        }

    def _place(self, entry: AnatomyEntry, english: English, inner: InnerReader) -> Place:
        words = self._words
        phrases = [p for p in entry.synonyms if p not in words.not_said and not set("x([") & {p[-1], p[0]}]
        phrases = [p for p in phrases if "xxxx" not in p]
        adjectives = [p for p in phrases if self._is_adjective(p)]
        nouns = [p for p in phrases if not self._is_adjective(p)]
        if entry.organ:
            nouns = nouns[:1]  # the organ's other names are for statements about the organ ("heart size")
        side = entry.laterality
        return Place(
            id=entry.id,
            preposition="at" if entry.id in words.at else "in",
            nouns=tuple(english.spell(noun) for noun in nouns),
            plurals=tuple(english.spell(english.pluralize(noun)) for noun in nouns),
            adjectives=tuple((a, next(iter(inner.read(a).sides), None)) for a in adjectives),
            abbreviations=entry.abbreviations if not entry.organ else (),
            side=side,
            is_sided=entry.id in self._sided and side is None,
            is_paired=entry.is_paired,
            is_two=entry.is_paired or entry.id in words.twos,
            is_organ=entry.organ,
        )

    def _is_adjective(self, phrase: str) -> bool:
        last = phrase.split()[-1]
        return last.endswith(self._words.adjective_endings) and last not in self._words.nouns

    def suiting(self, concept: FindingEntry, inner_places: tuple[str, ...]) -> tuple[Place, ...]:
        """Return the places that can be said of a concept beyond those in the phrase that names it."""
        anatomy = self._vocabulary.anatomy
        if any(not anatomy[place].organ for place in inner_places):
            return ()  # "hilar mass": where it lies is said
        ids = dict.fromkeys(self._within(concept.anatomy)) if concept.anatomy else {}
        if not inner_places:
            ids.update(dict.fromkeys(concept.refine))
        else:
            organs = set(inner_places)
            ids = {i: None for i in ids if organs & {i, *self._vocabulary.anatomy_ancestors(i)} and i not in organs}
            if concept.anatomy in organs:
                ids.update(dict.fromkeys(self._words.also.get(concept.anatomy, ())))
        return tuple(place for i in ids if (place := self._by_id.get(i)) and (place.nouns or place.abbreviations))

    def _within(self, organ: str) -> Iterator[str]:
        entry = self._vocabulary.anatomy[organ]
        if entry.parents or entry.chest is not True:
            yield organ
        for place in self._by_id:
            if organ in self._vocabulary.anatomy_ancestors(place):
                yield place
        yield from self._words.also.get(organ, ())

    def has_sides(self, concept: FindingEntry) -> bool:
        """Return whether a concept can be left or right: its organ can, or it has none."""
        if concept.id in self._words.unsided:
            return False
        return concept.anatomy is None or concept.anatomy in self._sided
