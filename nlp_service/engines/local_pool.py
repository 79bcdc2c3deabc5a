"""The engine of one machine: processes, each with a pipe."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from nlp_service.engines.base import Work, in_order
from nlp_service.errors import WorkerDied, WorkerMismatch, describe
from nlp_service.heap import freeze_heap

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Ready:
    identity: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class _Done:
    result: Any


@dataclass(frozen=True, slots=True)
class _Failed:
    reason: str


class LocalPool(Generic[Item, Result]):
    """Processes of this machine.

    They are spawned: a fork would copy the state of threads that the host runs (progress display, Arrow). Each has one
    pipe, and ends when its other end closes, so none outlives a run that was killed. An executor of the standard
    library keeps its workers alive in that case, and offers no way to stop them in the middle of an item.
    """

    def __init__(self, work: Work[Item, Result], workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._identity = work.identity
        self._idle: deque[_Process] = deque()
        self._processes: list[_Process] = []
        self._busy: dict[Connection, tuple[_Process, int]] = {}
        self._remarks: dict[str, None] = {}
        for _ in range(workers):
            connection, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, work), daemon=True)
            with _interrupts_held_back():
                process.start()
            theirs.close()
            started = _Process(process, connection)
            self._processes.append(started)
            self._idle.append(started)

    def __enter__(self) -> LocalPool[Item, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.connection.close()
            process.process.terminate()
        for process in self._processes:
            process.process.join()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what the workers had to say, each thing once."""
        return tuple(self._remarks)

    @property
    def processes(self) -> list[int]:
        """Return the ids of the processes."""
        return [process.process.pid for process in self._processes]

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield the results in the order of the items; raise `WorkerDied` if a process ends before its work does."""
        return in_order(
            items,
            can_take=lambda: bool(self._idle),
            send=self._send,
            receive=self._receive,
            window=2 * len(self._processes),
        )

    def _send(self, number: int, item: Item) -> None:
        process = self._idle.popleft()
        process.send(item)
        self._busy[process.connection] = process, number

    def _receive(self) -> dict[int, Result]:
        found = {}
        for connection in wait(list(self._busy)):
            assert isinstance(connection, Connection)
            process, number = self._busy[connection]
            answer = process.receive()
            if isinstance(answer, _Ready):
                if answer.identity != self._identity:
                    raise WorkerMismatch(
                        "a worker has loaded another model, vocabulary or version than this run; were files changed?"
                    )
                self._remarks.update(dict.fromkeys(answer.remarks))
            elif isinstance(answer, _Failed):
                raise WorkerDied(f"a worker process failed with {answer.reason}")
            else:
                del self._busy[connection]
                self._idle.append(process)
                found[number] = answer.result
        return found


@dataclass(frozen=True, slots=True)
class _Process:
    process: Any  # a context's Process; the classes of the contexts have no common type in typeshed
    connection: Connection

    def send(self, item: object) -> None:
        try:
            self.connection.send(item)
        except OSError:
            raise self._died() from None

    def receive(self) -> _Ready | _Done | _Failed:
        try:
            answer: _Ready | _Done | _Failed = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        return answer

    def _died(self) -> WorkerDied:
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in {*signal.Signals} else str(-code)
            memory = "; the system may have run out of memory: use fewer --workers" if name == "SIGKILL" else ""
            return WorkerDied(f"a worker process was ended by {name}{memory}")
        guard = "a script that works with several processes needs the guard `if __name__ == '__main__':`"
        return WorkerDied(f"a worker process ended with exit code {code}; {guard}")


def _serve(connection: Connection, work: Work[Any, Any]) -> None:
    """Work on what comes through the pipe until its other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run ends its workers itself
    try:
        worker = work.start()
        freeze_heap()
        connection.send(_Ready(worker.identity, worker.remarks))
        while True:
            try:
                item = connection.recv()
            except EOFError:
                return
            connection.send(_Done(worker(item)))
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody waits for the answer any more
    except Exception as error:  # whatever it is, its message could quote a report: its kind goes back, and the place
        connection.send(_Failed(describe(error)))


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Keep SIGINT from a process that is started within: until it ignores the signal it would print a traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
