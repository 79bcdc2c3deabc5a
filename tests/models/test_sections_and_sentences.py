"""Reports are cut where a reader would cut them, and every offset cuts the original text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.reports import Report, Section, SectionKind
from models.text.sections import split_sections
from models.text.sentences import split_sentences


def sections_of(text: str) -> list[tuple[str, str]]:
    return [(s.kind.value, text[s.start : s.end].strip()) for s in split_sections(Report("r", text))]


def sentences_of(text: str) -> list[tuple[str, str]]:
    whole = Section(SectionKind.FINDINGS, 0, len(text))
    return [(s.heading, text[s.start : s.end]) for s in split_sentences(text, whole)]


def test_headings_on_lines_of_their_own() -> None:
    text = "INDICATION: Cough.\n\nFINDINGS:\nClear lungs.\n\nIMPRESSION\nNo acute disease.\n"
    assert sections_of(text) == [
        ("indication", "Cough."),
        ("findings", "Clear lungs."),
        ("impression", "No acute disease."),
    ]


def test_headings_within_one_line() -> None:
    text = "HISTORY: Fever. FINDINGS: Lungs clear. IMPRESSION: Normal."
    assert [kind for kind, _ in sections_of(text)] == ["indication", "findings", "impression"]


def test_text_without_headings_is_one_section() -> None:
    assert sections_of("Small effusion. The findings are stable.") == [
        ("other", "Small effusion. The findings are stable.")
    ]


def test_a_word_of_prose_is_no_heading() -> None:
    text = "The impression is of a small effusion.\nThere is no comparison study."
    assert [kind for kind, _ in sections_of(text)] == ["other"]


def test_sections_given_by_the_source_are_kept() -> None:
    report = Report.from_sections("r", [(SectionKind.FINDINGS, "IMPRESSION: odd"), (SectionKind.IMPRESSION, "Fine.")])
    assert split_sections(report) == report.sections


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Clear lungs. No effusion.", ["Clear lungs.", "No effusion."]),
        ("A 3.5 cm mass. Stable.", ["A 3.5 cm mass.", "Stable."]),
        ("Atelectasis vs. pneumonia. Clear.", ["Atelectasis vs. pneumonia.", "Clear."]),
        ("Seen by Dr. Smith today. Clear.", ["Seen by Dr. Smith today.", "Clear."]),
        ("No effusion.No pneumothorax.", ["No effusion.", "No pneumothorax."]),
        ("1. Small effusion.\n2. No edema.", ["Small effusion.", "No edema."]),
        ("1. Small effusion. 2. No edema.", ["Small effusion.", "No edema."]),
        ("- Lungs clear\n- Heart normal", ["Lungs clear", "Heart normal"]),
        ("The lungs are\nclear without\nconsolidation.", ["The lungs are\nclear without\nconsolidation."]),
        ("", []),
        (" . ; \n", []),
    ],
)
def test_sentence_borders(text: str, expected: list[str]) -> None:
    assert [sentence for _, sentence in sentences_of(text)] == expected


def test_sub_headings_are_carried_by_their_sentences() -> None:
    assert sentences_of("HEART: Enlarged. Unchanged.\nLUNGS: Clear.") == [
        ("HEART", "Enlarged."),
        ("HEART", "Unchanged."),
        ("LUNGS", "Clear."),
    ]


def test_a_sub_heading_inside_a_line_takes_over() -> None:
    assert sentences_of("Lungs: Clear. Heart: Enlarged.") == [("Lungs", "Clear."), ("Heart", "Enlarged.")]


@given(st.text(alphabet=st.sampled_from("ab A.1:;-\n|?"), max_size=200))
def test_sentences_are_in_order_inside_the_text_and_never_overlap(text: str) -> None:
    last = 0
    for sentence in split_sentences(text, Section(SectionKind.OTHER, 0, len(text))):
        assert last <= sentence.start < sentence.end <= len(text)
        assert text[sentence.start : sentence.end].strip() == text[sentence.start : sentence.end]
        last = sentence.end


@given(st.text(max_size=300))
def test_sections_are_in_order_inside_any_text(text: str) -> None:
    last = 0
    for section in split_sections(Report("r", text)):
        assert last <= section.start <= section.end <= len(text)
        last = section.end


def test_a_text_without_full_stops_is_cut_into_pieces_behind_commas() -> None:
    text = ", ".join(f"finding {i} of the left lung" for i in range(400))
    pieces = [part for _, part in sentences_of(text)]
    assert all(len(part.split()) <= 120 for part in pieces)
    assert all(part.endswith(",") for part in pieces[:-1])
    assert " ".join(pieces) == text


@pytest.mark.parametrize("unit", ["no effusion or ", "no\n", "no ", "aaaa", "-\n"])
def test_the_time_for_a_long_text_grows_with_its_length_alone(unit: str) -> None:
    """A text made to be slow is read in pieces: as many for ten times the text, times ten."""
    few, many = (len(sentences_of(unit * number)) for number in (2000, 20_000))
    assert many <= 11 * max(few, 1)
    assert max((len(part) for _, part in sentences_of(unit * 20_000)), default=0) < 10_000
