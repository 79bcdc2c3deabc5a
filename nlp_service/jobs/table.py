"""Jobs as the store keeps them: an upload in parts, records in chunks, results chunk by chunk.

Everything a job needs is in the database, so any process that can reach it can work on any part of it, and a process
that is killed leaves nothing half done: a chunk is written whole, in one transaction.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from corpora.errors import RadlabelError
from corpora.reports import Report, Section, SectionKind
from nlp_service.chunks import Chunk, Item, Origin, Reject
from nlp_service.store import schema
from nlp_service.store.stored import time_text
from nlp_service.work import Counts

PART_BYTES = 2**20
_LEVEL = 1  # of compression: reports shrink to a third at once, and little further


class State(StrEnum):
    """Where a job is."""

    UPLOADING = "uploading"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.DONE, State.FAILED, State.CANCELLED})


class JobUnknown(RadlabelError, LookupError):
    """There is no such job."""


class JobNotReady(RadlabelError, RuntimeError):
    """A job has not come as far as is asked of it; the message says how far it is."""


@dataclass(frozen=True, slots=True, repr=False)
class Job:
    """A job and how far it is. ``error`` says why it failed, in words that may be shown to its owner alone."""

    id: str
    state: State
    name: str
    options: Mapping[str, Any]
    path: str | None
    key_id: str | None
    chunks: int | None
    chunks_done: int
    counts: Counts
    records: int
    error: str | None
    model: Mapping[str, str] | None
    created_at: float
    started_at: float | None
    ended_at: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return what the API shows of it."""
        counts = asdict(self.counts)
        return {
            "id": self.id,
            "state": self.state.value,
            "name": self.name,
            "label_sets": list(self.options["label_sets"]),
            "store": bool(self.options.get("store")),
            "records": self.records,
            "records_done": self.counts.read,
            "counts": counts,
            "progress": 1.0 if self.state is State.DONE else self.chunks_done / self.chunks if self.chunks else 0.0,
            "error": self.error,
            "model": self.model,
            "created_at": time_text(self.created_at),
            "started_at": time_text(self.started_at),
            "ended_at": time_text(self.ended_at),
        }


def add_job(
    connection: sa.Connection, name: str, options: Mapping[str, Any], *, key_id: str | None, path: str | None = None
) -> str:
    """Make a job, which waits for its upload unless it reads a file on the server; return its id."""
    job_id = secrets.token_hex(16)
    connection.execute(
        sa.insert(schema.jobs).values(
            id=job_id,
            state=State.WAITING if path else State.UPLOADING,
            name=name,
            key_id=key_id,
            options=json.dumps(options),
            path=path,
            records=0,
            created_at=time.time(),
        )
    )
    return job_id


def add_upload_part(connection: sa.Connection, job_id: str, number: int, data: bytes) -> None:
    """Keep a part of an upload."""
    connection.execute(sa.insert(schema.upload_parts).values(job=job_id, number=number, data=data))


def upload_parts(connection: sa.Connection, job_id: str) -> Iterator[bytes]:
    """Yield the parts of an upload in order, one in memory at a time."""
    table = schema.upload_parts
    number = 0
    while True:
        query = sa.select(table.c.data).where(table.c.job == job_id, table.c.number == number)
        data = connection.execute(query).scalar_one_or_none()
        if data is None:
            return
        yield bytes(data)
        number += 1


def change_state(connection: sa.Connection, job_id: str, state: State, *, error: str | None = None) -> bool:
    """Bring a job that has not ended into a state, and tell whether it was changed; at its end its texts go."""
    table = schema.jobs
    values: dict[str, object] = {"state": state}
    if state is State.RUNNING:
        values["started_at"] = sa.func.coalesce(table.c.started_at, time.time())
    if state in ENDED:
        values |= {"ended_at": time.time(), "error": error}
    statement = sa.update(table).where(table.c.id == job_id, table.c.state.not_in(ENDED)).values(values)
    changed = bool(connection.execute(statement).rowcount)
    if changed and state in ENDED:
        _drop_texts(connection, job_id)
    return changed


def delete_job(connection: sa.Connection, job_id: str) -> bool:
    """Delete a job with its results, and tell whether there was one."""
    return bool(connection.execute(sa.delete(schema.jobs).where(schema.jobs.c.id == job_id)).rowcount)


def find_job(connection: sa.Connection, job_id: str) -> Job:
    """Return a job; raise `JobUnknown` if there is none."""
    found = list(_jobs(connection, sa.select(schema.jobs).where(schema.jobs.c.id == job_id)))
    if not found:
        raise JobUnknown("there is no such job")
    return found[0]


