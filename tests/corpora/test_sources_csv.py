"""CSV as hospitals export it: other separators, other names, other encodings, broken rows."""

import csv
import datetime as dt
import gzip
import random
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from corpora import ColumnMissing, Report, RowInvalid, SectionKind, SourceUnreadable, iter_records, read_reports


def write(folder: Path, content: str | bytes, name: str = "reports.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def records(path: Path, columns: Mapping[str, str] | None = None, encoding: str | None = None) -> list[str]:
    """Read a file; each record as its text, or as the message of why it is none."""
    found = iter_records(path, columns=columns, encoding=encoding)
    return [record.text if isinstance(record, Report) else str(record) for record in found]


def test_all_fields_are_read_under_their_usual_names(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "Study ID,REPORT TEXT,Accession Number,Issuer of Accession Number,MRN,StudyDate,Modality,Body Part Examined\n"
        "s1,Lungs are clear.,A1,HOSP,P1,20240301,DX,CHEST\n",
    )
    assert list(read_reports(path)) == [
        Report("s1", "Lungs are clear.", "A1", "HOSP", "P1", dt.date(2024, 3, 1), "DX", "CHEST")
    ]


@pytest.mark.parametrize("name", ["report_id", "id", "ID", "Report-Id", "study_id", "filename", "reportid"])
def test_report_id_is_found_under_many_names(tmp_path: Path, name: str) -> None:
    assert next(read_reports(write(tmp_path, f"{name},text\nr1,Clear.\n"))).report_id == "r1"


@pytest.mark.parametrize(
    "name", ["accession", "accession_number", "AccessionNumber", "Accession Number", "ACCESSION NO"]
)
def test_accession_number_is_found_under_many_names(tmp_path: Path, name: str) -> None:
    assert next(read_reports(write(tmp_path, f"id,text,{name}\nr1,Clear.,007\n"))).accession_number == "007"


def test_mapped_columns_go_before_usual_names(tmp_path: Path) -> None:
    path = write(tmp_path, "id,key,text,Befundtext\n1,K1,draft,Final.\n")
    (report,) = read_reports(path, columns={"report_id": "key", "text": "befundtext"})
    assert (report.report_id, report.text) == ("K1", "Final.")


def test_field_mapped_to_nothing_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text,study_date\nr1,Clear.,1.3.24\n")
    assert next(read_reports(path, columns={"study_date": ""})).study_date is None


def test_one_column_per_section_becomes_one_text_with_sections(tmp_path: Path) -> None:
    path = write(tmp_path, "id,impression,findings,history\nr1,No effusion.,Lungs are clear.,Cough\nr2,,,\n")
    first, second = read_reports(path)
    assert [(section.kind, first.text[section.start : section.end]) for section in first.sections] == [
        (SectionKind.INDICATION, "Cough"),
        (SectionKind.FINDINGS, "Lungs are clear."),
        (SectionKind.IMPRESSION, "No effusion."),
    ]
    assert (second.text, second.sections) == ("", ())


def test_whole_text_goes_before_its_sections(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text,findings\nr1,Whole text.,Part.\nr2,,Part.\n")
    assert [report.text for report in read_reports(path)] == ["Whole text.", "FINDINGS: Part."]
    mapped = read_reports(path, columns={"findings": "findings"})
    assert [report.text for report in mapped] == ["FINDINGS: Part.", "FINDINGS: Part."]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separator_is_told_from_the_header(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path, f'id{separator}text{separator}modality\nr1{separator}"a, b; c\td | e"{separator}DX\n')
    assert next(read_reports(path)) == Report("r1", "a, b; c\td | e", modality="DX")


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252", "latin-1", "mac_roman"],
)
def test_encoding_is_detected(tmp_path: Path, encoding: str) -> None:
    texts = [
        "Índice cardiotorácico normal.",
        "Größe des Herzens unauffällig, kein Pleuraerguß.",
        "Pas d'épanchement pleural à droite.",
    ]
    path = write(tmp_path, ("id,text\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts))).encode(encoding))
    assert records(path) == texts


def test_quotation_marks_of_windows_are_read(tmp_path: Path) -> None:
    text = "\N{LEFT DOUBLE QUOTATION MARK}Apical\N{RIGHT DOUBLE QUOTATION MARK} opacity \N{EN DASH} 5 µm at 38°"
    assert records(write(tmp_path, f"id,text\n1,{text}\n".encode("cp1252"))) == [text]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Płuca bez zmian ogniskowych. Serce niepowiększone, kąty przeponowo-żebrowe wolne."),
        ("cp1250", "Plíce bez ložiskových změn, srdeční stín není rozšířen, bránice hladká."),
        ("cp1251", "Лёгкие без очаговых изменений. Сердце не увеличено. Плевральный выпот отсутствует."),
        ("shift_jis", "胸水は認めません。心拡大なし。肺野に異常陰影を認めない。"),
    ],
)
def test_other_scripts_are_detected_from_a_page_of_text(tmp_path: Path, encoding: str, text: str) -> None:
    path = write(tmp_path, ("id,text\n" + f'1,"{text}"\n' * 30).encode(encoding))
    assert set(records(path)) == {text}


def test_accent_far_into_the_file_is_seen(tmp_path: Path) -> None:
    rows = "".join(f"{i},Lungs are clear.\n" for i in range(100_000))
    path = write(tmp_path, ("id,text\n" + rows + "x,Größe normal.\n").encode("cp1252"))
    assert records(path)[-1] == "Größe normal."


def test_one_bad_byte_in_utf8_costs_one_row(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n1,Größe\n2,BAD\n3,Übersicht\n".encode().replace(b"BAD", b"kein Erg\xfc\xdf"))
    assert records(path) == ["Größe", "reports.csv, row 2, field 'text': is not valid utf-8 text", "Übersicht"]


def test_wrong_encoding_costs_the_rows_it_cannot_read(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n1,clear\n2,Größe\n")
    assert records(path, encoding="ascii") == [
        "clear",
        "reports.csv, row 2, field 'text': is not valid ascii text",
    ]


def test_wrong_unicode_encoding_is_an_error_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n1,clear\n")
    with pytest.raises(SourceUnreadable, match="is not utf-16 text"):
        records(path, encoding="utf-16")
    with pytest.raises(ColumnMissing, match="read as utf-16-le"):
        records(path, encoding="utf-16-le")


@pytest.mark.parametrize("encoding", ["utf-9", "hex", "", "a\0b"])
def test_unknown_encoding_is_an_error(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(SourceUnreadable, match="unknown encoding"):
        records(write(tmp_path, "id,text\n1,a\n"), encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-16-le", "utf-16"])
def test_explicit_encoding_does_not_keep_the_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    written = {"utf-16": "utf-16", "utf-16-le": "utf-16"}.get(encoding, "utf-8-sig")
    assert next(read_reports(write(tmp_path, "id,text\nr1,ü\n".encode(written)), encoding=encoding)).report_id == "r1"


def test_missing_text_column_lists_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "id,ward\n1,W\n")
    with pytest.raises(ColumnMissing, match=r"reports.csv .*no column holds the text.*the columns are: 'id', 'ward'"):
        records(path)
    with pytest.raises(ColumnMissing, match="there is no column 'body' for text; the columns are: 'id', 'ward'"):
        records(path, columns={"text": "body"})


def test_mapping_of_an_unknown_field_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(ColumnMissing, match="'txet', which is no field of a report"):
        iter_records(write(tmp_path, "id,text\n1,a\n"), columns={"txet": "text"})


def test_table_without_header_does_not_show_its_first_row(tmp_path: Path) -> None:
    with pytest.raises(ColumnMissing, match="2 cells, and none is a known column name") as caught:
        records(write(tmp_path, "MARK Jones,No MARK effusion.\n"))
    assert "MARK" not in str(caught.value)


def test_rows_without_an_id_column_are_numbered(tmp_path: Path) -> None:
    path = write(tmp_path, "text\nfirst\n\nsecond\n", name="ward.march.csv")
    assert [report.report_id for report in read_reports(path)] == ["ward.march:1", "ward.march:2"]


def test_empty_id_in_an_id_column_is_invalid(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n1,a\n,b\n  ,c\n4,d\n")
    reason = "field 'report_id': is empty, so the row cannot be told from others"
    assert records(path) == ["a", f"reports.csv, row 2, {reason}", f"reports.csv, row 3, {reason}", "d"]


def test_repeated_ids_are_passed_on(tmp_path: Path) -> None:
    assert [report.report_id for report in read_reports(write(tmp_path, "id,text\n1,a\n1,b\n"))] == ["1", "1"]


def test_report_without_text_is_a_report(tmp_path: Path) -> None:
    assert list(read_reports(write(tmp_path, "id,text\nr1,\n"))) == [Report("r1", "")]


@pytest.mark.parametrize(
    "text", ["2024-03-01", "20240301", "2024-03-01 10:00:00", "2024-03-01T10:00:00Z", "20240301.0", "20240301103000"]
)
def test_dates_are_read(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f"id,text,study_date\n1,a,{text}\n")
    assert next(read_reports(path)).study_date == dt.date(2024, 3, 1)


@pytest.mark.parametrize("text", ["01/03/2024", "20241301", "yesterday", "2024", "٢٠٢٤٠٣٠١"])
def test_unreadable_date_is_invalid_and_not_shown(tmp_path: Path, text: str) -> None:
    (message,) = records(write(tmp_path, f"id,text,study_date\n1,a,{text}\n"))
    assert "row 1, field 'study_date': is no date of the form YYYY-MM-DD" in message
    assert text not in message


@pytest.mark.parametrize("text", ["", "  ", "NaT", "None", "nan"])
def test_missing_date_is_none(tmp_path: Path, text: str) -> None:
    assert next(read_reports(write(tmp_path, f"id,text,study_date\n1,a,{text}\n"))).study_date is None


def test_ragged_rows_cost_themselves(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text,modality\n1,a,DX\n2,b\n3,c,DX,extra\n4,d,CT\n")
    assert records(path) == [
        "a",
        "reports.csv, row 2: has 2 cells where the header has 3",
        "reports.csv, row 3: has 4 cells where the header has 3",
        "d",
    ]


def test_quoted_line_ends_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,text\r\n1,"FINDINGS:\r\nClear.\n\nIMPRESSION: ""normal"""\r\n2,b\r\n')
    assert records(path) == ['FINDINGS:\r\nClear.\n\nIMPRESSION: "normal"', "b"]


def test_nul_bytes_are_kept(tmp_path: Path) -> None:
    assert records(write(tmp_path, "id,text\n1,a\0b\n2,c\n")) == ["a\0b", "c"]


def test_quote_left_open_costs_one_row(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,text\n1,"never closed\n2,b\n3,c\n')
    assert records(path) == ["reports.csv, row 1: opens a quote that is never closed", "b", "c"]


def test_quote_that_is_not_doubled_costs_one_row(tmp_path: Path) -> None:
    path = write(tmp_path, 'id,text\n1,"a "nodular" opacity"\n2,"b"\n')
    first, second = records(path)
    assert first.startswith("reports.csv, row 1: has a quote within a quoted cell")
    assert second == "b"


def test_very_long_report_is_whole(tmp_path: Path) -> None:
    text = "Lungs are clear. " * 1_500_000  # 25 MB
    path = tmp_path / "long.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["id", "text"], ["1", text], ["2", "b"]])
    first, second = records(path)
    assert first == text
    assert second == "b"


def test_field_limit_of_the_host_is_never_lowered(tmp_path: Path) -> None:
    before = csv.field_size_limit(2**30)
    try:
        assert records(write(tmp_path, "id,text\n1,a\n")) == ["a"]
        assert csv.field_size_limit() == 2**30
    finally:
        csv.field_size_limit(before)


def test_gzip_is_read_whatever_the_name(tmp_path: Path) -> None:
    content = gzip.compress(b"id,text\n1,a\n")
    assert records(write(tmp_path, content, "reports.csv.gz")) == ["a"]
    assert records(write(tmp_path, content, "reports.csv")) == ["a"]


def test_gzip_that_is_cut_off_is_an_error_behind_its_good_rows(tmp_path: Path) -> None:
    noise = random.Random(3)
    rows = "".join(f"{i},{noise.getrandbits(200):x}\n" for i in range(60_000))
    path = write(tmp_path, gzip.compress(("id,text\n" + rows).encode())[:-1000], "cut.csv.gz")
    with pytest.raises(SourceUnreadable, match=r"cut.csv.gz: the compressed file is cut off or damaged"):
        records(path)


def test_empty_file_has_no_header(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match="is empty: not even a header"):
        records(write(tmp_path, ""))


def test_header_alone_holds_no_reports(tmp_path: Path) -> None:
    assert records(write(tmp_path, "id,text\n")) == []


def test_reading_goes_on_at_a_position(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n1,a\n2\n3,c\n4,d\n")
    everything = [repr(record) for record in iter_records(path)]
    for start in range(6):
        assert [repr(record) for record in iter_records(path, start=start)] == everything[start:]


def test_invalid_rows_raise_are_skipped_or_handed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n1,a\n2\n3,c\n")
    with pytest.raises(RowInvalid, match="row 2"):
        list(read_reports(path))
    assert [report.text for report in read_reports(path, on_invalid="skip")] == ["a", "c"]
    handed: list[RowInvalid] = []
    assert [report.text for report in read_reports(path, on_invalid=handed.append)] == ["a", "c"]
    assert [invalid.row for invalid in handed] == [2]


def test_memory_does_not_grow_with_the_number_of_reports(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.csv"
        path.write_text("id,text\n" + "".join(f"{i},{'Lungs are clear. ' * 20}\n" for i in range(rows)))
        tracemalloc.start()
        try:
            assert sum(1 for _ in read_reports(path)) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small = peak(10_000)
    assert peak(40_000) < 1.2 * small
