"""Writes of many requests in one transaction: a commit waits for the disk, and a hundred can wait together."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

T = TypeVar("T")
_MAX_GROUP = 256


class StoreFailed(RuntimeError):
    """A write failed. The message has the kind of the fault alone: what the database says can quote a row.

    ``is_passing`` says that the database was out of reach, so that the same write may do later.
    """

    def __init__(self, message: str, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


def is_out_of_reach(error: BaseException) -> bool:
    """Tell whether an error says that the database is away or busy for now, and nothing of what it was asked."""
    if isinstance(error, StoreFailed):
        return error.is_passing
    if isinstance(error, sa.exc.DBAPIError):
        if error.connection_invalidated:
            return True
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_ERROR:
            return False  # a table that is not there comes as an operational error: no waiting brings it back
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError)


class _Write(Generic[T]):
    def __init__(self, work: Callable[[sa.Connection], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()


class GroupWriter:
    """Runs writes one after the other on a thread of its own; a future is done once its write is on the disk.

    Writes that wait while another group is being committed form the next group. If a group fails, its members are
    tried one by one, so that one bad write costs itself alone.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine.execution_options(radlabel_writes=True)
        self._waiting: deque[_Write[Any]] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="radlabel-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[sa.Connection], T]) -> Future[T]:
        """Have ``work`` done with a connection inside a transaction."""
        write = _Write(work)
        with self._changed:
            if self._is_closed:
                raise StoreFailed("the store is closed")
            self._waiting.append(write)
            self._changed.notify()
        return write.future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._is_closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_GROUP))]
            # From here on nobody can cancel one: a wait that ran out of time would end this thread with its result.
            group = [write for write in taken if write.future.set_running_or_notify_cancel()]
            if group and not self._commit(group) and len(group) > 1:
                for write in group:
                    self._commit([write])

    def _commit(self, group: list[_Write[Any]]) -> bool:
        try:
            with self._engine.begin() as connection:
                results = [write.work(connection) for write in group]
        except Exception as error:
            if len(group) == 1:
                origin = getattr(error, "orig", None) or error
                message = f"the database refused a write ({type(origin).__name__})"
                group[0].future.set_exception(StoreFailed(message, is_passing=is_out_of_reach(error)))
            return False
        for write, result in zip(group, results, strict=True):
            write.future.set_result(result)
        return True
