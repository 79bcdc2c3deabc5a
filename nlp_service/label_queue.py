"""One labeler for many callers: reports that wait are read together, whoever sent them.

An encoder is fastest when it reads full batches, and a request often brings one report. So requests put their reports
into one queue; a thread of its own takes as many as make a batch and reads them. Callers in a hurry go first; work in
the background (jobs) is read in slices between them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from corpora.errors import RadlabelError
from corpora.findings import LabeledReport
from corpora.reports import Report
from nlp_service.labeler import Labeler, ModelInfo
from nlp_service.rows import RowForm

# Reports read together. Requests fill a long window: the encoder then sorts more sentences by length, and large
# requests come near the speed of files. Background work fills a short one, so that whoever comes next waits little.
WINDOW = 256
BACKGROUND_WINDOW = 64
_RECENT = 32  # windows that the estimate of the speed looks back on


class QueueFull(RadlabelError, RuntimeError):
    """Too many reports wait; ``retry_after_s`` is when to come again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("too many reports are waiting")


class QueueClosed(RadlabelError, RuntimeError):
    """The service is stopping and takes no more reports."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was read together: how many reports of how many callers, and how long it took."""

    reports: int
    callers: int
    seconds: float


@dataclass(slots=True, repr=False, eq=False)
class _Task:
    reports: Sequence[Report]
    label_sets: tuple[str, ...]
    future: Future[list[LabeledReport]] = field(default_factory=Future)
    done: list[LabeledReport] = field(default_factory=list)

    @property
    def remaining(self) -> int:
        return len(self.reports) - len(self.done)


class LabelQueue:
    """Labels reports of many callers with one labeler, on a thread of its own.

    ``max_waiting`` bounds how many reports of callers in a hurry may wait. ``on_window`` is told of every window.
    """

    def __init__(
        self, labeler: Labeler, *, max_waiting: int, on_window: Callable[[Window], None] = lambda window: None
    ) -> None:
        self._labeler = labeler
        self._siblings: dict[tuple[str, ...], Labeler] = {}
        self._max_waiting = max_waiting
        self._on_window = on_window
        self._urgent: deque[_Task] = deque()
        self._background: deque[_Task] = deque()
        self._waiting = 0
        self._recent: deque[float] = deque([0.005], maxlen=_RECENT)  # seconds a report
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="radlabel-labeler", daemon=True)
        self._thread.start()

    @property
    def model(self) -> ModelInfo:
        """Return which reader makes the labels."""
        return self._labeler.model

    @property
    def waiting(self) -> int:
        """Return how many reports of callers in a hurry wait."""
        return self._waiting

    @property
    def cache_counts(self) -> tuple[int, int]:
        """Return how often a sentence was found in the cache, and how often it was not."""
        return self._labeler.cache_counts

    def form(self, label_sets: Sequence[str]) -> RowForm:
        """Return the form of the rows for label sets; raise `LabelSetUnknown` for one that nobody defined."""
        labeler = self._sibling(tuple(label_sets))
        return RowForm(labeler.label_sets, labeler.model)

    def submit(
        self, reports: Sequence[Report], label_sets: Sequence[str], *, in_background: bool = False
    ) -> Future[list[LabeledReport]]:
        """Have reports labeled; the future holds them in order.

        Raises:
            QueueFull: too many reports wait already. Work in the background is never refused: it is sent slice by
                slice, and waits by itself.
            QueueClosed: the service is stopping.
            LabelSetUnknown: a label set that nobody defined.
        """
        task = _Task(reports, tuple(dict.fromkeys(label_sets)))
        self._sibling(task.label_sets)
        if not reports:
            task.future.set_result([])
            return task.future
        with self._changed:
            if self._is_closed:
                raise QueueClosed("the service is stopping")
            if in_background:
                self._background.append(task)
            else:
                # One request always fits into an empty queue, however large it is.
                if self._waiting and self._waiting + len(reports) > self._max_waiting:
                    raise QueueFull(self._wait_estimate())
                self._waiting += len(reports)
                self._urgent.append(task)
            self._changed.notify()
        return task.future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _wait_estimate(self) -> int:
        mean = sum(self._recent) / len(self._recent)
        return max(1, min(round(self._waiting * mean / 2), 60))

    def _sibling(self, label_sets: tuple[str, ...]) -> Labeler:
        labeler = self._siblings.get(label_sets)
        if labeler is None:
            labeler = self._siblings[label_sets] = self._labeler.for_label_sets(label_sets)
        return labeler

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._urgent and not self._background and not self._is_closed:
                    self._changed.wait()
                if not self._urgent and not self._background:
                    return
                window = self._take_window()
            self._read(window)

    def _take_window(self) -> list[tuple[_Task, int]]:
        """Take tasks, or slices of large ones, until the window is full: who waits longest first, each in turn."""
        window: list[tuple[_Task, int]] = []
        taken = 0
        for queue, most in ((self._urgent, WINDOW), (self._background, BACKGROUND_WINDOW)):
            # A task that is sliced is not taken again for the same window.
            for _ in range(len(queue)):
                if taken >= most:
                    break
                task = queue.popleft()
                if task.future.cancelled():  # nobody waits for it any more
                    self._waiting -= task.remaining if queue is self._urgent else 0
                    continue
                number = min(task.remaining, most - taken)
                window.append((task, number))
                taken += number
                if queue is self._urgent:
                    self._waiting -= number
                if number < task.remaining:
                    queue.append(task)
        return window

    def _read(self, window: Sequence[tuple[_Task, int]]) -> None:
        started = time.perf_counter()
        by_sets: dict[tuple[str, ...], list[tuple[_Task, int]]] = {}
        for item in window:
            by_sets.setdefault(item[0].label_sets, []).append(item)
        for label_sets, items in by_sets.items():
            reports = [report for task, n in items for report in task.reports[len(task.done) : len(task.done) + n]]
            try:
                labeled = list(self._sibling(label_sets).label_many(reports))
            except Exception as error:
                # Reports that cannot be read come back as such; what is left is a fault of the service.
                for task, _ in items:
                    self._forget(task)
                    _settle(task.future, error)
                continue
            first = 0
            for task, number in items:
                task.done.extend(labeled[first : first + number])
                first += number
                if not task.remaining:
                    _settle(task.future, task.done)
        total = sum(number for _, number in window)
        seconds = time.perf_counter() - started
        if total:
            self._recent.append(seconds / total)
            self._on_window(Window(total, len(window), seconds))

    def _forget(self, task: _Task) -> None:
        """Take what is left of a task that failed out of the queues."""
        with self._changed:
            if task in self._urgent:
                self._urgent.remove(task)
                self._waiting -= task.remaining
            elif task in self._background:
                self._background.remove(task)


def _settle(future: Future[list[LabeledReport]], outcome: list[LabeledReport] | Exception) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
