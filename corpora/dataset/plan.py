"""The first pass of a build: every image of the index, with the reports that are about it, in the order of its name.

What is left out is left out here for what the headers say; what is kept is a `Candidate`, ready to be drawn. The join
runs in DuckDB, which spills to the disk, so memory does not grow with the number of images.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from corpora.dataset.identity import Identity, file_of, mask_of
from corpora.dataset.reading import Evidence, ReportLabels, combine, report_labels
from corpora.deidentification import IdentifierKind
from corpora.findings import Finding
from corpora.linking.link import LABELED, LINKED, UNLINKED_IMAGES
from corpora.linking.matching import open_database
from corpora.linking.settings import DEFAULT_MEMORY_MIB
from corpora.weak_labels.filters import ImageFilter, LeftOut, image_reason

COPY = "copy"  # the same image id came before in the index
NO_LABELS = "no_labels"  # no label row belongs to its report
NOT_READ = "report_not_read"  # its report has no text, is none, or could not be read
NO_PATIENT = "no_patient"

_JOIN = """
WITH image AS (
    SELECT *, row_number() OVER (PARTITION BY image_id ORDER BY file) AS copy FROM read_parquet($index)
), label AS (
    SELECT * EXCLUDE ({linked_columns}), report_id FROM (
        SELECT *, row_number() OVER (PARTITION BY report_id ORDER BY image_id) AS place FROM read_parquet($labeled))
    WHERE place = 1
), pair AS (
    SELECT DISTINCT ON (report_id, image_id) report_id, image_id, report_status, report_time,
        patient_id AS linked_patient_id, accession_number AS linked_accession_number
    FROM read_parquet($linked) ORDER BY report_id, image_id, report_time, report_status
), missing AS (SELECT image_id, outcome, reason FROM read_csv($unlinked, header = true, all_varchar = true))
SELECT name_of(i.image_id) AS name, i.*, p.report_id, p.report_status, p.report_time, p.linked_patient_id,
    p.linked_accession_number, m.outcome, m.reason{texts}, l.* EXCLUDE (report_id, place)
FROM image i LEFT JOIN pair p ON i.copy = 1 AND p.image_id = i.image_id
    LEFT JOIN label l ON l.report_id = p.report_id
    LEFT JOIN missing m ON i.copy = 1 AND m.image_id = i.image_id{join_texts}
