"""The thread that writes to the store lives on, whoever stopped waiting for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from nlp_service.store.database import open_database
from nlp_service.store.group_writer import GroupWriter, StoreFailed, is_out_of_reach


def test_a_caller_that_stops_waiting_costs_no_other_write(tmp_path: Path) -> None:
    # A request that ran out of time cancels its future; the result had nowhere to go, and ended the thread.
    writer = GroupWriter(open_database(f"sqlite:///{tmp_path / 'store.db'}"))
    has_begun = threading.Event()

    def slow(connection: sa.Connection) -> int:
        has_begun.set()
        time.sleep(0.3)
        return 1

    busy = writer.submit(slow)
    assert has_begun.wait(5)
    waiting = writer.submit(slow)  # for the next group
    assert not busy.cancel()
    assert waiting.cancel()
    assert busy.result(5) == 1
    assert writer.submit(lambda connection: 2).result(5) == 2
    writer.close()


def test_a_lone_write_that_fails_again_and_again_does_not_end_the_writer(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'store.db'}")
    writer = GroupWriter(engine)

    def broken(connection: sa.Connection) -> None:
        connection.execute(sa.text("SELECT 1 FROM there_is_no_such_table"))

    for _ in range(3):
        with pytest.raises(StoreFailed, match="OperationalError"):
            writer.submit(broken).result(30)
    assert writer.submit(lambda connection: connection.execute(sa.text("SELECT 7")).scalar_one()).result(30) == 7
    writer.close()
    engine.dispose()


def test_a_lock_passes_and_a_table_that_is_not_there_does_not(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'store.db'}", connect_args={"timeout": 0.05})
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept (id INTEGER)"))
    with engine.connect() as reader, pytest.raises(sa.exc.OperationalError) as missing:
        reader.execute(sa.text("SELECT * FROM lost"))
    assert not is_out_of_reach(missing.value)
    with engine.connect() as first, engine.connect() as second:
        first.execute(sa.text("BEGIN IMMEDIATE"))
        with pytest.raises(sa.exc.OperationalError) as busy:
            second.execute(sa.text("BEGIN IMMEDIATE"))
    assert is_out_of_reach(busy.value)
    engine.dispose()
