"""Groups of fillers to draw from, by what a slot needs; each group is put together once and drawn from many times."""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from corpora.grammar.fillers import Filler, FillerIndex
from corpora.grammar.places import Place
from corpora.grammar.schema import Words
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.schema import FindingKind

_KINDS = {
    "pathology": (FindingKind.PATHOLOGY, FindingKind.VARIANT),
    "device": (FindingKind.DEVICE,),
    "procedure": (FindingKind.PROCEDURE,),
    "technical": (FindingKind.TECHNICAL,),
}
_REGIONS = {
    "chest": ("thorax",),
    "abdomen": ("abdomen", "pelvis"),
    "head": ("brain", "paranasal_sinus", "orbit", "skull"),
}
_LIMBS = "limbs"  # and the spine: what belongs to none of the others


@dataclass(frozen=True, slots=True)
class Needs:
    """What the slots of a finding ask of the phrase that fills it."""

    pool: str = "pathology"
    concepts: tuple[str, ...] = ()
    form: str = "noun"
    number: str = ""  # "one", "many" or either
    has_side: bool = False
    has_place: bool = False
    has_place_adjective: bool = False
    has_severity: bool = False
    has_change: bool = False
    is_measured: bool = False
    is_hedged: bool = False
    is_plain: bool = False  # nothing in the phrase that its neighbours in a list could be taken to share
    has_subject: bool = False  # an organ that can be the subject of an adjective
    region: str = ""
    held_out: bool = False


class Pool:
    """Fillers with weights."""

    def __init__(self, fillers: list[Filler]) -> None:
        self.fillers = fillers
        self._weights = list(accumulate(filler.weight for filler in fillers))

    def draw(self, rng: random.Random) -> Filler:
        """Return one filler at random."""
        return self.fillers[min(bisect(self._weights, rng.random() * self._weights[-1]), len(self.fillers) - 1)]

    def __bool__(self) -> bool:
        return bool(self.fillers)


class Pools:
    """All groups of fillers that were asked for so far."""

    def __init__(self, vocabulary: Vocabulary, index: FillerIndex, words: Words, subjects: frozenset[str]) -> None:
        self._vocabulary = vocabulary
        self._index = index
        self._words = words
        self._subjects = subjects
        self._made: dict[Needs, Pool] = {}
        self._regions: dict[str, frozenset[str]] = {}

    def get(self, needs: Needs) -> Pool:
        """Return the fillers that meet the needs; there may be none."""
        pool = self._made.get(needs)
        if pool is None:
            suits = self._test(needs)
            pool = self._made[needs] = Pool([filler for filler in self._index.all if suits(filler)])
        return pool

    def regions(self, concept_id: str) -> frozenset[str]:
        """Return the parts of the body that a concept can belong to; none where it can be anywhere."""
        known = self._regions.get(concept_id)
        if known is None:
            known = self._regions[concept_id] = frozenset(self._iter_regions(concept_id))
        return known

    def _iter_regions(self, concept_id: str) -> list[str]:
        organ = self._vocabulary.findings[concept_id].anatomy
        return [] if organ is None else list(self.regions_of_place(organ))

    def regions_of_place(self, organ: str) -> Sequence[str]:
        """Return the parts of the body that an organ can belong to; none where it is everywhere."""
        above = {organ, *self._vocabulary.anatomy_ancestors(organ)}
        found = [region for region, tops in _REGIONS.items() if above & set(tops)]
        # Bone, lymph nodes and soft tissue are everywhere; what is left are the limbs and the spine.
        return found or ([] if self._vocabulary.anatomy[organ].chest is None else [_LIMBS])

    def _test(self, needs: Needs) -> Callable[[Filler], bool]:
        kinds = _KINDS.get(needs.pool, _KINDS["pathology"] if needs.pool in (*_REGIONS, _LIMBS) else None)
        region = needs.pool if needs.pool in (*_REGIONS, _LIMBS) else needs.region
        is_strict = region == needs.pool
        members = frozenset(needs.concepts) | frozenset(self._words.pools.get(needs.pool, ()))
        is_pulmonary = needs.pool == "pulmonary"
        pulmonary = self._vocabulary.pulmonary

        def suits(filler: Filler) -> bool:
            concept = filler.concept
            if members:
                is_member = concept.id in members
            elif needs.pool == "settled":
                is_member = concept.kind is FindingKind.PATHOLOGY and not concept.refine
            elif is_pulmonary:
                is_member = concept.id in pulmonary and concept.kind is FindingKind.PATHOLOGY
            else:
                is_member = kinds is None or concept.kind in kinds
            return (
                is_member
                and filler.form == needs.form
                and (not needs.held_out or filler.is_held_out)
                and (needs.held_out or not filler.is_held_out)
                and (not needs.number or filler.is_plural == (needs.number == "many"))
                and (needs.number != "one" or filler.is_countable)
                and (not needs.has_side or filler.has_sides)
                and (not needs.has_place or any(p.nouns or p.abbreviations for p in filler.places))
                and (not needs.has_place_adjective or any(_has_plain_adjective(p) for p in filler.places))
                and (not needs.has_severity or filler.inner.severity is None)
                and (not needs.has_change or filler.inner.temporality is None)
                and (not needs.is_plain or not filler.inner.is_descriptive)
                and (not needs.has_subject or concept.anatomy in self._subjects)
                and (not needs.is_measured or filler.is_measurable)
                and (filler.hedge is not None) == needs.is_hedged
                and (not region or region in (regions := self.regions(concept.id)) or not (regions or is_strict))
            )

        return suits


def _has_plain_adjective(place: Place) -> bool:
    return any(own is None for _, own in place.adjectives)
