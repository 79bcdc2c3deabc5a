"""How much of the held-out text was seen in training: the share of word n-grams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_WORD = re.compile(r"\w+|[^\w\s]")


def ngram_overlap(train_texts: Iterable[str], held_out_texts: Iterable[str], n: int = 4) -> float:
    """Return the share of the distinct word n-grams of the held-out texts that occur in a training text.

    Case is folded, marks count as words. Texts shorter than ``n`` words have no n-gram; without any the share is 0.

    >>> ngram_overlap(["no pleural effusion is seen"], ["no pleural effusion is noted"])
    0.5
    """
    held_out = {gram for text in held_out_texts for gram in _ngrams(text, n)}
    if not held_out:
        return 0.0
    seen = {gram for text in train_texts for gram in _ngrams(text, n)}
    return len(held_out & seen) / len(held_out)


def _ngrams(text: str, n: int) -> Iterator[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return zip(*(words[i:] for i in range(n)), strict=False)
