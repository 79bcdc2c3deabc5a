"""The findings of one sentence while it is written: what was drawn for each, and what its slots say of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpora.findings import Assertion, Hedge
from corpora.grammar.fillers import Filler
from corpora.grammar.schema import NormalPlace, Says, SlotLabel
from corpora.grammar.sentences import GrammarFinding
from corpora.vocabulary import Vocabulary


@dataclass(slots=True)
class Actor:
    """One numbered finding, which the slots of its number add to in the order of the text.

    ``places`` are those in its name and those around it, ``outside`` the latter alone; ``pieces`` are the numbers of
    the pieces of text that its span runs over.
    """

    label: SlotLabel
    filler: Filler | None
    normal: NormalPlace | None = None
    modifier: str = ""
    places: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    sides: list[str] = field(default_factory=list)
    severity: list[str] = field(default_factory=list)
    temporality: list[str] = field(default_factory=list)
    pieces: list[int] = field(default_factory=list)
    is_placed: bool = False
    is_both: bool = False  # a plural that means both sides
    cue: str = ""

    @property
    def is_plural(self) -> bool:
        """Return whether verbs said of it are in the plural."""
        said = self.filler or self.normal
        return said is not None and said.is_plural

    def add_place(self, place: str, side: str | None, *, is_both: bool = False) -> None:
        """Say that the finding lies somewhere."""
        self.is_placed = True
        self.places.append(place)
        self.outside.append(place)
        self.is_both |= is_both
        if side:
            self.sides.append(side)

    def add_side(self, side: str) -> None:
        """Say the finding's side."""
        self.is_placed = True
        self.sides.append(side)

    def take_place(self, source: Actor) -> None:
        """Lie where another finding of the sentence lies, as members of a list do."""
        if self.is_placed or not source.is_placed:
            return
        self.sides = list(source.sides)
        self.places += [place for place in source.places if place not in self.places]
        self.outside += source.places
        self.is_both |= source.is_both
        self.is_placed = True


def share_places(actors: dict[int, Actor], vocabulary: Vocabulary) -> None:
    """Let findings lie where the ones lie that their labels refer to (`SlotLabel.shares`, `SlotLabel.follows`)."""
    for actor in actors.values():
        label = actor.label
        if label.shares is not None:
            actor.take_place(actors[label.shares])
        elif label.follows is not None:
            source = actors[label.follows]
            pair = [a.filler.concept.id for a in (source, actor) if a.filler is not None]
            if len(pair) == 2 and all(concept in vocabulary.pulmonary for concept in pair):
                actor.take_place(source)


def finding_of(actor: Actor, vocabulary: Vocabulary, start: int, end: int, last_word: str) -> GrammarFinding | None:
    """Return what an actor with a name comes to, or ``None`` where nothing is observed of it."""
    says, filler = actor.label.says, actor.filler
    assertion = says.assertion
    if assertion is None or filler is None:
        return None
    hedge = says.hedge
    if says is Says.INHERENT and filler.hedge is not None:
        assertion = Assertion.UNCERTAIN
        hedge = Hedge.BORDERLINE if filler.hedge == "borderline" else Hedge.MODAL
    # Places in the name itself refine nothing: an intrathoracic stomach is a hiatal hernia by definition.
    concept_id = _refined(actor, filler, vocabulary)
    _, location = vocabulary.organ_and_location(concept_id, list(dict.fromkeys(actor.places)))
    severity = actor.label.severity or next(iter(actor.severity), None)
    temporality = actor.label.temporality or next(iter(actor.temporality), None)
    return GrammarFinding(
        concept_id=concept_id,
        start=start,
        end=end,
        assertion=assertion,
        hedge=hedge,
        laterality=_laterality(actor, vocabulary, concept_id, assertion, last_word),
        location=location,
        severity=severity,
        temporality=temporality,
    )


def _refined(actor: Actor, filler: Filler, vocabulary: Vocabulary) -> str:
    """Return the concept that is meant where the finding lies.

    A place in the name itself can only make it more special (a tortuous descending aorta is a thoracic one): an
    intrathoracic stomach is a hiatal hernia, and no hernia of the abdominal wall for all that a stomach is abdominal.
    """
    concept_id = filler.concept.id
    if filler.form in ("head", "adjective"):
        return vocabulary.refined(concept_id, list(dict.fromkeys(actor.places)))
    refined = vocabulary.refined(concept_id, actor.outside)
    if refined == concept_id:
        named = vocabulary.refined(concept_id, filler.inner.places)
        if named != concept_id and concept_id in vocabulary.ancestors(named):
            return named
    return refined


def _laterality(
    actor: Actor, vocabulary: Vocabulary, concept_id: str, assertion: Assertion, last_word: str
) -> str | None:
    sides = set(actor.sides)
    if not sides:
        is_pair = vocabulary.findings[concept_id].is_paired and _is_plural(last_word)
        return "bilateral" if assertion is not Assertion.NEGATIVE and (is_pair or actor.is_both) else None
    return next(iter(sides)) if len(sides) == 1 else "bilateral"


def _is_plural(word: str) -> bool:
    return word.lower().endswith("s") and not word.lower().endswith("ss")


def denials_of(actor: Actor, start: int, end: int, cue: str, vocabulary: Vocabulary) -> list[GrammarFinding]:
    """Return what calling a place normal denies: "the lungs are clear" denies lung opacity."""
    assert actor.normal is not None
    entry = vocabulary.anatomy[actor.normal.place]
    denied = entry.normal_denies + (entry.intact_denies if "intact" in cue else ())
    return [GrammarFinding(concept, start, end, Assertion.NEGATIVE) for concept in denied]
