"""The parts of a build that are plain functions: names, values of several reports, labels of hints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.dataset.hints import Hinter, given_boxes
from corpora.dataset.identity import Identity, file_of
from corpora.dataset.reading import Evidence, ReportLabels, combine
from corpora.dataset.recipe import Regions
from corpora.deidentification import IdentifierKind, Pseudonymiser
from corpora.vocabulary.load import load_vocabulary
from corpora.weak_labels.values import NEGATIVE, NOT_MENTIONED, POSITIVE, UNCERTAIN, UNREAD

KEY = b"sixteen bytes or more"


def part(report_id: str, *codes: int, addendum: bool = False) -> ReportLabels:
    names = "AB"
    return ReportLabels(
        (report_id,),
        codes,
        tuple(0.5 for _ in codes),
        tuple(math.nan for _ in codes),
        tuple(Evidence(names[place], 0, 1, report_id) for place, code in enumerate(codes) if code == POSITIVE),
        is_addendum=addendum,
    )


@pytest.mark.parametrize(
    ("first", "second", "addendum", "expected"),
    [
        (NEGATIVE, POSITIVE, False, POSITIVE),
        (POSITIVE, NEGATIVE, False, POSITIVE),
        (NEGATIVE, UNCERTAIN, False, UNCERTAIN),
        (NOT_MENTIONED, NEGATIVE, False, NEGATIVE),
        (UNREAD, NOT_MENTIONED, False, UNREAD),
        (POSITIVE, NEGATIVE, True, NEGATIVE),
        (POSITIVE, NOT_MENTIONED, True, POSITIVE),
        (NEGATIVE, UNREAD, True, NEGATIVE),
        (NOT_MENTIONED, UNCERTAIN, True, UNCERTAIN),
    ],
)
def test_values_of_two_reports(first: int, second: int, addendum: bool, expected: int) -> None:
    found = combine([part("1", first), part("2", second, addendum=addendum)], "A")
    assert found.codes == (expected,)
    assert found.report_ids == ("1", "2")
    gave_it = {item.report_id for item in found.evidence}
    assert gave_it <= {"1", "2"}
    assert len(gave_it) == (1 if expected == POSITIVE else 0)


_CODES = st.tuples(st.integers(0, 4), st.integers(0, 4))


@given(st.lists(_CODES, min_size=1, max_size=5))
def test_reports_of_equal_rank_combine_in_any_order(rows: list[tuple[int, int]]) -> None:
    parts = [part(str(number), *codes) for number, codes in enumerate(rows)]
    assert combine(parts, "AB").codes == combine(parts[::-1], "AB").codes


@given(st.text(min_size=1))
def test_a_picture_lies_below_the_folder_whatever_its_id(name: str) -> None:
    file = file_of(name)
    folder, two, last = file.split("/")
    assert (folder, len(two), last.endswith(".png")) == ("images", 2, True)
    assert not last.startswith(".")
    assert file.isprintable()
    assert file_of(name) == file


@given(st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=40))
def test_different_ids_have_different_files(names: set[str]) -> None:
    assert len({file_of(name) for name in names}) == len(names)


def test_names_are_pseudonyms_or_as_they_are() -> None:
    plain, hidden = Identity(), Identity(Pseudonymiser(KEY))
    assert plain.name(IdentifierKind.PATIENT_ID, "4711") == "4711"
    assert plain.image("1.2.3.4.5") == "1.2.3.4.5"
    assert hidden.name(IdentifierKind.PATIENT_ID, " ") is None
    assert hidden.image("1.2.3.4.5") == hidden.uid("1.2.3.4.5")
    assert hidden.image("picture-1") == Pseudonymiser(KEY).pseudonym(IdentifierKind.IMAGE_ID, "picture-1")
    assert (plain.age(93.0), hidden.age(93.0), hidden.age(None)) == (93.0, 90.0, None)
    assert plain.text("No change.") == plain.text("no  CHANGE") != plain.text("Change.")
    assert hidden.text("No change.") not in (None, plain.text("No change."))
    assert hidden.text("...") is None


def test_a_hint_has_the_label_of_its_concept_or_of_the_nearest_above_it() -> None:
    vocabulary = load_vocabulary()
    hinter = Hinter.of(Regions(), vocabulary, vocabulary.label_set("chexpert14"))
    assert hinter.label_of("pleural_effusion") == "Pleural Effusion"
    assert hinter.label_of("no such concept") is None
    for concept in vocabulary.findings:
        label = hinter.label_of(concept)
        chain = {concept, *vocabulary.ancestors(concept)}
        entries = {entry.name: entry for entry in hinter.label_set.labels}
        assert label is None or chain & set(entries[label].concepts)


def test_boxes_outside_of_the_picture_are_none() -> None:
    header = {
        "rows": 100,
        "columns": 200,
        "boxes": [
            {"label": "in", "x": 20, "y": 10, "w": 40, "h": 30},
            {"label": "over the edge", "x": 190, "y": 90, "w": 50, "h": 50},
            {"label": "out", "x": 300, "y": 10, "w": 10, "h": 10},
        ],
    }
    found = dict(given_boxes(header))
    assert list(found) == ["in", "over the edge"]
    assert np.allclose(
        [found["in"].x_min, found["in"].y_min, found["in"].x_max, found["in"].y_max], [0.1, 0.1, 0.3, 0.4]
    )
    assert found["over the edge"].x_max == 1
    assert given_boxes({**header, "boxes": None}) == []
