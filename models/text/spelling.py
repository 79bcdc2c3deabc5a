"""Typing errors: a word that no phrase knows is read as the known word it almost is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources

from rapidfuzz.distance import DamerauLevenshtein

# Of words of five letters only swapped letters are mended ("haert"). Below six letters too many words differ by one
# letter (mass, mask, mast); from ten on, two slips still leave no doubt.
SHORTEST = 6
LONG = 10


class Speller:
    """Maps unknown words to known ones: same first letter, one edit away (two for long words), and only one candidate.

    An edit is an insertion, deletion, substitution or swap of neighbours (Damerau 1964). Words of ordinary English that
    lie close to a known word ("infusion", "contusion") are listed in ``data/ordinary_words.txt`` and stay as they are.
    """

    def __init__(self, known: Iterable[str]) -> None:
        self._known = frozenset(known)
        listed = resources.files(__package__).joinpath("data/ordinary_words.txt").read_text("utf-8").splitlines()
        self._ordinary = frozenset(line for line in listed if not line.startswith("#"))
        self._by_letter: defaultdict[str, list[str]] = defaultdict(list)
        for word in sorted(self._known):
            if len(word) >= SHORTEST - 1 and word.isalpha():
                self._by_letter[word[0]].append(word)
        # Bounded: free text brings new words without end.
        self.correct = lru_cache(maxsize=8192)(self._correct)

    def _correct(self, word: str) -> str:
        """Return the known word that ``word`` probably is, or ``word`` itself."""
        if len(word) == SHORTEST - 1 and word not in self._known and word not in self._ordinary:
            swapped = [known for known in self._by_letter[word[0]] if len(known) == 5 and sorted(known) == sorted(word)]
            return swapped[0] if len(swapped) == 1 else word
        if len(word) < SHORTEST or word in self._known or word in self._ordinary:
            return word
        limit = 2 if len(word) >= LONG else 1
        best: str | None = None
        best_distance = limit + 1
        for candidate in self._by_letter[word[0]]:
            if abs(len(candidate) - len(word)) > limit:
                continue
            distance = DamerauLevenshtein.distance(word, candidate, score_cutoff=limit)
            if distance < best_distance:
                best, best_distance = candidate, distance
            elif distance == best_distance and distance <= limit:
                best = None  # two candidates as near: leave it
        return best or word
