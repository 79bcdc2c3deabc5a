"""The review of stored labels by people: what to look at first, what they said, and what can be learned from it.

Open for review are the labels that the newest model gave a report, as long as nobody has looked at them. They come in
the order of ``labels.priority``: the doubt of the least certain label (0 to 1), and 1 for each label on which the rules
say something else than the encoder. Reviews are only ever added; of two on the same label the later one counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from corpora.errors import LabelSetUnknown, RadlabelError
from corpora.findings import Status
from corpora.reports import Report
from models.text.teacher import NAME as RULES
from nlp_service.store import schema
from nlp_service.store.stored import report_of, time_text

if TYPE_CHECKING:
    from nlp_service.labeler import Labeler

OPEN_AT_MOST = 1000  # how far open reviews are counted: a store of a million reports should not be read to its end
_SHOWN = (
    *("report_id", "accession_number", "accession_number_issuer", "study_instance_uid"),
    *("modality", "study_date", "text"),
)
LabelKey = tuple[str, str]  # label set, label
Values = Mapping[LabelKey, str | None]


class LabelsUnknown(RadlabelError, LookupError):
    """There are no stored labels of this id."""


class LabelNotGiven(RadlabelError, LookupError):
    """A label that is to be corrected is none of those stored; ``position`` says which of the corrections names it."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__("a correction names a label that is not among those stored")


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What came of a review: how many labels were looked at, and on how many of them another value was given."""

    labels: int
    corrected: int
    reviewed_at: float


@dataclass(frozen=True, slots=True, repr=False)
class Unchecked:
    """Stored labels that were not held against the rules yet, with the report to read."""

    labels_id: int
    label_sets: tuple[str, ...]
    report: Report
    values: Values


def _is_open() -> sa.ColumnElement[bool]:
    table, reviews = schema.labels, schema.reviews
    newer = table.alias("newer")
    return sa.and_(
        table.c.status == Status.OK.value,
        ~sa.exists().where(reviews.c.labels == table.c.id),
        ~sa.exists().where(
            newer.c.report == table.c.report, newer.c.label_sets == table.c.label_sets, newer.c.id > table.c.id
        ),
    )


def review_queue(connection: sa.Connection, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    """Return stored labels that nobody has reviewed, those first that are most in need of it.

    Those that images speak against come before all others. They are few, and asked for by themselves, so that an index
    gives the order of each part.
    """
    table, reports = schema.labels, schema.reports
    found: list[dict[str, Any]] = []
    for part in (table.c.images_say.is_not(None), table.c.images_say.is_(None)):
        open_part = sa.and_(part, _is_open())
        query = (
            sa.select(table, *(reports.c[name] for name in _SHOWN))
            .join(reports, reports.c.id == table.c.report)
            .where(open_part)
            .order_by(table.c.priority.desc(), table.c.id.desc())
            .limit(limit - len(found))
            .offset(offset)
        )
        found += [_item(row) for row in connection.execute(query)]
        if len(found) == limit:
            break
        if offset:  # what is left of it counts in the next part
            there = connection.execute(sa.select(sa.func.count()).select_from(table).where(open_part)).scalar_one()
            offset = max(0, offset - int(there))
    return found


def open_reviews(connection: sa.Connection) -> int:
    """Return how many stored labels wait for a review; `OPEN_AT_MOST` stands for that many or more."""
    some = sa.select(schema.labels.c.id).where(_is_open()).limit(OPEN_AT_MOST).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def add_review(
    connection: sa.Connection,
    labels_id: int,
    corrections: Sequence[tuple[LabelKey, str | None]] = (),
    *,
    key_id: str | None = None,
    reviewer: str | None = None,
) -> Reviewed:
    """Keep what a person says of a report's labels: the corrections, and all other labels as they are.

    Raises
    ------
    LabelsUnknown
        There are no labels of this id.
    LabelNotGiven
        A correction is of a label that is not among them.
    """
    row = connection.execute(sa.select(schema.labels.c.row).where(schema.labels.c.id == labels_id)).scalar_one_or_none()
    if row is None:
        raise LabelsUnknown("there are no stored labels of this id")
    given = _values(row)
    for position, (key, _) in enumerate(corrections):
        if key not in given:
            raise LabelNotGiven(position)
    said = {**given, **dict(corrections)}
    now = time.time()
    rows = [
        {
            "labels": labels_id,
            "label_set": label_set,
            "label": label,
            "given": given[label_set, label],
            "value": value,
            "key_id": key_id,
            "reviewer": reviewer,
            "reviewed_at": now,
        }
        for (label_set, label), value in said.items()
    ]
    if rows:
        connection.execute(sa.insert(schema.reviews), rows)
    return Reviewed(len(rows), sum(value != given[key] for key, value in said.items()), now)


def iter_reviewed(connection: sa.Connection, label_sets: Collection[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield the reports that were reviewed with the values that people gave, in the order they were stored.

    ``label_sets`` are those wanted, by default all; a report without any of their labels is left out. A label that was
    reviewed more than once, on labels of several models, has the value that was given last.
    """
    reviews, labels, reports = schema.reviews, schema.labels, schema.reports
    reviewed = sa.select(labels.c.report).join(reviews, reviews.c.labels == labels.c.id).distinct()
    for report_id in connection.execute(reviewed.order_by(labels.c.report)).scalars().all():
        said = connection.execute(
            sa.select(reviews)
            .join(labels, labels.c.id == reviews.c.labels)
            .where(labels.c.report == report_id)
            .order_by(reviews.c.reviewed_at, reviews.c.id)
        )
        last = {(row.label_set, row.label): row for row in said if not label_sets or row.label_set in label_sets}
        if not last:
            continue
        report = connection.execute(sa.select(reports).where(reports.c.id == report_id)).one()
        yield {
            **{name: getattr(report, name) for name in _SHOWN if name != "text"},
            "text": report.text,
            "labels": [
                {
                    "label_set": row.label_set,
                    "label": row.label,
                    "value": row.value,
                    "given": row.given,
                    "reviewer": row.reviewer,
                    "key_id": row.key_id,
                    "reviewed_at": time_text(row.reviewed_at),
                }
                for row in last.values()
            ],
        }


