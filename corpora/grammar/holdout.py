"""What is kept from training: chosen by a hash of the id, so that no result can have a say in it.

A family is held out if its hash is among the smallest of its category, a synonym if it is among the smallest of its
concept. Everybody who has the vocabulary and the families gets the same split, and a new family or synonym moves at
most one neighbour.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from hashlib import blake2b

from corpora.vocabulary.words import fold_words

FAMILY_SHARE = 0.3
# Of the synonyms of concepts with at least `MIN_SYNONYMS`, rounded up: that makes a little more than 15 % of all.
SYNONYM_SHARE = 0.15
MIN_SYNONYMS = 3
_KEY = b"radlabel grammar"


def keyed_hash(name: str) -> bytes:
    """Return the hash that decides about an id or a phrase."""
    return blake2b(name.encode(), key=_KEY, digest_size=8).digest()


def held_out_families(
    families: Mapping[str, Sequence[str]], kinds: Mapping[str, frozenset[Hashable]]
) -> frozenset[str]:
    """Return the ids held out of families by category. Every category keeps one for training and gives one up.

    ``kinds`` says by family what sort of phrases its slots take. A family that alone is left to take a sort stays, or
    its phrases would never be met in training.
    """
    left = Counter(kind for ids in families.values() for name in ids for kind in kinds[name])
    chosen: set[str] = set()
    for ids in families.values():
        count = min(math.ceil(len(ids) * FAMILY_SHARE), len(ids) - 1)
        for name in sorted(ids, key=keyed_hash):
            if count > 0 and all(left[kind] > 1 for kind in kinds[name]):
                chosen.add(name)
                left.subtract(kinds[name])
                count -= 1
    return frozenset(chosen)


def held_out_synonyms(concept_id: str, phrases: Iterable[str]) -> frozenset[tuple[str, ...]]:
    """Return the folded synonyms of a concept that are held out.

    Phrases that differ in number, hyphen or spelling alone are one. The first, the concept's usual name, always stays:
    a reader that never met the word *pneumothorax* measures nothing that anybody wants to know.
    """
    folded = list(dict.fromkeys(fold_words(phrase) for phrase in phrases))
    if len(folded) < MIN_SYNONYMS:
        return frozenset()
    count = min(math.ceil(len(folded) * SYNONYM_SHARE), len(folded) - 2)
    ranked = sorted(folded[1:], key=lambda words: keyed_hash(f"{concept_id}: {' '.join(words)}"))
    return frozenset(ranked[:count])
