"""Small made worlds, written row by row, and what came of linking them."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from corpora.linking import LinkSettings, LinkSummary, link_files
from tests.corpora.linking.world import INDEX_SCHEMA, REPORT_FIELDS

Row = Mapping[str, object]


def report(report_id: str, number: str | None = "A1", patient: str | None = "P1", **more: str) -> Row:
    """Return a report row; ``more`` are the other columns: issuer, uid, day, status, time."""
    names = {
        "issuer": "accession_number_issuer",
        "uid": "study_instance_uid",
        "day": "study_date",
        "status": "report_status",
        "time": "report_time",
    }
    return {
        "report_id": report_id,
        "accession_number": number,
        "patient_id": patient,
        **{names[name]: value for name, value in more.items()},
    }


def image(uid: str | None, number: str | None = "A1", patient: str | None = "P1", **more: object) -> Row:
    """Return an image row of a study; ``more`` may have image_id, file, issuer, day and modality."""
    image_id = more.get("image_id", f"{uid}.1")
    day = more.get("day")
    return {
        "image_id": image_id,
        "file": more.get("file", f"{image_id}.dcm"),
        "patient_id": patient,
        "accession_number": number,
        "accession_number_issuer": more.get("issuer"),
        "study_instance_uid": uid,
        "study_date": dt.date.fromisoformat(str(day)) if day else None,
        "modality": more.get("modality"),
    }


@dataclass(frozen=True)
class Result:
    """What linking said, in the words of its outputs."""

    summary: LinkSummary
    folder: Path

    @property
    def links(self) -> set[tuple[str, str]]:
        """Return report id and image id of every linked row."""
        return {(str(row["report_id"]), str(row["image_id"])) for row in self.table()}

    @property
    def reports(self) -> dict[str, tuple[str, str]]:
        """Return outcome and reason of each report id that did not link (the last row's, if an id has several)."""
        return {row["report_id"]: (row["outcome"], row["reason"]) for row in self.csv("unlinked_reports.csv")}

    @property
    def studies(self) -> dict[str, tuple[str, str]]:
        """Return outcome and reason of each study that did not link, by UID or else by its first file."""
        rows = self.csv("unlinked_studies.csv")
        return {row["study_instance_uid"] or row["file"]: (row["outcome"], row["reason"]) for row in rows}

    def table(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = pq.read_table(self.folder / "linked.parquet").to_pylist()
        return found

    def csv(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))


def write_reports(path: Path, reports: Iterable[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, REPORT_FIELDS, restval="")
        writer.writeheader()
        writer.writerows(reports)
    return path


def write_index(path: Path, images: Iterable[Row]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(images), schema=INDEX_SCHEMA), path)
    return path


def link(folder: Path, reports: Iterable[Row], images: Iterable[Row], **settings: object) -> Result:
    """Link rows in ``folder`` under the default rules but for ``settings``."""
    summary = link_files(
        write_reports(folder / "reports.csv", reports),
        write_index(folder / "index.parquet", images),
        folder / "linked",
        settings=LinkSettings(**settings),  # type: ignore[arg-type]
        overwrite=True,
        threads=1,
    )
    return Result(summary, folder / "linked")
