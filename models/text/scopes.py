"""How far a cue reaches: forward to the end of its list or clause, backward to what its predicate speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.text.clauses import CONTRASTS
from models.text.lexicon import Layers, Match
from models.text.mentions import Mention

_NOT_REACH = 4  # words: "not" denies what follows at once ("not significantly enlarged"), not the rest of the sentence
_COPULAS = frozenset({"is", "are", "was", "were"})
# Hedges that stand before a finding as well as after it.
_TWO_SIDED = frozenset(
    {"likely", "most", "probably", "probable", "possible", "suspected", "questionable", "questioned", "?"}
)
# Answers: they speak of what stands right before them ("Effusion: none"), not of a finding further back.
_ANSWERS = frozenset({"absent", "negative", "none", "nil", "neg"})
_ANSWER_FILLERS = frozenset({":", "-", "|", "is", "are", "="})
_JOINTS = frozenset({",", "and", "&", "-"})
_ENUMERATING = frozenset({"differential", "include"})  # "differential includes A, B": the comma goes on with the list


@dataclass(frozen=True, slots=True)
class Scopes:
    """The scopes of one sentence's cues over its mentions (in order). ``clauses`` numbers the clause of every word."""

    layers: Layers
    clauses: Sequence[int]
    mentions: Sequence[Mention]
    cues: Sequence[Match]

    @property
    def _words(self) -> Sequence[str]:
        return self.layers.words.words

    def forward(self, cue: Match) -> list[int]:
        """Return the indices of the mentions that a cue before them reaches."""
        limit = self._limit_of_hypothesis(cue) if cue.value == "hypothetical_before" else self._limit(cue)
        return [i for i, m in enumerate(self.mentions) if cue.end <= m.anchor_start < limit and not m.is_pronoun]

    def _limit_of_hypothesis(self, cue: Match) -> int:
        """Return where a condition or an advice ends: a contrast, or the end of the advice ("is recommended")."""
        ends = {c.start for c in self.cues if c.value == "advice_end"}
        for i in range(cue.end, len(self._words)):
            if self._words[i] == ";" or self._words[i] in CONTRASTS or i in ends:
                return i
        return len(self._words)

    def _limit(self, cue: Match) -> int:
        """Return the word at which the scope of a negation, a hedge, a resolution or a history ends."""
        words = self._words
        is_negation = cue.value == "negation_before"
        limit = len(words)
        if is_negation and words[cue.start : cue.end] == ("not",):
            limit = min(limit, cue.end + _NOT_REACH)
        for i in range(cue.end, limit):
            if self.clauses[i] != self.clauses[cue.end - 1]:
                return i
            starting = next((c for c in self.cues if c.start == i), None)
            if starting is not None and self._ends_scope(cue, starting):
                return i
            if cue.value == "resolved_before" and words[i] == "with":
                return i  # "clearing of the infiltrate with residual atelectasis"
            if words[i] in _JOINTS and i + 1 < len(words) and self._any_mention(cue.end, i):
                is_list = self._has_or_later(i) or bool(_ENUMERATING & set(words[cue.start : cue.end]))
                if not is_negation and words[i] in {",", "-"} and not is_list:
                    return i
                if self._begins_statement(i):
                    return i
        return limit

    def _ends_scope(self, cue: Match, following: Match) -> bool:
        """Whether a cue inside the scope of another ends it."""
        kind, words, start = str(following.value), self._words, following.start
        if kind == "terminator":
            return not any(m.start <= start < m.end and m.start == m.anchor_start for m in self.mentions)
        if kind in {"pseudo_negation", "hypothetical_before"}:
            return True
        if cue.value != "negation_before":
            return kind in {"negation_before", "resolved_before"}
        # "no consolidation to suggest pneumonia" denies both; "no edema, possible effusion" does not.
        is_purpose = words[start].startswith("suggest") or words[start] == "to"
        is_new_thought = self._any_mention(cue.end, start) or words[start - 1] == ","
        return kind.startswith("hedge_before") and not is_purpose and is_new_thought

    def _any_mention(self, start: int, end: int) -> bool:
        return any(start <= m.anchor_start < end for m in self.mentions)

    def _begins_statement(self, joint: int) -> bool:
        """Whether what follows a comma or "and" is a statement of its own: "no pneumothorax, small effusion"."""
        words = self._words
        following = joint + 1
        while following < len(words) and words[following] in {"and", ",", "a", "an", "the", "with"}:
            following += 1
        # A side alone does not tell: "no left effusion, right effusion or pneumothorax" goes on denying.
        described = any(m.start <= following < m.end for m in (*self.layers.severity, *self.layers.temporality))
        return described and not self._has_or_later(joint)

    def _has_or_later(self, joint: int) -> bool:
        """Whether the list goes on to an "or": then its commas separate members."""
        return any(
            self._words[i] in {"or", "nor", "vs", "versus"}
            for i in range(joint + 1, len(self._words))
            if self.clauses[i] == self.clauses[joint]
        )

    def is_answer(self, cue: Match) -> bool:
        """Whether a "no" answers what stands before it, as in a table: "Pneumothorax | No"."""
        words = self._words
        return (
            cue.start > 0
            and words[cue.start - 1] in {":", "|", "-", "=", "?"}
            and all(not word.isalnum() for word in words[cue.end :])
        )

    def backward(self, cue: Match) -> list[int]:
        """Return the indices of the mentions that a cue behind them speaks of: the nearest, and those joined to it."""
        clause = self.clauses[cue.start]
        before = [
            i
            for i, m in enumerate(self.mentions)
            if m.anchor_end <= cue.start and self.clauses[m.anchor_start] == clause and not m.is_denial
        ]
        if not before or not self._speaks_of(cue, self.mentions[before[-1]]):
            return []
        reached = [before[-1]]
        is_list = False
        for i, nearer in zip(reversed(before[:-1]), reversed(before), strict=False):
            start, end = self.mentions[i].anchor_end, self.mentions[nearer].anchor_start
            gap = self._words[start:end]
            is_list |= any(word in {"and", "or", "&", "/"} for word in gap)
            if "," in gap and not is_list:
                break
            if self._has_cue({"verb", "persists", "negation_before"}, start, end):
                break
            reached.append(i)
        return reached

    def _speaks_of(self, cue: Match, mention: Mention) -> bool:
        """Whether a cue that looks back speaks of the mention before it, rather than of what follows it."""
        kind, words = str(cue.value), self._words
        said = words[cue.start : cue.end]
        between = words[mention.anchor_end : cue.start]
        if "?" in said and "(" in between:
            return False  # "plaques (asbestos related?)"
        if kind.startswith("hedge_after") and said[-1] in _TWO_SIDED:
            is_set_off = "," in between and cue.end < len(words) and words[cue.end].isalnum()
            if is_set_off:
                return False  # "pleural thickening, likely chronic"
        is_two_sided = kind.startswith("hedge_after") and set(said) - _COPULAS <= _TWO_SIDED
        if (is_two_sided or (kind == "resolved_after" and len(said) == 1)) and self._is_followed(cue):
            return False
        if len(said) == 1 and said[0] in _ANSWERS and not set(between) <= _ANSWER_FILLERS:
            return False
        looks_across = kind == "resolved_after" or kind.startswith("negation")
        return looks_across or not self._has_cue({"verb", "terminator"}, mention.anchor_end, cue.start)

    def _is_followed(self, cue: Match) -> bool:
        """Whether a mention follows in the clause without a comma between: "likely atelectasis"."""
        clause = self.clauses[cue.start]
        following = next(
            (m for m in self.mentions if m.anchor_start >= cue.end and self.clauses[m.anchor_start] == clause), None
        )
        return following is not None and not {",", ";"} & set(self._words[cue.end : following.anchor_start])

    def _has_cue(self, kinds: set[str], start: int, end: int) -> bool:
        return any(c.value in kinds and start <= c.start < end for c in self.layers.cues)
