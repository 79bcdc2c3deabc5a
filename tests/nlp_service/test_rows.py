"""Rows: the form that users rely on, and that nothing is lost on the way into a file and back."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora import Assertion, Finding, LabeledReport, Measurement, Report, Status, StudyLabel
from corpora.vocabulary.schema import LabelEntry, LabelRule, LabelSet
from nlp_service.errors import OutputUnusable
from nlp_service.labeler import Labeler, ModelInfo
from nlp_service.rows import RowForm
from nlp_service.writers import SUFFIXES, suffix_of, writer_for

MODEL = ModelInfo("invented", "1", "0" * 64)
FORM = RowForm(
    (
        LabelSet(
            id="first",
            name="First",
            labels=(LabelEntry(name="No Finding", rule=LabelRule.NO_FINDING), LabelEntry(name="Edema")),
        ),
        LabelSet(id="second", name="Second", labels=(LabelEntry(name="Edema"), LabelEntry(name='A "b", c'))),
    ),
    MODEL,
)
FINDING_KEYS = [
    *("text", "start", "end", "section", "sentence", "concept", "assertion", "probability", "anatomy"),
    *("laterality", "location", "severity", "temporality", "measurement"),
]

# What a reader gives: text without half surrogate pairs, which no UTF-8 file can hold.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
numbers = st.floats(0, 1e6, allow_nan=False)
optional_texts = st.none() | texts
findings = st.builds(
    Finding,
    text=texts,
    start=st.integers(0, 2**40),
    end=st.integers(0, 2**40),
    section=texts,
    sentence=st.integers(0, 2**20),
    concept_id=texts,
    concept_name=texts,
    cui=optional_texts,
    assertion=st.sampled_from(Assertion),
    probability=st.none() | numbers,
    anatomy=optional_texts,
    laterality=optional_texts,
    location=st.lists(texts, max_size=3).map(tuple),
    severity=optional_texts,
    temporality=optional_texts,
    measurement=st.none()
    | st.builds(
        Measurement,
        values=st.lists(numbers, max_size=3).map(tuple),
        unit=texts,
        size_mm=st.lists(numbers, max_size=3).map(tuple),
    ),
)
labels = st.builds(
    StudyLabel,
    value=st.none() | st.sampled_from(Assertion),
    basis=st.sampled_from(["span", "attention", "rule"]),
    evidence=st.lists(st.integers(0, 1000), max_size=3).map(tuple),
    probability=st.none() | st.dictionaries(st.sampled_from(Assertion).map(str), numbers),
)


@st.composite
def labeled_reports(draw: st.DrawFn) -> LabeledReport:
    status = draw(st.sampled_from(Status))
    given_labels: Mapping[str, Mapping[str, StudyLabel]] = {}
    if status is Status.OK:
        given_labels = {
            label_set.id: {entry.name: draw(labels) for entry in label_set.labels} for label_set in FORM.label_sets
        }
    return LabeledReport(
        report_id=draw(ids),
        accession_number=draw(st.none() | ids),
        status=status,
        labels=given_labels,
        findings=tuple(draw(st.lists(findings, max_size=3))) if status is Status.OK else (),
    )


def written(suffix: str, *chunks: list[LabeledReport]) -> bytes:
    writer = writer_for(suffix, FORM)
    stream = io.BytesIO()
    writer.join((writer.encode(rows) for rows in chunks), stream)
    return stream.getvalue()


def row_from_parquet(row: dict[str, Any]) -> dict[str, object]:
    """Return the row of JSON Lines that a row of Parquet stands for."""
    known = {(label["label_set"], label["label"]): label for label in row["labels"]}
    labels: dict[str, dict[str, object]] = {}
    for label_set in FORM.label_sets:
        for entry in label_set.labels:
            label = known.get((label_set.id, entry.name))
            probability = label and label["probability"]
            labels.setdefault(label_set.id, {})[entry.name] = {
                "value": label and label["value"],
                "probability": None if probability is None else dict(probability),
                "basis": label["basis"] if label else "rule" if entry.rule else "span",
                "evidence": label["evidence"] if label else [],
            }
    return {
        "report_id": row["report_id"],
        "accession_number": row["accession_number"],
        "status": row["status"],
        "model": {name: row[f"model_{name}"] for name in ("name", "version", "digest")},
        "labels": labels,
        "findings": row["findings"],
    }


def without_bases_of_null(row: dict[str, Any]) -> dict[str, Any]:
    """Parquet leaves out labels of which nothing is known, and with them what they would be based on."""
    for label_set in row["labels"].values():
        for label in label_set.values():
            if label["value"] is None and not label["evidence"] and label["probability"] is None:
                label["basis"] = None
    return row


@given(st.lists(labeled_reports(), max_size=4))
def test_json_lines_round_trip(rows: list[LabeledReport]) -> None:
    lines = written(".jsonl", rows).decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [FORM.json_row(row) for row in rows]


@given(st.lists(labeled_reports(), max_size=4))
def test_csv_round_trip(rows: list[LabeledReport]) -> None:
    header, *cells = csv.reader(io.StringIO(written(".csv", rows).decode(), newline=""))
    assert header == FORM.columns
    assert cells == [[cell or "" for cell in FORM.wide_row(row)] for row in rows]


@given(st.lists(labeled_reports(), max_size=4))
def test_parquet_holds_the_row_of_json_lines(rows: list[LabeledReport]) -> None:
    table = pq.read_table(pa.BufferReader(written(".parquet", rows)))
    read = [without_bases_of_null(row_from_parquet(row)) for row in table.to_pylist()]
    assert read == [without_bases_of_null(FORM.json_row(row)) for row in rows]
    assert [[row[name] for name in FORM.columns] for row in table.to_pylist()] == [FORM.wide_row(row) for row in rows]


@given(st.lists(labeled_reports(), max_size=4), st.lists(labeled_reports(), max_size=4))
def test_gzip_holds_the_bytes_of_the_plain_file(first: list[LabeledReport], second: list[LabeledReport]) -> None:
    for suffix in (".csv", ".jsonl"):
        assert gzip.decompress(written(f"{suffix}.gz", first, second)) == written(suffix, first, second)


@pytest.mark.parametrize("reader", ["encoder", "rules"])
def test_row_of_a_real_reading_has_the_promised_keys_in_order(reader: str) -> None:
    labeler = Labeler(reader=reader)
    report = Report("r1", "Small left pleural effusion. 3 x 2 cm mass in the right upper lobe. No pneumothorax.", "A1")
    row: Any = RowForm(labeler.label_sets, labeler.model).json_row(labeler.label(report))
    assert list(row) == ["report_id", "accession_number", "status", "model", "labels", "findings"]
    assert list(row["model"]) == ["name", "version", "digest"]
    label = row["labels"]["chexpert14"]["Pleural Effusion"]
    assert list(label) == ["value", "probability", "basis", "evidence"]
    assert (label["value"], label["basis"]) == ("positive", "span")
    # The rules have no probabilities; the encoder has, and is sure of a plain sentence.
    assert label["probability"] is None if reader == "rules" else label["probability"]["positive"] > 0.9
    finding = row["findings"][label["evidence"][0]]
    assert list(finding) == FINDING_KEYS
    assert list(finding["concept"]) == ["id", "name", "cui"]
    assert finding["text"] == report.text[finding["start"] : finding["end"]]
    mass = next(finding for finding in row["findings"] if finding["measurement"])
    assert mass["measurement"] == {"values": [3.0, 2.0], "unit": "cm", "size_mm": [30.0, 20.0]}


def test_unread_report_has_every_label_with_the_value_null() -> None:
    row: Any = FORM.json_row(LabeledReport("r1", Status.NO_TEXT))
    assert row["labels"]["first"] == {
        "No Finding": {"value": None, "probability": None, "basis": "rule", "evidence": []},
        "Edema": {"value": None, "probability": None, "basis": "span", "evidence": []},
    }
    assert FORM.wide_row(LabeledReport("r1", Status.NO_TEXT))[3:7] == [None] * 4


def test_columns_are_named_by_set_and_label() -> None:
    assert FORM.label_columns == ["first:No Finding", "first:Edema", "second:Edema", 'second:A "b", c']


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_output_without_rows_is_a_valid_file(suffix: str) -> None:
    data = written(suffix)
    if suffix == ".parquet":
        assert pq.read_table(pa.BufferReader(data)).schema.names == [*FORM.columns, "labels", "findings"]
        return
    text = (gzip.decompress(data) if suffix.endswith(".gz") else data).decode()
    assert len(text.splitlines()) == (1 if ".csv" in suffix else 0)


def test_suffix_chooses_the_format(tmp_path: Any) -> None:
    assert suffix_of(tmp_path / "Labels.CSV.gz") == ".csv.gz"
    with pytest.raises(OutputUnusable, match=r"must end in one of \.csv, "):
        suffix_of(tmp_path / "labels.xlsx")