ORDER BY name, i.file, p.report_status = 'addendum', p.report_time, p.report_id
"""


@dataclass(frozen=True, slots=True, repr=False)
class Excluded:
    """An image or report that is not in the rows: what it is called, and why."""

    kind: str
    id: str
    stage: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, repr=False)
class Candidate:
    """An image that may become a row. ``image_id``, ``patient_id`` and ``report_id`` are the originals; ``name`` and
    ``row`` hold what stands in the data set. ``header`` is the image's row of the index.
    """

    name: str
    image_id: str
    patient_id: str
    report_id: str
    header: Mapping[str, Any]
    row: Mapping[str, Any]
    labels: ReportLabels
    text: str | None
    reports: tuple[str, ...]

    @property
    def findings(self) -> Sequence[tuple[str, Finding]]:
        """Return the findings of the reports, each with its report's original id."""
        return self.labels.findings

    @property
    def file(self) -> str:
        """Return where the picture will lie."""
        return file_of(self.name)

    @property
    def mask_file(self) -> str | None:
        """Return where the given mask will lie, if there is one."""
        return mask_of(self.name) if self.header["mask_file"] else None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pass goes over: the image index, the folder of linking, and digests of the texts where there are any."""

    index: Path
    linked: Path
    texts: Path | None
    label_set: str
    labels: tuple[str, ...]
    filter: ImageFilter
    identity: Identity
    abstain: tuple[float, float] | None = None
    keep_sex_and_age: bool = True
    keep_manufacturer: bool = True
    memory_mib: int = DEFAULT_MEMORY_MIB

    def pass_over(self, work: Path) -> Iterator[Candidate | Excluded]:
        """Yield a candidate, or why there is none, for each row of the index, in the order of the names."""
        rows = self._joined(work)
        for _, group in groupby(rows, key=itemgetter("name", "copy")):
            yield self._decide(list(group))

    def _joined(self, work: Path) -> Iterator[dict[str, Any]]:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from duckdb.func import ARROW

        def names(column: Any) -> Any:
            return pa.array([self.identity.image(value) for value in column.to_pylist()], pa.string())

        linked_columns = pq.read_schema(self.linked / LINKED).names
        query = _JOIN.format(
            linked_columns=", ".join(linked_columns),
            texts=", t.text" if self.texts else "",
            join_texts=" LEFT JOIN read_parquet($texts) t ON t.report_id = p.report_id" if self.texts else "",
        )
        values = {
            "index": str(self.index),
            "linked": str(self.linked / LINKED),
            "labeled": str(self.linked / LABELED),
            "unlinked": str(self.linked / UNLINKED_IMAGES),
            **({"texts": str(self.texts)} if self.texts else {}),
        }
        with open_database(work, memory_mib=self.memory_mib, threads=None) as connection:
            connection.create_function("name_of", names, ["VARCHAR"], "VARCHAR", type=ARROW)
            reader = connection.sql(query, params=values).to_arrow_reader(512)
            for batch in reader:
                yield from batch.to_pylist()

    def _decide(self, rows: Sequence[Mapping[str, Any]]) -> Candidate | Excluded:
        first = rows[0]
        name = first["name"]
        if first["copy"] > 1:
            return Excluded("image", name, "index", "copy", COPY)
        if first["report_id"] is None:
            return Excluded("image", name, "link", first["outcome"] or "none", first["reason"] or "no_report")
        reason: LeftOut | str | None = image_reason(first, self.filter)
        if reason is not None:
            return Excluded("image", name, "filter", "left_out", str(reason))
        patient = (first["patient_id"] or first["linked_patient_id"] or "").strip()
        if not patient:
            return Excluded("image", name, "split", "left_out", NO_PATIENT)
        read = [row for row in rows if row.get("status") is not None]
        if not read:
            return Excluded("image", name, "labels", "left_out", NO_LABELS)
        parts = [report_labels(row, self.label_set, self.labels, self.abstain) for row in read]
        used = [part for part in parts if part is not None]
        if not used:
            return Excluded("image", name, "labels", "left_out", NOT_READ)
        labels = combine(used, self.labels)
        texts = [row["text"] for row in read if row.get("text")]
        return self._candidate(first, patient, labels, texts[0] if texts else None)

    def _candidate(self, first: Mapping[str, Any], patient: str, labels: ReportLabels, text: str | None) -> Candidate:
        identity = self.identity
        study = first["study_instance_uid"]
        main = labels.report_ids[0]
        evidence = [_evidence(item, identity) for item in labels.evidence]
        accession = first["accession_number"] or first["linked_accession_number"]
        row = {
            "image_id": first["name"],
            "patient_id": identity.name(IdentifierKind.PATIENT_ID, patient),
            "report_id": identity.name(IdentifierKind.REPORT_ID, main),
            "accession_number": identity.name(IdentifierKind.ACCESSION_NUMBER, accession),
            "study_instance_uid": identity.uid(study),
            "series_instance_uid": identity.uid(first["series_instance_uid"]),
            "sop_instance_uid": identity.uid(first["sop_instance_uid"]),
            # As in the header of a DICOM copy, which knows nothing of the report's patient.
            "study_date": identity.date(first["patient_id"], study, _day(first["study_date"])),
            "view": first["view"],
            "sex": first["patient_sex"] if self.keep_sex_and_age else None,
            "age": identity.age(first["patient_age_years"]) if self.keep_sex_and_age else None,
            "manufacturer": first["manufacturer"] if self.keep_manufacturer else None,
            "patient_orientation": first["patient_orientation"],
            "laterality": first["laterality"],
            "burned_in_annotation": first["burned_in_annotation"],
            "evidence": evidence,
            "model_digest": first.get("model_digest"),
            "text_digest": text,
        }
        header = {
            name: first[name]
            for name in (
                *("source", "file", "rows", "columns", "number_of_frames", "row_spacing_mm", "column_spacing_mm"),
                *("view", "patient_orientation", "laterality", "boxes", "mask_file", "split", "patient_id"),
            )
        }
        return Candidate(
            name=first["name"],
            image_id=first["image_id"],
            patient_id=patient,
            report_id=main,
            header=header,
            row=row,
            labels=labels,
            text=text,
            reports=labels.report_ids,
        )


def _evidence(item: Evidence, identity: Identity) -> dict[str, Any]:
    return {
        "label": item.label,
        "start": item.start,
        "end": item.end,
        "report_id": identity.name(IdentifierKind.REPORT_ID, item.report_id),
    }


def _day(value: Any) -> dt.date | None:
    return value.date() if isinstance(value, dt.datetime) else value
