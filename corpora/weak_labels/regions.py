"""Region hints: where on the picture a report's findings are to be expected.

The patient's left is on the right of a frontal picture (PA and AP alike); Patient Orientation says where it is not.
Lung boxes or masks, where there are any, carry the patient's sides themselves and are believed. Each finding gives
hints or one reason why it gives none, so the counts add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from corpora.findings import Assertion, Finding
from corpora.vocabulary.load import Vocabulary
from corpora.weak_labels.region_table import Region, RegionTable
from corpora.weak_labels.shapes import Box, Point, box_around, box_of_mask, rasterise, split_lung_mask
from corpora.weak_labels.views import Lie, ViewKind, lie_of, view_kind


class NoHint(StrEnum):
    """Why a finding gives no hint."""

    NEGATIVE = "negative"  # the report says it is not there
    UNCERTAIN = "uncertain"  # left out unless asked for
    NOT_FRONTAL = "not_frontal"  # a lateral view, unless asked for; a view that is unknown or neither
    LIE_UNKNOWN = "lie_unknown"  # the header says that the picture lies on its side
    NO_REGION = "no_region"  # neither finding nor place has a region in the table
    NO_SIDE = "no_side"  # it lies in a lung, and the report does not say in which
    SIDES_DISAGREE = "sides_disagree"  # a side and a place of the other side
    SIDE_NOT_IMAGED = "side_not_imaged"  # the picture shows the other side alone


class Pedigree(StrEnum):
    """What a hint was measured on."""

    LUNG_BOXES = "lung_boxes"
    LUNG_MASKS = "lung_masks"
    THORAX_DEFAULT = "thorax_default"


@dataclass(frozen=True, slots=True)
class RegionHint:
    """A place on the picture for one finding, in fractions of width and height.

    ``finding`` is the index into the report's findings; ``side`` the patient's, or ``None`` for the middle;
    ``place`` the anatomy id or concept id whose region it is.
    """

    finding: int
    concept_id: str
    side: str | None
    place: str
    severity: str | None
    box: Box
    polygon: tuple[Point, ...]
    pedigree: Pedigree


@dataclass(frozen=True, slots=True)
class Hints:
    """The hints of a report on one picture, and for each finding without any the reason."""

    hints: tuple[RegionHint, ...]
    without: tuple[tuple[int, NoHint], ...]


@dataclass(frozen=True, slots=True)
class ChestGeometry:
    """Where the lungs are in a picture, by the patient's sides, and how the picture lies."""

    kind: ViewKind
    lie: Lie | None
    right: Box | None
    left: Box | None
    pedigree: Pedigree
    laterality: str | None = None
    right_mask: npt.NDArray[np.bool_] | None = None
    left_mask: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of_image(
        cls,
        table: RegionTable,
        *,
        view: str | None,
        patient_orientation: str | None = None,
        laterality: str | None = None,
        right: Box | None = None,
        left: Box | None = None,
        lung_mask: npt.NDArray[np.bool_] | None = None,
    ) -> ChestGeometry:
        """Return the geometry of a picture from its header and what is known of its lungs.

        Parameters
        ----------
        view, patient_orientation, laterality
            As the image index has them. A laterality of ``L`` or ``R`` means that the picture shows that side alone.
        right, left
            Boxes around the patient's lungs; one alone will do for its side.
        lung_mask
            One mask (height, width) of both lungs; used where no box is given.
        """
        kind, lie = view_kind(view, patient_orientation), lie_of(patient_orientation)
        one_side = laterality if laterality in ("L", "R") else None
        if right is not None or left is not None:
            return cls(kind, lie, right, left, Pedigree.LUNG_BOXES, one_side)
        if lung_mask is not None and lung_mask.any():
            right_mask, left_mask = split_lung_mask(lung_mask, lie)
            return cls(
                kind,
                lie,
                box_of_mask(right_mask),
                box_of_mask(left_mask),
                Pedigree.LUNG_MASKS,
                one_side,
                right_mask,
                left_mask,
            )
        if kind is ViewKind.LATERAL:
            box = table.default_box("lateral")
            return cls(kind, lie, box, box, Pedigree.THORAX_DEFAULT, one_side)
        # A picture of one side alone has no two lungs: nothing can be said of it without boxes.
        if lie is None or one_side:
            return cls(kind, lie, None, None, Pedigree.THORAX_DEFAULT, one_side)
        return cls(
            kind,
            lie,
            table.default_box("right").turned(lie),
            table.default_box("left").turned(lie),
            Pedigree.THORAX_DEFAULT,
        )

    def lung(self, side: str) -> Box | None:
        """Return the box around the patient's right or left lung."""
        return self.right if side == "right" else self.left

    @property
    def left_is_on_the_right(self) -> bool:
        """Return whether the patient's left is on the right of the picture; two boxes say it, or else the header."""
        if self.right is not None and self.left is not None and self.right != self.left:
            return self.left.x_min + self.left.x_max > self.right.x_min + self.right.x_max
        return self.lie is None or not self.lie.is_mirrored


