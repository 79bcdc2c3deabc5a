"""Tables of an earlier release become those of this one, on both databases, and keep what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext

from nlp_service.store import schema
from nlp_service.store.database import MIGRATIONS, check_revision, current_revision, newest_revision, open_database
from tests.nlp_service.processes import postgres_programs, postgres_server


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """Give an empty database."""
    if request.param == "sqlite":
        opened = open_database(f"sqlite:///{tmp_path / 'radlabel.db'}")
        yield opened
        opened.dispose()
        return
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server() as url:
        opened = open_database(url.replace("postgresql://", "postgresql+psycopg://"))
        yield opened
        opened.dispose()


def bring(engine: sa.Engine, revision: str, *, back: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if back else command.upgrade)(config, revision)


def test_what_was_stored_by_the_first_release_is_there_after_the_last_migration(engine: sa.Engine) -> None:
    bring(engine, "0001")
    with engine.begin() as connection:
        report = {"digest": b"d" * 32, "report_id": "r1", "door": "api", "is_waiting": False, "received_at": 1.0}
        connection.execute(sa.insert(schema.reports).values(id=1, **report))
        connection.execute(
            sa.text(
                "INSERT INTO labels (report, model_name, model_version, model_digest, label_sets, status, row, doubt,"
                " labeled_at) VALUES (1, 'm', '1', 'd', 'chexpert14', 'ok', '{}', 0.5, 2.0)"
            )
        )
    bring(engine, "head")
    assert current_revision(engine) == newest_revision()
    check_revision(engine)
    with engine.connect() as connection:
        row = connection.execute(sa.select(schema.labels)).one()
        assert (row.report, row.doubt, row.priority, row.images_say) == (1, 0.5, 0.5, None)
        assert connection.execute(sa.select(schema.reports.c.report_id)).scalar_one() == "r1"


def test_the_migrations_make_the_tables_that_the_code_has(engine: sa.Engine) -> None:
    bring(engine, "head")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_a_migration_can_be_taken_back(engine: sa.Engine) -> None:
    bring(engine, "head")
    bring(engine, "0001", back=True)
    assert current_revision(engine) == "0001"
    bring(engine, "head")
    assert current_revision(engine) == newest_revision()
