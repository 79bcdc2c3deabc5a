"""The human codes of Open-i: MeSH headings with qualifiers, and what they assign.

A code reads ``heading/qualifier/qualifier`` ("Opacity/lung/base/left"). Two radiologically trained coders assigned them
(Demner-Fushman et al., JAMIA 2016, doi:10.1093/jamia/ocv080).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import yaml

from corpora.vocabulary.schema import LabelSet


@dataclass(frozen=True, slots=True)
class MeshCode:
    """One code: its heading, and its qualifiers in their order."""

    heading: str
    qualifiers: tuple[str, ...] = ()


def parse_code(code: str) -> MeshCode:
    """Return a code in parts, stray spaces removed.

    >>> parse_code("Opacity/lung/base/left")
    MeshCode(heading='Opacity', qualifiers=('lung', 'base', 'left'))
    """
    heading, *qualifiers = (part.strip() for part in code.split("/"))
    return MeshCode(heading, tuple(q.lower() for q in qualifiers if q))


def labels_from_codes(codes: Iterable[str], label_set: LabelSet) -> frozenset[str]:
    """Return the labels of a set that a report's codes assign, by the headings each label lists."""
    headings = {parse_code(code).heading for code in codes}
    return frozenset(label.name for label in label_set.labels if headings & set(label.mesh))


@dataclass(frozen=True, slots=True)
class QualifierMapping:
    """What qualifiers and places of the vocabulary stand for (``corpora/data/mesh_qualifiers.yaml``)."""

    sides: Mapping[str, tuple[str, ...]]
    implied_sides: Mapping[str, str]
    places: Mapping[str, str]
    anatomy: Mapping[str, str]
    anatomy_by_side: Mapping[str, Mapping[str, str]]
    inherent: Mapping[str, tuple[str, ...]]

    def sides_of(self, codes: Iterable[MeshCode]) -> frozenset[str]:
        """Return the sides that the codes of one heading give: a subset of {left, right}, empty if none does."""
        codes = tuple(codes)
        sides = {side for code in codes for q in code.qualifiers for side in self.sides.get(q, ())}
        if sides:
            for code in codes:
                if not any(q in self.sides for q in code.qualifiers):
                    sides |= {self.implied_sides[q] for q in code.qualifiers if q in self.implied_sides}
        return frozenset(sides)

    def places_of(self, heading: str, codes: Iterable[MeshCode]) -> frozenset[str]:
        """Return the scored places that the codes of one heading give."""
        places = {self.places[q] for code in codes for q in code.qualifiers if q in self.places}
        return frozenset(places - set(self.inherent.get(heading, ())))

    def scored(self, heading: str, places: Collection[tuple[str, str | None]]) -> frozenset[str]:
        """Return places of the vocabulary, each with its side, as scored places, less those a heading names itself.

        >>> sorted(load_qualifiers().scored("Opacity", [("mid_lung", "left"), ("right_lower_lobe", "right")]))
        ['lingula', 'lower_lobe']
        """
        mapped = {self.anatomy[place] for place, _ in places if place in self.anatomy}
        for place, side in places:
            if place in self.anatomy_by_side:
                mapped.add(self.anatomy_by_side[place][side or "unknown"])
        return frozenset(mapped - set(self.inherent.get(heading, ())))


@lru_cache(maxsize=1)
def load_qualifiers() -> QualifierMapping:
    """Return the committed mapping of qualifiers."""
    raw: dict[str, Any] = yaml.safe_load(
        resources.files("corpora").joinpath("data/mesh_qualifiers.yaml").read_text("utf-8")
    )
    return QualifierMapping(
        sides={q: tuple(sides) for q, sides in raw["sides"].items()},
        implied_sides=dict(raw["implied_sides"]),
        places=dict(raw["places"]),
        anatomy=dict(raw["anatomy"]),
        anatomy_by_side=dict(raw["anatomy_by_side"]),
        inherent={heading: tuple(places) for heading, places in raw["inherent"].items()},
    )
