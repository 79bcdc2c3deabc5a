"""The report type: what it shows, and where its sections lie."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from corpora import Report, RowInvalid, SectionKind

PARTS = st.lists(st.tuples(st.sampled_from(SectionKind), st.text(max_size=40)), max_size=6)


def test_repr_shows_neither_text_nor_identifiers() -> None:
    report = Report("ID-MARK", "TEXT-MARK", "ACC-MARK", "ISSUER-MARK", "PATIENT-MARK")
    assert "MARK" not in repr(report)
    assert "MARK" not in str(report)
    assert "MARK" not in f"{[report]}"


@given(PARTS)
def test_sections_cut_their_bodies_out_of_the_text(parts: list[tuple[SectionKind, str]]) -> None:
    report = Report.from_sections("r1", parts)
    filled = [(kind, body) for kind, body in parts if body.strip()]
    assert [(section.kind, report.text[section.start : section.end]) for section in report.sections] == filled


def test_report_without_filled_parts_has_no_text() -> None:
    report = Report.from_sections("r1", [(SectionKind.FINDINGS, "  "), (SectionKind.IMPRESSION, "")])
    assert report.text == ""
    assert report.sections == ()


def test_invalid_row_survives_pickling() -> None:
    invalid = RowInvalid(source="a.csv", row=7, field="text", reason="must be text, not a number")
    copy = pickle.loads(pickle.dumps(invalid))
    assert str(copy) == str(invalid) == "a.csv, row 7, field 'text': must be text, not a number"
    assert (copy.source, copy.row, copy.field, copy.reason) == ("a.csv", 7, "text", "must be text, not a number")
