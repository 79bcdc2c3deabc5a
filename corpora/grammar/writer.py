"""One sentence written: slots turned into text while the findings collect what is said of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from corpora.grammar.actors import Actor
from corpora.grammar.attributes import AttributePhrases
from corpora.grammar.english import English
from corpora.grammar.places import Place
from corpora.grammar.schema import PlaceWords, Words
from corpora.grammar.template import Slot

# A piece of text that becomes "a" or "an" when what follows is known.
_ARTICLE = "\0"
_VERBS = {"is": ("is", "are"), "has": ("has", "have"), "was": ("was", "were"), "does": ("does", "do")}
_NO_SPACE_BEFORE = frozenset(",.;:?)")


@dataclass(frozen=True, slots=True)
class Subject:
    """An organ as the subject of a sentence. ``is_paired`` where its plural means both sides."""

    place: str
    say: tuple[str, ...]
    is_plural: bool
    is_paired: bool


@dataclass(slots=True)
class Writer:
    """Writes the opened parts of a template for its actors."""

    rng: random.Random
    actors: dict[int, Actor]
    attributes: AttributePhrases
    words: Words
    place_words: PlaceWords
    subjects: Mapping[str, Subject]
    pieces: list[str] = field(default_factory=list)
    cue_piece: int = -1
    cue: str = ""
    subject_is_plural: bool = False

    def write(self, parts: list[str | Slot]) -> None:
        """Add the parts of a template to the pieces."""
        for part in parts:
            if isinstance(part, str):
                self.pieces.append(part)
            else:
                self.pieces.append(self._fill(part))

    def _fill(self, slot: Slot) -> str:
        if not slot.number:
            return self._fill_general(slot)
        actor = self.actors[slot.number]
        method = getattr(self, f"_say_{slot.name}", None)
        if method is None:
            raise ValueError(f"no slot is called {slot.name!r}")
        text: str = method(actor, slot.argument)
        return text

    def _fill_general(self, slot: Slot) -> str:
        if slot.name == "list":
            return self.rng.choice(self.words.lists[slot.argument])
        if slot.name == "size":
            return self._size()
        if slot.name == "number":
            return str(self.rng.randint(2, 12))
        raise ValueError(f"no slot without a number is called {slot.name!r}")

    # What names the finding

    def _say_finding(self, actor: Actor, _: str) -> str:
        assert actor.filler is not None
        inner = actor.filler.inner
        actor.places += inner.places
        actor.sides += inner.sides
        actor.is_placed |= bool(inner.sides)
        actor.is_both |= actor.filler.is_plural and inner.ends_in_pair
        actor.severity += [inner.severity] if inner.severity else []
        actor.temporality += [inner.temporality] if inner.temporality else []
        actor.pieces.append(len(self.pieces))
        return actor.filler.text

    _say_adjective = _say_clause = _say_fragment = _say_denial = _say_head = _say_finding

    def _say_modifier(self, actor: Actor, _: str) -> str:
        assert actor.filler is not None
        modifier, inner = self.rng.choice(actor.filler.modifiers)
        actor.severity += [inner.severity] if inner.severity else []
        actor.temporality += [inner.temporality] if inner.temporality else []
        actor.pieces.append(len(self.pieces))
        return modifier

    def _say_organ(self, actor: Actor, number: str) -> str:
        assert actor.normal is not None
        actor.pieces.append(len(self.pieces))
        return self.rng.choice(actor.normal.sided if number == "one" else actor.normal.say)

    def _say_subject(self, actor: Actor, _: str) -> str:
        """Say the organ that an adjective is said of: "lungs" for "hyperinflated"."""
        assert actor.filler is not None
        subject = self.subjects[actor.filler.concept.anatomy or ""]
        actor.places.append(subject.place)
        actor.is_both |= subject.is_paired
        self.subject_is_plural = subject.is_plural
        return self.rng.choice(subject.say)

    def _say_subjectis(self, _: Actor, __: str) -> str:
        return "are" if self.subject_is_plural else "is"

    def _say_cue(self, actor: Actor, argument: str) -> str:
        assert actor.normal is not None
        cues = [cue for cue in actor.normal.cues if argument != "first" or not cue.startswith("within")]
        for other in self.actors.values():
            if other.normal is not None:
                cues = [cue for cue in cues if cue in other.normal.cues] or ["unremarkable"]
        self.cue_piece = len(self.pieces)
        self.cue = self.rng.choice(cues)
        return self.cue

    def _say_region(self, actor: Actor, _: str) -> str:
        assert actor.filler is not None
        organ = actor.filler.concept.anatomy or ""
        return self.rng.choice(self.place_words.headings[organ])

    # What stands around it

    def _say_a(self, actor: Actor, _: str) -> str:
        filler = actor.filler
        return _ARTICLE if filler is not None and filler.is_countable and not filler.is_plural else ""

    def _verb(self, actor: Actor, name: str) -> str:
        return _VERBS[name][actor.is_plural]

    def _say_is(self, actor: Actor, _: str) -> str:
        return self._verb(actor, "is")

    def _say_has(self, actor: Actor, _: str) -> str:
        return self._verb(actor, "has")

    def _say_was(self, actor: Actor, _: str) -> str:
        return self._verb(actor, "was")

    def _say_does(self, actor: Actor, _: str) -> str:
        return self._verb(actor, "does")

    def _say_v(self, actor: Actor, verb: str) -> str:
        return verb if actor.is_plural else verb + "s"

    def _say_severity(self, actor: Actor, allowed: str) -> str:
        assert actor.filler is not None
        text, value = self.attributes.severity(self.rng, is_countable=actor.filler.is_countable, allowed=allowed)
        actor.severity.append(value)
        return text

    def _say_severely(self, actor: Actor, _: str) -> str:
        text, value = self.attributes.adverb(self.rng)
        actor.severity.append(value)
        return text

    def _say_change(self, actor: Actor, allowed: str) -> str:
        text, value = self.attributes.change(self.rng, allowed)
        actor.temporality.append(value)
        return text

    def _say_changed(self, actor: Actor, allowed: str) -> str:
        text, value = self.attributes.predicate(self.rng, allowed)
        actor.temporality.append(value)
        return text

    def _say_side(self, actor: Actor, allowed: str) -> str:
        assert actor.filler is not None
        is_many = actor.filler.is_plural or not actor.filler.is_countable
        text, value = self.attributes.side(self.rng, is_many=is_many, allowed=allowed)
        actor.add_side(value)
        return text

    def _say_onside(self, actor: Actor, allowed: str) -> str:
        value = self.rng.choice(allowed.split(",") if allowed else ("left", "right"))
        actor.add_side(value)
        return f"on the {value}"

    def _place(self, actor: Actor, *, needs_adjective: bool = False) -> Place:
        assert actor.filler is not None
        places = actor.filler.places
        if needs_adjective:
            places = tuple(p for p in places if any(own is None for _, own in p.adjectives))
        parts = [place for place in places if not place.is_organ]
        if parts and actor.label.pool != "pathology":
            return self.rng.choice(parts)  # a cause among other causes is no other concept elsewhere
        # Places within the organ are what reports name; an organ itself matters where it changes the concept.
        return self.rng.choice(parts if parts and self.rng.random() < 0.8 else places)

    def _say_loc(self, actor: Actor, allowed: str) -> str:
        if allowed == "tip":
            return self._say_tip(actor)
        place = self._place(actor)
        rng = self.rng
        if place.abbreviations and (not place.nouns or rng.random() < 0.5):
            actor.add_place(place.id, place.side)
            return f"{place.preposition} the {rng.choice(place.abbreviations)}"
        number = rng.randrange(len(place.nouns))
        if place.is_sided and not actor.sides and not allowed:
            if place.is_two and rng.random() < 0.2:
                actor.add_place(place.id, "bilateral")
                return f"{place.preposition} both {place.plurals[number]}"
            if place.is_paired and rng.random() < 0.15:
                actor.add_place(place.id, None, is_both=True)
                return f"{place.preposition} the {place.plurals[number]}"
            side = rng.choice(("left", "right"))
            actor.add_place(place.id, side)
            return f"{place.preposition} the {side} {place.nouns[number]}"
        actor.add_place(place.id, place.side)
        return f"{place.preposition} the {place.nouns[number]}"

    def _say_tip(self, actor: Actor) -> str:
        assert actor.filler is not None
        tip = self.rng.choice([t for t in self.place_words.tips if actor.filler.concept.id in t.concepts])
        actor.add_place(tip.place, None)
        return tip.say

    def _say_site(self, actor: Actor, _: str) -> str:
        """Say the place before the finding: "right lower lobe", "left basilar", "bibasilar", "RUL"."""
        place, rng = self._place(actor), self.rng
        if place.abbreviations and (not place.nouns or rng.random() < 0.5):
            actor.add_place(place.id, place.side)
            return rng.choice(place.abbreviations)
        if place.adjectives and rng.random() < 0.5:
            text, own = rng.choice(place.adjectives)
        else:
            text, own = rng.choice(place.nouns), None
        if own is None and place.is_sided:
            own = rng.choice(("left", "right"))
            text = f"{own} {text}"
        actor.add_place(place.id, own or place.side)
        return text

    def _say_adj(self, actor: Actor, _: str) -> str:
        """Say the place as an adjective without a side: "basilar"."""
        place = self._place(actor, needs_adjective=True)
        plain = [text for text, own in place.adjectives if own is None]
        actor.add_place(place.id, place.side)
        return self.rng.choice(plain)

    def _say_size(self, actor: Actor, _: str) -> str:
        return self._size()

    def _size(self) -> str:
        rng = self.rng
        if rng.random() < 0.5:
            return f"{rng.randint(2, 29)} mm"
        if rng.random() < 0.5:
            return f"{rng.randint(1, 9)}.{rng.randint(0, 9)} cm"
        return f"{rng.randint(1, 6)}.{rng.randint(1, 9)} x {rng.randint(1, 6)}.{rng.randint(0, 9)} cm"

    # The text

    def text(self) -> tuple[str, list[tuple[int, int]]]:
        """Return the pieces put together, with spaces and articles in order, and where each piece came to stand."""
        out = ""
        spans: list[tuple[int, int]] = []
        pieces = self.pieces
        for i, piece in enumerate(pieces):
            if piece == _ARTICLE:
                following = next((p.strip() for p in pieces[i + 1 :] if p.strip()), "")
                piece = English.article(following)
            if out.endswith(" ") or not out:
                piece = piece.lstrip(" ")
            if piece and piece[0] in _NO_SPACE_BEFORE:
                out = out.rstrip(" ")
            start = len(out)
            out += piece
            spans.append((start, len(out)))
        return out[:1].upper() + out[1:].rstrip(), spans
