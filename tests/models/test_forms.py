"""Reports that are forms: what is not ticked is not said, and offsets stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.reports import Report
from models.text.forms import without_unticked
from nlp_service import Labeler

WORDS = (
    "[ ]",
    "[x]",
    "[X] ",
    "\u2610",
    "\u2611",
    " ",
    "\n",
    "Edema",
    "Nodule, 4 mm",
    ".",
    ":",
    "- ",
    "[",
    " Yes ",
    "|",
)
PIECES = st.lists(st.sampled_from(WORDS), max_size=14).map("".join)
BEGINNING = "Frontal view of the chest. Heart size is normal.\n"
EFFUSION, NODULE = ("pleural_effusion", "positive"), ("lung_nodule", "positive")
YES, NO = ("pneumothorax", "positive"), ("pneumothorax", "negative")


@given(PIECES)
def test_texts_keep_their_length_and_lines_and_are_no_forms_without_a_tick(text: str) -> None:
    found = without_unticked(text)
    assert len(found) == len(text)
    assert [place for place, sign in enumerate(found) if sign == "\n"] == [
        place for place, sign in enumerate(text) if sign == "\n"
    ]
    assert all(new in (old, " ", ";", ":") for new, old in zip(found, text, strict=True))
    if not any(tick in text for tick in ("[x]", "[X]", "\u2611")):
        assert found == text


@pytest.mark.parametrize("reader", ["rules", "encoder"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[ ] pneumothorax [x] effusion", {EFFUSION}),
        ("\u2610 Pneumothorax\n\u2612 Effusion", {EFFUSION}),
        ("1) [ ] Pneumothorax\n2) [x] Pleural effusion", {EFFUSION}),
        ("| [ ] | Pneumothorax |\n| [x] | Pleural effusion |", {EFFUSION}),
        ("[ ]\nPneumothorax\n[x]\nPleural effusion", {EFFUSION}),
        ("Effusion [x]   Pneumothorax [ ]", {EFFUSION}),
        ("Findings: [x] effusion [ ] pneumothorax. Small nodule on the left.", {EFFUSION, NODULE}),
        ("[ ] Pneumothorax, small or large, on the left side or with any edema\n[x] Effusion", {EFFUSION}),
        # Answers.
        ("Pneumothorax [ ] Yes [x] No", {NO}),
        ("Pneumothorax [x] No [ ] Yes", {NO}),
        ("Pneumothorax [x] Yes [ ] No", {YES}),
        ("Pneumothorax: [ ] Yes [x] No", {NO}),
        ("Pneumothorax No [ ] Yes [x]", {YES}),
        ("Pneumothorax: No [ ] Yes [x]", {YES}),
        ("Pneumothorax Yes [ ] No [x]", {NO}),
        ("Effusion: yes.\nPneumothorax: no.", {EFFUSION, NO}),
        # What was written beside boxes stays.
        ("Large right pneumothorax, discussed with [ ]\nCritical [x]", {YES}),
        ("Pleural effusion. Follow-up needed: Yes [ ] No [x]", {EFFUSION}),
        ("COMPARISON: [ ] FINDINGS: Small pleural effusion.", {EFFUSION}),  # a lone gap is no form
    ],
)
def test_forms_are_read_as_they_are_filled_in(reader: str, text: str, expected: set[tuple[str, str]]) -> None:
    whole = BEGINNING + text
    findings = [
        finding
        for finding in Labeler(reader=reader).label(Report("r1", whole)).findings
        if finding.start >= len(BEGINNING) - 1
    ]
    assert {(finding.concept_id, finding.assertion.value) for finding in findings} == expected
    for finding in findings:
        assert whole[finding.start : finding.end] == finding.text


def test_a_side_does_not_pass_from_one_ticked_item_to_the_next() -> None:
    text = "[x] Small left pleural effusion\n[ ] Pneumothorax\n[x] Cardiomegaly"
    found = {finding.concept_id: finding.laterality for finding in Labeler().label(Report("r1", text)).findings}
    assert found == {"pleural_effusion": "left", "cardiomegaly": None}
