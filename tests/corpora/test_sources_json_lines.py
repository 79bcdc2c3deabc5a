"""JSON Lines: keys as in a table, sections as an object, and lines that are no reports."""

import datetime as dt
import gzip
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from corpora import Report, SectionKind, SourceUnreadable, iter_records, read_reports
from corpora.sources import json_lines


def write(folder: Path, *lines: object, name: str = "reports.jsonl") -> Path:
    path = folder / name
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def records(path: Path, columns: Mapping[str, str] | None = None) -> list[str]:
    found = iter_records(path, columns=columns)
    return [record.text if isinstance(record, Report) else str(record) for record in found]


def test_all_fields_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "report_id": "r1",
            "text": "Lungs are clear.",
            "accession_number": "A1",
            "accession_number_issuer": "HOSP",
            "patient_id": "P1",
            "study_date": "2024-03-01",
            "modality": "DX",
            "body_part": "CHEST",
            "radiologist": {"name": "not read"},
        },
    )
    assert list(read_reports(path)) == [
        Report("r1", "Lungs are clear.", "A1", "HOSP", "P1", dt.date(2024, 3, 1), "DX", "CHEST")
    ]


def test_sections_object_gives_sections_in_the_order_of_a_report(tmp_path: Path) -> None:
    sections = {"Impression": "Normal.", "findings": "Clear.", "addendum": None, "liver": "Not seen."}
    (report,) = read_reports(write(tmp_path, {"id": "r1", "sections": sections}))
    assert [(section.kind, report.text[section.start : section.end]) for section in report.sections] == [
        (SectionKind.FINDINGS, "Clear."),
        (SectionKind.OTHER, "Not seen."),
        (SectionKind.IMPRESSION, "Normal."),
    ]


def test_whole_numbers_are_ids(tmp_path: Path) -> None:
    (report,) = read_reports(write(tmp_path, {"id": 17, "text": "a", "accession": 8_124_495_960_591_761, "mrn": 3.0}))
    assert (report.report_id, report.accession_number, report.patient_id) == ("17", "8124495960591761", "3")


def test_blank_lines_are_left_out_and_rows_are_lines(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "1", "text": "a"}, "", "  ", "{", {"id": "2", "text": "b"}, "")
    assert records(path) == ["a", "reports.jsonl, row 4: is not JSON, from character 2 on (1 characters)", "b"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "1", "text": "cut off', "is not JSON"),
        ("[1, 2]", "is JSON, but no object"),
        ('"text"', "is JSON, but no object"),
        ("null", "is JSON, but no object"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"id": "1", "text": 5}', "field 'text': must be text, not a number"),
        ('{"id": "1", "text": ["a", "b"]}', "field 'text': must be text, not a list of 2 items"),
        ('{"id": "1", "text": {"div": "a"}}', "field 'text': must be text, not an object of 1 keys"),
        ('{"id": "1", "text": true}', "field 'text': must be text, not true or false"),
        ('{"id": true, "text": "a"}', "field 'report_id': must be text, not true or false"),
        ('{"id": 1.5, "text": "a"}', "field 'report_id': must be text, not a number"),
        ('{"id": "1", "text": "a", "modality": 3}', "field 'modality': must be text, not a number"),
        ('{"id": "1", "text": "a", "study_date": [2024]}', "field 'study_date': must be text, not a list of 1 items"),
        ('{"id": "1", "text": "a", "study_date": 1.5}', "field 'study_date': must be text, not a number"),
        ('{"id": "1", "sections": ["a"]}', "field 'sections': must be an object of names and texts, not a list"),
        ('{"id": "1", "sections": {"findings": 1}}', "field 'sections': must be text, not a number"),
        ('{"id": null, "text": "a"}', "field 'report_id': is empty"),
        ('{"text": "a"}', "field 'report_id': is empty"),
        ('{"id": "1"}', "field 'text': has no key for the report's text"),
        ('{"id": "1", "text": "half a pair: \\ud800"}', "field 'text': is not valid utf-8 text"),
        ('{"id": "1", "text": ' + "9" * 5_000 + "}", "is not JSON"),
    ],
)
def test_line_that_is_no_report_costs_itself(tmp_path: Path, line: str, reason: str) -> None:
    first, second, third = records(write(tmp_path, {"id": "0", "text": "a"}, line, {"id": "2", "text": "c"}))
    assert (first, third) == ("a", "c")
    assert second.startswith("reports.jsonl, row 2")
    assert reason in second


def test_null_text_is_a_report_without_text(tmp_path: Path) -> None:
    assert list(read_reports(write(tmp_path, {"id": "1", "text": None}))) == [Report("1", "")]


def test_lines_without_ids_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": "a"}, "", {"text": "b"}, name="ward.jsonl")
    assert [report.report_id for report in read_reports(path)] == ["ward:1", "ward:3"]


def test_mapped_keys_may_be_left_out_of_a_row_but_no_other_key_takes_their_place(tmp_path: Path) -> None:
    columns = {"report_id": "key", "text": "body", "modality": "device"}
    path = write(tmp_path, {"key": "1", "Body": "a"}, {"key": "2", "text": "draft"}, {"id": "3", "body": "c"})
    first, second, third = records(path, columns)
    assert first == "a"
    assert "row 2, field 'text': has no key for the report's text (body)" in second
    assert "row 3, field 'report_id': is empty" in third


def test_keys_may_differ_between_lines(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": "1", "text": "a"}, {"report": "b", "ID": "2"}, {"id": "3", "findings": "c"})
    assert records(path) == ["a", "b", "FINDINGS: c"]


def test_json_array_is_told_from_json_lines(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="JSON Lines has one object on each line"):
        records(write(tmp_path, [{"id": "1", "text": "a"}], name="reports.json"))


def test_line_separators_of_unicode_do_not_end_a_line(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({"id": "1", "text": "a\u2028b\x85c"}, ensure_ascii=False))
    assert records(path) == ["a\u2028b\x85c"]


def test_windows_line_ends_mark_and_gzip_are_read(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl.gz"
    path.write_bytes(gzip.compress('{"id": "1", "text": "ü"}\r\n{"id": "2", "text": "b"}'.encode("utf-8-sig")))
    assert records(path) == ["ü", "b"]


def test_empty_file_holds_no_reports(tmp_path: Path) -> None:
    assert records(write(tmp_path)) == []


def test_line_too_long_to_hold_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_TEXT", 100)
    monkeypatch.setattr("corpora.sources.encoding.MAX_TEXT", 100)
    long = {"id": "2", "text": "x" * 1_000}
    path = write(tmp_path, {"id": "1", "text": "a"}, long, {"id": "3", "text": "c"}, long)
    assert records(path) == [
        "a",
        "reports.jsonl, row 2: is a line of more than 100 characters",
        "c",
        "reports.jsonl, row 4: is a line of more than 100 characters",
    ]
