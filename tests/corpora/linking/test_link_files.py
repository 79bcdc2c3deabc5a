"""Linking of files: sources, label rows, outputs that appear whole or not at all, and what bad input gets."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.errors import ColumnMissing
from corpora.linking import (
    ImageIndexInvalid,
    LabelRowsInvalid,
    LinkOutputUnusable,
    LinkSettingsInvalid,
    Outcome,
    link_files,
)
from tests.corpora.linking.small import Result, Row, image, report, write_index, write_reports

MARK = "MARK4711"
HL7 = (
    "MSH|^~\\&|RIS|H|||20240301||ORU^R01|{n}|P|2.5.1\rPID|1||P1^^^H^MR\r"
    "OBR|1||X-9|36643-5^XR Chest^LN|||20240301|||||||||||A1|||||||{status}\r"
    "OBX|1|TX|59776-5^Findings^LN||Lungs are clear.||||||F\r"
)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return write_index(tmp_path / "index.parquet", [image("1"), image("2", "A2", "P2")])


def run(source: Path, index: Path, **more: object) -> Result:
    output = index.parent / "linked"
    return Result(link_files(source, index, output, **more), output)  # type: ignore[arg-type]


def label_rows(path: Path, rows: list[Row]) -> Path:
    pq.write_table(
        pa.Table.from_pylist([{"status": "ok", "chexpert14:Edema": "positive", **row} for row in rows]), path
    )
    return path


def test_json_lines_of_reports_or_labels_need_no_text(tmp_path: Path, index: Path) -> None:
    lines = [{"report_id": "r", "accession_number": "A1", "status": "ok"}, {"report_id": "s", "accession_number": 7}]
    source = tmp_path / "labels.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n", encoding="utf-8")
    found = run(source, index)
    assert found.links == {("r", "1.1")}
    assert found.summary.of("reports", Outcome.INVALID) == 1
    assert [row["detail"][:11] for row in found.csv("unlinked_reports.csv") if row["outcome"] == "invalid"] == [
        "is not JSON"
    ]


def test_label_rows_in_parquet_link_as_reports(tmp_path: Path, index: Path) -> None:
    source = label_rows(tmp_path / "l.parquet", [{"report_id": "r", "accession_number": "A1"}])
    assert run(source, index).links == {("r", "1.1")}


def test_columns_of_other_names_are_mapped(tmp_path: Path, index: Path) -> None:
    source = tmp_path / "ris.csv"
    source.write_text("exam;number;state\nr;A1;F\nq;A1;P\n", encoding="utf-8")
    columns = {"report_id": "exam", "accession_number": "number", "report_status": "state"}
    found = run(source, index, columns=columns)
    assert (found.links, found.reports) == ({("r", "1.1")}, {"q": ("superseded", "preliminary")})


def test_hl7_says_how_far_a_report_is(tmp_path: Path, index: Path) -> None:
    source = tmp_path / "reports.hl7"
    source.write_text("".join(HL7.format(n=n, status=status) for n, status in enumerate("PFCA")), encoding="ascii")
    found = run(source, index)
    assert {report_id for report_id, _ in found.links} == {"X-9:3", "X-9:4"}
    assert found.reports == {"X-9": ("superseded", "preliminary"), "X-9:2": ("superseded", "older_version")}


def test_hl7_says_that_an_order_was_cancelled(tmp_path: Path, index: Path) -> None:
    source = tmp_path / "reports.hl7"
    cancelled = HL7.format(n=1, status="F").replace("OBR|", "ORC|OC|P1|X-9\rOBR|")
    source.write_text(HL7.format(n=0, status="F") + cancelled, encoding="ascii")
    assert run(source, index).reports["X-9:2"] == ("superseded", "cancelled")


def test_labels_are_joined_to_images(tmp_path: Path, index: Path) -> None:
    reports = write_reports(tmp_path / "r.csv", [report("r"), report("s", "A2", "P1"), report("t", "A2", "P2")])
    rows: list[Row] = [
        {"report_id": "r", "accession_number": " a1"},
        {"report_id": "s", "accession_number": "A2"},  # did not link
        {"report_id": "t", "accession_number": "A1"},  # labels of some other report with this id
        {"report_id": "u", "accession_number": "A9"},  # of no report
    ]
    found = run(reports, index, labels=label_rows(tmp_path / "l.parquet", rows))
    [joined] = pq.read_table(found.folder / "labels.parquet").to_pylist()
    assert (joined["report_id"], joined["image_id"], joined["chexpert14:Edema"]) == ("r", "1.1", "positive")
    totals = found.summary.totals
    assert totals["label_rows"] == 4
    assert [value for name, value in totals.items() if name.startswith("label_rows_")] == [1, 1, 1, 1]


def test_label_rows_that_cannot_be_told_apart_are_refused(tmp_path: Path, index: Path) -> None:
    reports = write_reports(tmp_path / "r.csv", [report("r")])
    twice = label_rows(tmp_path / "l.parquet", [{"report_id": "r", "accession_number": "A1"}] * 2)
    with pytest.raises(LabelRowsInvalid, match="1 report ids have several rows"):
        run(reports, index, labels=twice)
    with pytest.raises(LabelRowsInvalid, match="no column report_id"):
        run(reports, index, labels=index)
    assert not (tmp_path / "linked").exists()


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1PAR1"])
def test_index_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    index.write_bytes(content)
    with pytest.raises(ImageIndexInvalid, match=r"is no Parquet file"):
        run(write_reports(tmp_path / "r.csv", [report("r")]), index)


@pytest.mark.parametrize("columns", [["image_id", "file"], ["image_id", "patient_id"]])
def test_index_without_needed_columns_is_refused(columns: list[str], tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    pq.write_table(pa.table({name: ["x"] for name in columns}), index)
    with pytest.raises(ImageIndexInvalid, match="it has no column"):
        run(write_reports(tmp_path / "r.csv", [report("r")]), index)


def test_index_with_rows_without_id_is_refused(tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    pq.write_table(pa.table({"image_id": ["a", None], "file": ["x", "y"], "accession_number": ["1", "2"]}), index)
    with pytest.raises(ImageIndexInvalid, match="1 rows have no image_id"):
        run(write_reports(tmp_path / "r.csv", [report("r")]), index)


def test_output_is_replaced_only_on_request(tmp_path: Path, index: Path) -> None:
    reports = write_reports(tmp_path / "r.csv", [report("r")])
    run(reports, index)
    with pytest.raises(LinkOutputUnusable, match="--overwrite"):
        run(reports, index)
    assert run(reports, index, overwrite=True).links == {("r", "1.1")}
    (tmp_path / "linked" / "mine.txt").touch()
    with pytest.raises(LinkOutputUnusable, match="holds 1 files"):
        run(reports, index, overwrite=True)
    assert (tmp_path / "linked" / "mine.txt").exists()


def test_failed_run_leaves_nothing_behind(tmp_path: Path, index: Path) -> None:
    before = sorted(tmp_path.iterdir())
    source = tmp_path / "r.csv"
    source.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(ColumnMissing):
        run(source, index)
    with pytest.raises(LinkSettingsInvalid, match="memory_mib"):
        run(source, index, memory_mib=1)
    assert sorted(tmp_path.iterdir()) == sorted([*before, source])


def test_no_identifier_is_in_an_error_or_account(tmp_path: Path) -> None:
    """What is listed as unlinked is the user's; messages, representations and the account hold numbers alone."""
    index = write_index(tmp_path / "index.parquet", [image("1", MARK, MARK)])
    source = tmp_path / "r.csv"
    row = f'{MARK},{MARK},{MARK},"{MARK}\n'
    source.write_text(f"report_id,accession_number,patient_id,report_time\nr,{MARK},P2,{MARK}\n{row}", encoding="utf-8")
    found = run(source, index)
    assert found.summary.of("reports", Outcome.INVALID) == 2
    assert MARK not in repr(found.summary)
    assert MARK not in (found.folder / "link_report.json").read_text(encoding="utf-8")
    assert MARK not in "".join(line["detail"] for line in found.csv("unlinked_reports.csv"))