def list_jobs(connection: sa.Connection, limit: int) -> list[Job]:
    """Return the last jobs, the newest first."""
    return list(_jobs(connection, sa.select(schema.jobs).order_by(schema.jobs.c.created_at.desc()).limit(limit)))


def waiting_jobs(connection: sa.Connection) -> list[str]:
    """Return jobs that wait to be cut into chunks, the oldest first."""
    table = schema.jobs
    query = sa.select(table.c.id).where(table.c.state == State.WAITING).order_by(table.c.created_at)
    return list(connection.execute(query).scalars())


def unfinished_uploads(connection: sa.Connection, older_than_s: float) -> list[str]:
    """Return jobs whose upload broke off: a process was killed while it came in."""
    table = schema.jobs
    before = time.time() - older_than_s
    query = sa.select(table.c.id).where(table.c.state == State.UPLOADING, table.c.created_at < before)
    return list(connection.execute(query).scalars())


def clear_chunks(connection: sa.Connection, job_id: str) -> None:
    """Forget the chunks of a job, before they are made (again)."""
    connection.execute(sa.delete(schema.job_chunks).where(schema.job_chunks.c.job == job_id))


def add_chunk(connection: sa.Connection, job_id: str, chunk: Chunk) -> None:
    """Keep a chunk of records to be labeled."""
    data = json.dumps([_item_as_json(item) for item in chunk.items]).encode()
    connection.execute(
        sa.insert(schema.job_chunks).values(
            job=job_id,
            number=chunk.index,
            records=len(chunk.items),
            input=zlib.compress(data, _LEVEL),
            is_done=False,
        )
    )


def set_chunks(connection: sa.Connection, job_id: str, number: int, records: int) -> None:
    """Say how many chunks and records a job has."""
    connection.execute(sa.update(schema.jobs).where(schema.jobs.c.id == job_id).values(chunks=number, records=records))


def load_chunk(connection: sa.Connection, job_id: str, number: int) -> Chunk | None:
    """Return a chunk that is to be labeled, or ``None`` if it is done or its job is no more."""
    table = schema.job_chunks
    query = sa.select(table.c.input).where(table.c.job == job_id, table.c.number == number, ~table.c.is_done)
    data = connection.execute(query).scalar_one_or_none()
    if data is None:
        return None
    return Chunk(number, tuple(_item_from(item) for item in json.loads(zlib.decompress(data))))


def finish_chunk(
    connection: sa.Connection, job_id: str, number: int, output: bytes, rejects: Sequence[Reject], counts: Counts
) -> bool:
    """Keep the results of a chunk, and tell whether they are the first: a step that runs again changes nothing."""
    table = schema.job_chunks
    lines = "".join(json.dumps(reject.as_json(), ensure_ascii=False) + "\n" for reject in rejects)
    statement = (
        sa.update(table)
        .where(table.c.job == job_id, table.c.number == number, ~table.c.is_done)
        .values(
            output=zlib.compress(output, _LEVEL),
            rejects=zlib.compress(lines.encode(), _LEVEL) if lines else None,
            counts=json.dumps(asdict(counts)),
            is_done=True,
        )
    )
    return bool(connection.execute(statement).rowcount)


def finish_job_if_done(connection: sa.Connection, job_id: str, model: Mapping[str, str]) -> bool:
    """Bring a job to its end if all of its chunks are, and tell whether this call did."""
    jobs, table = schema.jobs, schema.job_chunks
    # The update comes first: it locks the row, so that of two processes with the last two chunks one sees both done.
    connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(model=json.dumps(model)))
    chunks = connection.execute(sa.select(jobs.c.chunks).where(jobs.c.id == job_id)).scalar_one_or_none()
    open_chunks = sa.select(sa.func.count()).where(table.c.job == job_id, ~table.c.is_done)
    if chunks is None or connection.execute(open_chunks).scalar_one():
        return False
    return change_state(connection, job_id, State.DONE)


def iter_outputs(connection: sa.Connection, job_id: str) -> Iterator[bytes]:
    """Yield the rows of a job as JSON Lines, chunk by chunk in order."""
    yield from _iter_column(connection, job_id, schema.job_chunks.c.output)


def iter_rejects(connection: sa.Connection, job_id: str) -> Iterator[bytes]:
    """Yield the lines of a job's reject file, chunk by chunk in order."""
    yield from _iter_column(connection, job_id, schema.job_chunks.c.rejects)


