"""A sentence cut into folded words with their character offsets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from corpora.vocabulary.folding import fold_word

# What de-identification leaves behind: Open-i's XXXX, MIMIC's ___, bracketed stars.
DEIDENTIFIED = "xxxx"
_TOKEN = re.compile(
    r"(?P<gone>[Xx]{3,}|_{2,}|\[\*\*.*?\*\*\])"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)?)"  # noqa: RUF001 (typographic apostrophes occur in reports)
    r"|(?P<number>\d+(?:[.,]\d+)*)"
    r"|(?P<mark>[^\w\s])"
)
_JOINING = re.compile(r"(?<=\w)[-‐‑](?=\w)")  # noqa: RUF001


@dataclass(frozen=True, slots=True)
class Words:
    """The folded words of a text; ``starts[i]:ends[i]`` is where word ``i`` stands in it."""

    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    text: str

    def __len__(self) -> int:
        return len(self.words)


@lru_cache(maxsize=65536)
def _fold(word: str) -> str:
    # "can't" and "isn't" keep their negation; "patient's" loses its ending.
    bare = word.replace("’", "'")  # noqa: RUF001
    if "'" in bare:
        stem, _, ending = bare.partition("'")
        bare = stem + ending if ending.lower() == "t" else stem
    return fold_word(bare)


def split_words(text: str, correct: Callable[[str], str] | None = None) -> Words:
    """Cut a text into folded words, numbers and marks. Hyphens inside words separate and vanish.

    ``correct`` may replace a folded word that no pattern knows by one it probably stands for (a typing error).

    >>> split_words("X-ray: no air-space opacities.").words
    ('x', 'ray', ':', 'no', 'air', 'space', 'opacity', '.')
    """
    words: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    hyphens = {m.start() for m in _JOINING.finditer(text)} if "-" in text or "‐" in text else ()  # noqa: RUF001
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        start, end = match.span()
        if kind == "word":
            word = _fold(match.group())
            if correct is not None:
                word = correct(word)
        elif kind == "gone":
            word = DEIDENTIFIED
        else:
            if start in hyphens:
                continue
            word = match.group()
        words.append(word)
        starts.append(start)
        ends.append(end)
    return Words(tuple(words), tuple(starts), tuple(ends), text)


def fold_words(phrase: str) -> tuple[str, ...]:
    """Return a phrase of the vocabulary or of the cues as the words that `split_words` would make of it."""
    return split_words(phrase).words
