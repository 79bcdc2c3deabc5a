"""Mentions: what the lexicon found in a sentence, put together into candidates for findings."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpora.findings import Assertion, Hedge, Measurement
from models.text.lexicon import Layers, Lexicon, Match

# Words that may stand between the two parts of a combination: none of these opens another thought.
_BLOCKING_MARKS = frozenset(",;.")


@dataclass(slots=True)
class Mention:
    """A concept said in a sentence. ``start``/``end`` are word indices; the anchor is the part that cues act on.

    For a combination ("the heart is not enlarged") the span covers both parts and the anchor is the modifier.
    """

    concept_id: str
    start: int
    end: int
    anchor_start: int
    anchor_end: int
    is_denial: bool = False  # a statement of normality: negative whatever else is said
    is_pronoun: bool = False  # stands for a finding of the sentence before
    assertion: Assertion | None = Assertion.POSITIVE
    hedge: Hedge | None = None
    is_restricted: bool = False  # "no new", "no large": denies less than the concept
    persists: bool = False
    is_placed: bool = False  # a side or a place is said of it beyond its own name
    anatomy: list[str] = field(default_factory=list)
    laterality: list[str] = field(default_factory=list)
    severity: list[str] = field(default_factory=list)
    temporality: list[str] = field(default_factory=list)
    measurement: Measurement | None = None


def collect_mentions(lexicon: Lexicon, layers: Layers) -> list[Mention]:
    """Return the mentions of a sentence in order of their start: names first, then combinations in what is left."""
    mentions = [Mention(str(m.value), m.start, m.end, m.start, m.end) for m in layers.findings]
    mentions += [Mention(str(m.value), m.start, m.end, m.start, m.end, is_denial=True) for m in layers.denials]
    taken = [(m.start, m.end) for m in mentions]
    for candidate in _combinations(lexicon, layers):
        anchor = (candidate.anchor_start, candidate.anchor_end)
        if any(_overlap(anchor, span) for span in taken):
            continue
        if any(_overlap((candidate.start, candidate.end), (m.start, m.end)) and m.is_denial for m in mentions):
            continue
        # The same words never name a concept twice, and a name inside the combination already says it.
        if any(
            m.concept_id == candidate.concept_id and _overlap((m.start, m.end), (candidate.start, candidate.end))
            for m in mentions
        ):
            continue
        mentions.append(candidate)
    return sorted(mentions, key=lambda m: (m.anchor_start, m.anchor_end))


def _combinations(lexicon: Lexicon, layers: Layers) -> list[Mention]:
    """Return every admissible combination, the tightest first: one modifier serves one head."""
    found: list[tuple[int, int, Mention]] = []
    names = [(m.start, m.end) for m in layers.findings]
    all_heads = {(head.start, head.end) for heads in layers.heads.values() for head in heads}
    for number, heads in layers.heads.items():
        modifiers = layers.modifiers.get(number)
        if not modifiers:
            continue
        combination = lexicon.combinations[number]
        for modifier in modifiers:
            for head in heads:
                # "cardiac" in "cardiac silhouette" or in "cardiac pacemaker" is no head of its own.
                if any(_lies_within(head, other) for other in all_heads) or any(_lies_within(head, n) for n in names):
                    continue
                gap = _gap(head, modifier)
                if gap is None or gap > combination.within or _is_blocked(layers, head, modifier):
                    continue
                start, end = min(head.start, modifier.start), max(head.end, modifier.end)
                mention = Mention(combination.concept_id, start, end, modifier.start, modifier.end)
                words_covered = (head.end - head.start) + (modifier.end - modifier.start)
                found.append((gap, -words_covered, mention))
    chosen: list[Mention] = []
    used: dict[tuple[int, int], tuple[int, set[str]]] = {}
    for gap, _, mention in sorted(found, key=lambda item: (item[0], item[1], item[2].start)):
        key = (mention.anchor_start, mention.anchor_end)
        nearest, concepts = used.setdefault(key, (gap, set()))
        # A modifier may serve several heads at one distance ("heart and aorta are enlarged"), never a farther one
        # across a nearer one ("tortuous aorta, heart").
        if mention.concept_id in concepts or (gap > nearest and not _is_coordinated(layers, mention)):
            continue
        concepts.add(mention.concept_id)
        chosen.append(mention)
    return chosen


def _lies_within(head: Match, span: tuple[int, int]) -> bool:
    return span[0] <= head.start and head.end <= span[1] and span[1] - span[0] > head.end - head.start


def _gap(head: Match, modifier: Match) -> int | None:
    if head.end <= modifier.start:
        return modifier.start - head.end
    if modifier.end <= head.start:
        return head.start - modifier.end
    return None  # they share words


def _between(head: Match, modifier: Match) -> tuple[int, int]:
    return (head.end, modifier.start) if head.end <= modifier.start else (modifier.end, head.start)


def _is_blocked(layers: Layers, head: Match, modifier: Match) -> bool:
    start, end = _between(head, modifier)
    words = layers.words.words[start:end]
    if any(word in _BLOCKING_MARKS for word in words):
        return True
    for cue in layers.cues:
        is_between = start <= cue.start and cue.end <= end
        is_denial = layers.words.words[cue.end - 1] in {"not", "longer"}  # "the heart is no longer enlarged"
        if is_between and cue.value in _BLOCKING_CUES and not is_denial:
            return True
    after = head.end if head.start > modifier.start else modifier.end
    following = [m for m in layers.anatomy if after <= m.start]
    if any(m.start == head.end for m in layers.anatomy):
        return True  # "mediastinal lymph nodes": the adjective is not what is enlarged
    if ":" in words and any(m.start <= modifier.end + 4 for m in following):
        return True  # "MEDIASTINUM: Enlarged left hilar lymph nodes"
    others = [m for m in layers.anatomy if start <= m.start and m.end <= end]
    if not others:
        return False
    # Another place in between takes the modifier, unless the two places are joined: "heart and mediastinum are
    # enlarged".
    return not any(cue.value == "conjunction" and start <= cue.start and cue.end <= end for cue in layers.cues)


_BLOCKING_CUES = frozenset(
    {"terminator", "normal", "negation_after", "resolved_after", "hedge_after.modal", "historical_before"}
)


def _is_coordinated(layers: Layers, mention: Mention) -> bool:
    return any(
        cue.value == "conjunction" and mention.start <= cue.start and cue.end <= mention.end for cue in layers.cues
    )


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]
