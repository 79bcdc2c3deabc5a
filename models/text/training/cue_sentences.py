"""Sentences put together at random from all that the teacher knows: its cues, and the vocabulary's phrases.

The grammar makes sentences that people would write, and few of each cue. The teacher knows cues in some 180,000 forms,
abbreviations, and concepts said in two parts; here each has its turn, in sentences that need make no great sense. What
they say is what the teacher reads in them.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import AttributeValue, FindingEntry, FindingKind
from models.text.lexicon import load_cues
from models.text.patterns import draw

_BEFORE = (
    ("negation_before", 8),
    ("hedge_before.modal", 4),
    ("hedge_before.probable", 2),
    ("hypothetical_before", 3),
    ("historical_before", 2),
    ("resolved_before", 1),
    ("pseudo_negation", 2),
    ("previously", 1),
    ("persists", 1),
    ("", 14),
)
_AFTER = (
    ("negation_after", 3),
    ("hedge_after.modal", 2),
    ("hedge_after.probable", 1),
    ("hypothetical_after", 0.5),
    ("resolved_after", 2),
    ("persists", 2),
    ("existential", 4),
    ("previously", 1),
    ("advice_end", 0.5),
    ("", 20),
)
_JOINS = (", ", ", ", ", and ", " and ", "; ", ", or ", " with ", " without ", ". ", ", but ", " versus ", "/")
_PRONOUNS = ("it", "this", "these", "this finding", "these findings", "the abnormality")


class CueSentences:
    """Draws sentences. ``phrases`` are those of each concept that may be used."""

    def __init__(self, vocabulary: Vocabulary, phrases: Mapping[str, Sequence[str]]) -> None:
        self._vocabulary = vocabulary
        self._phrases = phrases
        self._cues = load_cues()
        self._entries = [entry for entry in vocabulary.findings.values() if self._can_be_said(entry)]
        self._weights = [6 if self._is_chest(entry) else 2 for entry in self._entries]
        self._places = [entry for entry in vocabulary.anatomy.values() if entry.synonyms]
        self._place_weights = [4 if entry.chest else 1 for entry in self._places]
        self._normal_places = [entry for entry in self._places if entry.normal_denies or entry.intact_denies]

    def draw(self, rng: random.Random) -> tuple[str, tuple[str, ...]]:
        """Return a sentence and what "it" in it can mean."""
        if rng.random() < 0.05:
            return self._about_it(rng)
        clauses = [self._clause(rng)]
        while rng.random() < 0.3 and len(clauses) < 4:
            join = rng.choice(_JOINS) if rng.random() < 0.7 else f", {self._cue('terminator', rng)} "
            clauses += [join, self._clause(rng)]
        text = " ".join("".join(clauses).split())
        return _written(text, rng), ()

    def _about_it(self, rng: random.Random) -> tuple[str, tuple[str, ...]]:
        meant = tuple(entry.id for entry in rng.choices(self._entries, k=rng.choice((1, 1, 1, 2))))
        kind = rng.choice([name for name, _ in _AFTER if name])
        said = self._cue(kind, rng)
        if rng.random() < 0.4:
            said = f"{self._cue(rng.choice(('hedge_before.modal', 'hedge_before.probable')), rng)} {self._name(rng)}"
        return _written(f"{rng.choice(_PRONOUNS)} {said}", rng), meant

    def _clause(self, rng: random.Random) -> str:
        chance = rng.random()
        if chance < 0.13:
            return self._normal(rng)
        if chance < 0.22:
            return self._in_two_parts(rng)
        before = self._cue(_drawn(_BEFORE, rng), rng)
        after = self._cue(_drawn(_AFTER, rng), rng)
        names = [self._phrase(rng)]
        while rng.random() < 0.25 and len(names) < 4:
            names.append(self._phrase(rng))
        joined = names[0]
        if len(names) > 1:
            last = rng.choice((" and ", " or ", ", or ", ", and ", f" {self._cue('alternative', rng)} "))
            joined = ", ".join(names[:-1]) + last + names[-1]
        article = rng.choice(("", "", "", "a ", "the ", "any ", "there is ")) if not before else ""
        return f"{before} {article}{joined} {after}"

    def _phrase(self, rng: random.Random) -> str:
        """Return a finding with some of side, degree, change, place and size around it."""
        attributes = self._vocabulary.attributes
        parts = []
        if rng.random() < 0.15:
            parts.append(self._value(attributes.temporality, rng))
        if rng.random() < 0.25:
            parts.append(self._value(attributes.severity, rng))
        if rng.random() < 0.25:
            parts.append(self._value(attributes.laterality, rng))
        if rng.random() < 0.15:
            parts.append(self._place(rng))
        rng.shuffle(parts)
        parts.append(self._name(rng))
        if rng.random() < 0.2:
            side = f"{self._value(attributes.laterality, rng)} " if rng.random() < 0.6 else ""
            parts.append(
                f"{rng.choice(('in the', 'at the', 'of the', 'within the', 'in', 'near the'))} {side}{self._place(rng)}"
            )
        if rng.random() < 0.06:
            parts.append(f"measuring {rng.randint(1, 60)}{rng.choice((' mm', ' cm', '.5 cm', ' x 7 mm'))}")
        return " ".join(parts)

    def _name(self, rng: random.Random) -> str:
        entry = rng.choices(self._entries, self._weights)[0]
        if entry.abbreviations and (rng.random() < 0.3 or entry.id not in self._phrases):
            return rng.choice(entry.abbreviations)
        phrases = self._phrases.get(entry.id)
        if not phrases:
            return self._two_parts_of(entry, rng)
        return draw(rng.choice(phrases), rng)

    def _in_two_parts(self, rng: random.Random) -> str:
        entry = rng.choice([e for e in self._entries if e.combinations])
        return self._two_parts_of(entry, rng)

    def _two_parts_of(self, entry: FindingEntry, rng: random.Random) -> str:
        combination = rng.choice(entry.combinations)
        head, modifier = draw(rng.choice(combination.head), rng), draw(rng.choice(combination.modifier), rng)
        degree = f"{self._value(self._vocabulary.attributes.severity, rng)} " if rng.random() < 0.3 else ""
        if rng.random() < 0.4:
            return f"{degree}{modifier} {head}"
        verb = rng.choice(("is", "are", "appears", "is not", "remains", "is mildly", "may be", "", "is again"))
        return f"{rng.choice(('the ', ''))}{head} {verb} {degree}{modifier}"

    def _normal(self, rng: random.Random) -> str:
        if rng.random() < 0.3:
            entries = [entry for entry in self._entries if entry.normal]
            return draw(rng.choice(rng.choice(entries).normal), rng)
        places = [draw(rng.choice(p.synonyms), rng) for p in rng.sample(self._normal_places, rng.choice((1, 1, 2, 3)))]
        joined = places[0] if len(places) == 1 else ", ".join(places[:-1]) + " and " + places[-1]
        normal = self._cue("normal" if rng.random() < 0.85 else "not_normal", rng)
        if rng.random() < 0.25:
            return f"{normal} {joined}"
        return f"{rng.choice(('the ', ''))}{joined} {rng.choice(('is', 'are', 'appear', 'remain', ''))} {normal}"

    def _place(self, rng: random.Random) -> str:
        entry = rng.choices(self._places, self._place_weights)[0]
        if entry.abbreviations and rng.random() < 0.2:
            return rng.choice(entry.abbreviations)
        return draw(rng.choice(entry.synonyms), rng)

    def _value(self, values: Sequence[AttributeValue], rng: random.Random) -> str:
        value = rng.choice(values)
        if value.abbreviations and rng.random() < 0.1:
            return rng.choice(value.abbreviations)
        return draw(rng.choice(value.phrases), rng)

    def _cue(self, kind: str, rng: random.Random) -> str:
        return draw(rng.choice(self._cues[kind]), rng) if kind else ""

    def _can_be_said(self, entry: FindingEntry) -> bool:
        return bool(entry.id in self._phrases or entry.abbreviations or entry.combinations)

    def _is_chest(self, entry: FindingEntry) -> bool:
        if entry.anatomy is None:
            return entry.kind is FindingKind.DEVICE
        return self._vocabulary.anatomy[entry.anatomy].chest is True


def _drawn(choices: Sequence[tuple[str, float]], rng: random.Random) -> str:
    return rng.choices([name for name, _ in choices], [weight for _, weight in choices])[0]


def _written(text: str, rng: random.Random) -> str:
    """Return a text as a sentence: capital letter and full stop, most of the time."""
    text = " ".join(text.split()).replace(" ,", ",")
    if rng.random() < 0.9:
        text = text[:1].upper() + text[1:]
    return text + "." if rng.random() < 0.9 else text
