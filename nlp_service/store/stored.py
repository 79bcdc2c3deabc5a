"""Reports and their labels in the store: written in groups, found by accession number or study."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from corpora.findings import Assertion, LabeledReport, Status
from corpora.reports import Report, Section, SectionKind
from nlp_service.rows import RowForm
from nlp_service.store import schema
from nlp_service.store.dialect import insert

_FACTS = ("report_id", "accession_number", "accession_number_issuer", "study_instance_uid", "patient_id", "modality")


@dataclass(frozen=True, slots=True, repr=False)
class Arrival:
    """A report on its way into the store: ``door`` is how it came, ``result_status`` what its sender calls it.

    ``message`` is what tells the message that brought it from every other of its sender. The same message sent again is
    the same report; the same words in a later message are a later version, which has to be the newest.
    """

    report: Report
    door: str
    result_status: str | None = None
    message: tuple[str, ...] = ()

    @property
    def digest(self) -> bytes:
        """Return what tells it from every other: who it is of, its text, its status, and its message if it has one."""
        report = self.report
        parts = (
            *(getattr(report, name) for name in _FACTS),
            report.study_date,
            self.result_status,
            *self.message,
            report.text,
        )
        return hashlib.sha256(
            "\x1f".join("" if part is None else str(part) for part in parts).encode("utf-8", "surrogatepass")
        ).digest()


def add_reports(
    connection: sa.Connection, arrivals: Sequence[Arrival], *, keep_texts: bool, is_waiting: bool = False
) -> list[int]:
    """Store reports that are not stored yet, and return the id of each in order.

    ``is_waiting`` marks those that are new as not labeled yet; their text is kept until they are.
    """
    now = time.time()
    rows: dict[bytes, dict[str, object]] = {}
    digests = [arrival.digest for arrival in arrivals]
    for digest, arrival in zip(digests, arrivals, strict=True):
        report = arrival.report
        has_text = keep_texts or is_waiting
        rows[digest] = {
            "digest": digest,
            **{name: getattr(report, name) for name in _FACTS},
            "study_date": report.study_date.isoformat() if report.study_date else None,
            "result_status": arrival.result_status,
            "door": arrival.door,
            "text": report.text if has_text else None,
            "sections": _sections_as_json(report.sections) if has_text else None,
            "is_waiting": is_waiting,
            "received_at": now,
        }
    statement = _upsert_reports(connection.dialect.name, keep_texts)
    ids = {bytes(row.digest): row.id for row in connection.execute(statement, list(rows.values()))}
    return [ids[digest] for digest in digests]


def add_labels(
    connection: sa.Connection,
    report_ids: Sequence[int],
    labeled: Sequence[LabeledReport],
    form: RowForm,
    contents: Sequence[str] | None = None,
) -> None:
    """Store the labels of stored reports. Labels that this model gave before for these sets are the same: they stay.

    ``contents`` are their `RowForm.json_content`, where they were made already.
    """
    now = time.time()
    label_sets = ",".join(label_set.id for label_set in form.label_sets)
    rows: dict[int, dict[str, object]] = {}
    by_report: dict[int, LabeledReport] = {}
    contents = contents or [form.json_content(item) for item in labeled]
    for report_id, item, content in zip(report_ids, labeled, contents, strict=True):
        doubt, doubtful = doubt_of(item)
        by_report[report_id] = item
        rows[report_id] = {
            "report": report_id,
            "model_name": form.model.name,
            "model_version": form.model.version,
            "model_digest": form.model.digest,
            "label_sets": label_sets,
            "status": item.status.value,
            "row": content,
            "doubt": doubt,
            "doubtful": doubtful,
            "labeled_at": now,
        }
    statement = _insert_labels(connection.dialect.name)
    new = [by_report[row.report] for row in connection.execute(statement, list(rows.values()))]
    _count_values(connection, new, form, now)


def doubt_of(labeled: LabeledReport) -> tuple[float | None, str | None]:
    """Return how doubtful the least certain label is, and which it is.

    The doubt of a label is 1 at a probability of 0.5 and 0 at certainty; ``None`` without probabilities.
    """
    worst: tuple[float | None, str | None] = (None, None)
    for label_set, labels in labeled.labels.items():
        for name, label in labels.items():
            if label.probability is None:
                continue
            positive = label.probability.get(Assertion.POSITIVE.value)
            if positive is None:
                continue
            doubt = 1 - abs(2 * positive - 1)
            if worst[0] is None or doubt > worst[0]:
                worst = (doubt, f"{label_set}:{name}")
    return worst


def _count_values(connection: sa.Connection, labeled: Sequence[LabeledReport], form: RowForm, now: float) -> None:
    """Count values by week, for whoever watches whether the labels drift."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for item in labeled:
        if item.status is not Status.OK:
            continue
        for label_set in form.label_sets:
            given = item.labels.get(label_set.id, {})
            for entry in label_set.labels:
                label = given.get(entry.name)
                value = label.value.value if label and label.value else "none"
                counts[label_set.id, entry.name, value] += 1
    if not counts:
        return
    day = dt.datetime.fromtimestamp(now, tz=dt.UTC).date()
    week = (day - dt.timedelta(days=day.weekday())).isoformat()
    rows = [
        {
            "week": week,
            "model_digest": form.model.digest,
            "label_set": label_set,
            "label": label,
            "value": value,
            "reports": number,
        }
        for (label_set, label, value), number in sorted(counts.items())
    ]
    connection.execute(_count_up(connection.dialect.name), rows)


