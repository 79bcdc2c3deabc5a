"""Degrees and changes in the forms in which sentences have them, with the values they say."""

from __future__ import annotations

import random
from collections.abc import Iterable

from corpora.errors import VocabularyInvalid
from corpora.grammar.schema import AttributeWords
from corpora.vocabulary import Vocabulary

_SIDES = (("left", "left"), ("right", "right"), ("left-sided", "left"), ("right-sided", "right"))
_SIDE_WEIGHTS = (10, 10, 1, 1)


class AttributePhrases:
    """Draws phrases for attributes; ``allowed`` restricts the values ("stable,new", empty for all)."""

    def __init__(self, vocabulary: Vocabulary, words: AttributeWords) -> None:
        severity = {p: value.id for value in vocabulary.attributes.severity for p in value.phrases}
        temporality = {p: value.id for value in vocabulary.attributes.temporality for p in value.phrases}
        self._sizes = _pairs(words.sizes, severity)
        self._degrees = _pairs(words.degrees, severity)
        self._adverbs = _pairs(words.adverbs, severity)
        self._changes = _pairs(words.changes, temporality)
        self._predicates = _pairs(words.predicates, temporality)
        self._restricted: dict[tuple[str, str], list[tuple[str, str]]] = {}

    def severity(self, rng: random.Random, *, is_countable: bool, allowed: str = "") -> tuple[str, str]:
        """Return a phrase before a noun and its value."""
        pairs, name = (self._sizes, "sizes") if is_countable else (self._degrees, "degrees")
        return rng.choice(self._allowed(pairs, name, allowed))

    def adverb(self, rng: random.Random) -> tuple[str, str]:
        """Return a phrase before an adjective ("mildly") and its value."""
        return rng.choice(self._adverbs)

    def change(self, rng: random.Random, allowed: str = "") -> tuple[str, str]:
        """Return a phrase before a noun ("new") and its value."""
        return rng.choice(self._allowed(self._changes, "changes", allowed))

    def predicate(self, rng: random.Random, allowed: str = "") -> tuple[str, str]:
        """Return a phrase behind a verb ("unchanged") and its value."""
        return rng.choice(self._allowed(self._predicates, "predicates", allowed))

    def side(self, rng: random.Random, *, is_many: bool, allowed: str = "") -> tuple[str, str]:
        """Return a side before a noun and its value; both sides only of what there can be two of."""
        if allowed:
            value = rng.choice(allowed.split(","))
            return value, value
        if is_many and rng.random() < 0.3:
            return "bilateral", "bilateral"
        return rng.choices(_SIDES, _SIDE_WEIGHTS)[0]

    def _allowed(self, pairs: list[tuple[str, str]], name: str, allowed: str) -> list[tuple[str, str]]:
        if not allowed:
            return pairs
        key = (name, allowed)
        if key not in self._restricted:
            values = set(allowed.split(","))
            self._restricted[key] = [pair for pair in pairs if pair[1] in values]
        return self._restricted[key]


def _pairs(phrases: Iterable[str], values: dict[str, str]) -> list[tuple[str, str]]:
    unknown = [phrase for phrase in phrases if phrase not in values]
    if unknown:
        raise VocabularyInvalid(f"the grammar's attribute phrases {', '.join(unknown)} are none of the vocabulary")
    return [(phrase, values[phrase]) for phrase in phrases]
