"""A folder of text files: one report each."""

from pathlib import Path

import pytest

from corpora import ColumnMissing, Report, SourceUnreadable, iter_records, read_reports


def records(path: Path, encoding: str | None = None) -> list[str]:
    found = iter_records(path, encoding=encoding)
    return [record.text if isinstance(record, Report) else str(record) for record in found]


def test_files_are_reports_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.TXT", "notes.md", "._a.txt", "a.b.txt"):
        (tmp_path / name).write_text(name)
    assert [(report.report_id, report.text) for report in read_reports(tmp_path, format="text")] == [
        ("a.b", "a.b.txt"),
        ("a", "a.txt"),
        ("b", "b.txt"),
        ("c", "c.TXT"),
    ]


def test_folders_below_are_read_but_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "p10").mkdir()
    (tmp_path / "p10" / "s1.txt").write_text("a")
    (tmp_path / "p10" / "up").symlink_to(tmp_path, target_is_directory=True)
    assert [report.report_id for report in read_reports(tmp_path)] == ["s1"]


def test_single_file_is_one_report_with_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "s1.txt"
    path.write_bytes(b"\xef\xbb\xbfFINDINGS:\r\nClear.\r\n")
    assert list(read_reports(path)) == [Report("s1", "FINDINGS:\r\nClear.\r\n")]


def test_empty_file_is_a_report_without_text(tmp_path: Path) -> None:
    (tmp_path / "s1.txt").write_bytes(b"")
    assert list(read_reports(tmp_path)) == [Report("s1", "")]


def test_every_file_has_an_encoding_of_its_own(tmp_path: Path) -> None:
    for name, encoding in (("1", "utf-8"), ("2", "cp1252"), ("3", "utf-16")):
        (tmp_path / f"{name}.txt").write_bytes("Größe des Herzens normal".encode(encoding))
    assert set(records(tmp_path)) == {"Größe des Herzens normal"}


def test_file_that_cannot_be_read_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_bytes(b"\x7fELF\0\1\2")
    (tmp_path / "2.txt").symlink_to(tmp_path / "gone.txt")
    (tmp_path / "3.txt").write_text("c")
    first, second, third = records(tmp_path)
    assert "row 1, field 'text': file 1 in the order of names is binary, not text (7 bytes)" in first
    assert "row 2: file 2 in the order of names cannot be read: No such file or directory" in second
    assert third == "c"


def test_wrong_encoding_costs_the_files_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("clear")
    (tmp_path / "2.txt").write_text("Größe", encoding="utf-8")
    first, second = records(tmp_path, encoding="ascii")
    assert first == "clear"
    assert "row 2, field 'text': file 2 in the order of names is not ascii text" in second
    assert all("is not utf-16 text" in message for message in records(tmp_path, encoding="utf-16"))


def test_unknown_encoding_and_mapped_columns_are_errors_before_the_first_file(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("clear")
    with pytest.raises(SourceUnreadable, match="unknown encoding"):
        records(tmp_path, encoding="utf-9")
    with pytest.raises(ColumnMissing, match="have no columns"):
        list(iter_records(tmp_path, columns={"text": "body"}))
