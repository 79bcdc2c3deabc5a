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
    r"|(?P<slashed>(?<![^\W_])(?i:w/o|w/|c/w|s/p|h/o|r/o|b/l|f/u|d/c'?d?)(?![^\W_]))"
    r"|(?P<word>[^\W\d_]+(?:['’][^\W\d_]+)?)"
    r"|(?P<number>\d+(?:[.,]\d+)*)"
    r"|(?P<leader>\.{3,}|\s\.(?=\s+[a-z]))"
    r"|(?P<mark>[^\w\s])"
)
# Telegraphic words and what they stand for; those that need their capitals are abbreviations of the vocabulary.
_SHORT = {
    "w/o": "without", "w/": "with", "c/w": "with", "b/l": "bilateral", "f/u": "followup", "d/c": "removed",
    "d/c'd": "removed", "d/cd": "removed", "neg": "negative", "poss": "possible", "prob": "probable",
    "mod": "moderate", "sm": "small", "lg": "large", "bilat": "bilateral", "consol": "consolidation",
    "infilt": "infiltrate", "infil": "infiltrate", "fx": "fracture", "fxs": "fracture", "frx": "fracture",
    "eff": "effusion", "effs": "effusion", "vasc": "vascular", "pulm": "pulmonary", "rt": "right", "lt": "left",
    "unch": "unchanged", "incr": "increased", "decr": "decreased", "susp": "suspected", "clr": "clear",
    "nl": "normal", "abnl": "abnormal", "opac": "opacity", "atx": "atelectasis", "atel": "atelectasis",
    "ptx": "pneumothorax", "pna": "pneumonia", "mediast": "mediastinum", "thx": "thorax", "sig": "significant",
    "min": "minimal", "approx": "approximately",
}  # fmt: skip
_JOINING = re.compile(r"(?<=\w)[-‐‑](?=\w)")


@dataclass(frozen=True, slots=True)
class Words:
    """The folded words of a text; ``starts[i]:ends[i]`` is where word ``i`` stands in it."""

    words: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    text: str

    def __len__(self) -> int:
        return len(self.words)


@lru_cache(maxsize=8192)
def _fold(word: str) -> str:
    if (short := _SHORT.get(word.lower())) is not None:
        return fold_word(short)
    # "can't" and "isn't" keep their negation; "patient's" loses its ending.
    bare = word.replace("’", "'")
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
    hyphens = {m.start() for m in _JOINING.finditer(text)} if "-" in text or "‐" in text else ()
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        start, end = match.span()
        if kind == "word":
            word = _fold(match.group())
            if correct is not None:
                word = correct(word)
        elif kind == "slashed":
            word = _SHORT.get(match.group().lower(), match.group().lower())
        elif kind == "gone":
            word = DEIDENTIFIED
        elif kind == "leader":
            word = ":"  # "Heart ......... enlarged"
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
