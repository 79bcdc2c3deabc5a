"""Noise as reports have it, with the findings' offsets carried along: a corrupted sentence says what it said before."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple

from corpora.grammar.load import load_data
from corpora.grammar.sentences import SyntheticSentence

_WORD = re.compile(r"[A-Za-z]+")
_LONG_WORD = re.compile(r"\b[A-Za-z]{5,}\b")
_DROPPED = re.compile(r"\b(?:[Tt]here (?:is|are|was|were|has been|have been) (?:an? |the )?|(?:[Aa]n?|[Tt]he) )(?=\w)")
_ARTICLE = re.compile(r"\b(?:an?|the) (?=[a-z])")
_GAP = "XXXX"


class _Edit(NamedTuple):
    """Characters ``start`` to ``end`` replaced."""

    start: int
    end: int
    text: str


def corrupt(sentence: SyntheticSentence, rng: random.Random) -> SyntheticSentence:
    """Return a sentence with one to three kinds of noise and the same findings; some kinds may find nothing to do."""
    chosen = {name for name, chance in _CHANCES.items() if rng.random() < chance}
    if not chosen:
        chosen = {rng.choice(list(_CHANCES))}
    for name, edits_of in _KINDS.items():  # in this order, whatever was drawn: the case comes last
        if name in chosen:
            sentence = _apply(sentence, edits_of(sentence, rng))
    return sentence


def _apply(sentence: SyntheticSentence, edits: Iterable[_Edit]) -> SyntheticSentence:
    """Return the sentence after edits that do not overlap and cross no border of a span."""
    ordered = sorted(edits)
    if not ordered:
        return sentence
    pieces: list[str] = []
    last = 0
    for edit in ordered:
        pieces += [sentence.text[last : edit.start], edit.text]
        last = edit.end
    pieces.append(sentence.text[last:])

    def shift(position: int, *, is_end: bool) -> int:
        """What is put in at the border of a span is no part of it."""
        before = (e for e in ordered if e.end <= position and not (is_end and e.start == position))
        return position + sum(len(e.text) - (e.end - e.start) for e in before)

    findings = tuple(f.moved(shift(f.start, is_end=False), shift(f.end, is_end=True)) for f in sentence.findings)
    return replace(sentence, text="".join(pieces), findings=findings)


def _british(sentence: SyntheticSentence, _: random.Random) -> list[_Edit]:
    british = load_data().words.british
    edits = []
    for match in _WORD.finditer(sentence.text):
        spelling = british.get(match.group().lower())
        if spelling is not None:
            spelling = spelling.capitalize() if match.group()[0].isupper() else spelling
            edits.append(_Edit(match.start(), match.end(), spelling))
    return edits


def _telegraphic(sentence: SyntheticSentence, _: random.Random) -> list[_Edit]:
    """Drop articles and "there is", but nothing that a span begins with or consists of."""
    edges = {f.start for f in sentence.findings}
    return [
        _Edit(match.start(), match.end(), "")
        for match in _DROPPED.finditer(sentence.text)
        if not any(match.start() <= edge < match.end() for edge in edges) and match.end() < len(sentence.text)
    ]


def _typos(sentence: SyntheticSentence, rng: random.Random) -> list[_Edit]:
    """Swap, drop or double a letter in one or two longer words."""
    words = list(_LONG_WORD.finditer(sentence.text))
    edits = []
    for match in rng.sample(words, min(len(words), rng.choice((1, 1, 2)))):
        word = match.group()
        i = rng.randrange(1, len(word) - 1)
        kind = rng.randrange(3)
        if kind == 0:
            changed = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        elif kind == 1:
            changed = word[:i] + word[i + 1 :]
        else:
            changed = word[:i] + word[i] + word[i:]
        edits.append(_Edit(match.start(), match.end(), changed))
    return edits


def _gap(sentence: SyntheticSentence, rng: random.Random) -> list[_Edit]:
    """Put a token of de-identification for a harmless word, or behind an article where a word may have stood."""

    def is_free(start: int, end: int) -> bool:
        return all(end <= f.start or f.end <= start for f in sentence.findings)

    harmless = frozenset(load_data().words.harmless)
    edits = [
        _Edit(match.start(), match.end(), _GAP)
        for match in _WORD.finditer(sentence.text)
        if match.group().lower() in harmless and is_free(match.start(), match.end())
    ]
    if not edits:
        edits = [
            _Edit(match.end(), match.end(), f"{_GAP} ")
            for match in _ARTICLE.finditer(sentence.text)
            if is_free(match.start(), match.end())
        ]
    return [rng.choice(edits)] if edits else []


def _spaces(sentence: SyntheticSentence, rng: random.Random) -> list[_Edit]:
    spaces = [m.start() for m in re.finditer(" ", sentence.text)]
    return [_Edit(i, i, " ") for i in sorted(rng.sample(spaces, min(len(spaces), rng.choice((1, 1, 2)))))]


def _no_stop(sentence: SyntheticSentence, _: random.Random) -> list[_Edit]:
    end = len(sentence.text)
    return [_Edit(end - 1, end, "")] if sentence.text.endswith(".") else []


def _upper(sentence: SyntheticSentence, _: random.Random) -> list[_Edit]:
    return _recase(sentence, str.upper)


def _lower(sentence: SyntheticSentence, _: random.Random) -> list[_Edit]:
    return _recase(sentence, str.lower)


def _recase(sentence: SyntheticSentence, change: Callable[[str], str]) -> list[_Edit]:
    return [_Edit(m.start(), m.end(), change(m.group())) for m in _WORD.finditer(sentence.text)]


_KINDS: dict[str, Callable[[SyntheticSentence, random.Random], list[_Edit]]] = {
    "british": _british,
    "telegraphic": _telegraphic,
    "gap": _gap,
    "typos": _typos,
    "spaces": _spaces,
    "no_stop": _no_stop,
    "upper": _upper,
    "lower": _lower,
}
# A sentence gets the kinds whose chance comes up, and at least one.
_CHANCES = {
    "british": 0.25,
    "telegraphic": 0.25,
    "gap": 0.15,
    "typos": 0.3,
    "spaces": 0.1,
    "no_stop": 0.2,
    "upper": 0.12,
    "lower": 0.15,
}
