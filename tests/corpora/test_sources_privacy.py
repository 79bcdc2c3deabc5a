"""No message, and nothing an exception carries, shows what a row holds."""

import csv
import gzip
import io
import json
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora import RadlabelError, Report, RowInvalid, iter_records, read_reports
from corpora.sources.padchest import COLUMNS

MARK = "XQMARKQX"


def write_table(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def write_json(path: Path, *lines: object) -> None:
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))


def write_padchest(path: Path) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[*COLUMNS.values()], [MARK], [MARK, MARK, MARK, MARK, MARK, MARK]])
    path.write_bytes(gzip.compress(text.getvalue().encode()))


# Each writes a file of the given name that holds the mark and cannot be read as a whole.
BAD: Mapping[str, Callable[[Path], object]] = {
    "header_missing.csv": lambda path: write_table(path, [[MARK, f"No {MARK}."], [MARK, MARK]]),
    "header_missing_id.csv": lambda path: write_table(path, [["id", f"No {MARK} effusion, or so it seems to {MARK}."]]),
    "ragged.csv": lambda path: write_table(path, [["id", "text"], [MARK], [MARK, MARK, MARK]]),
    "date.csv": lambda path: write_table(path, [["id", "text", "study_date"], [MARK, MARK, MARK]]),
    "id.csv": lambda path: write_table(path, [["id", "text", "accession"], ["", MARK, MARK]]),
    "quote.csv": lambda path: path.write_text(f'id,text\n1,"{MARK}" {MARK}"\n2,"{MARK}'),
    "header_quote.csv": lambda path: path.write_text(f'id,"{MARK}'),
    "bytes.csv": lambda path: path.write_bytes("id,text\n1,éééé\n2,".encode() + MARK.encode() + b"\xff\n"),
    "utf16.csv": lambda path: path.write_bytes(f"id,text\n1,{MARK}".encode("utf-16") + b"\x00"),
    "cut.jsonl": lambda path: write_json(path, f'{{"id": "{MARK}", "text": "{MARK}'),
    "types.jsonl": lambda path: write_json(path, {"id": [MARK], "text": MARK}, {"id": MARK, "text": {MARK: MARK}}),
    "keys.jsonl": lambda path: write_json(path, {MARK: MARK}, [MARK], MARK),
    "sections.jsonl": lambda path: write_json(path, {"id": MARK, "sections": {MARK: [MARK]}}),
    "half.jsonl": lambda path: write_json(path, {"id": MARK, "text": f"{MARK}\ud800"}),
    "date.jsonl": lambda path: write_json(path, {"id": MARK, "text": MARK, "study_date": MARK}),
    "array.json": lambda path: write_json(path, [{"id": MARK, "text": MARK}]),
    "types.parquet": lambda path: pq.write_table(pa.table({"id": [MARK], "text": [[MARK]]}), path),
    "columns.parquet": lambda path: pq.write_table(pa.table({MARK: [MARK]}), path),
    "date.parquet": lambda path: pq.write_table(pa.table({"id": [MARK], "text": [MARK], "study_date": [MARK]}), path),
    "text.parquet": lambda path: path.write_text(MARK * 100),
    "record.xml": lambda path: path.write_text(f"<{MARK}>{MARK}</{MARK}>"),
    "entity.xml": lambda path: path.write_text(f"<!DOCTYPE a [<!ENTITY {MARK} '{MARK}'>]><a>&{MARK};</a>"),
    "cut.xml": lambda path: path.write_text(f"<a>{MARK}<{MARK}></a>"),
    "text.tgz": lambda path: path.write_text(MARK * 1000),
    "binary.txt": lambda path: path.write_text(f"{MARK}\0{MARK}"),
    "padchest.csv.gz": write_padchest,
}


@pytest.mark.parametrize("name", BAD)
def test_nothing_of_a_bad_row_is_shown(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    BAD[name](path)
    shown = []
    try:
        for record in iter_records(path):
            shown.append(repr(record) + str(record))
            if isinstance(record, RowInvalid):
                shown.append(everything(record))
    except RadlabelError as error:
        shown.append(everything(error))
    assert any("Error" in text or "row" in text or path.name in text for text in shown)
    assert not [text for text in shown if MARK in text]


@pytest.mark.parametrize("name", ["date.csv", "cut.jsonl", "types.jsonl", "types.parquet", "record.xml", "binary.txt"])
def test_raised_row_carries_nothing_of_itself(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    BAD[name](path)
    with pytest.raises(RowInvalid) as caught:
        list(read_reports(path))
    assert MARK not in everything(caught.value)


def everything(error: BaseException) -> str:
    """Return what a log could print of an error: its message, arguments and attributes, and those of its causes."""
    parts = [str(error), repr(error), repr(error.args), repr(getattr(error, "__dict__", {}))]
    for cause in (error.__cause__, error.__context__):
        if cause is not None:
            parts.append(everything(cause))
    frames = traceback.TracebackException.from_exception(error)
    return "\n".join([*parts, "".join(frames.format_exception_only())])


def test_reports_do_not_show_themselves(tmp_path: Path) -> None:
    write_table(tmp_path / "a.csv", [["id", "text", "accession"], [MARK, MARK, MARK]])
    reports = list(read_reports(tmp_path / "a.csv"))
    assert isinstance(reports[0], Report)
    assert MARK not in repr(reports)
