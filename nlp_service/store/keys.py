"""API keys and the audit trail: who may do what, and who did."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from corpora.errors import RadlabelError
from nlp_service.store import schema
from nlp_service.store.stored import time_text

_PREFIX = "rl"


class Scope(StrEnum):
    """What a key may do."""

    LABEL = "label"  # have reports labeled, look labels and findings up
    JOBS = "jobs"  # run jobs, search and review what is stored
    ADMIN = "admin"  # read the audit trail


class KeyUnknown(RadlabelError, LookupError):
    """There is no such key."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the service knows it: without its secret."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: float
    revoked_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "id": self.id,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "created_at": time_text(self.created_at),
            "revoked_at": time_text(self.revoked_at),
        }


def create_key(connection: sa.Connection, name: str, scopes: Iterable[Scope]) -> tuple[ApiKey, str]:
    """Make a key, and return it with the token to send, which is shown this once.

    The store keeps a digest. A secret of 256 random bits needs no slow digest: it cannot be guessed.
    """
    secret = secrets.token_urlsafe(32)
    key = ApiKey(secrets.token_hex(6), name, frozenset(scopes), time.time())
    connection.execute(
        sa.insert(schema.api_keys).values(
            id=key.id,
            name=key.name,
            secret_digest=_digest(secret),
            scopes=",".join(sorted(key.scopes)),
            created_at=key.created_at,
        )
    )
    return key, f"{_PREFIX}_{key.id}_{secret}"


def list_keys(connection: sa.Connection) -> list[ApiKey]:
    """Return all keys, revoked ones too, the oldest first."""
    return [_key(row) for row in connection.execute(sa.select(schema.api_keys).order_by(schema.api_keys.c.created_at))]


def revoke_key(connection: sa.Connection, key_id: str) -> ApiKey:
    """Revoke a key; raise `KeyUnknown` if there is none of this id."""
    table = schema.api_keys
    connection.execute(
        sa.update(table).where(table.c.id == key_id, table.c.revoked_at.is_(None)).values(revoked_at=time.time())
    )
    row = connection.execute(sa.select(table).where(table.c.id == key_id)).one_or_none()
    if row is None:
        raise KeyUnknown("there is no key of this id: see `radlabel keys list`")
    return _key(row)


def key_of_token(connection: sa.Connection, token: str) -> ApiKey | None:
    """Return the key that a token belongs to, or ``None`` if there is none or it was revoked."""
    prefix, _, rest = token.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != _PREFIX or not secret:
        return None
    row = connection.execute(sa.select(schema.api_keys).where(schema.api_keys.c.id == key_id)).one_or_none()
    if row is None or row.revoked_at is not None:
        return None
    return _key(row) if hmac.compare_digest(bytes(row.secret_digest), _digest(secret)) else None


@dataclass(frozen=True, slots=True)
class Deed:
    """An entry of the audit trail: who (key id), what, through which door, how many reports, how it went."""

    action: str
    door: str
    count: int
    key_id: str | None = None
    outcome: str = "ok"


def record(connection: sa.Connection, deeds: Sequence[Deed]) -> None:
    """Add to the audit trail."""
    now = time.time()
    rows = [
        {"at": now, "key_id": d.key_id, "action": d.action, "door": d.door, "count": d.count, "outcome": d.outcome}
        for d in deeds
    ]
    if rows:
        connection.execute(sa.insert(schema.audit), rows)


def audit_trail(connection: sa.Connection, *, before: int | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Return entries of the audit trail, the newest first; ``before`` is the id to go on from."""
    table = schema.audit
    query = sa.select(table).order_by(table.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(table.c.id < before)
    return [{**row._asdict(), "at": time_text(row.at)} for row in connection.execute(query)]


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _key(row: sa.Row[Any]) -> ApiKey:
    scopes = frozenset(Scope(scope) for scope in row.scopes.split(",") if scope)
    return ApiKey(row.id, row.name, scopes, row.created_at, row.revoked_at)
