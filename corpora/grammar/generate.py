"""The grammar itself: draws a family, fills its slots, writes the sentence and says what it says."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from corpora.grammar.actors import Actor, denials_of, finding_of, share_places
from corpora.grammar.attributes import AttributePhrases
from corpora.grammar.compose import compose_report
from corpora.grammar.english import English
from corpora.grammar.fillers import Filler, FillerIndex
from corpora.grammar.holdout import held_out_families
from corpora.grammar.inner import InnerReader
from corpora.grammar.load import load_data
from corpora.grammar.pools import Needs, Pools
from corpora.grammar.schema import Family, NormalPlace, SlotLabel
from corpora.grammar.sentences import GrammarFinding, SyntheticReport, SyntheticSentence
from corpora.grammar.template import Slot, Template
from corpora.grammar.writer import Subject, Writer
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.words import fold_words

# Slots by which a finding is named, and the form of phrase that they take.
_FORMS = {"finding": "noun", "adjective": "adjective", "clause": "clause", "fragment": "fragment",
          "denial": "denial", "head": "head"}  # fmt: skip
_TRIES = 200


class NothingFits(RuntimeError):
    """The vocabulary has no phrase for what a template asks: a mistake in the grammar's data."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A family with its templates parsed."""

    family: Family
    templates: tuple[Template, ...]
    heading: Template
    category: str
    is_held_out: bool
    can_hold_out_synonym: bool


