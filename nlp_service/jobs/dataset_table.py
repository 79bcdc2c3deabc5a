"""Data sets as the store keeps them: what was asked for, how far the build is, what came of it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from corpora.errors import RadlabelError
from nlp_service.jobs.table import ENDED, State
from nlp_service.store.schema import datasets as table
from nlp_service.store.stored import time_text


class DatasetUnknown(RadlabelError, LookupError):
    """There is no such data set."""


@dataclass(frozen=True, slots=True, repr=False)
class StoredDataset:
    """A data set and how far it is. ``error`` says why the build failed, in words for its owner alone."""

    id: str
    state: State
    name: str
    recipe: Mapping[str, Any]
    labels_job: str | None
    attempt: int
    stage: str | None
    done: int
    summary: Mapping[str, Any] | None
    error: str | None
    created_at: float
    started_at: float | None
    ended_at: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return what the API shows of it: no path."""
        summary = self.summary or {}
        return {
            "id": self.id,
            "state": self.state.value,
            "name": self.name,
            "label_set": self.recipe["labels"]["label_set"],
            "image_size": self.recipe["image"]["size"],
            "deidentified": self.recipe["deidentify"]["enabled"],
            "stage": self.stage if self.state is State.RUNNING else None,
            "done": self.done,
            "rows": summary.get("rows"),
            "splits": summary.get("splits"),
            "counts": summary.get("counts"),
            "failed": summary.get("failed"),
            "digest": summary.get("digest"),
            "error": self.error,
            "created_at": time_text(self.created_at),
            "started_at": time_text(self.started_at),
            "ended_at": time_text(self.ended_at),
        }


def add_dataset(
    connection: sa.Connection, name: str, recipe: Mapping[str, Any], *, labels_job: str | None, key_id: str | None
) -> str:
    """Make a data set that waits for its build; return its id."""
    dataset_id = secrets.token_hex(16)
    connection.execute(
        sa.insert(table).values(
            id=dataset_id,
            state=State.WAITING,
            name=name,
            key_id=key_id,
            recipe=json.dumps(recipe),
            labels_job=labels_job,
            attempt=0,
            done=0,
            created_at=time.time(),
        )
    )
    return dataset_id


def change_dataset(connection: sa.Connection, dataset_id: str, state: State, **values: Any) -> bool:
    """Bring a data set whose build has not ended into a state, and tell whether it was changed."""
    if state is State.RUNNING:
        values["started_at"] = sa.func.coalesce(table.c.started_at, time.time())
    if state in ENDED:
        values["ended_at"] = time.time()
    if "summary" in values:
        values["summary"] = json.dumps(values["summary"])
    statement = sa.update(table).where(table.c.id == dataset_id, table.c.state.not_in(ENDED))
    return bool(connection.execute(statement.values(state=state, **values)).rowcount)


def put_back(connection: sa.Connection, dataset_id: str) -> None:
    """Have a build that a stop of the service broke off wait again, under the next number."""
    statement = sa.update(table).where(table.c.id == dataset_id, table.c.state == State.RUNNING)
    connection.execute(statement.values(state=State.WAITING, attempt=table.c.attempt + 1, stage=None))


def note_progress(connection: sa.Connection, dataset_id: str, stage: str, done: int) -> None:
    """Say how far a build is."""
    statement = sa.update(table).where(table.c.id == dataset_id, table.c.state == State.RUNNING)
    connection.execute(statement.values(stage=stage, done=done))


def delete_dataset(connection: sa.Connection, dataset_id: str) -> bool:
    """Forget a data set, and tell whether there was one. Its folder is the caller's to remove."""
    return bool(connection.execute(sa.delete(table).where(table.c.id == dataset_id)).rowcount)


def state_of(connection: sa.Connection, dataset_id: str) -> State | None:
    """Return the state of a data set, ``None`` where there is none."""
    found = connection.execute(sa.select(table.c.state).where(table.c.id == dataset_id)).scalar_one_or_none()
    return None if found is None else State(found)


def find_dataset(connection: sa.Connection, dataset_id: str) -> StoredDataset:
    """Return a data set; raise `DatasetUnknown` if there is none."""
    row = connection.execute(sa.select(table).where(table.c.id == dataset_id)).one_or_none()
    if row is None:
        raise DatasetUnknown("there is no such data set")
    return _of(row)


def list_datasets(connection: sa.Connection, limit: int) -> list[StoredDataset]:
    """Return the last data sets, the newest first."""
    query = sa.select(table).order_by(table.c.created_at.desc()).limit(limit)
    return [_of(row) for row in connection.execute(query)]


def waiting_datasets(connection: sa.Connection) -> list[tuple[str, int]]:
    """Return id and attempt of those that wait, the oldest first."""
    query = sa.select(table.c.id, table.c.attempt).where(table.c.state == State.WAITING).order_by(table.c.created_at)
    return [(row.id, row.attempt) for row in connection.execute(query)]


def _of(row: Any) -> StoredDataset:
    return StoredDataset(
        id=row.id,
        state=State(row.state),
        name=row.name,
        recipe=json.loads(row.recipe),
        labels_job=row.labels_job,
        attempt=row.attempt,
        stage=row.stage,
        done=row.done,
        summary=json.loads(row.summary) if row.summary else None,
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
