"""Where a finding is expected on the picture: the patient's left, mirrored pictures, masks and what gives no hint."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.findings import Assertion, Finding
from corpora.vocabulary.load import load_vocabulary
from corpora.weak_labels.errors import RegionsInvalid
from corpora.weak_labels.region_table import load_regions
from corpora.weak_labels.regions import ChestGeometry, NoHint, Pedigree, RegionHint, hint_mask, hint_regions
from corpora.weak_labels.shapes import Box, box_around, box_of_mask, rasterise, split_lung_mask
from corpora.weak_labels.views import Lie, ViewKind, lie_of, view_kind

VOCABULARY = load_vocabulary()
TABLE = load_regions(VOCABULARY)


def finding(
    concept: str = "pleural_effusion",
    *,
    laterality: str | None = "left",
    location: tuple[str, ...] = (),
    severity: str | None = None,
    assertion: Assertion = Assertion.POSITIVE,
    anatomy: str | None = None,
) -> Finding:
    return Finding(
        text="",
        start=0,
        end=0,
        section="findings",
        sentence=0,
        concept_id=concept,
        concept_name=concept,
        cui=None,
        assertion=assertion,
        anatomy=anatomy or VOCABULARY.findings[concept].anatomy,
        laterality=laterality,
        location=location,
        severity=severity,
    )


def frontal(view: str | None = "PA", orientation: str | None = None, laterality: str | None = None) -> ChestGeometry:
    return ChestGeometry.of_image(TABLE, view=view, patient_orientation=orientation, laterality=laterality)


def only_hint(one: Finding, geometry: ChestGeometry) -> RegionHint:
    found = hint_regions([one], geometry, TABLE, VOCABULARY)
    assert found.without == ()
    (hint,) = found.hints
    return hint


def reason(one: Finding, geometry: ChestGeometry) -> NoHint:
    found = hint_regions([one], geometry, TABLE, VOCABULARY)
    assert found.hints == ()
    ((index, why),) = found.without
    assert index == 0
    return why


@pytest.mark.parametrize("view", ["PA", "AP", "AP Supine"])
def test_the_patients_left_is_on_the_right_of_a_frontal_picture(view: str) -> None:
    hint = only_hint(finding(laterality="left"), frontal(view))
    assert hint.box.x_min >= 0.5
    assert hint.box.y_max > 0.8
    assert only_hint(finding(laterality="right"), frontal(view)).box.x_max <= 0.5
    assert hint.pedigree is Pedigree.THORAX_DEFAULT


def test_a_header_that_says_mirrored_mirrors_the_hint() -> None:
    usual = only_hint(finding(location=("left_lower_lobe",)), frontal(orientation="L\\F"))
    mirrored = only_hint(finding(location=("left_lower_lobe",)), frontal(orientation="R\\F"))
    assert usual.box == only_hint(finding(location=("left_lower_lobe",)), frontal()).box
    assert mirrored.box.x_max <= 0.5
    assert mirrored.box.x_min == pytest.approx(1 - usual.box.x_max)
    upside_down = only_hint(finding(location=("lung_apex",)), frontal(orientation="L\\H"))
    assert upside_down.box.y_max > 0.9


def test_the_outer_part_of_a_lung_is_away_from_the_middle_on_both_sides() -> None:
    for side in ("left", "right"):
        hint = only_hint(finding(severity="trace", laterality=side), frontal())
        lung = TABLE.default_box("left" if side == "left" else "right")
        outer, inner = (lung.x_max, lung.x_min) if side == "left" else (lung.x_min, lung.x_max)
        edges = (hint.box.x_min, hint.box.x_max)
        assert min(abs(edge - outer) for edge in edges) < 1e-9
        assert all(abs(edge - inner) > 0.1 for edge in edges)


def test_lung_boxes_are_believed_over_the_default() -> None:
    # A mirrored picture whose header says nothing: the boxes name the patient's sides.
    right, left = Box(0.6, 0.2, 0.9, 0.8), Box(0.1, 0.2, 0.4, 0.8)
    geometry = ChestGeometry.of_image(TABLE, view="PA", right=right, left=left)
    hint = only_hint(finding(location=("left_lower_lobe",)), geometry)
    assert hint.pedigree is Pedigree.LUNG_BOXES
    assert (hint.box.x_min, hint.box.x_max) == (0.1, 0.4)
    trace = only_hint(finding(severity="trace"), geometry)
    assert trace.box.x_min == pytest.approx(0.1)
    heart = only_hint(finding("cardiomegaly", laterality=None), geometry)
    # The heart reaches further to the patient's left, which is the picture's left here.
    assert heart.box.x_min - 0.1 < 0.9 - heart.box.x_max


def test_both_sides_give_two_hints_and_several_places_several() -> None:
    found = hint_regions([finding(laterality="bilateral")], frontal(), TABLE, VOCABULARY)
    assert [hint.side for hint in found.hints] == ["right", "left"]
    two = finding("lung_opacity", laterality="right", location=("right_upper_lobe", "right_middle_lobe"))
    assert [hint.place for hint in hint_regions([two], frontal(), TABLE, VOCABULARY).hints] == list(two.location)


def test_a_larger_effusion_reaches_higher() -> None:
    tops = [
        only_hint(finding(severity=severity), frontal()).box.y_min
        for severity in ("trace", "small", "moderate", "large")
    ]
    assert tops == sorted(tops, reverse=True)
    assert len(set(tops)) == 4


def test_a_place_that_has_a_side_needs_none_said() -> None:
    assert only_hint(finding("atelectasis", laterality=None, location=("lingula",)), frontal()).side == "left"
    assert only_hint(finding("lung_opacity", laterality=None, location=("retrocardiac",)), frontal()).side == "left"


@pytest.mark.parametrize(
    ("one", "geometry", "why"),
    [
        (finding(assertion=Assertion.NEGATIVE), frontal(), NoHint.NEGATIVE),
        (finding(assertion=Assertion.UNCERTAIN), frontal(), NoHint.UNCERTAIN),
        (finding(), frontal("LATERAL"), NoHint.NOT_FRONTAL),
        (finding(), frontal(None), NoHint.NOT_FRONTAL),
        (finding(), frontal(None, "A\\F"), NoHint.NOT_FRONTAL),
        (finding(), frontal("PA", "F\\R"), NoHint.LIE_UNKNOWN),
        (finding("fracture"), frontal(), NoHint.NO_REGION),
        (finding(laterality=None), frontal(), NoHint.NO_SIDE),
        (finding(laterality="right", location=("left_lower_lobe",)), frontal(), NoHint.SIDES_DISAGREE),
        (finding(), frontal(laterality="R"), NoHint.SIDE_NOT_IMAGED),
    ],
)
def test_a_finding_without_a_hint_has_one_reason(one: Finding, geometry: ChestGeometry, why: NoHint) -> None:
    assert reason(one, geometry) is why


def test_uncertain_and_lateral_hints_come_when_asked_for() -> None:
    one = finding(assertion=Assertion.UNCERTAIN)
    assert hint_regions([one], frontal(), TABLE, VOCABULARY, include_uncertain=True).hints
    (hint,) = hint_regions(
        [finding(laterality="bilateral")], frontal("LATERAL"), TABLE, VOCABULARY, include_lateral=True
    ).hints
    assert hint.side is None
    assert hint.box.y_min > 0.5
    negative = finding(assertion=Assertion.NEGATIVE)
    assert not hint_regions([negative], frontal(), TABLE, VOCABULARY, include_uncertain=True).hints


_CONCEPTS = st.sampled_from(
    ["pleural_effusion", "pneumothorax", "atelectasis", "cardiomegaly", "fracture", "lung_nodule"]
)
_FINDINGS = st.builds(
    finding,
    _CONCEPTS,
    laterality=st.sampled_from(["left", "right", "bilateral", None]),
    location=st.lists(st.sampled_from(sorted(TABLE.places)), max_size=3, unique=True).map(tuple),
    severity=st.sampled_from([None, "trace", "small", "moderate", "large", "severe"]),
    assertion=st.sampled_from(list(Assertion)),
)


@given(st.lists(_FINDINGS, max_size=4), st.sampled_from(["L\\F", "R\\F", "L\\H", "R\\H"]), st.booleans())
def test_every_finding_is_in_exactly_one_list_and_every_hint_on_the_picture(
    findings: list[Finding], orientation: str, uncertain: bool
) -> None:
    geometry = frontal(orientation=orientation)
    found = hint_regions(findings, geometry, TABLE, VOCABULARY, include_uncertain=uncertain)
    with_hint, without = {hint.finding for hint in found.hints}, {index for index, _ in found.without}
    assert with_hint | without == set(range(len(findings)))
    assert not with_hint & without
    for hint in found.hints:
        assert findings[hint.finding].assertion is not Assertion.NEGATIVE
        mask = hint_mask(hint, geometry, 96, 80)
        assert mask.any()
        around = box_of_mask(mask)
        assert around is not None
        assert around.x_min >= hint.box.x_min - 1 / 96
        assert around.y_max <= hint.box.y_max + 1 / 80


@given(st.lists(_FINDINGS, min_size=1, max_size=3))
def test_a_mirrored_picture_has_the_mirrored_hints(findings: list[Finding]) -> None:
    usual = hint_regions(findings, frontal(orientation="L\\F"), TABLE, VOCABULARY)
    mirrored = hint_regions(findings, frontal(orientation="R\\F"), TABLE, VOCABULARY)
    for one, other in zip(usual.hints, mirrored.hints, strict=True):
        assert other.box.turned(Lie(is_mirrored=True)).overlap(one.box) == pytest.approx(1)


def test_a_mask_of_both_lungs_is_cut_into_the_patients_sides_and_cuts_the_hint() -> None:
    mask = np.zeros((100, 120), dtype=np.bool_)
    mask[10:80, 10:50] = True
    mask[10:90, 65:110] = True
    right, left = split_lung_mask(mask)
    assert np.array_equal(right | left, mask)
    assert not (right & left).any()
    assert right[:, :60].sum() == right.sum()
    swapped_right, _ = split_lung_mask(mask, Lie(is_mirrored=True))
    assert np.array_equal(swapped_right, left)
    geometry = ChestGeometry.of_image(TABLE, view="AP", lung_mask=mask)
    hint = only_hint(finding(severity="large"), geometry)
    assert hint.pedigree is Pedigree.LUNG_MASKS
    raster = hint_mask(hint, geometry, 120, 100)
    assert raster.any()
    assert not (raster & ~left).any()


def test_a_raster_covers_the_pixels_whose_centre_lies_inside() -> None:
    square = ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75))
    assert np.array_equal(rasterise(square, 4, 4), np.pad(np.ones((2, 2), dtype=np.bool_), 1))
    triangle = rasterise(((0, 0), (1, 0), (0, 1)), 100, 100)
    assert triangle.mean() == pytest.approx(0.5, abs=0.01)


def test_the_view_is_read_from_its_word_or_from_the_orientation() -> None:
    assert view_kind("Frontal") is ViewKind.FRONTAL
    assert view_kind("LLD") is ViewKind.OTHER
    assert view_kind("knee") is ViewKind.UNKNOWN
    assert view_kind(None, "L\\F") is ViewKind.FRONTAL
    assert view_kind(None, "PR\\F") is ViewKind.LATERAL
    assert view_kind(None, "nonsense") is ViewKind.UNKNOWN
    assert lie_of(None) == Lie()


def test_a_box_off_the_picture_is_cut_and_an_empty_one_refused() -> None:
    assert Box.of_pixels(-5, 0, 60, 100, width=100, height=100) == Box(0, 0, 0.55, 1)
    with pytest.raises(RegionsInvalid):
        Box(0.5, 0.5, 0.5, 0.9)
    assert box_around([(0.1, 0.2), (0.5, 0.9), (0.3, 0.4)]) == Box(0.1, 0.2, 0.5, 0.9)
    assert box_of_mask(np.zeros((3, 3), dtype=np.bool_)) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("places: {nowhere: {frame: lung, shape: [0, 0, 1, 1]}}", "'nowhere' is not in the vocabulary"),
        ("places: {lung: {frame: lung, shape: [0, 0, 1, 2]}}", r"\[0, 1\]"),
        ("places: {lung: {frame: lung, shape: [1, 0, 0, 1]}}", "u_min"),
        ("places: {lung: {frame: lung, shape: [[0, 0], [1, 1]]}}", "three points"),
        ("places: {lung: {frame: head, shape: [0, 0, 1, 1]}}", "frame"),
        ("places: {lung: {frame: lung, shape: [0, 0, 1, 1], by_severity: {awful: [0, 0, 1, 1]}}}", "awful"),
    ],
)
def test_a_table_that_breaks_a_rule_says_where(tmp_path: Path, change: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    default = "thorax_default: {right: [0, 0, .4, 1], left: [.5, 0, 1, 1], lateral: [0, 0, 1, 1]}\n"
    path.write_text(default + change, encoding="utf-8")
    with pytest.raises(RegionsInvalid, match=message):
        load_regions(VOCABULARY, path)