class SentenceGrammar:
    """Makes sentences and reports over a vocabulary.

    With ``held_out`` every sentence has a family or a synonym that training never sees, else none has. ``families``
    are the ids of the families drawn from.

    >>> from corpora.vocabulary import load_vocabulary
    >>> grammar = SentenceGrammar(load_vocabulary())
    >>> sentence = grammar.generate(random.Random(0))
    >>> all(sentence.text[f.start : f.end].strip() for f in sentence.findings)
    True
    """

    def __init__(self, vocabulary: Vocabulary, *, held_out: bool = False) -> None:
        data = load_data()
        english = English(data.words)
        self.vocabulary = vocabulary
        self.held_out = held_out
        self._data = data
        self.fillers = FillerIndex(
            vocabulary, data, english, InnerReader(vocabulary, data.words.names, data.words.upper)
        )
        self._subjects = {
            p.place: Subject(p.place, p.say[:1], p.is_plural, p.is_plural and vocabulary.anatomy[p.place].is_paired)
            for p in data.places.normal
            if p.place in vocabulary.anatomy
        }
        self._pools = Pools(vocabulary, self.fillers, data.words, frozenset(self._subjects))
        self._attributes = AttributePhrases(vocabulary, data.attributes)
        self._normal = tuple(p for p in data.places.normal if p.place in vocabulary.anatomy)
        self.kinds = {family.id: _kinds(family) for group in data.families.values() for family in group}
        self.held_out_families = held_out_families(
            {name: [family.id for family in group] for name, group in data.families.items()}, self.kinds
        )
        ready = [self._ready(family, name) for name, group in data.families.items() for family in group]
        self._trained = _Deck(r for r in ready if not r.is_held_out)
        self._kept = _Deck(r for r in ready if r.is_held_out)
        self._with_synonym = _Deck(r for r in ready if not r.is_held_out and r.can_hold_out_synonym)
        self._kept_with_synonym = _Deck(r for r in ready if r.is_held_out and r.can_hold_out_synonym)
        self._drawn = {
            name: _Deck(r for r in ready if r.category == name and r.is_held_out is held_out) for name in data.families
        }

    @property
    def families(self) -> tuple[str, ...]:
        """Return the ids of the families that sentences are drawn from."""
        decks = (self._kept, self._with_synonym) if self.held_out else (self._trained,)
        return tuple(sorted({ready.family.id for deck in decks for ready in deck.items}))

    @property
    def categories(self) -> dict[str, str]:
        """Return the phenomenon of every family, held out or not."""
        return self._data.category

    def generate(self, rng: random.Random) -> SyntheticSentence:
        """Return one sentence."""
        for _ in range(_TRIES):
            if not self.held_out:
                deck, has_synonym = self._trained, False
            else:
                deck, has_synonym = rng.choice(
                    ((self._kept, False), (self._with_synonym, True), (self._kept_with_synonym, True))
                )
            sentence = self._try(deck.draw(rng), rng, has_synonym=has_synonym, region="")
            if sentence is not None:
                return sentence
        raise NothingFits("no sentence could be made; is the vocabulary empty?")

    def generate_from(self, family_id: str, rng: random.Random) -> SyntheticSentence:
        """Return a sentence of one family, with the synonyms of training.

        Raises:
            NothingFits: the vocabulary has no phrases for it.
        """
        ready = next(r for deck in (self._trained, self._kept) for r in deck.items if r.family.id == family_id)
        for _ in range(_TRIES):
            sentence = self._try(ready, rng, has_synonym=False, region="")
            if sentence is not None:
                return sentence
        raise NothingFits(f"family {family_id!r} finds nothing to say")

    def generate_about(self, category: str, region: str, rng: random.Random) -> SyntheticSentence | None:
        """Return a sentence of one phenomenon about a part of the body, or ``None`` where none came to pass."""
        deck, has_synonym = self._drawn[category], self.held_out and rng.random() < 0.5
        return self._try(deck.draw(rng), rng, has_synonym=has_synonym, region=region)

    @property
    def drawn_categories(self) -> tuple[str, ...]:
        """Return the phenomena that sentences are drawn from."""
        return tuple(self._drawn)

    def report(self, rng: random.Random) -> SyntheticReport:
        """Return a whole report, whose sentences do not contradict each other."""
        return compose_report(self, rng)

    def _ready(self, family: Family, category: str) -> _Ready:
        templates = tuple(Template.parse(text) for text in family.templates)
        named = {slot.number for t in templates for slot in t.slots() if slot.name == "finding"}
        return _Ready(
            family=family,
            templates=templates,
            heading=Template.parse(family.heading),
            category=category,
            is_held_out=family.id in self.held_out_families,
            can_hold_out_synonym=any(not family.findings[n].concepts for n in named),
        )

    def _try(self, ready: _Ready, rng: random.Random, *, has_synonym: bool, region: str) -> SyntheticSentence | None:
        """Return a sentence of a family, or ``None`` where what was drawn does not go together."""
        parts = rng.choice(ready.templates).open_out(rng)
        heading_parts = ready.heading.open_out(rng)
        actors = self._cast(ready.family, [*heading_parts, *parts], rng, has_synonym=has_synonym, region=region)
        if actors is None:
            return None
        heading = self._write(heading_parts, actors, rng)[0] if heading_parts else ""
        for actor in actors.values():
            actor.pieces.clear()
        text, findings = self._write(parts, actors, rng)
        if findings is None:
            return None
        return SyntheticSentence(
            text=text,
            findings=tuple(sorted(findings, key=lambda f: (f.start, f.end))),
            family=ready.family.id,
            heading=heading,
            is_held_out=ready.is_held_out or has_synonym,
        )

    # Who is in the sentence

    def _cast(
        self, family: Family, parts: Iterable[str | Slot], rng: random.Random, *, has_synonym: bool, region: str
    ) -> dict[int, Actor] | None:
        asked: dict[int, set[str]] = {number: set() for number in family.findings}
        for part in parts:
            if isinstance(part, Slot) and part.number:
                asked[part.number].add(part.name if not part.argument else f"{part.name}:{part.argument}")
        actors: dict[int, Actor] = {}
        concepts: list[str] = []
        holder = _holder(family, asked, rng) if has_synonym else 0
        if holder is None:
            return None
        for number, label in family.findings.items():
            names = asked[number]
            if _asks(names, "organ"):
                normal = self._draw_normal(rng, actors, is_sided="organ:one" in names)
                if normal is None:
                    return None
                actors[number] = Actor(label, None, normal)
                region = region or next(iter(sorted(self._pools.regions_of_place(normal.place))), "chest")
                continue
            filler = self._draw(
                label, names, rng, concepts, region=region, is_held_out=number == holder, is_plain=len(asked) > 1
            )
            if filler is None:
                return None
            actors[number] = Actor(label, filler)
            concepts.append(filler.concept.id)
            if not region:
                region = next(iter(sorted(self._pools.regions(filler.concept.id))), "")
        return actors

    def _draw(
        self,
        label: SlotLabel,
        names: set[str],
        rng: random.Random,
        taken: list[str],
        *,
        region: str,
        is_held_out: bool,
        is_plain: bool,
    ) -> Filler | None:
        form = next((form for name, form in _FORMS.items() if name in names), "noun")
        number = next((n.partition(":")[2] for n in names if n.startswith("finding:")), "")
        needs = Needs(
            pool=label.pool,
            concepts=label.concepts,
            form=form,
            number=number,
            has_side=_asks(names, "side", "onside"),
            has_place=_asks(names, "loc", "site") and "loc:tip" not in names,
            has_place_adjective=_asks(names, "adj"),
            has_severity=_asks(names, "severity", "severely") or label.severity is not None,
            has_change=_asks(names, "change", "changed") or label.temporality is not None,
            is_measured=_asks(names, "size"),
            is_hedged=label.pool == "hedged",
            is_plain=is_plain,
            has_subject="subject" in names,
            region=region if not label.concepts and label.pool in ("pathology", "hedged", "settled") else "",
            held_out=is_held_out,
        )
        pool = self._pools.get(needs)
        for _ in range(8):
            if not pool:
                return None
            filler = pool.draw(rng)
            if not self._is_near(filler.concept.id, taken):
                if _asks(names, "region") and filler.concept.anatomy not in self._data.places.headings:
                    continue
                return filler
        return None

    def _is_near(self, concept_id: str, taken: list[str]) -> bool:
        """Whether a concept says much the same as another of the sentence."""
        if not taken:
            return False
        above = {concept_id, *self.vocabulary.ancestors(concept_id)}
        return any(other in above or concept_id in self.vocabulary.ancestors(other) for other in taken)

    def _draw_normal(self, rng: random.Random, actors: dict[int, Actor], *, is_sided: bool) -> NormalPlace | None:
        """Return a place to call normal that has nothing to do with those called so already."""
        place = rng.choice([p for p in self._normal if p.sided] if is_sided else self._normal)
        for actor in actors.values():
            if actor.normal is None:
                continue
            a, b = self.vocabulary.anatomy[place.place], self.vocabulary.anatomy[actor.normal.place]
            denied = {*a.normal_denies, *a.intact_denies} & {*b.normal_denies, *b.intact_denies}
            if a is b or denied or not set(place.cues) & set(actor.normal.cues):
                return None
        return place

    # What is written

    def _write(
        self, parts: list[str | Slot], actors: dict[int, Actor], rng: random.Random
    ) -> tuple[str, list[GrammarFinding] | None]:
        writer = Writer(rng, actors, self._attributes, self._data.words, self._data.places, self._subjects)
        writer.write(parts)
        text, spans = writer.text()
        share_places(actors, self.vocabulary)
        findings: list[GrammarFinding] = []
        for actor in actors.values():
            if actor.normal is not None:
                pieces = [*actor.pieces, writer.cue_piece] if writer.cue_piece >= 0 else actor.pieces
                if pieces and writer.cue_piece >= 0:
                    start, end = min(spans[i][0] for i in pieces), max(spans[i][1] for i in pieces)
                    findings += denials_of(actor, start, end, writer.cue, self.vocabulary)
                continue
            if not actor.pieces:
                continue
            start, end = min(spans[i][0] for i in actor.pieces), max(spans[i][1] for i in actor.pieces)
            if actor.filler is not None and _is_another_name(actor.filler, text, start, end):
                return text, None
            last_word = text[start:end].split()[-1]
            finding = finding_of(actor, self.vocabulary, start, end, last_word)
            if finding is not None:
                findings.append(finding)
        return text, findings


