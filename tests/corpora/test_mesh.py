"""The codes of Open-i: parsing, the labels they assign, and what their qualifiers say."""

import csv
from collections.abc import Mapping
from pathlib import Path

import pytest

from corpora.mesh import MeshCode, labels_from_codes, load_qualifiers, parse_code
from corpora.openi_split import Split, is_dev, is_in_split, openi_test_ids, select_split
from corpora.reports import Report
from corpora.sources import read_reports
from corpora.sources.openi import iter_openi_codes
from corpora.vocabulary import load_vocabulary
from corpora.vocabulary.schema import LabelSet

# Degree, form, number and age, and whole organs: qualifiers that say neither a side nor a place that is compared.
NOT_SCORED = frozenset(
    """abnormal acute anterior blunted borderline bronchovascular chronic degenerative diffuse elevated enlarged
    flattened focal healed hyperdistention hypoinflation interstitial irregular large mild moderate multilobar multiple
    obscured patchy posterior prominent reticular round scattered severe small streaky tortuous
    lung thorax heart""".split()
) | {"heart atria", "heart ventricles", "blood vessels", "pulmonary alveoli", "azygos lobe", "pulmonary artery"}
# One or a few codes each.
RARE = frozenset({"supracardiac", "esophagus", "bronchi", "sulcus", "pleural sinus", "cardiophrenic angle"}) | {
    "breast implants"
}


@pytest.fixture(scope="module")
def codes(openi_corpus: Path) -> dict[str, tuple[str, ...]]:
    return dict(iter_openi_codes(openi_corpus))


