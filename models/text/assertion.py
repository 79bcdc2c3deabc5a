"""What a sentence says of its mentions: present, absent, uncertain, or not observed at all.

The idea is ConText's (Harkema et al. 2009, doi:10.1016/j.jbi.2009.05.002): cues with a direction and a scope. What is
added: scopes follow the clause and the list (`models.text.scopes`), a longer cue swallows a shorter one
(pseudo-negation), resolution and persistence are kinds of their own, and bare alternatives hedge each other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from corpora.findings import Assertion, Hedge
from corpora.vocabulary.folding import fold_word
from models.text.alternatives import hedge_alternatives
from models.text.lexicon import Layers, Match
from models.text.mentions import Mention
from models.text.scopes import Scopes

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
# A denial of these says less than a denial of the finding itself.
_RESTRICTING = frozenset(
    "new acute large focal significant other additional further recent displaced recurrent residual big "
    "massive moderate sizable lobar overt gross definite".split()
)
# In a sentence about an earlier study, what shows that it speaks of now.
_STATES_NOW = frozenset({"verb", "normal", "not_normal", "pseudo_negation", "hedge_after.modal", "terminator"})
_CHANGES = frozenset({"stable", "increased", "decreased", "improved", "worsened", "persistent", "new"})
_GROWTH = frozenset({"enlargement", "enlarged", "increase", "increased"})
_PAST = frozenset(fold_word(word) for word in ("was", "were", "had", "showed"))


def assert_mentions(layers: Layers, clauses: Sequence[int], mentions: list[Mention]) -> list[Mention]:
    """Set the assertion of every mention; return those that are observed, without the hypothetical and historical."""
    cues = [cue for cue in layers.cues if not _is_inside_name(cue, mentions)]
    scopes = Scopes(layers, clauses, mentions, cues)
    kinds: list[set[str]] = [set() for _ in mentions]
    for cue in cues:
        kind = str(cue.value)
        for i in _reached(scopes, cue, kind):
            kinds[i].add("negation_before" if kind == "pseudo_negation" else kind)
            if kind == "negation_before":
                mentions[i].is_restricted |= _is_restricted(layers, cue, mentions[i])
    for mention, reaching in zip(mentions, kinds, strict=True):
        in_clause = [cue for cue in cues if clauses[cue.start] == clauses[mention.anchor_start]]
        _decide(layers, in_clause, mention, reaching)
    observed = [mention for mention in mentions if mention.assertion is not None]
    hedge_alternatives(layers, clauses, observed)
    return observed


def _reached(scopes: Scopes, cue: Match, kind: str) -> list[int]:
    if kind in _BEFORE:
        reached = scopes.forward(cue)
        if not reached and kind == "negation_before" and scopes.is_answer(cue):
            return scopes.backward(cue)
        return reached
    if kind == "pseudo_negation":
        return _denied_change(scopes, cue)
    if kind in _AFTER:
        reached = scopes.backward(cue)
        if not reached and kind.startswith("hedge_after"):
            return scopes.forward(cue)  # "there is suspected heart failure"
        return reached
    return []


def _denied_change(scopes: Scopes, cue: Match) -> list[int]:
    """Return the mentions whose own words a denied change holds: "no enlargement of the heart" denies cardiomegaly."""
    words = scopes.layers.words.words[cue.start : cue.end]
    if not {"no", "not", "without"} & set(words):
        return []
    change = next((cue.start + i for i, word in enumerate(words) if word in _GROWTH), None)
    return [
        i
        for i, m in enumerate(scopes.mentions)
        if change is not None and m.start <= change < m.end and not m.is_pronoun and not m.is_denial
    ]


def _is_inside_name(cue: Match, mentions: Sequence[Mention]) -> bool:
    """Whether a cue is part of a finding's own name, as "free" is in "free air"."""
    return any(
        m.start <= cue.start and cue.end <= m.end and (m.start, m.end) == (m.anchor_start, m.anchor_end)
        for m in mentions
        if not m.is_pronoun
    )


def _is_restricted(layers: Layers, cue: Match, mention: Mention) -> bool:
    words = layers.words.words
    return any(
        word in _RESTRICTING for word in (*words[cue.start : cue.end], *words[cue.end : mention.anchor_start])[-6:]
    )


def _decide(layers: Layers, in_clause: Sequence[Match], mention: Mention, kinds: Collection[str]) -> None:
    """Turn the cues that reach a mention into its assertion. The order of the rules is their rank."""
    if mention.is_denial:
        mention.assertion = Assertion.NEGATIVE
        return
    if mention.is_pronoun and layers.words.words[mention.start] in {"neither", "none"}:
        mention.assertion = Assertion.NEGATIVE
        return
    mention.persists = any(c.value == "persists" for c in in_clause)
    if "negation_before" in kinds and "resolved_after" in kinds:
        mention.assertion = Assertion.POSITIVE  # "no evidence that the effusion has resolved"
        mention.persists = True
    elif "hypothetical_before" in kinds or "hypothetical_after" in kinds:
        mention.assertion = None
    elif "resolved_before" in kinds or "resolved_after" in kinds:
        mention.assertion = Assertion.NEGATIVE
        mention.temporality = ["resolved"]
    elif "historical_before" in kinds and not mention.persists:
        mention.assertion = Assertion.NEGATIVE if "negation_after" in kinds else None
    elif "negation_before" in kinds or "negation_after" in kinds:
        mention.assertion = Assertion.NEGATIVE
    elif hedges := [kind for kind in kinds if kind.startswith("hedge_")]:
        mention.assertion = Assertion.UNCERTAIN
        mention.hedge = _HEDGES[min(hedges).partition(".")[2]]  # modal before probable: the weaker claim
        if _is_borderline(layers, mention):
            mention.hedge = Hedge.BORDERLINE
    elif _is_of_the_past(layers, in_clause, mention):
        mention.assertion = None
    else:
        _decide_plain(layers, mention)


def _decide_plain(layers: Layers, mention: Mention) -> None:
    """Make a plain mention positive, unless its own words hedge: "borderline enlarged", "upper limits of normal"."""
    words = layers.words.words
    if _is_borderline(layers, mention):
        mention.assertion, mention.hedge = Assertion.UNCERTAIN, Hedge.BORDERLINE
    elif {"normal", "limit"} & set(words[mention.anchor_start : mention.anchor_end]):
        mention.assertion, mention.hedge = Assertion.UNCERTAIN, Hedge.MODAL
    else:
        mention.assertion = Assertion.POSITIVE


def _is_borderline(layers: Layers, mention: Mention) -> bool:
    return "borderline" in layers.words.words[max(mention.start - 2, 0) : mention.end]


def _is_of_the_past(layers: Layers, in_clause: Sequence[Match], mention: Mention) -> bool:
    """Whether the sentence only says that it was seen earlier ("previously described nodule"), nothing of now."""
    if not any(cue.value == "previously" for cue in in_clause) or mention.persists:
        return False
    words = layers.words.words
    is_now = any(cue.value in _STATES_NOW and not _PAST & set(words[cue.start : cue.end]) for cue in in_clause)
    return not is_now and not any(match.value in _CHANGES for match in layers.temporality)