def hint_regions(
    findings: Sequence[Finding],
    geometry: ChestGeometry,
    table: RegionTable,
    vocabulary: Vocabulary,
    *,
    include_uncertain: bool = False,
    include_lateral: bool = False,
) -> Hints:
    """Return where on a picture the findings of its report are to be expected.

    "Small left pleural effusion" gives the lowest part of the patient's left lung, which a frontal picture shows on its
    right. A finding of both sides gives two hints, one with several places a hint for each.

    Parameters
    ----------
    include_uncertain
        Hints for uncertain findings too. A negative finding never gives one.
    include_lateral
        Hints on lateral views too: there the sides lie on one another, so a hint has a height and no side.
    """
    hints: list[RegionHint] = []
    without: list[tuple[int, NoHint]] = []
    for index, finding in enumerate(findings):
        reason = _refused(finding, geometry, include_uncertain=include_uncertain, include_lateral=include_lateral)
        found = reason or _hints_of(index, finding, geometry, table, vocabulary)
        if isinstance(found, NoHint):
            without.append((index, found))
        else:
            hints += found
    return Hints(tuple(hints), tuple(without))


def _refused(
    finding: Finding, geometry: ChestGeometry, *, include_uncertain: bool, include_lateral: bool
) -> NoHint | None:
    if finding.assertion is Assertion.NEGATIVE:
        return NoHint.NEGATIVE
    if finding.assertion is Assertion.UNCERTAIN and not include_uncertain:
        return NoHint.UNCERTAIN
    if geometry.kind is ViewKind.LATERAL:
        return None if include_lateral else NoHint.NOT_FRONTAL
    if geometry.kind is not ViewKind.FRONTAL:
        return NoHint.NOT_FRONTAL
    return NoHint.LIE_UNKNOWN if geometry.lie is None else None


def _hints_of(
    index: int, finding: Finding, geometry: ChestGeometry, table: RegionTable, vocabulary: Vocabulary
) -> list[RegionHint] | NoHint:
    hints: list[RegionHint] = []
    reasons: list[NoHint] = []
    for place, region in _regions_of(finding, table, vocabulary):
        sides = _sides_of(finding, place, region, vocabulary)
        if isinstance(sides, NoHint):
            reasons.append(sides)
            continue
        is_lateral = geometry.kind is ViewKind.LATERAL
        for side in dict.fromkeys(None if is_lateral else side for side in sides):
            polygon = _placed(region, finding.severity, side, geometry)
            if polygon is None:
                reasons.append(NoHint.SIDE_NOT_IMAGED)
            else:
                box = box_around(polygon)
                hint = (finding.concept_id, side, place, finding.severity, box, polygon, geometry.pedigree)
                hints.append(RegionHint(index, *hint))
    return hints or (reasons[0] if reasons else NoHint.NO_REGION)