@pytest.fixture(scope="module")
def published(data_folder: Path) -> dict[str, Mapping[str, str]]:
    with (data_folder / "openi" / "openi_gld_std14.csv").open(encoding="utf-8", newline="") as stream:
        return {row.pop("filename"): row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def nih14() -> LabelSet:
    return load_vocabulary().label_set("nih14")


@pytest.mark.parametrize(
    ("code", "heading", "qualifiers"),
    [
        ("Opacity/lung/lower lobe/left/patchy", "Opacity", ("lung", "lower lobe", "left", "patchy")),
        ("normal", "normal", ()),
        ("Catheters, Indwelling/right", "Catheters, Indwelling", ("right",)),
        ("Calcinosis/aorta, thoracic", "Calcinosis", ("aorta, thoracic",)),
        # As the collection writes it, with a space at the end.
        ("Technical Quality of Image Unsatisfactory ", "Technical Quality of Image Unsatisfactory", ()),
        ("Fractures, Bone/Thoracic Vertebrae", "Fractures, Bone", ("thoracic vertebrae",)),
        ("Nodule//left", "Nodule", ("left",)),
    ],
)
def test_code_is_heading_and_qualifiers(code: str, heading: str, qualifiers: tuple[str, ...]) -> None:
    assert parse_code(code) == MeshCode(heading, qualifiers)


@pytest.mark.parametrize(
    ("codes", "labels"),
    [
        ([], set()),
        (["normal"], set()),
        (["Pleural Effusion/left/small"], {"Effusion"}),
        (["Pericardial Effusion"], {"Effusion"}),
        (["Pulmonary Emphysema", "Emphysema"], {"Emphysema"}),
        (["Thickening/bronchi"], {"Pleural_Thickening"}),
        (["Nodule/lung/base/right/multiple", "Calcified Granuloma/lung"], {"Nodule"}),
        (["Hernia, Hiatal/large"], {"Hernia"}),
        # Each of these shares a word with a label and is none of it.
        (["Subcutaneous Emphysema/neck", "Bullous Emphysema", "Mediastinal Emphysema"], set()),
        (["Hydropneumothorax/right", "Pneumoperitoneum", "Pneumonectomy"], set()),
        (["Cystic Fibrosis", "Hernia, Diaphragmatic"], set()),
        (["Opacity/lung", "Airspace Disease/lung", "Cardiac Shadow/enlarged"], set()),
    ],
)
def test_headings_assign_labels(nih14: LabelSet, codes: list[str], labels: set[str]) -> None:
    assert labels_from_codes(codes, nih14) == labels


def test_codes_reproduce_the_published_labels(
    codes: dict[str, tuple[str, ...]], published: dict[str, Mapping[str, str]], nih14: LabelSet
) -> None:
    names = [label.name for label in nih14.labels]
    assert len(published) == 3_851
    assert [*names, "normal"] == list(next(iter(published.values())))
    wrong = []
    for report_id, row in published.items():
        assigned = labels_from_codes(codes[report_id], nih14)
        if "normal" in {parse_code(code).heading for code in codes[report_id]}:
            assigned |= {"normal"}
        wrong += [
            (report_id, name) for name in row if name != "Hernia" and (name in assigned) is not (row[name] == "1")
        ]
    assert wrong == []


def test_hernia_is_the_hiatal_hernia(
    codes: dict[str, tuple[str, ...]], published: dict[str, Mapping[str, str]], nih14: LabelSet
) -> None:
    # The published column is empty by mistake: the codes of the same reports do name hiatal hernias.
    assert {row["Hernia"] for row in published.values()} == {"0"}
    with_hernia = {report_id for report_id in published if "Hernia" in labels_from_codes(codes[report_id], nih14)}
    assert len(with_hernia) == 44
    for report_id in with_hernia:
        assert any(code.startswith("Hernia, Hiatal") for code in codes[report_id])


def test_held_out_list_is_the_published_one(data_folder: Path) -> None:
    listed = (data_folder / "openi" / "openi-testset.txt").read_text(encoding="utf-8").split()
    assert len(listed) == 771
    assert openi_test_ids() == set(listed)


def test_splits_of_the_collection(openi_corpus: Path) -> None:
    reports = list(read_reports(openi_corpus))
    ids = {split: {report.report_id for report in select_split(reports, split)} for split in Split}
    assert {split: len(found) for split, found in ids.items()} == {
        Split.TEST: 771,
        Split.TRAIN: 3_080,
        Split.DEV: 306,
        Split.ALL: 3_955,
    }
    assert ids[Split.TEST] == openi_test_ids()
    assert ids[Split.TEST].isdisjoint(ids[Split.TRAIN])
    assert ids[Split.DEV] < ids[Split.TRAIN]


def test_split_depends_on_the_report_alone() -> None:
    held_out = next(iter(openi_test_ids()))
    assert is_in_split(held_out, Split.TEST, has_images=True)
    assert not any(is_in_split(held_out, split, has_images=True) for split in (Split.TRAIN, Split.DEV))
    other = next(f"CXR{n}" for n in range(1, 4000) if f"CXR{n}" not in openi_test_ids() and is_dev(f"CXR{n}"))
    assert [split for split in Split if is_in_split(other, split, has_images=True)] == ["train", "dev", "all"]
    assert [split for split in Split if is_in_split(other, split, has_images=False)] == ["all"]


def test_missing_header_table_is_said_and_does_not_empty_train() -> None:
    reports = [Report("CXR1", "Clear.")]
    with pytest.raises(OSError, match="table of Open-i's DICOM headers is missing"):
        select_split(reports, Split.TRAIN)
    assert select_split(reports, Split.ALL) == reports


@pytest.mark.parametrize(
    ("codes", "sides"),
    [
        (["Opacity/lung/left"], {"left"}),
        (["Opacity/lung/left", "Opacity/lung/right"], {"left", "right"}),
        (["Opacity/lung/bilateral"], {"left", "right"}),
        (["Opacity/lung"], set()),
        # A lobe that only one lung has is a side where the codes speak of sides at all.
        (["Opacity/lung/lingula"], set()),
        (["Opacity/lung/lingula", "Opacity/lung/base/right"], {"left", "right"}),
        (["Opacity/lung/middle lobe/right"], {"right"}),
    ],
)
def test_sides_of_codes(codes: list[str], sides: set[str]) -> None:
    assert load_qualifiers().sides_of([parse_code(code) for code in codes]) == sides


@pytest.mark.parametrize(
    ("heading", "codes", "places"),
    [
        ("Opacity", ["Opacity/lung/base/left", "Opacity/lung/upper lobe/left"], {"base", "upper_lobe"}),
        ("Calcinosis", ["Calcinosis/aorta, thoracic"], {"aorta"}),
        ("Thickening", ["Thickening/pleura/apex/bilateral"], {"pleura", "apex"}),
        ("Opacity", ["Opacity/lung/patchy"], set()),
        # What the heading names itself is no place within it.
        ("Pleural Effusion", ["Pleural Effusion/pleura/base/left"], {"base"}),
    ],
)
def test_places_of_codes(heading: str, codes: list[str], places: set[str]) -> None:
    assert load_qualifiers().places_of(heading, [parse_code(code) for code in codes]) == places


@pytest.mark.parametrize(
    ("places", "scored"),
    [
        ([("right_lower_lobe", "right"), ("lung", "right")], {"lower_lobe"}),
        ([("lung_base", None)], {"base"}),
        ([("aortic_arch", None), ("thoracic_aorta", None)], {"aorta"}),
        ([("mid_lung", "right")], {"middle_lobe"}),
        ([("mid_lung", "left"), ("mid_lung", "right")], {"lingula", "middle_lobe"}),
        ([("mid_lung", None)], {"middle_lobe"}),
        ([], set()),
    ],
)
def test_places_of_a_reader(places: list[tuple[str, str | None]], scored: set[str]) -> None:
    assert load_qualifiers().scored("Opacity", places) == scored


def test_mapping_names_places_of_the_vocabulary() -> None:
    mapping = load_qualifiers()
    anatomy = load_vocabulary().anatomy
    assert {*mapping.anatomy, *mapping.anatomy_by_side} <= anatomy.keys()
    scored = set(mapping.places.values())
    reached = {*mapping.anatomy.values(), *(p for sides in mapping.anatomy_by_side.values() for p in sides.values())}
    assert reached == scored  # no place that only codes or only readers can name
    assert {place for places in mapping.inherent.values() for place in places} <= scored
    for sides in mapping.anatomy_by_side.values():
        assert sides.keys() == {"left", "right", "bilateral", "unknown"}


def test_every_qualifier_outside_the_held_out_reports_was_judged(codes: dict[str, tuple[str, ...]]) -> None:
    mapping = load_qualifiers()
    words = {
        word
        for report_id, of_report in codes.items()
        if report_id not in openi_test_ids()
        for code in of_report
        for word in parse_code(code).qualifiers
    }
    assert words == {*mapping.sides, *mapping.places, *NOT_SCORED, *RARE}
