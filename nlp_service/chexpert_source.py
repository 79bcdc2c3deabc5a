"""A CheXpert CSV as the source of a data set: its rows become an image index and label rows.

CheXpert has one row an image and no report, so each study's labels stand for the report that nobody gave: linking,
policies, splits and the rest are then as for any other source.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from corpora.dataset.errors import RecipeInvalid
from corpora.dataset.folder import file_digest
from corpora.errors import RowInvalid
from corpora.findings import LabeledReport, Status, StudyLabel
from corpora.imaging.manifest import index_manifest
from corpora.vocabulary.schema import LabelSet
from corpora.weak_labels.chexpert_csv import LabelTableRow, read_chexpert_csv
from nlp_service.labeler import ModelInfo
from nlp_service.rows import RowForm
from nlp_service.writers import ParquetWriter

_PATIENT = re.compile(r"(?:^|/)(patient\d+)(?:/|$)")
_MANIFEST = ("image_id", "file", "patient_id", "accession_number", "view", "sex", "age", "split")
_ROWS_PER_PIECE = 4096


@dataclass(frozen=True, slots=True)
class ChexpertSource:
    """The files that a CheXpert CSV became, and how many of its rows are none."""

    index: Path
    labels: Path
    invalid: int


def read_chexpert(table: Path, images: Path, label_set: LabelSet, work: Path) -> ChexpertSource:
    """Write the index and the label rows of a CheXpert CSV into ``work``.

    ``Path`` is looked up below ``images``, with and without its first folder (``CheXpert-v1.0/``). The patient is the
    column ``patient_id`` or else the folder ``patient<number>``; columns ``image_id``, ``report_id`` and ``split``,
    which our own export has, are kept.

    Raises
    ------
    ColumnMissing, SourceUnreadable
        The table cannot be read, or lacks a label.
    RecipeInvalid
        Two images of one report have different labels.
    """
    labels = tuple(entry.name for entry in label_set.labels)
    manifest = work / "chexpert.csv"
    invalid = 0
    seen: dict[str, Mapping[str, object]] = {}
    reports: list[LabeledReport] = []
    with manifest.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_MANIFEST)
        for number, row in enumerate(read_chexpert_csv(table, labels), start=1):
            if isinstance(row, RowInvalid):
                invalid += 1
                continue
            image_id = row.fields.get("image_id") or str(Path(row.path).with_suffix(""))
            report_id = row.fields.get("report_id") or image_id
            if report_id in seen and seen[report_id] != row.labels:
                raise RecipeInvalid(f"{table.name}, row {number}: its report has other labels in a row above")
            if report_id not in seen:
                seen[report_id] = row.labels
                values = {label: StudyLabel(value) for label, value in row.labels.items()}
                reports.append(LabeledReport(report_id, Status.OK, report_id, {label_set.id: values}))
            writer.writerow([image_id, _file(row.path, images), _patient(row), report_id, *_described(row)])
    index = work / "index.parquet"
    index_manifest(manifest, index)
    output = work / "labels.parquet"
    model = ModelInfo("chexpert-csv", "1", file_digest(table))
    form = ParquetWriter(RowForm((label_set,), model))
    with output.open("wb") as sink:
        form.join((form.encode(piece) for piece in _pieces(reports)), sink)
    return ChexpertSource(index, output, invalid)


def _pieces(reports: list[LabeledReport]) -> Iterator[list[LabeledReport]]:
    rows = iter(reports)
    while piece := list(islice(rows, _ROWS_PER_PIECE)):
        yield piece


def _file(path: str, images: Path) -> str:
    whole = images / path
    _, _, below = path.partition("/")
    return str((whole if whole.exists() or not below else images / below).absolute())


def _patient(row: LabelTableRow) -> str:
    found = _PATIENT.search(row.path)
    return row.fields.get("patient_id") or (found[1] if found else "")


def _described(row: LabelTableRow) -> list[str]:
    age = "" if row.patient_age_years is None else f"{row.patient_age_years:g}"
    return [row.view or "", row.patient_sex or "", age, row.fields.get("split", "")]
