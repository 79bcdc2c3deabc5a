"""Parquet: the types columns come in, and files that are damaged."""

import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora import ColumnMissing, Report, SectionKind, SourceUnreadable, iter_records, read_reports
from corpora.sources.records import Record


def write(folder: Path, columns: dict[str, Any], name: str = "reports.parquet", **options: Any) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_all_fields_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "report_id": ["r1"],
            "text": ["Lungs are clear."],
            "AccessionNumber": ["A1"],
            "issuer_of_accession_number": ["HOSP"],
            "subject_id": [17],
            "study_date": [dt.date(2024, 3, 1)],
            "modality": pa.array(["DX"]).dictionary_encode(),
            "body_part": ["CHEST"],
            "pixels": [b"\xff\x00"],
        },
    )
    assert list(read_reports(path)) == [
        Report("r1", "Lungs are clear.", "A1", "HOSP", "17", dt.date(2024, 3, 1), "DX", "CHEST")
    ]


@pytest.mark.parametrize(
    "dates",
    [
        pa.array([dt.datetime(2024, 3, 1, 23, 59)]),
        pa.array([dt.datetime(2024, 3, 1)], pa.timestamp("ns")),
        pa.array([dt.date(2024, 3, 1)], pa.date64()),
        pa.array([20240301]),
        pa.array([20240301.0]),
        pa.array(["2024-03-01"], pa.large_string()),
    ],
)
def test_dates_of_any_type_are_read(tmp_path: Path, dates: Any) -> None:
    path = write(tmp_path, {"id": ["1"], "text": ["a"], "study_date": dates})
    assert next(read_reports(path)).study_date == dt.date(2024, 3, 1)


def test_section_columns_and_sections_column_give_sections(tmp_path: Path) -> None:
    by_column = write(tmp_path, {"id": ["1"], "findings": ["Clear."], "impression": [None]}, "columns.parquet")
    by_struct = write(tmp_path, {"id": ["1"], "sections": [{"findings": "Clear.", "impression": None}]}, "one.parquet")
    (first,), (second,) = read_reports(by_column), read_reports(by_struct)
    assert first == second
    assert [section.kind for section in first.sections] == [SectionKind.FINDINGS]


def test_whole_numbers_with_gaps_are_ids(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": pa.array([1.0, None]), "text": ["a", "b"]})
    first, second = iter_records(path)
    assert isinstance(first, Report)
    assert first.report_id == "1"
    assert str(second).startswith("reports.parquet, row 2, field 'report_id': is empty")


def test_missing_text_column_lists_the_columns(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": ["1"], "ward": ["W"]})
    with pytest.raises(ColumnMissing, match=r"reports\.parquet: no column holds the text.*'id', 'ward'"):
        list(iter_records(path))


def test_rows_without_an_id_column_are_numbered_across_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path, {"text": [str(i) for i in range(700)]}, row_group_size=300)
    reports = list(read_reports(path))
    assert [report.text for report in reports] == [str(i) for i in range(700)]
    assert reports[-1].report_id == "reports:700"


def test_bytes_are_read_as_text_and_broken_ones_cost_their_row(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": ["1", "2", "3"], "text": pa.array(["Größe".encode(), b"\xff\xfe", None])})
    records = [record.text if isinstance(record, Report) else str(record) for record in iter_records(path)]
    assert records == ["Größe", "reports.parquet, row 2, field 'text': is not valid utf-8 text", ""]


def test_string_that_is_no_utf8_costs_its_row(tmp_path: Path) -> None:
    unchecked = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b"\xff\xfea")]
    )
    path = write(tmp_path, {"id": ["1", "2"], "text": unchecked})
    records = [record.text if isinstance(record, Report) else str(record) for record in iter_records(path)]
    assert records == ["reports.parquet, row 1, field 'text': is not valid utf-8 text", "a"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"id,text\n1,a\n", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_file_that_is_no_parquet_is_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reports.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceUnreadable, match="parquet"):
        list(iter_records(path))


def test_file_that_is_cut_off_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, {"id": ["1"], "text": ["a" * 1000]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SourceUnreadable, match="is no Parquet file, or one that is cut off"):
        list(iter_records(path))


def test_damaged_page_is_an_error_that_says_how_far_it_was_good(tmp_path: Path) -> None:
    texts = [f"{i} lungs are clear" for i in range(600)]
    columns = {"id": [str(i) for i in range(600)], "text": texts}
    path = write(tmp_path, columns, row_group_size=300, compression="gzip", use_dictionary=False)
    place = pq.ParquetFile(path).metadata.row_group(1).column(1).data_page_offset
    data = bytearray(path.read_bytes())
    data[place + 30 : place + 230] = b"\xff" * 200
    path.write_bytes(data)
    good: list[Record] = []
    with pytest.raises(SourceUnreadable, match=r"reports\.parquet: is damaged behind row \d+") as caught:
        good.extend(iter_records(path))
    assert all(isinstance(record, Report) for record in good)
    assert str(caught.value).endswith(f"row {len(good)}")
    assert good


def test_folder_of_parts_is_read_in_order(tmp_path: Path) -> None:
    for part in (2, 1):
        write(tmp_path, {"id": [f"{part}"], "text": [f"part {part}"]}, f"part-{part}.parquet")
    assert [report.text for report in read_reports(tmp_path)] == ["part 1", "part 2"]
