"""Which source reads which path, and several paths in one go."""

import gzip
import json
from pathlib import Path

import pytest

from corpora import Report, SourceUnreadable, iter_records, read_reports
from corpora.sources import SOURCES, recognise_format


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", b"id,text\n", "csv"),
        ("a.TSV", b"id\ttext\n", "csv"),
        ("a.csv.gz", gzip.compress(b"id,text\n", mtime=0), "csv"),
        ("a.jsonl", b"", "jsonl"),
        ("a.ndjson.gz", gzip.compress(b"", mtime=0), "jsonl"),
        ("a.parquet", b"", "parquet"),
        ("a.txt", b"", "text"),
        ("a.xml", b"", "openi"),
        ("a.tgz", b"", "openi"),
        ("export", b'\xef\xbb\xbf\n {"id": 1}', "jsonl"),
        ("export", gzip.compress(b'{"id": 1}', mtime=0), "jsonl"),
        ("export.dat", b"PAR1", "parquet"),
        ("export.dat", b"<eCitation/>", "openi"),
    ],
)
def test_file_is_told_by_name_and_else_by_content(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert recognise_format(path) == expected


@pytest.mark.parametrize(("name", "expected"), [("a.txt", "text"), ("a.xml", "openi"), ("a.jsonl", "jsonl")])
def test_folder_is_told_by_the_files_below_it(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / name).write_text("")
    (tmp_path / "readme.md").write_text("notes")
    assert recognise_format(tmp_path) == expected


def test_folder_of_several_formats_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("a")
    (tmp_path / "1.xml").write_text("<a/>")
    with pytest.raises(SourceUnreadable, match="several formats; say which with --format: text, openi"):
        recognise_format(tmp_path)
    assert [report.text for report in read_reports(tmp_path, format="text")] == ["a"]


def test_folder_without_reports_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="holds no file of a format that can be read"):
        recognise_format(tmp_path)
    with pytest.raises(SourceUnreadable, match=r"holds no file that ends in \.csv"):
        iter_records(tmp_path, format="csv")


def test_wrong_paths_and_formats_are_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="there is no such file or folder"):
        iter_records(tmp_path / "gone.csv")
    with pytest.raises(SourceUnreadable, match="unknown format 'xls': use one of csv, jsonl"):
        iter_records(tmp_path / "a.xls", format="xls")
    (tmp_path / "report.docx").write_bytes(b"PK\3\4")
    with pytest.raises(SourceUnreadable, match="neither name nor content tell the format"):
        iter_records(tmp_path / "report.docx")


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "text"])
def test_missing_file_is_unreadable_for_every_source(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceUnreadable, match="gone"):
        list(iter_records(tmp_path / "gone", format=name))


def test_missing_text_file_is_an_invalid_row(tmp_path: Path) -> None:
    (record,) = iter_records(tmp_path / "gone.txt", format="text")
    assert "cannot be read: No such file or directory" in str(record)


def test_several_inputs_are_read_one_after_the_other_with_positions_across(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,a\n2\n")
    (tmp_path / "b.jsonl").write_text(json.dumps({"id": "3", "text": "b"}))
    (tmp_path / "c.txt").write_text("c")
    inputs: list[str | Path] = [tmp_path / "a.csv", str(tmp_path / "b.jsonl"), tmp_path / "c.txt"]
    shown = [record.text if isinstance(record, Report) else str(record) for record in iter_records(inputs)]
    assert shown == ["a", "a.csv, row 2: has 1 cell where the header has 2", "b", "c"]
    for start in range(5):
        rest = iter_records(inputs, start=start)
        assert [record.text if isinstance(record, Report) else str(record) for record in rest] == shown[start:]


def test_every_source_has_the_same_shape() -> None:
    assert [source.NAME for source in SOURCES.values()] == list(SOURCES)
    for source in SOURCES.values():
        assert source.DESCRIPTION
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in source.SUFFIXES)
        assert callable(source.iter_records)
