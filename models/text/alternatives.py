"""Bare alternatives: "X or Y", "X versus Y", "X/Y" put each of their members in doubt."""

from __future__ import annotations

from collections.abc import Sequence

from corpora.findings import Assertion, Hedge
from models.text.lexicon import Layers, Match
from models.text.mentions import Mention

# Words for what is seen rather than for what it is: the first of "opacity, atelectasis or pneumonia" is no alternative.
_DESCRIPTIONS = frozenset(
    "opacity density shadow lucency abnormality marking opacification haziness airspace infiltrate".split()
)
_STOPS = frozenset({"verb", "terminator", "negation_before", "existential"})


def hedge_alternatives(layers: Layers, clauses: Sequence[int], mentions: Sequence[Mention]) -> None:
    """Make all members of a list of alternatives uncertain, unless something denies or hedges them already."""
    for connector in layers.cues:
        if connector.value == "alternative":
            for mention in _members(layers, clauses, mentions, connector):
                if mention.assertion is Assertion.POSITIVE and not mention.is_pronoun:
                    mention.assertion, mention.hedge = Assertion.UNCERTAIN, Hedge.ALTERNATIVE


def _members(
    layers: Layers, clauses: Sequence[int], mentions: Sequence[Mention], connector: Match
) -> Sequence[Mention]:
    clause = clauses[connector.start]
    right = next(
        (i for i, m in enumerate(mentions) if m.anchor_start >= connector.end and clauses[m.anchor_start] == clause),
        None,
    )
    if right is None:
        return _against_another_word(layers, clauses, mentions, connector)
    left = right - 1
    if left < 0 or mentions[right].is_denial:
        return ()
    if mentions[left].anchor_end > connector.start or clauses[mentions[left].anchor_start] != clause:
        return ()
    # "nodule in the left base or atelectasis" joins two findings, "in the left or in the right base" two places.
    is_joined = _is_free_of(layers, _STOPS | {"preposition"}, connector.end, mentions[right].start)
    if not is_joined or not _is_free_of(layers, _STOPS, mentions[left].end, connector.start):
        return ()
    while left > 0 and _goes_on(layers, clauses, mentions[left - 1], mentions[left]):
        left -= 1
    return mentions[left : right + 1]


def _goes_on(layers: Layers, clauses: Sequence[int], earlier: Mention, later: Mention) -> bool:
    """Whether the list of alternatives begins further to the left: "A, B or C"."""
    words = layers.words.words
    gap = set(words[earlier.end : later.start])
    return (
        clauses[earlier.anchor_start] == clauses[later.anchor_start]
        and bool({",", "/"} & gap)
        and not {"either", "and", "with", "plus"} & gap
        and not _DESCRIPTIONS & set(words[earlier.start : earlier.end])
        and _is_free_of(layers, _STOPS | {"preposition"}, earlier.end, later.start)
    )


def _against_another_word(
    layers: Layers, clauses: Sequence[int], mentions: Sequence[Mention], connector: Match
) -> Sequence[Mention]:
    """Return the mention of "nodule or vessel": the alternative need not be a finding to put the finding in doubt."""
    words = layers.words.words
    left = next((m for m in mentions if m.end == connector.start), None)
    if left is None or words[connector.start] == "/" or clauses[left.anchor_start] != clauses[connector.start]:
        return ()
    if connector.end >= len(words) or not words[connector.end].isalpha():
        return ()
    attributes = (*layers.laterality, *layers.severity, *layers.temporality, *layers.anatomy)
    return () if any(m.start == connector.end for m in attributes) else (left,)


def _is_free_of(layers: Layers, kinds: frozenset[str], start: int, end: int) -> bool:
    return not any(c.value in kinds and start <= c.start and c.end <= end for c in layers.cues)