def _regions_of(finding: Finding, table: RegionTable, vocabulary: Vocabulary) -> list[tuple[str, Region]]:
    """Return the regions of the places named; or else of the concept, the nearest above it, or its organ."""
    named = [(place, region) for place in finding.location if (region := _of_place(place, table, vocabulary))]
    if named:
        return named
    known = vocabulary.findings
    above = vocabulary.ancestors(finding.concept_id) if finding.concept_id in known else ()
    for concept in (finding.concept_id, *above):
        if concept in table.concepts:
            return [(concept, table.concepts[concept])]
    if finding.anatomy and (region := _of_place(finding.anatomy, table, vocabulary)):
        return [(finding.anatomy, region)]
    return []


def _of_place(place: str, table: RegionTable, vocabulary: Vocabulary) -> Region | None:
    """Return the region of a place or of the nearest one within an organ above it."""
    if place in table.places or place not in vocabulary.anatomy:
        return table.places.get(place)
    above = (up for up in vocabulary.anatomy_ancestors(place) if up in table.places)
    return next((table.places[up] for up in above), None)


def _sides_of(finding: Finding, place: str, region: Region, vocabulary: Vocabulary) -> tuple[str | None, ...] | NoHint:
    if region.frame == "thorax":
        return (None,)
    entry = vocabulary.anatomy.get(place)
    implied = (entry.laterality if entry else None) or region.side
    said = finding.laterality
    if implied:
        return (implied,) if said in (None, "bilateral", implied) else NoHint.SIDES_DISAGREE
    if said == "bilateral":
        return ("right", "left")
    return (said,) if said in ("right", "left") else NoHint.NO_SIDE


def _placed(
    region: Region, severity: str | None, side: str | None, geometry: ChestGeometry
) -> tuple[Point, ...] | None:
    """Return the region's polygon on the picture, or ``None`` where the picture does not show its frame."""
    points = region.points(severity)
    if geometry.kind is ViewKind.LATERAL:
        frame = geometry.right or geometry.left
        if frame is None:
            return None
        low, high = min(v for _, v in points), max(v for _, v in points)
        return _stretched(((0.0, low), (1.0, low), (1.0, high), (0.0, high)), frame, Lie())
    upside_down = geometry.lie is not None and geometry.lie.is_upside_down
    if side is None:
        if geometry.right is None or geometry.left is None:
            return None
        lie = Lie(is_mirrored=not geometry.left_is_on_the_right, is_upside_down=upside_down)
        return _stretched(points, geometry.right.union(geometry.left), lie)
    lung = geometry.lung(side)
    if lung is None or (geometry.laterality and geometry.laterality != side[0].upper()):
        return None
    # u runs outwards: to the picture's right for the lung on the right of the picture.
    lie = Lie(is_mirrored=(side == "left") != geometry.left_is_on_the_right, is_upside_down=upside_down)
    return _stretched(points, lung, lie)


def _stretched(points: Iterable[Point], frame: Box, lie: Lie) -> tuple[Point, ...]:
    width, height = frame.x_max - frame.x_min, frame.y_max - frame.y_min
    return tuple(
        (
            frame.x_min + (1 - u if lie.is_mirrored else u) * width,
            frame.y_min + (1 - v if lie.is_upside_down else v) * height,
        )
        for u, v in points
    )


def hint_mask(hint: RegionHint, geometry: ChestGeometry, width: int, height: int) -> npt.NDArray[np.bool_]:
    """Return the raster (height, width) of a hint, cut to its lung's mask where the geometry has one of that size."""
    raster = rasterise(hint.polygon, width, height)
    mask = {"right": geometry.right_mask, "left": geometry.left_mask}.get(hint.side or "")
    return raster & mask if mask is not None and mask.shape == raster.shape else raster