def unchecked_labels(connection: sa.Connection, after: int, limit: int) -> list[Unchecked]:
    """Return labels behind the id ``after`` that were not held against the rules, and whose text is there to read."""
    table, reports = schema.labels, schema.reports
    query = (
        sa.select(table.c.id.label("labels_id"), table.c.label_sets, table.c.row, reports)
        .join(reports, reports.c.id == table.c.report)
        .where(
            table.c.id > after,
            table.c.disagreement.is_(None),
            table.c.status == Status.OK.value,
            table.c.model_name != RULES,
            reports.c.text.is_not(None),
        )
        .order_by(table.c.id)
        .limit(limit)
    )
    return [
        Unchecked(row.labels_id, tuple(row.label_sets.split(",")), report_of(row), _values(row.row))
        for row in connection.execute(query)
    ]


def rules_say(item: Unchecked, rules: Labeler) -> dict[str, str | None] | None:
    """Return the labels on which the rules say something else, as ``<label set>:<label>`` with the rules' value.

    ``None`` where they cannot say: a label set that is no longer defined, or a report that they cannot read. A text
    that they do not take for a report mentions nothing.
    """
    try:
        told = next(rules.for_label_sets(item.label_sets).label_many([item.report]))
    except LabelSetUnknown:
        return None
    if told.status is Status.ERROR:
        return None
    values = {(name, label): given.value for name, of_set in told.labels.items() for label, given in of_set.items()}
    return {
        f"{label_set}:{label}": values.get((label_set, label))
        for (label_set, label), value in item.values.items()
        if values.get((label_set, label)) != value
    }


def keep_disagreements(connection: sa.Connection, found: Mapping[int, Mapping[str, str | None]]) -> None:
    """Keep with the labels of each id on which of them the rules say something else."""
    table = schema.labels
    for labels_id, rules_say in found.items():
        connection.execute(
            sa.update(table)
            .where(table.c.id == labels_id)
            .values(disagreement=len(rules_say), rules_say=json.dumps(dict(rules_say)))
        )


def keep_images_say(
    connection: sa.Connection, report_id: str, label: str, given: str, probability: float
) -> str | None:
    """Keep that images speak against a label of a stored report; return why that cannot be, or ``None``.

    ``given`` is the value that the audit saw, ``probability`` that of the finding by the images.
    """
    table, reports = schema.labels, schema.reports
    ids = connection.execute(sa.select(reports.c.id).where(reports.c.report_id == report_id)).scalars().all()
    if not ids:
        return "the report is not in the store"
    if len(ids) > 1:
        return "several stored reports have this id"
    rows = connection.execute(
        sa.select(table.c.id, table.c.row, table.c.images_say)
        .where(table.c.report == ids[0], _is_open())
        .order_by(table.c.id)
    ).all()
    if not rows:
        return "the report has no labels that wait for a review"
    is_kept = False
    for row in rows:
        keys = [key for key, value in _values(row.row).items() if key[1] == label and (value or "negative") == given]
        if keys:
            said = json.loads(row.images_say) if row.images_say else {}
            said |= {":".join(key): probability for key in keys}
            connection.execute(sa.update(table).where(table.c.id == row.id).values(images_say=json.dumps(said)))
            is_kept = True
    return None if is_kept else "no stored label has this name and value"


def _item(row: sa.Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        **{name: getattr(row, name) for name in _SHOWN},
        "model": {"name": row.model_name, "version": row.model_version, "digest": row.model_digest},
        "labeled_at": time_text(row.labeled_at),
        "doubt": row.doubt,
        "doubtful": _named(row.doubtful) if row.doubtful else None,
        "disagreement": row.disagreement,
        "images_say": [
            dict(zip(("label_set", "label"), name.split(":", 1), strict=True), probability=probability)
            for name, probability in (json.loads(row.images_say) if row.images_say else {}).items()
        ],
        "rules_say": [
            {**_named(name), "value": value}
            for name, value in (json.loads(row.rules_say) if row.rules_say else {}).items()
        ],
        **json.loads(row.row),
    }


def _named(name: str) -> dict[str, str]:
    label_set, _, label = name.partition(":")
    return {"label_set": label_set, "label": label}


def _values(row: str) -> dict[LabelKey, str | None]:
    labels = json.loads(row)["labels"]
    return {
        (label_set, label): given["value"] for label_set, of_set in labels.items() for label, given in of_set.items()
    }
