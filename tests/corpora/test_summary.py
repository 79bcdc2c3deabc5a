"""The counts of a source."""

from corpora import Report, RowInvalid, SectionKind
from corpora.summary import SourceSummary, summarize


def test_counts_add_up() -> None:
    records: list[Report | RowInvalid] = [
        Report("1", "abc", accession_number="A"),
        Report("2", "abc"),
        Report("3", "abcdefg"),
        Report("4", " "),
        Report.from_sections("5", [(SectionKind.FINDINGS, "x"), (SectionKind.FINDINGS, "y")]),
        RowInvalid(source="a.csv", row=6, reason="is empty"),
    ]
    assert summarize(records) == SourceSummary(
        reports=5,
        invalid_rows=1,
        with_text=4,
        distinct_texts=3,
        with_accession_number=1,
        characters_median=5,
        characters_max=24,
        sections={"findings": 1},
    )


def test_empty_source_has_zeros() -> None:
    assert summarize([]) == SourceSummary()