def _holder(family: Family, asked: Mapping[int, set[str]], rng: random.Random) -> int | None:
    """Return the number of the finding that a held-out synonym is put in, observed ones first."""
    named = [n for n, names in asked.items() if _asks(names, "finding") and not family.findings[n].concepts]
    observed = [n for n in named if family.findings[n].says.assertion is not None]
    return rng.choice(observed or named) if named else None


def _kinds(family: Family) -> frozenset[tuple[str, str]]:
    """Return the sorts of phrases that a family takes: form and pool."""
    return frozenset(
        (_FORMS[slot.name], family.findings[slot.number].pool)
        for text in family.templates
        for slot in Template.parse(text).slots()
        if slot.number and slot.name in _FORMS
    )


def _asks(names: set[str], *slots: str) -> bool:
    return any(name.partition(":")[0] in slots for name in names)


def _is_another_name(filler: Filler, text: str, start: int, end: int) -> bool:
    """Whether the words around a phrase make it another, longer name: "basilar" before "opacity"."""
    if not filler.conflicts:
        return False
    before = fold_words(text[max(0, start - 40) : start])[-5:]
    after = fold_words(text[end : end + 40])[:5]
    return any((not b or before[-len(b) :] == b) and (not a or after[: len(a)] == a) for b, a in filler.conflicts)


class _Deck:
    """Families to draw from by weight."""

    def __init__(self, ready: Iterable[_Ready]) -> None:
        self.items = tuple(ready)
        self._weights = list(accumulate(item.family.weight for item in self.items))

    def draw(self, rng: random.Random) -> _Ready:
        return self.items[min(bisect(self._weights, rng.random() * self._weights[-1]), len(self.items) - 1)]
