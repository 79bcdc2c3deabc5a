"""A labeled report as a row: the one place that knows how the three outputs look.

JSON Lines is the full form; every row has these keys in this order::

    {"report_id", "accession_number", "status": "ok|no_text|not_applicable|error",
     "model": {"name", "version", "digest"},
     "labels": {label set: {label: {"value": "positive|negative|uncertain|null", "probability": {value: number} or null,
                                    "basis": "span|attention|rule", "evidence": [indices into findings]}}},
     "findings": [{"text", "start", "end", "section", "sentence", "concept": {"id", "name", "cui"}, "assertion",
                   "probability", "anatomy", "laterality", "location": [...], "severity", "temporality",
                   "measurement": {"values", "unit", "size_mm"} or null}]}

A report that was not read (``no_text``, ``not_applicable``, ``error``) has every label with the value null.

CSV is wide: ``report_id``, ``accession_number``, ``status``, one column a label, ``model_name``, ``model_version``,
``model_digest``. A label's column is ``<label set>:<label>`` (``chexpert14:Pneumonia``), even if there is one set
alone: the same label of two sets follows two conventions, and a column keeps its name when a set is added. A value that
is null is an empty cell.

Parquet has the columns of CSV (status, values and model as dictionary-encoded strings) and two lists of structs that
hold the rest. ``findings`` has the structs above. ``labels`` has ``label_set``, ``label``, ``value``, ``probability``
(a map), ``basis`` and ``evidence`` for each label that something is known of; a label that is left out was not
mentioned. Nothing is lost: the row of JSON Lines can be made from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corpora.findings import Assertion, Finding, LabeledReport, Measurement, Status, StudyLabel
from models.text.abstain import abstentions

if TYPE_CHECKING:
    import pyarrow as pa

    from corpora.vocabulary.schema import LabelSet
    from nlp_service.labeler import ModelInfo

ID_COLUMNS = ("report_id", "accession_number", "status")
MODEL_COLUMNS = ("model_name", "model_version", "model_digest")
VALUES = tuple(value.value for value in Assertion)
STATUSES = tuple(status.value for status in Status)

Row = dict[str, object]

_BLANK = StudyLabel(None, basis="span")
_DERIVED_BLANK = StudyLabel(None, basis="rule")


@dataclass(frozen=True)
class RowForm:
    """Turns labeled reports into rows of one run: its label sets decide the columns, its model is in every row."""

    label_sets: tuple[LabelSet, ...]
    model: ModelInfo

    @property
    def label_columns(self) -> list[str]:
        """Return the names of the label columns in their order."""
        return [f"{label_set.id}:{entry.name}" for label_set in self.label_sets for entry in label_set.labels]

    @property
    def columns(self) -> list[str]:
        """Return the names of the columns of CSV in their order."""
        return [*ID_COLUMNS, *self.label_columns, *MODEL_COLUMNS]

    def json_row(self, labeled: LabeledReport) -> Row:
        """Return the full row, ready for `json.dumps`."""
        return {**self._head(labeled), **self._content(labeled)}

    def json_content(self, labeled: LabeledReport) -> str:
        """Return the labels and findings of the full row as JSON: what the store keeps."""
        return _as_json(self._content(labeled))

    def json_text(self, labeled: LabeledReport, content: str | None = None) -> str:
        """Return the full row as JSON; ``content`` is its `json_content`, where that was made already."""
        return f"{_as_json(self._head(labeled))[:-1]},{(content or self.json_content(labeled))[1:]}"

    def _head(self, labeled: LabeledReport) -> Row:
        return {
            "report_id": labeled.report_id or None,
            "accession_number": labeled.accession_number,
            "status": labeled.status.value,
            "model": {"name": self.model.name, "version": self.model.version, "digest": self.model.digest},
        }

    def _content(self, labeled: LabeledReport) -> Row:
        labels: dict[str, dict[str, Row]] = {label_set.id: {} for label_set in self.label_sets}
        for label_set_id, name, label in self._labels(labeled):
            labels[label_set_id][name] = _label_row(label)
        return {"labels": labels, "findings": [_finding_row(finding) for finding in labeled.findings]}

    def wide_row(self, labeled: LabeledReport) -> list[str | None]:
        """Return the cells of the row of CSV, in the order of `columns`."""
        return [
            labeled.report_id or None,
            labeled.accession_number,
            labeled.status.value,
            *(label.value and label.value.value for _, _, label in self._labels(labeled)),
            self.model.name,
            self.model.version,
            self.model.digest,
        ]

    def parquet_row(self, labeled: LabeledReport) -> Row:
        """Return the row of Parquet as `arrow_schema` takes it."""
        row: Row = dict(zip(self.columns, self.wide_row(labeled), strict=True))
        row["labels"] = [
            {"label_set": label_set_id, "label": name, **_label_row(label)}
            for label_set_id, name, label in self._labels(labeled)
            if label.value is not None or label.evidence or label.probability is not None
        ]
        row["findings"] = [_finding_row(finding) for finding in labeled.findings]
        return row

    def arrow_schema(self) -> pa.Schema:
        """Return the schema of Parquet."""
        import pyarrow as pa

        def list_of(item: Any) -> Any:
            return pa.list_(pa.field("element", item, nullable=False))

        # All values of a dictionary column are the same few, so an index of one byte will do.
        category = pa.dictionary(pa.int8(), pa.string())
        label = pa.struct(
            [
                pa.field("label_set", pa.string(), nullable=False),
                pa.field("label", pa.string(), nullable=False),
                ("value", pa.string()),
                ("probability", pa.map_(pa.string(), pa.float64())),
                pa.field("basis", pa.string(), nullable=False),
                ("evidence", list_of(pa.int32())),
            ]
        )
        measurement = pa.struct(
            [("values", list_of(pa.float64())), ("unit", pa.string()), ("size_mm", list_of(pa.float64()))]
        )
        finding = pa.struct(
            [
                pa.field("text", pa.string(), nullable=False),
                pa.field("start", pa.int64(), nullable=False),
                pa.field("end", pa.int64(), nullable=False),
                pa.field("section", pa.string(), nullable=False),
                pa.field("sentence", pa.int32(), nullable=False),
                ("concept", pa.struct([("id", pa.string()), ("name", pa.string()), ("cui", pa.string())])),
                pa.field("assertion", pa.string(), nullable=False),
                ("probability", pa.float64()),
                ("anatomy", pa.string()),
                ("laterality", pa.string()),
                ("location", list_of(pa.string())),
                ("severity", pa.string()),
                ("temporality", pa.string()),
                ("measurement", measurement),
            ]
        )
        return pa.schema(
            [
                ("report_id", pa.string()),
                ("accession_number", pa.string()),
                pa.field("status", category, nullable=False),
                *((name, category) for name in self.label_columns),
                *(pa.field(name, category, nullable=False) for name in MODEL_COLUMNS),
                ("labels", list_of(label)),
                ("findings", list_of(finding)),
            ]
        )

    def dictionaries(self) -> Mapping[str, tuple[str, ...]]:
        """Return the values of each dictionary-encoded column: fixed, so that every chunk encodes alike."""
        return {
            "status": STATUSES,
            **dict.fromkeys(self.label_columns, VALUES),
            "model_name": (self.model.name,),
            "model_version": (self.model.version,),
            "model_digest": (self.model.digest,),
        }

    def _labels(self, labeled: LabeledReport) -> Iterator[tuple[str, str, StudyLabel]]:
        """Yield every label of the run in order; what a report has no value for was not mentioned."""
        for label_set in self.label_sets:
            given = labeled.labels.get(label_set.id, {})
            for entry in label_set.labels:
                label = given.get(entry.name)
                yield label_set.id, entry.name, label or (_DERIVED_BLANK if entry.rule else _BLANK)


def labeled_from(row: Mapping[str, Any]) -> LabeledReport:
    """Return the labeled report that a row of JSON Lines was made from."""
    return LabeledReport(
        report_id=row["report_id"] or "",
        status=Status(row["status"]),
        accession_number=row["accession_number"],
        labels={
            label_set: {
                name: StudyLabel(
                    Assertion(label["value"]) if label["value"] else None,
                    probability=label["probability"],
                    basis=label["basis"],
                    evidence=tuple(label["evidence"]),
                )
                for name, label in labels.items()
            }
            for label_set, labels in row["labels"].items()
        },
        findings=tuple(_finding_from(finding) for finding in row["findings"]),
    )


def review_lines(labeled: LabeledReport) -> Iterator[str]:
    """Yield the lines of the review file for a report: a JSON object for each label that was too close to call."""
    for item in abstentions(labeled):
        line = {
            "report_id": labeled.report_id or None,
            "accession_number": labeled.accession_number,
            "label_set": item.label_set,
            "label": item.label,
            "probability": dict(item.probability),
        }
        yield json.dumps(line, ensure_ascii=False) + "\n"


def _as_json(value: Row) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _label_row(label: StudyLabel) -> Row:
    return {
        "value": label.value.value if label.value else None,
        "probability": None if label.probability is None else dict(label.probability),
        "basis": label.basis,
        "evidence": list(label.evidence),
    }


def _finding_row(finding: Finding) -> Row:
    measurement = finding.measurement
    return {
        "text": finding.text,
        "start": finding.start,
        "end": finding.end,
        "section": finding.section,
        "sentence": finding.sentence,
        "concept": {"id": finding.concept_id, "name": finding.concept_name, "cui": finding.cui},
        "assertion": finding.assertion.value,
        "probability": finding.probability,
        "anatomy": finding.anatomy,
        "laterality": finding.laterality,
        "location": list(finding.location),
        "severity": finding.severity,
        "temporality": finding.temporality,
        "measurement": measurement
        and {
            "values": list(measurement.values),
            "unit": measurement.unit,
            "size_mm": list(measurement.size_mm),
        },
    }


def _finding_from(row: Mapping[str, Any]) -> Finding:
    concept, measurement = row["concept"], row["measurement"]
    return Finding(
        text=row["text"],
        start=row["start"],
        end=row["end"],
        section=row["section"],
        sentence=row["sentence"],
        concept_id=concept["id"],
        concept_name=concept["name"],
        cui=concept["cui"],
        assertion=Assertion(row["assertion"]),
        probability=row["probability"],
        anatomy=row["anatomy"],
        laterality=row["laterality"],
        location=tuple(row["location"]),
        severity=row["severity"],
        temporality=row["temporality"],
        measurement=measurement
        and Measurement(tuple(measurement["values"]), measurement["unit"], tuple(measurement["size_mm"])),
    )
