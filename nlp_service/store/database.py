"""The connection to the database: SQLite in one file, or PostgreSQL by its URL; and the version of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from corpora.errors import RadlabelError

MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_S = 30
_POSTGRES_POOL = 10


class StoreUnusable(RadlabelError, OSError):
    """The database cannot be opened, or its tables are of another version; the message says what to do."""


def open_database(url: str) -> sa.Engine:
    """Return an engine for a database; for SQLite, its folder is made.

    Raises:
        StoreUnusable: the database cannot be reached. The message has neither the URL's password nor its host.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database:
                path = Path(parsed.database)
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)  # its user's alone, whatever the folder; the files beside it follow
            # Parameters of a statement are what a report says: they stay out of messages.
            engine = sa.create_engine(parsed, hide_parameters=True, connect_args={"timeout": _BUSY_TIMEOUT_S})
            sa.event.listen(engine, "connect", _set_up_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
        else:
            engine = sa.create_engine(parsed, hide_parameters=True, pool_size=_POSTGRES_POOL, pool_pre_ping=True)
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
    except (SQLAlchemyError, OSError, ImportError) as error:
        raise StoreUnusable(
            f"the database cannot be opened ({_kind(error)}): check database_url and data_dir"
        ) from None
    return engine


def current_revision(engine: sa.Engine) -> str | None:
    """Return the version of the tables, or ``None`` if there are none."""
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        revision: str | None = MigrationContext.configure(connection).get_current_revision()
        return revision


def newest_revision() -> str:
    """Return the version that this release wants."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert head is not None
    return head


def upgrade(engine: sa.Engine) -> str:
    """Bring the tables to the version of this release, and return it; what is stored stays."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except SQLAlchemyError as error:
        raise StoreUnusable(f"the tables cannot be upgraded ({_kind(error)})") from None
    return newest_revision()


def check_revision(engine: sa.Engine) -> None:
    """Raise `StoreUnusable` unless the tables are those of this release; tables of an embedded database are made."""
    there = current_revision(engine)
    wanted = newest_revision()
    if there == wanted:
        return
    if engine.dialect.name == "sqlite":
        upgrade(engine)
        return
    state = "has no tables yet" if there is None else f"has tables of version {there}, this release wants {wanted}"
    raise StoreUnusable(f"the database {state}: run `radlabel db upgrade`")


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, and only at the first write: `_begin_sqlite` does.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # what is acknowledged survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later cannot wait for another writer: take the lock at once.
    is_writing = connection.get_execution_options().get("radlabel_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


def _kind(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error
    return type(origin).__name__
