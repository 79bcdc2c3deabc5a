"""The form of the semantics table. That a reader reads it rightly is tested beside the readers."""

import re
from collections import Counter
from pathlib import Path

import pytest

from corpora import Assertion, Status, VocabularyInvalid
from corpora.semantics import CATEGORIES, LABELS, SemanticCase, load_cases
from corpora.semantics.render import render_cases

CASES = load_cases()


def write_table(folder: Path, **replaced: str) -> Path:
    """Return ``folder`` with a table of one case a category, some files of it replaced."""
    for category in CATEGORIES:
        one_case = f"- {{id: {category}_001, text: A text of {category}., labels: {{}}}}\n"
        (folder / f"{category}.yaml").write_text(replaced.get(category, one_case), encoding="utf-8")
    return folder


def test_table_is_large_enough() -> None:
    counts = Counter(case.category for case in CASES)
    assert counts.keys() == CATEGORIES.keys()
    assert min(counts.values()) >= 15
    assert len(CASES) >= 300


def test_every_label_occurs_with_every_value_it_can_have() -> None:
    seen = {(str(label), value) for case in CASES for label, value in case.labels.items()}
    expected = {(label, value) for label in LABELS for value in Assertion}
    expected -= {("No Finding", Assertion.NEGATIVE), ("No Finding", Assertion.UNCERTAIN)}  # it is positive or null
    assert seen == expected


def test_ids_are_numbered_without_gaps() -> None:
    for category in CATEGORIES:
        ids = [case.id for case in CASES if case.category == category]
        assert ids == [f"{category}_{number:03d}" for number in range(1, len(ids) + 1)]


def test_attributes_are_expected_in_many_cases() -> None:
    assert sum(bool(case.findings) for case in CASES) >= 60
    for attribute in ("laterality", "severity", "temporality", "location", "size_mm"):
        assert sum(getattr(finding, attribute) is not None for case in CASES for finding in case.findings) >= 10


def test_expected_finding_has_an_attribute() -> None:
    for case in CASES:
        for finding in case.findings:
            assert finding.model_fields_set > {"concept"}, case.id


def test_texts_that_are_no_reports_have_no_values() -> None:
    for case in CASES:
        assert (case.status is Status.OK) == (case.category != "not_reports"), case.id
        assert case.status is Status.OK or not case.labels


def test_long_reports_are_long_and_have_sections() -> None:
    for case in CASES:
        if case.category == "long_reports":
            assert 150 <= len(case.text.split()) <= 500, case.id
            assert len(re.findall(r"^[A-Z][\w ]+:", case.text, flags=re.MULTILINE)) >= 3, case.id


def test_texts_are_distinct_but_for_case_and_space() -> None:
    folded = Counter(" ".join(case.text.lower().split()) for case in CASES if case.text.strip())
    assert [text for text, count in folded.items() if count > 1] == []


def test_case_becomes_a_report() -> None:
    case = next(case for case in CASES if case.modality)
    report = case.report()
    assert (report.report_id, report.text) == (case.id, case.text)
    assert (report.modality, report.body_part) == (case.modality, case.body_part)


@pytest.mark.parametrize(
    ("yaml_text", "message"),
    [
        ("- {id: simple_001, text: A., labels: {Heart: positive}}", r"simple\.yaml, case simple_001: labels\.Heart"),
        ("- {id: simple_001, text: A., labels: {Edema: maybe}}", r"case simple_001: labels\.Edema"),
        ("- {id: simple_001, text: A., labels: {}, note: B}", r"case simple_001: note"),
        ("- {id: simple_001, text: A.}", r"case simple_001: labels: Field required"),
        ("- {id: hedges_002, text: A., labels: {}}", r"simple\.yaml, case hedges_002: the id must be simple_"),
        ("- {id: simple_1, text: A., labels: {}}", r"case simple_1: id"),
        (
            "- {id: simple_001, text: A., labels: {}}\n- {id: simple_001, text: B., labels: {}}",
            r"case simple_001: the id occurs twice",
        ),
        ("- {id: simple_001, text: A text of hedges., labels: {}}", r"hedges_001: the text is that of simple_001"),
        (
            "- {id: simple_001, text: A., labels: {Edema: uncertain, No Finding: positive}}",
            r"case simple_001: labels: .*No Finding cannot be positive together with Edema",
        ),
        (
            "- {id: simple_001, text: A., labels: {No Finding: negative}}",
            r"case simple_001: labels: .*No Finding is positive or not given",
        ),
        (
            "- {id: simple_001, text: A., status: no_text, labels: {Edema: positive}}",
            r"case simple_001: .*status no_text has no labels",
        ),
        ("- {id: simple_001, text: A., status: error, labels: {}}", r"case simple_001: status"),
        ("- {id: simple_001, text: A., labels: {Edema: positive, Edema: negative}}", r"key 'Edema' occurs twice"),
        ("- just a line", r"case number 1: case: "),
        ("id: simple_001", r"simple\.yaml: expected a list of cases, got dict"),
        ("- [", r"simple\.yaml: not valid YAML"),
    ],
)
def test_broken_file_is_refused_with_file_and_case(tmp_path: Path, yaml_text: str, message: str) -> None:
    with pytest.raises(VocabularyInvalid, match=message):
        load_cases(write_table(tmp_path, simple=yaml_text))


def test_missing_and_unknown_files_are_named(tmp_path: Path) -> None:
    write_table(tmp_path)
    (tmp_path / "hedges.yaml").rename(tmp_path / "guesses.yaml")
    with pytest.raises(VocabularyInvalid, match=r"guesses\.yaml, hedges\.yaml"):
        load_cases(tmp_path)


def test_rendered_table_has_one_row_a_case() -> None:
    text = render_cases(CASES)
    rows = [line for line in text.splitlines() if re.match(r"\| \w+\\_", line)]
    assert len(rows) == len(CASES)
    # Four cells, so five borders: every other pipe is escaped.
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        category.replace("_", " ").capitalize() for category in CATEGORIES
    ]


def test_markup_in_a_text_is_shown_and_not_obeyed() -> None:
    case = SemanticCase(id="noise_001", text="a | b\n**c** <br> ___ & `d`", labels={})
    row = render_cases([case]).splitlines()[-1]
    assert r"a \| b<br>\*\*c\*\* &lt;br&gt; \_\_\_ &amp; \`d\`" in row


def test_empty_texts_and_study_data_are_spelled_out() -> None:
    cases = [
        SemanticCase(id="not_reports_001", text="", labels={}, status=Status.NO_TEXT),
        SemanticCase(id="not_reports_002", text=" \n", labels={}, status=Status.NO_TEXT),
        SemanticCase(id="other_modalities_001", text="Normal.", labels={}, modality="MR", body_part="KNEE"),
    ]
    text = render_cases(cases)
    assert "| (empty) | status no text<br>all null |" in text
    assert "| (white space only) |" in text
    assert "| (study: MR KNEE) Normal. | all null |" in text


def test_no_cases_render_to_nothing() -> None:
    assert render_cases([]) == ""