def _iter_column(connection: sa.Connection, job_id: str, column: sa.Column[Any]) -> Iterator[bytes]:
    table = schema.job_chunks
    number = -1
    while True:
        query = (
            sa.select(table.c.number, column)
            .where(table.c.job == job_id, table.c.number > number, table.c.is_done)
            .order_by(table.c.number)
            .limit(1)
        )
        row = connection.execute(query).one_or_none()
        if row is None:
            return
        number = row[0]
        if row[1] is not None:
            yield zlib.decompress(row[1])


def page_of(connection: sa.Connection, job_id: str, first: int, number: int) -> list[dict[str, Any]]:
    """Return ``number`` rows of a job from the ``first`` on; of the chunks only those that hold them are opened."""
    table = schema.job_chunks
    labeled = sum(_count(connection, field.name) for field in fields(Counts) if field.name != "rejected")
    query = (
        sa.select(table.c.number, sa.type_coerce(labeled, sa.Integer))
        .where(table.c.job == job_id, table.c.is_done)
        .order_by(table.c.number)
    )
    rows: list[dict[str, Any]] = []
    start = 0
    for chunk, count in connection.execute(query).all():
        low, start = start, start + count
        if start <= first:
            continue
        if low >= first + number:
            break
        output = sa.select(table.c.output).where(table.c.job == job_id, table.c.number == chunk)
        lines = lines_of(zlib.decompress(connection.execute(output).scalar_one()))
        rows += [json.loads(line) for line in lines[max(first - low, 0) : first + number - low]]
    return rows


def lines_of(chunk: bytes) -> list[bytes]:
    """Return the lines of a chunk's rows."""
    # Not `splitlines`: a report may hold characters that it takes for line ends.
    return chunk.removesuffix(b"\n").split(b"\n") if chunk else []


def _count(connection: sa.Connection, name: str) -> sa.ColumnElement[int]:
    """Return one of the counts of a chunk, which are kept as JSON."""
    column = schema.job_chunks.c.counts
    is_text = connection.dialect.name == "postgresql"  # SQLite reads JSON from text by itself
    as_json = sa.cast(column, sa.JSON) if is_text else sa.type_coerce(column, sa.JSON)
    count: sa.ColumnElement[int] = as_json[name].as_integer()
    return count


def _drop_texts(connection: sa.Connection, job_id: str) -> None:
    connection.execute(sa.delete(schema.upload_parts).where(schema.upload_parts.c.job == job_id))
    connection.execute(sa.update(schema.job_chunks).where(schema.job_chunks.c.job == job_id).values(input=None))


def _jobs(connection: sa.Connection, query: sa.Select[Any]) -> Iterator[Job]:
    rows = connection.execute(query).all()
    table = schema.job_chunks
    names = [field.name for field in fields(Counts)]
    # Summed by the database: a job of a million reports has thousands of chunks, and is asked for twice a second.
    sums = [sa.func.sum(_count(connection, name)).label(name) for name in names]
    summed = (
        sa.select(table.c.job, sa.func.count().label("chunks"), *sums)
        .where(table.c.job.in_([row.id for row in rows]), table.c.is_done)
        .group_by(table.c.job)
    )
    done = {
        row.job: (row.chunks, Counts(*(int(getattr(row, name)) for name in names)))
        for row in connection.execute(summed)
    }
    for row in rows:
        chunks_done, counts = done.get(row.id, (0, Counts()))
        yield Job(
            id=row.id,
            state=State(row.state),
            name=row.name,
            options=json.loads(row.options),
            path=row.path,
            key_id=row.key_id,
            chunks=row.chunks,
            chunks_done=chunks_done,
            counts=counts,
            records=row.records,
            error=row.error,
            model=json.loads(row.model) if row.model else None,
            created_at=row.created_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
        )


def _item_as_json(item: Item) -> dict[str, Any]:
    if isinstance(item, Reject):
        return {"reject": asdict(item)}
    origin, report = item
    fields = {name: getattr(report, name) for name in report.__slots__}
    fields["study_date"] = report.study_date.isoformat() if report.study_date else None
    fields["sections"] = [[s.kind.value, s.start, s.end] for s in report.sections]
    return {"origin": [origin.source, origin.row], "report": fields}


def _item_from(data: Mapping[str, Any]) -> Item:
    if "reject" in data:
        return Reject(**{**data["reject"], "origin": Origin(**data["reject"]["origin"])})
    fields = dict(data["report"])
    fields["study_date"] = dt.date.fromisoformat(fields["study_date"]) if fields["study_date"] else None
    fields["sections"] = tuple(Section(SectionKind(kind), start, end) for kind, start, end in fields["sections"])
    return Origin(*data["origin"]), Report(**fields)