# The statements are made once: making one, and its text for a number of rows, costs more than the insert. So the rows
# are given beside a statement and are no part of it.


@cache
def _upsert_reports(dialect: str, keep_texts: bool) -> Any:
    new = insert(dialect, schema.reports)
    # The one that is there is touched, so that its id comes back as well.
    again: dict[str, Any] = {"digest": new.excluded.digest}
    if keep_texts:
        again["text"] = sa.func.coalesce(schema.reports.c.text, new.excluded.text)
    statement = new.on_conflict_do_update(index_elements=["digest"], set_=again)
    return statement.returning(schema.reports.c.id, schema.reports.c.digest)


@cache
def _insert_labels(dialect: str) -> Any:
    new = insert(dialect, schema.labels)
    statement = new.on_conflict_do_nothing(index_elements=["report", "model_digest", "label_sets"])
    return statement.returning(schema.labels.c.report)


@cache
def _count_up(dialect: str) -> Any:
    new = insert(dialect, schema.label_rates)
    return new.on_conflict_do_update(
        index_elements=["week", "model_digest", "label_set", "label", "value"],
        set_={"reports": schema.label_rates.c.reports + new.excluded.reports},
    )


def waiting_reports(connection: sa.Connection, limit: int) -> list[tuple[int, Report]]:
    """Return stored reports that are not labeled yet, the oldest first."""
    table = schema.reports
    query = sa.select(table).where(table.c.is_waiting).order_by(table.c.id).limit(limit)
    return [(row.id, report_of(row)) for row in connection.execute(query)]


def mark_labeled(connection: sa.Connection, report_ids: Sequence[int], *, keep_texts: bool) -> None:
    """Take reports off the waiting list, and drop their texts unless they are to be kept."""
    values: dict[str, object] = {"is_waiting": False}
    if not keep_texts:
        values |= {"text": None, "sections": None}
    connection.execute(sa.update(schema.reports).where(schema.reports.c.id.in_(report_ids)).values(values))


def find_studies(
    connection: sa.Connection,
    *,
    accession_number: str | None = None,
    issuer: str | None = None,
    study_instance_uid: str | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return the reports of a study with all their labels, the newest report first; exact matches only."""
    table = schema.reports
    query = sa.select(table).where(of_study(table, accession_number, issuer, study_instance_uid))
    found = {
        row.id: {
            **{name: getattr(row, name) for name in (*_FACTS, "study_date", "result_status", "door")},
            "received_at": time_text(row.received_at),
            "is_waiting": bool(row.is_waiting),
            "text": row.text,
            "labels": [],
        }
        for row in connection.execute(query.order_by(table.c.received_at.desc(), table.c.id.desc()).limit(limit))
    }
    if found:
        labels = schema.labels
        given = sa.select(labels).where(labels.c.report.in_(list(found))).order_by(labels.c.labeled_at.desc())
        for row in connection.execute(given):
            found[row.report]["labels"].append(stored_labels(row))
    return list(found.values())


def of_study(
    table: sa.Table, accession_number: str | None, issuer: str | None, study_instance_uid: str | None
) -> sa.ColumnElement[bool]:
    """Return the condition that a row is of a study; raise `ValueError` where nothing names one."""
    if accession_number is None and study_instance_uid is None:
        raise ValueError("an accession number or a Study Instance UID names a study")
    given = (
        (table.c.accession_number, accession_number),
        (table.c.accession_number_issuer, issuer),
        (table.c.study_instance_uid, study_instance_uid),
    )
    return sa.and_(*(column == value for column, value in given if value is not None))


def stored_labels(row: sa.Row[Any]) -> dict[str, Any]:
    """Return a stored row of labels in the form of the outputs, without the report's ids."""
    return {
        "status": row.status,
        "model": {"name": row.model_name, "version": row.model_version, "digest": row.model_digest},
        "labeled_at": time_text(row.labeled_at),
        **json.loads(row.row),
    }


def drop_old_texts(connection: sa.Connection, keep_days: int) -> int:
    """Drop the texts that have been kept long enough, and return how many."""
    table = schema.reports
    before = time.time() - keep_days * 86_400
    statement = (
        sa.update(table)
        .where(table.c.text.is_not(None), ~table.c.is_waiting, table.c.received_at < before)
        .values(text=None, sections=None)
    )
    return int(connection.execute(statement).rowcount)


def label_rates(connection: sa.Connection, weeks: int) -> Iterator[Mapping[str, Any]]:
    """Yield the counts of values by week, model and label for the last weeks, the oldest first."""
    table = schema.label_rates
    first = (dt.datetime.now(tz=dt.UTC).date() - dt.timedelta(weeks=weeks)).isoformat()
    order = (table.c.week, table.c.model_digest, table.c.label_set, table.c.label, table.c.value)
    for row in connection.execute(sa.select(table).where(table.c.week >= first).order_by(*order)):
        yield row._asdict()


def report_of(row: sa.Row[Any]) -> Report:
    """Return the report that a row of `schema.reports` holds."""
    given = json.loads(row.sections) if row.sections else []
    return Report(
        **{name: getattr(row, name) for name in _FACTS},
        text=row.text or "",
        study_date=dt.date.fromisoformat(row.study_date) if row.study_date else None,
        sections=tuple(Section(SectionKind(kind), start, end) for kind, start, end in given),
    )


def time_text(seconds: float | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the second.

    >>> time_text(0.0)
    '1970-01-01T00:00:00Z'
    """
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _sections_as_json(sections: Sequence[Section]) -> str | None:
    return json.dumps([[s.kind.value, s.start, s.end] for s in sections]) if sections else None
