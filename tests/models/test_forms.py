"""Reports that are forms: what is not ticked is not said, and offsets stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.reports import Report
from models.text.forms import without_unticked
from nlp_service import Labeler

PIECES = st.lists(
    st.sampled_from(
        ["[ ]", "[x]", "[X] ", "\u2610", "\u2611", " ", "\n", "Edema", "Nodule, 4 mm", ".", ":", "- ", "["]
    ),
    max_size=14,
).map("".join)


@given(PIECES)
def test_texts_keep_their_length_and_lines_and_lose_nothing_but_what_is_not_ticked(text: str) -> None:
    found = without_unticked(text)
    assert len(found) == len(text)
    assert [place for place, sign in enumerate(found) if sign == "\n"] == [
        place for place, sign in enumerate(text) if sign == "\n"
    ]
    assert all(new in (old, " ", ";") for new, old in zip(found, text, strict=True))
    if not any(tick in text for tick in ("[x]", "[X]", "\u2611")):
        assert found == text
    assert without_unticked(found) == found


@pytest.mark.parametrize("reader", ["rules", "encoder"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[ ] pneumothorax [x] effusion", {("pleural_effusion", "positive")}),
        ("\u2610 Pneumothorax\n\u2612 Effusion", {("pleural_effusion", "positive")}),
        ("Effusion [x]   Pneumothorax [ ]", {("pleural_effusion", "positive")}),
        (
            "FINDINGS:\n[x] Small left pleural effusion\n[ ] Pneumothorax\n[x] Cardiomegaly. No edema.",
            {("pleural_effusion", "positive"), ("cardiomegaly", "positive"), ("pulmonary_edema", "negative")},
        ),
        # A lone gap is no form.
        (
            "COMPARISON: [ ] FINDINGS: Small pleural effusion.",
            {("pleural_effusion", "positive")},
        ),
        (
            "Frontal view of the chest.\nEffusion: yes.\nPneumothorax: no.\nEdema: yes, mild.",
            {("pleural_effusion", "positive"), ("pneumothorax", "negative"), ("pulmonary_edema", "positive")},
        ),
    ],
)
def test_forms_are_read_as_they_are_filled_in(reader: str, text: str, expected: set[tuple[str, str]]) -> None:
    labeled = Labeler(reader=reader).label(Report("r1", text))
    assert {(finding.concept_id, finding.assertion.value) for finding in labeled.findings} == expected
    for finding in labeled.findings:
        assert text[finding.start : finding.end] == finding.text


def test_a_side_does_not_pass_from_one_ticked_item_to_the_next() -> None:
    text = "[x] Small left pleural effusion\n[ ] Pneumothorax\n[x] Cardiomegaly"
    found = {finding.concept_id: finding.laterality for finding in Labeler().label(Report("r1", text)).findings}
    assert found == {"pleural_effusion": "left", "cardiomegaly": None}
