"""What is written as a table comes back as the same reports, whatever characters it holds."""

import csv
import dataclasses
import datetime as dt
import gzip
import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpora import Report, SectionKind, read_reports

CHARACTERS = st.characters(exclude_categories=["Cs"])
# Beside arbitrary text: pieces that are special to one of the formats.
PIECES = st.one_of(
    st.text(CHARACTERS, max_size=8),
    st.sampled_from(
        ['"', '""', "'", ",", ";", "\t", "|", "\n", "\r\n", "\r", "\0", "\\", "\ufeff", "\u2028", "\x1a", "é"]
    ),
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
VALUES = st.one_of(st.none(), TEXTS.filter(bool))
IDS = TEXTS.filter(lambda text: bool(text.strip()))
DATES = st.one_of(st.none(), st.dates(min_value=dt.date(1000, 1, 1)))
REPORTS = st.lists(st.builds(Report, IDS, TEXTS, VALUES, VALUES, VALUES, DATES, VALUES, VALUES), max_size=5)
# A column named "other" may be anything, so that section is read only where it is mapped.
SECTIONS = st.sampled_from([kind for kind in SectionKind if kind is not SectionKind.OTHER])
FIELDS = [field.name for field in dataclasses.fields(Report) if field.name != "sections"]
AWKWARD = [Report("1", '"\r\n'), Report("\ufeff2", "\0", modality=","), Report(" 3 ", "\ufeff a\r", patient_id="'")]


def rows(reports: list[Report]) -> list[dict[str, object]]:
    return [{name: getattr(report, name) for name in FIELDS} for report in reports]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@settings(deadline=None, max_examples=40)
@given(reports=REPORTS)
@example(reports=AWKWARD)
def test_csv(reports: list[Report], encoding: str, separator: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports.csv"
        with path.open("w", encoding=encoding, newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS, delimiter=separator)
            writer.writeheader()
            writer.writerows(rows(reports))
        assert list(read_reports(path)) == reports
        assert list(read_reports(path, encoding=encoding)) == reports


@pytest.mark.parametrize("ensure_ascii", [True, False])
@settings(deadline=None, max_examples=40)
@given(reports=REPORTS)
@example(reports=AWKWARD)
def test_json_lines(reports: list[Report], ensure_ascii: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports.jsonl.gz"
        lines = [json.dumps(row, ensure_ascii=ensure_ascii, default=str) + "\n" for row in rows(reports)]
        path.write_bytes(gzip.compress("".join(lines).encode("utf-8")))
        assert list(read_reports(path)) == reports


@settings(deadline=None, max_examples=40)
@given(reports=REPORTS)
@example(reports=AWKWARD)
def test_parquet(reports: list[Report]) -> None:
    schema = pa.schema([(name, pa.date32() if name == "study_date" else pa.string()) for name in FIELDS])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reports.parquet"
        pq.write_table(pa.Table.from_pylist(rows(reports), schema), path)
        assert list(read_reports(path)) == reports


@settings(deadline=None, max_examples=40)
@given(texts=st.lists(TEXTS, max_size=4))
def test_text_files(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            # A file cannot hold NUL, and one that begins with a byte order mark begins behind it.
            text = text.replace("\0", "").lstrip("\ufeff")
            (Path(folder) / f"{number}.txt").write_bytes(text.encode("utf-8"))
        expected = [text.replace("\0", "").lstrip("\ufeff") for text in texts]
        assert [report.text for report in read_reports(folder, format="text")] == expected


@settings(deadline=None, max_examples=40)
@given(parts=st.dictionaries(SECTIONS, IDS, min_size=1))
def test_sections_of_all_tables_agree(parts: dict[SectionKind, str]) -> None:
    row = {"report_id": "1", **{kind.value: body for kind, body in parts.items()}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "a.csv").open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows([row.keys(), row.values()])
        nested = {"report_id": "1", "sections": {kind.value: body for kind, body in parts.items()}}
        (folder / "b.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(nested) + "\n", encoding="utf-8")
        pq.write_table(pa.Table.from_pylist([row]), folder / "c.parquet")
        first, *others = read_reports([folder / "a.csv", folder / "b.jsonl", folder / "c.parquet"])
    assert others == [first] * 3
    assert {section.kind: first.text[section.start : section.end] for section in first.sections} == parts
