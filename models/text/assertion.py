"""What a sentence says of its mentions: present, absent, uncertain, or not observed at all.

The idea is ConText's (Harkema et al. 2009, doi:10.1016/j.jbi.2009.05.002): cues with a direction and a scope. What is
added: scopes follow the clause and the list ("no A, B or C" against "no A, small B"), a longer cue swallows a shorter
one (pseudo-negation), resolution and persistence are kinds of their own, and bare alternatives hedge each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from corpora.findings import Assertion, Hedge
from corpora.vocabulary.folding import fold_word
from models.text.clauses import CONTRASTS
from models.text.lexicon import Layers, Match
from models.text.mentions import Mention

_BEFORE = frozenset(
    {
        "negation_before",
        "resolved_before",
        "hedge_before.modal",
        "hedge_before.probable",
        "hypothetical_before",
        "historical_before",
    }
)
_AFTER = frozenset(
    {"negation_after", "resolved_after", "hedge_after.modal", "hedge_after.probable", "hypothetical_after"}
)
_HEDGES = {"modal": Hedge.MODAL, "probable": Hedge.PROBABLE}
_TWO_SIDED = frozenset(
    {"likely", "most", "probably", "probable", "possible", "suspected", "questionable", "questioned", "?"}
)
_COPULAS = frozenset({"is", "are", "was", "were"})
_NOT_REACH = 4  # words: "not" denies what follows at once ("not significantly enlarged"), not the rest of the sentence
_ADJACENT_ONLY = frozenset({"absent", "negative", "none", "nil", "neg"})
# A denial of these says less than a denial of the finding itself.
_RESTRICTING = frozenset(
    "new acute large focal significant other additional further recent displaced recurrent residual big "
    "massive moderate sizable lobar overt gross definite".split()
)


# Words for what is seen rather than for what it is.
_DESCRIPTIONS = frozenset(
    {
        "opacity",
        "density",
        "shadow",
        "lucency",
        "abnormality",
        "marking",
        "opacification",
        "haziness",
        "airspace",
        "infiltrate",
    }
)


@dataclass(slots=True)
class _Flags:
    kinds: set[str] = field(default_factory=set)


def assert_mentions(layers: Layers, clauses: list[int], mentions: list[Mention]) -> list[Mention]:
    """Set the assertion of every mention; return those that are observed, without the hypothetical and historical."""
    flags = [_Flags() for _ in mentions]
    cues = [cue for cue in layers.cues if not _is_inside_mention(cue, mentions)]
    for cue in cues:
        kind = str(cue.value)
        if kind in _BEFORE:
            reached = _reach_forward(layers, clauses, mentions, cues, cue)
            if not reached and kind == "negation_before" and _is_answer(layers, cue):
                reached = _reach_backward(layers, clauses, mentions, cue)
        elif kind in _AFTER:
            reached = _reach_backward(layers, clauses, mentions, cue)
            if kind.startswith("hedge_after") and not reached:
                reached = _reach_forward(layers, clauses, mentions, cues, cue)  # "there is suspected heart failure"
        else:
            continue
        for i in reached:
            flags[i].kinds.add(kind)
            if kind == "negation_before":
                mentions[i].is_restricted |= _is_restricted(layers, cue, mentions[i])
    for mention, flag in zip(mentions, flags, strict=True):
        _decide(layers, clauses, cues, mention, flag.kinds)
    observed = [mention for mention in mentions if mention.assertion is not None]
    _hedge_alternatives(layers, clauses, observed)
    return observed


def _is_inside_mention(cue: Match, mentions: list[Mention]) -> bool:
    """Whether a cue is part of a finding's own name ("rule out" is no name, "possible" in none; "free" in "free
    air").
    """
    return any(
        m.start <= cue.start
        and cue.end <= m.end
        and m.start == m.anchor_start
        and m.end == m.anchor_end
        and not m.is_pronoun
        for m in mentions
    )


def _reach_forward(
    layers: Layers, clauses: list[int], mentions: list[Mention], cues: list[Match], cue: Match
) -> list[int]:
    limit = _forward_limit(layers, clauses, mentions, cues, cue)
    reached = [i for i, m in enumerate(mentions) if cue.end <= m.anchor_start < limit and not m.is_pronoun]
    # A cue that may stand on either side ("likely", "possible", "resolved") looks back when nothing follows it.
    return reached


def _forward_limit(layers: Layers, clauses: list[int], mentions: list[Mention], cues: list[Match], cue: Match) -> int:
    """Return the word index at which the scope of a cue that looks forward ends."""
    words = layers.words.words
    kind = str(cue.value)
    is_negation = kind == "negation_before"
    is_hypothetical = kind == "hypothetical_before"
    limit = len(words)
    if is_negation and cue.end - cue.start == 1 and words[cue.start] == "not":
        limit = min(limit, cue.end + _NOT_REACH)
    for i in range(cue.end, limit):
        if is_hypothetical:
            if words[i] == ";" or words[i] in CONTRASTS or any(c.value == "advice_end" and c.start == i for c in cues):
                return i
            continue
        if clauses[i] != clauses[cue.end - 1]:
            return i
        starting = next((c for c in cues if c.start == i), None)
        if starting is not None:
            name = str(starting.value)
            if name == "terminator" and starting is not cue and not _has_mention_named(mentions, i):
                return i
            if name in {"pseudo_negation", "hypothetical_before"}:
                return i
            if (
                is_negation
                and name.startswith("hedge_before")
                and not words[i].startswith("suggest")
                and words[i] != "to"
                and (_any_mention(mentions, cue.end, i) or words[i - 1] == ",")
            ):
                return i
            if not is_negation and name in {"negation_before", "resolved_before"}:
                return i
        if words[i] in {",", "and", "&", "-"} and i + 1 < len(words):
            if is_negation:
                if _any_mention(mentions, cue.end, i) and _begins_affirmative(layers, i, clauses):
                    return i
            elif (
                words[i] in {",", "-"}
                and not _has_or_later(layers, i, clauses)
                and "differential" not in words[cue.start : cue.end]
                and "include" not in words[cue.start : cue.end]
            ):
                if _any_mention(mentions, cue.end, i):
                    return i
            elif _any_mention(mentions, cue.end, i) and _begins_affirmative(layers, i, clauses):
                return i
    return limit


def _is_answer(layers: Layers, cue: Match) -> bool:
    """Whether a "no" answers what stands before it, as in a table: "Pneumothorax | No"."""
    words = layers.words.words
    return (
        cue.start > 0
        and words[cue.start - 1] in {":", "|", "-", "=", "?"}
        and all(not word.isalnum() for word in words[cue.end :])
    )


def _has_mention_named(mentions: list[Mention], i: int) -> bool:
    return any(m.start <= i < m.end and m.start == m.anchor_start for m in mentions)


def _any_mention(mentions: list[Mention], start: int, end: int) -> bool:
    return any(start <= m.anchor_start < end for m in mentions)


def _begins_affirmative(layers: Layers, joint: int, clauses: list[int]) -> bool:
    """Whether what follows a comma or "and" reads as a statement of its own: "no pneumothorax, small effusion"."""
    following = joint + 1
    words = layers.words.words
    while following < len(words) and words[following] in {"and", ",", "a", "an", "the", "with"}:
        following += 1
    begins = any(m.start <= following < m.end for m in (*layers.severity, *layers.temporality))
    # "left effusion" after a comma: only a side in a denied list is too common ("no left effusion, right effusion").
    return begins and not _has_or_later(layers, joint, clauses)


def _has_or_later(layers: Layers, joint: int, clauses: list[int]) -> bool:
    words = layers.words.words
    return any(
        words[i] in {"or", "nor", "vs", "versus"} for i in range(joint + 1, len(words)) if clauses[i] == clauses[joint]
    )


def _reach_backward(layers: Layers, clauses: list[int], mentions: list[Mention], cue: Match) -> list[int]:
    """Return the mentions that a cue after them speaks of: the nearest one before it and those joined to that."""
    words = layers.words.words
    clause = clauses[cue.start]
    before = [
        (i, m)
        for i, m in enumerate(mentions)
        if m.anchor_end <= cue.start and clauses[m.anchor_start] == clause and not m.is_denial
    ]
    # Both parts of a combination may straddle the cue ("heart is not seen to be enlarged"): those belong to `before`
    # cues.
    if not before:
        return []
    kind = str(cue.value)
    text = words[cue.start : cue.end]
    # A word that looks both ways belongs to what follows it, if anything does.
    is_set_off = (
        "," in words[before[-1][1].anchor_end : cue.start] and cue.end < len(words) and words[cue.end].isalnum()
    )
    if kind.startswith("hedge_after") and text[-1] in _TWO_SIDED and is_set_off:
        return []  # "pleural thickening, likely chronic"
    if "?" in text and "(" in words[before[-1][1].anchor_end : cue.start]:
        return []  # "plaques (asbestos related?)"
    if (kind.startswith("hedge_after") and set(text) - _COPULAS <= _TWO_SIDED) or (
        kind == "resolved_after" and len(text) == 1
    ):
        follows = [m for m in mentions if m.anchor_start >= cue.end and clauses[m.anchor_start] == clause]
        if follows and not any(w in {",", ";"} for w in words[cue.end : follows[0].anchor_start]):
            return []
    between = words[before[-1][1].anchor_end : cue.start]
    if (
        len(text) == 1
        and text[0] in _ADJACENT_ONLY
        and any(w not in {":", "-", "|", "is", "are", "="} for w in between)
    ):
        return []
    if (
        any(
            c.value in {"verb", "terminator"} and c.start >= before[-1][1].anchor_end and c.end <= cue.start
            for c in layers.cues
        )
        and kind != "resolved_after"
        and not kind.startswith("negation")
    ):
        return []
    reached = [before[-1][0]]
    has_conjunction = False
    for (i, mention), (_, nearer) in zip(reversed(before[:-1]), reversed(before), strict=False):
        gap = words[mention.anchor_end : nearer.anchor_start]
        has_conjunction |= any(w in {"and", "or", "&", "/"} for w in gap)
        if "," in gap and not has_conjunction:
            break
        if any(
            c.value in {"verb", "persists", "negation_before"} and mention.anchor_end <= c.start < nearer.anchor_start
            for c in layers.cues
        ):
            break
        reached.append(i)
    return reached


def _is_restricted(layers: Layers, cue: Match, mention: Mention) -> bool:
    words = layers.words.words
    return any(
        word in _RESTRICTING for word in (*words[cue.start : cue.end], *words[cue.end : mention.anchor_start])[-6:]
    )


def _decide(layers: Layers, clauses: list[int], cues: list[Match], mention: Mention, kinds: set[str]) -> None:
    """Turn the cues that reach a mention into its assertion. The order of the rules is their rank."""
    if mention.is_denial:
        mention.assertion = Assertion.NEGATIVE
        return
    if mention.is_pronoun and layers.words.words[mention.start] in {"neither", "none"}:
        mention.assertion = Assertion.NEGATIVE
        return
    clause = clauses[mention.anchor_start]
    in_clause = [c for c in cues if clauses[c.start] == clause]
    mention.persists = any(c.value == "persists" for c in in_clause)
    if "negation_before" in kinds and "resolved_after" in kinds:
        mention.assertion = Assertion.POSITIVE  # "no evidence that the effusion has resolved"
        mention.persists = True
    elif "hypothetical_before" in kinds or "hypothetical_after" in kinds:
        mention.assertion = None
    elif {"resolved_before", "resolved_after"} & kinds:
        mention.assertion = Assertion.NEGATIVE
        mention.temporality = ["resolved"]
    elif "historical_before" in kinds and not mention.persists:
        mention.assertion = Assertion.NEGATIVE if "negation_after" in kinds else None
    elif {"negation_before", "negation_after"} & kinds:
        mention.assertion = Assertion.NEGATIVE
    elif hedges := [kind for kind in kinds if kind.startswith("hedge_")]:
        mention.assertion = Assertion.UNCERTAIN
        mention.hedge = _HEDGES[min(hedges).partition(".")[2]]  # modal before probable: the weaker claim
    elif _is_of_the_past(layers, in_clause, mention):
        mention.assertion = None
    else:
        _decide_plain(layers, mention)


def _decide_plain(layers: Layers, mention: Mention) -> None:
    """A plain mention is positive, unless its own words are a hedge: "borderline enlarged", "upper limits of
    normal".
    """
    words = layers.words.words
    said = words[max(mention.start - 2, 0) : mention.end]
    if "borderline" in said:
        mention.assertion, mention.hedge = Assertion.UNCERTAIN, Hedge.BORDERLINE
    elif {"normal", "limit"} & set(words[mention.anchor_start : mention.anchor_end]):
        mention.assertion, mention.hedge = Assertion.UNCERTAIN, Hedge.MODAL
    else:
        mention.assertion = Assertion.POSITIVE


def _is_of_the_past(layers: Layers, in_clause: list[Match], mention: Mention) -> bool:
    """Whether the sentence only says that it was seen earlier ("previously described nodule"), nothing of now."""
    if not any(c.value == "previously" for c in in_clause) or mention.persists:
        return False
    states_now = {"verb", "normal", "not_normal", "pseudo_negation", "hedge_after.modal", "terminator"}
    words = layers.words.words
    is_now = any(
        c.value in states_now and not {"was", "were", "had", fold_word("showed")} & set(words[c.start : c.end])
        for c in in_clause
    )
    return not is_now and not any(
        m.value in {"stable", "increased", "decreased", "improved", "worsened", "persistent", "new"}
        for m in layers.temporality
    )


def _hedge_alternatives(layers: Layers, clauses: list[int], mentions: list[Mention]) -> None:
    """Make "X or Y", "X versus Y", "X/Y" uncertain, all members of the list, where nothing denies them."""
    words = layers.words.words
    connectors = [c for c in layers.cues if c.value == "alternative"]
    for connector in connectors:
        clause = clauses[connector.start]
        right = next(
            (
                i
                for i, m in enumerate(mentions)
                if m.anchor_start >= connector.end and clauses[m.anchor_start] == clause
            ),
            None,
        )
        if right is None:
            _hedge_against_other(layers, clauses, mentions, connector)
            continue
        if right == 0 or mentions[right].is_denial:
            continue
        left = right - 1
        if mentions[left].anchor_end > connector.start or clauses[mentions[left].anchor_start] != clause:
            continue
        if not _is_plain(layers, connector.end, mentions[right].start):
            continue
        if not _is_plain(layers, mentions[left].end, connector.start, allow_places=True):
            continue
        members = [left, right]
        while left > 0 and clauses[mentions[left - 1].anchor_start] == clause:
            gap = words[mentions[left - 1].end : mentions[left].start]
            if "either" in gap or _DESCRIPTIONS & set(words[mentions[left - 1].start : mentions[left - 1].end]):
                break  # "opacity, either atelectasis or pneumonia": the opacity is seen, its cause is open
            if not ("," in gap or "/" in gap) or {"and", "with", "plus"} & set(gap):
                break
            if not _is_plain(layers, mentions[left - 1].end, mentions[left].start):
                break
            left -= 1
            members.append(left)
        for i in members:
            if mentions[i].assertion is Assertion.POSITIVE and not mentions[i].is_pronoun:
                mentions[i].assertion = Assertion.UNCERTAIN
                mentions[i].hedge = Hedge.ALTERNATIVE


def _hedge_against_other(layers: Layers, clauses: list[int], mentions: list[Mention], connector: Match) -> None:
    """Make "nodule or vessel" uncertain: the alternative need not be a finding to put the finding in doubt."""
    left = next((m for m in mentions if m.end == connector.start), None)
    words = layers.words.words
    if (
        left is None
        or connector.end >= len(words)
        or not words[connector.end].isalpha()
        or words[connector.start] == "/"
    ):
        return
    attributes = (*layers.laterality, *layers.severity, *layers.temporality, *layers.anatomy)
    if any(m.start == connector.end for m in attributes) or clauses[left.anchor_start] != clauses[connector.start]:
        return
    if left.assertion is Assertion.POSITIVE:
        left.assertion, left.hedge = Assertion.UNCERTAIN, Hedge.ALTERNATIVE


def _is_plain(layers: Layers, start: int, end: int, *, allow_places: bool = False) -> bool:
    """Whether no verb, place phrase or border lies in a range of words: then two mentions are joined directly."""
    stops = {"verb", "terminator", "negation_before", "existential"}
    if not allow_places:
        stops.add("preposition")
    return not any(c.value in stops and start <= c.start and c.end <= end for c in layers.cues)
