"""Where a thought ends within a sentence: the borders that negation and hedging do not cross."""

from __future__ import annotations

from models.text.lexicon import Layers, Match

HARD_MARKS = frozenset(";")
# Cues that are or hold a predicate: a part that has one can stand alone.
_PREDICATES = frozenset(
    {
        "verb",
        "persists",
        "negation_after",
        "resolved_after",
        "hedge_after.modal",
        "hedge_after.probable",
        "existential",
        "not_normal",
        "normal",
    }
)
_LIST_CLOSERS = frozenset({"existential", "negation_after"})
_OPENERS = frozenset({"negation_before", "pseudo_negation", "hedge_before.modal", "hedge_before.probable"})
_ABBREVIATED = frozenset({"vs", "approx", "dr", "ca"})
CONTRASTS = frozenset(
    "but however although though yet whereas while nevertheless nonetheless otherwise albeit despite still".split()
)


def clause_numbers(layers: Layers) -> list[int]:
    """Return for every word the number of its clause.

    A clause ends at a semicolon, at a contrast ("but", "however", "although"), at "there is", and at a comma or "and"
    after which a part with its own predicate begins ("no pneumothorax, the heart is enlarged"). A list closed by
    "is seen" or "are not identified" is one clause.
    """
    words = layers.words.words
    starts_clause = [False] * (len(words) + 1)
    for i, word in enumerate(words):
        if word in HARD_MARKS or (word == "." and 0 < i < len(words) - 1 and words[i - 1] not in _ABBREVIATED):
            starts_clause[i + 1] = True
    for cue in layers.cues:
        if cue.value != "terminator":
            continue
        if words[cue.start] in CONTRASTS or words[cue.start] in {"except", "other", "apart", "aside", "again"}:
            starts_clause[cue.start] = True
        elif words[cue.start] == "there":
            # "In the left base there is an opacity": what stands before is only the place.
            before = [c for c in layers.cues if c.end <= cue.start and c.value in _PREDICATES | _OPENERS]
            starts_clause[cue.start] = bool(before)
    joints = [i for i, word in enumerate(words) if word in {",", "and", "&", "-", "with"} and 0 < i < len(words) - 1]
    for joint in joints:
        if _opens_clause(layers, joint, starts_clause):
            starts_clause[joint + 1] = True
    numbers, number = [], 0
    for i in range(len(words)):
        number += starts_clause[i]
        numbers.append(number)
    return numbers


def _opens_clause(layers: Layers, joint: int, starts_clause: list[bool]) -> bool:
    words = layers.words.words
    first = joint + 1
    # Inside a cue or a place the comma or "and" joins nothing.
    if any(cue.start < joint < cue.end - 1 for cue in layers.cues if cue.value != "conjunction"):
        return False
    if words[first] in {"or", "nor", "and", ","}:
        return words[first] == "and" and words[joint] == "," and _opens_clause(layers, first, starts_clause)
    if words[joint] == "with":
        return False
    end = next((i for i in range(first, len(words)) if starts_clause[i] or words[i] in {",", "and", ";"}), len(words))
    begin = next((i for i in range(joint, 0, -1) if starts_clause[i]), 0)
    own = _predicates(layers, first, end)
    if not own:
        return False
    before = _predicates(layers, begin, joint)
    opened = any(cue.value in _OPENERS and begin <= cue.start and cue.end <= joint for cue in layers.cues)
    if before:
        return True
    if opened:
        # "no consolidation, effusion or pneumothorax is seen": the predicate closes the list of what is denied.
        return not all(cue.value in _LIST_CLOSERS for cue in own)
    return False


def _predicates(layers: Layers, start: int, end: int) -> list[Match]:
    return [cue for cue in layers.cues if cue.value in _PREDICATES and start <= cue.start and cue.end <= end]
