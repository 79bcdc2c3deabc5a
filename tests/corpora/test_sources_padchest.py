"""PadChest's table: one report for the several images of a study."""

import csv
import datetime as dt
import gzip
import io
from pathlib import Path

import pytest

from corpora import ColumnMissing, Report, iter_records, read_reports
from corpora.sources.padchest import ISSUER, TABLE

HEADER = ["", "ImageID", "StudyDate_DICOM", "StudyID", "PatientID", "Modality_DICOM", "ReportID", "Report", "Labels"]


def write(path: Path, rows: list[list[str]], header: list[str] = HEADER) -> Path:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([header, *rows])
    path.write_bytes(gzip.compress(text.getvalue().encode()))
    return path


def row(image: int, report: str, text: str, date: str = "20140915", patient: str = "P1") -> list[str]:
    return [str(image), f"{image}.png", date, f"S{report}", patient, "CR", report, text, "['normal']"]


def test_report_of_several_images_comes_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / TABLE, [row(1, "7", "torax normal ."), row(2, "8", "atelectasi ."), row(3, "7", "torax normal .")]
    )
    assert list(read_reports(path)) == [
        Report("7", "torax normal .", "S7", ISSUER, "P1", dt.date(2014, 9, 15), "CR", "CHEST"),
        Report("8", "atelectasi .", "S8", ISSUER, "P1", dt.date(2014, 9, 15), "CR", "CHEST"),
    ]


def test_table_is_told_from_other_csv_files_by_its_header(tmp_path: Path) -> None:
    renamed = write(tmp_path / "padchest.csv.gz", [row(1, "7", "a"), row(2, "7", "a")])
    assert len(list(read_reports(renamed))) == 1
    assert len(list(read_reports(renamed, format="csv", columns={"report_id": "ReportID"}))) == 2


def test_folder_that_holds_the_table_is_read(tmp_path: Path) -> None:
    write(tmp_path / TABLE, [row(1, "7", "a")])
    assert [report.report_id for report in read_reports(tmp_path)] == ["7"]


def test_missing_values_are_none(tmp_path: Path) -> None:
    path = write(tmp_path / TABLE, [row(1, "7", "a", date="nan", patient="None")])
    (report,) = read_reports(path)
    assert (report.patient_id, report.study_date) == (None, None)


def test_bad_rows_cost_themselves(tmp_path: Path) -> None:
    rows = [row(1, "7", "a"), row(2, "", "b"), row(3, "", "c"), row(4, "8", "d")[:-1], row(5, "9", "e", date="never")]
    records = list(iter_records(write(tmp_path / TABLE, [*rows, row(6, "10", "f")])))
    assert [record.text if isinstance(record, Report) else record.row for record in records] == ["a", 2, 3, 4, 5, "f"]


def test_columns_cannot_be_mapped_and_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / TABLE, [row(1, "7", "a")])
    with pytest.raises(ColumnMissing, match="cannot be mapped"):
        list(iter_records(path, columns={"text": "Report"}))
    other = write(tmp_path / "other.csv", [["1"]], header=["id"])
    with pytest.raises(ColumnMissing, match="it lacks ReportID, Report"):
        list(iter_records(other, format="padchest"))


def test_whole_table_has_the_published_numbers(padchest_corpus: Path) -> None:
    reports = texts = 0
    distinct = set()
    for report in read_reports(padchest_corpus):
        reports += 1
        texts += bool(report.text.strip())
        distinct.add(report.text)
    assert (reports, texts, len(distinct)) == (107_783, 107_783, 66_162)
