"""The work on one chunk, and the processes that share it out."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.findings import LabeledReport, Status
from nlp_service.chunks import Chunk, Reject
from nlp_service.engines import DEFAULT_ENGINE
from nlp_service.errors import WorkerDied, describe
from nlp_service.heap import freeze_heap
from nlp_service.rows import RowForm, review_lines
from nlp_service.writers import writer_for

if TYPE_CHECKING:
    from nlp_service.labeler import Labeler


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records read: ``read`` is the sum of the others."""

    ok: int = 0
    no_text: int = 0
    not_applicable: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        """Return how many records there were."""
        return self.ok + self.no_text + self.not_applicable + self.rejected

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Counts)))


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """All that a process needs to know to label chunks."""

    label_sets: tuple[str, ...]
    vocabulary: tuple[Path, ...]
    suffix: str
    keep_errors: bool
    engine: str = DEFAULT_ENGINE
    model: Path | None = None
    abstain: tuple[float, float] | None = None
    cache_size: int | None = None

    def labeler(self, *, threads: int | None = None) -> Labeler:
        """Return the labeler of the run; workers that share a machine take one thread each."""
        from nlp_service.labeler import Labeler

        return Labeler(
            label_sets=self.label_sets,
            vocabulary=self.vocabulary,
            engine=self.engine,
            model=self.model,
            abstain=self.abstain,
            threads=threads,
            cache_size=self.cache_size,
        )


@dataclass(frozen=True, slots=True, repr=False)
class ChunkResult:
    """A chunk labeled: its rows as a piece of the output, its rejects, the counts, and the lines of the review file."""

    index: int
    piece: bytes
    rejects: tuple[Reject, ...]
    counts: Counts
    review: str = ""


class ChunkLabeler:
    """Labels chunks in this process."""

    def __init__(self, plan: WorkPlan, labeler: Labeler | None = None) -> None:
        self._labeler = labeler or plan.labeler(threads=1)
        self._writer = writer_for(plan.suffix, RowForm(self._labeler.label_sets, self._labeler.model))
        self._keep_errors = plan.keep_errors

    def label(self, chunk: Chunk) -> ChunkResult:
        """Return the rows of a chunk in the order of its records."""
        labeled = self._labeler.label_many(item[1] for item in chunk.items if not isinstance(item, Reject))
        rows: list[LabeledReport] = []
        rejects: list[Reject] = []
        numbers = dict.fromkeys(Status, 0)
        for item in chunk.items:
            if isinstance(item, Reject):
                reject = item
                row = LabeledReport(item.report_id or "", Status.ERROR, item.accession_number, reason=item.reason)
            else:
                row = next(labeled)
                reject = Reject(item[0], row.reason or "could not be labeled", report_id=row.report_id)
            numbers[row.status] += 1
            if row.status is Status.ERROR:
                rejects.append(reject)
            if row.status is not Status.ERROR or self._keep_errors:
                rows.append(row)
        counts = Counts(
            numbers[Status.OK], numbers[Status.NO_TEXT], numbers[Status.NOT_APPLICABLE], numbers[Status.ERROR]
        )
        review = "".join(line for row in rows for line in review_lines(row))
        return ChunkResult(chunk.index, self._writer.encode(rows), tuple(rejects), counts, review)


class WorkerPool:
    """Processes that label chunks; results come in the order of the chunks, and few are held at a time.

    The processes are spawned: a fork would copy the state of threads that the host runs (progress display, Arrow). Each
    has one pipe, and ends when its other end closes, so none outlives a run that was killed. An executor of the
    standard library keeps its workers alive in that case, and offers no way to stop them in the middle of a chunk.
    """

    def __init__(self, plan: WorkPlan, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._idle: deque[_Worker] = deque()
        self._workers: list[_Worker] = []
        for _ in range(jobs):
            connection, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, plan), daemon=True)
            with _interrupts_held_back():
                process.start()
            theirs.close()
            worker = _Worker(process, connection)
            self._workers.append(worker)
            self._idle.append(worker)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    @property
    def processes(self) -> list[int]:
        """Return the ids of the processes."""
        return [worker.process.pid for worker in self._workers]

    def label_all(self, chunks: Iterable[Chunk]) -> Iterator[ChunkResult]:
        """Yield the results in the order of the chunks; raise `WorkerDied` if a process ends before its work does."""
        source = iter(chunks)
        order: deque[int] = deque()
        ready: dict[int, ChunkResult] = {}
        busy: dict[object, _Worker] = {}
        while True:
            # A slow chunk holds back those behind it; at most two for each process wait for it.
            while self._idle and len(order) < 2 * len(self._workers) and (chunk := next(source, None)) is not None:
                worker = self._idle.popleft()
                worker.send(chunk)
                busy[worker.connection] = worker
                order.append(chunk.index)
            if not order:
                return
            for connection in wait([worker.connection for worker in busy.values()]) if order[0] not in ready else ():
                worker = busy.pop(connection)
                result = worker.receive()
                ready[result.index] = result
                self._idle.append(worker)
            while order and order[0] in ready:
                yield ready.pop(order.popleft())


@dataclass(frozen=True, slots=True)
class _Worker:
    process: Any  # a context's Process; the classes of the contexts have no common type in typeshed
    connection: Any

    def send(self, chunk: Chunk) -> None:
        try:
            self.connection.send(chunk)
        except OSError:
            raise self._died() from None

    def receive(self) -> ChunkResult:
        try:
            answer = self.connection.recv()
        except (EOFError, OSError):
            raise self._died() from None
        if isinstance(answer, ChunkResult):
            return answer
        raise WorkerDied(f"a worker process failed with {answer}")

    def _died(self) -> WorkerDied:
        self.process.join(5)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name if -code in {*signal.Signals} else str(-code)
            memory = "; the system may have run out of memory: use fewer --jobs" if name == "SIGKILL" else ""
            return WorkerDied(f"a worker process was ended by {name}{memory}")
        guard = "a script that labels with several jobs needs the guard `if __name__ == '__main__':`"
        return WorkerDied(f"a worker process ended with exit code {code}; {guard}")


def _serve(connection: Connection, plan: WorkPlan) -> None:
    """Label what comes through the pipe until its other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run ends its workers itself
    try:
        labeler = ChunkLabeler(plan)
        freeze_heap()
        while True:
            try:
                chunk = connection.recv()
            except EOFError:
                return
            connection.send(labeler.label(chunk))
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody waits for the answer any more
    except Exception as error:  # whatever it is, its message could quote a report: its kind goes back, and the place
        connection.send(describe(error))


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
