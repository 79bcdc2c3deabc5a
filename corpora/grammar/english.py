"""Number, article and capitals of phrases: what turns the vocabulary's lower-case singulars into English."""

from __future__ import annotations

import re
from enum import StrEnum

from corpora.grammar.schema import Words
from corpora.vocabulary.folding import fold_word
from corpora.vocabulary.words import fold_words

_BEFORE_OBJECT = re.compile(
    r" (?:of|in|to|at|on|is|by|from|for|via|with|within|under|below|beneath|along|seen|excluded) "
)
_VOWELS = frozenset("aeiou")
# Letters that are named with a vowel first: "an MRI".
_SPELT_WITH_VOWEL = frozenset("AEFHILMNORSX")
_SAID_AS_WORD = re.compile(r"^(?:PICC|PEG|LAD|CABG|STIR|COPD)")
_EXCEPT_VOWEL = ("uni", "ure", "ute", "uri", "usu", "euro", "one")


class WordClass(StrEnum):
    """How a phrase can be built into a sentence."""

    COUNT = "count"  # "an effusion", "effusions"
    MASS = "mass"  # "edema"
    PLURAL = "plural"  # "staples"
    ADJECTIVE = "adjective"  # "hyperinflated"
    CLAUSE = "clause"  # "study is limited"
    FRAGMENT = "fragment"  # "limited secondary to"


class English:
    """The rules with the exceptions of `Words`."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._mass = frozenset(words.mass)
        self._countable = frozenset(words.countable)
        self._adjectives = frozenset(words.adjectives)
        self._plural = frozenset(words.plural)
        self._fragments = frozenset(words.fragments)
        self._clauses = frozenset(words.clauses)
        self._upper = frozenset(words.upper)
        self._proper = frozenset(words.proper)

    def classify(self, phrase: str) -> WordClass:
        """Return how a phrase of the vocabulary can be used."""
        if phrase in self._fragments:
            return WordClass.FRAGMENT
        if phrase in self._clauses:
            return WordClass.CLAUSE
        if phrase in self._plural:
            return WordClass.PLURAL
        head = self.head(phrase)
        if head in self._adjectives:
            return WordClass.ADJECTIVE
        if head in self._countable:
            return WordClass.COUNT
        if head in self._mass or phrase in self._mass or head.endswith(self._words.mass_endings):
            return WordClass.MASS
        # A word that folds to a shorter one is a plural as it stands.
        return WordClass.PLURAL if fold_word(head) != head and head.endswith("s") else WordClass.COUNT

    def head(self, phrase: str) -> str:
        """Return the noun that a phrase is about: "loss of height" is about a loss."""
        return _BEFORE_OBJECT.split(phrase, maxsplit=1)[0].split()[-1]

    def pluralize(self, phrase: str) -> str:
        """Return the plural of a phrase's head: "fractures of the rib"."""
        match = _BEFORE_OBJECT.search(phrase)
        end = match.start() if match else len(phrase)
        before, _, word = phrase[:end].rpartition(" ")
        return f"{before} {self._plural_word(word)}".strip() + phrase[end:]

    def is_known_plural(self, phrase: str, plural: str) -> bool:
        """Whether a plural folds to its phrase or is listed: "volvuluses" would be a word of our own making."""
        return fold_words(plural) == fold_words(phrase) or self.head(phrase) in self._words.plurals

    def _plural_word(self, word: str) -> str:
        if word in self._words.plurals:
            return self._words.plurals[word]
        if word.endswith(("s", "x", "ch", "sh", "z")):
            return word[:-2] + "es" if word.endswith("sis") else word + "es"
        if word.endswith("y") and word[-2:-1] not in _VOWELS:
            return word[:-1] + "ies"
        return word + "s"

    def spell(self, phrase: str) -> str:
        """Return a phrase with the capitals of names and of abbreviations: "NG tube", "Kerley lines"."""
        return " ".join(self._spell_word(word) for word in phrase.split(" "))

    def _spell_word(self, word: str) -> str:
        bare = word.removesuffix("'s")
        if bare in self._upper:
            return bare.upper() + word[len(bare) :]
        return word[0].upper() + word[1:] if bare in self._proper else word

    @staticmethod
    def article(following: str) -> str:
        """Return "a" or "an" for what follows.

        >>> [English.article(word) for word in ("effusion", "ureteral stone", "NG tube", "8 mm nodule", "PICC")]
        ['an', 'a', 'an', 'an', 'a']
        """
        first = re.match(r"[A-Za-z]+|\d+", following)
        word = first.group() if first else ""
        if word.isdigit():
            return "an" if word.startswith("8") or word in {"11", "18"} else "a"
        if len(word) > 1 and word.isupper():
            return "an" if word[0] in _SPELT_WITH_VOWEL and not _SAID_AS_WORD.match(word) else "a"
        lower = word.lower()
        return "an" if lower[:1] in _VOWELS and not lower.startswith(_EXCEPT_VOWEL) else "a"
