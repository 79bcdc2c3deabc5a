"""The engine of a cluster: Ray actors, each with the work loaded once.

Plain actors rather than Ray Data: results must come in the order of the items, only a few items may be on their way
(they hold reports, and Ray writes what does not fit into its memory to a disk), and what an actor raises must not
travel, since a message could quote a report. An actor that dies (a node lost, memory out) costs nothing but the time
of the items it had: they go to another one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from nlp_service.engines.base import Work, in_order
from nlp_service.engines.options import EngineOptions
from nlp_service.errors import EngineUnavailable, WorkerDied, WorkerMismatch, describe
from nlp_service.heap import freeze_heap

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that an actor has at a time: one being worked on, one that has been brought meanwhile.
ITEMS_PER_ACTOR = 2
# How often an item may be lost with the actor that had it, before the item is held to be the cause.
MAX_LOSSES = 3
# How long the first worker may take to start; a cluster that must first add a machine needs minutes.
START_TIMEOUT_S = 300.0
_LOOK_S = 1.0
MORE_MEMORY = "; give each more memory, or use fewer --workers"


class Actor:
    """What runs in a process of the cluster. It answers with values alone, whatever happens."""

    def __init__(self, work: Work[Any, Any]) -> None:
        self._work = work
        self._worker: Any = None

    def start(self) -> tuple[str, Any]:
        """Load the work; return ``("ready", (identity, remarks))`` or ``("failed", reason)``."""
        try:
            self._worker = self._work.start()
            freeze_heap()
            return "ready", (self._worker.identity, self._worker.remarks)
        except Exception as error:
            return "failed", describe(error)

    def do(self, item: Any) -> tuple[str, Any]:
        """Work on an item; return ``("done", result)`` or ``("failed", reason)``."""
        try:
            return "done", self._worker(item)
        except Exception as error:  # its message could quote a report: its kind goes back, and the place
            return "failed", describe(error)


@dataclass(eq=False)
class _Member:
    """An actor of the pool, and the items that it has."""

    handle: Any
    is_ready: bool = False
    items: set[int] = field(default_factory=set)


class RayPool(Generic[Item, Result]):
    """Actors of a cluster; see `nlp_service.engines.EngineOptions`."""

    def __init__(self, work: Work[Item, Result], options: EngineOptions) -> None:
        self._work = work
        self._options = options
        self._context = ExitStack()
        self._members: list[_Member] = []
        self._starting: dict[Any, _Member] = {}
        self._running: dict[Any, tuple[_Member, int]] = {}
        self._items: dict[int, Item] = {}
        self._again: list[int] = []
        self._losses: Counter[int] = Counter()
        self._last_loss = ""
        self._remarks: dict[str, None] = {}

    def __enter__(self) -> RayPool[Item, Result]:
        from nlp_service.engines import ray_session

        with self._context:
            self._ray = self._context.enter_context(ray_session.connected(self._options))
            self._n_workers = ray_session.workers_with_room(self._ray, self._options)
            for _ in range(self._n_workers):
                self._add_member()
            self._context.callback(self._stop)
            self._context = self._context.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what the workers had to say, each thing once."""
        return tuple(self._remarks)

    @property
    def n_workers(self) -> int:
        """Return how many actors the pool keeps running."""
        return self._n_workers

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """Yield the results in the order of the items."""
        self._waiting_since = time.monotonic()
        return in_order(
            items,
            can_take=self._can_take,
            send=self._send,
            receive=self._receive,
            window=(ITEMS_PER_ACTOR + 1) * self._n_workers,
        )

    def _add_member(self) -> None:
        actor = self._ray.remote(Actor).options(
            num_cpus=1, num_gpus=self._options.gpus_per_worker, max_restarts=0, max_task_retries=0
        )
        member = _Member(actor.remote(self._work))
        self._members.append(member)
        self._starting[member.handle.start.remote()] = member

    def _stop(self) -> None:
        for member in self._members:
            self._ray.kill(member.handle)

    def _free(self) -> _Member | None:
        ready = [member for member in self._members if member.is_ready and len(member.items) < ITEMS_PER_ACTOR]
        return min(ready, key=lambda member: len(member.items), default=None)

    def _can_take(self) -> bool:
        return not self._again and self._free() is not None

    def _send(self, number: int, item: Item) -> None:
        self._items[number] = item
        self._give(number)

    def _give(self, number: int) -> None:
        member = self._free()
        assert member is not None
        member.items.add(number)
        self._running[member.handle.do.remote(self._items[number])] = member, number

    def _receive(self) -> dict[int, Result]:
        """Wait for something to happen, and return the results that have come."""
        while self._again and self._free() is not None:
            self._give(self._again.pop(0))
        # Starts first: `wait` gives what is ready in this order, and a new actor should not wait for work.
        references = [*self._starting, *self._running]
        ready, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        if not ready:
            ready, _ = self._ray.wait(references, num_returns=1, timeout=_LOOK_S)
        found: dict[int, Result] = {}
        for reference in ready:
            if reference in self._starting:
                self._started(reference)
            elif reference in self._running:  # else it went with its actor a moment ago
                found.update(self._finished(reference))
        self._check_that_someone_works()
        return found

    def _started(self, reference: Any) -> None:
        member = self._starting.pop(reference)
        try:
            kind, answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._lose(member, error)
            return
        if kind == "failed":
            raise WorkerDied(f"a worker on the cluster could not start: {answer}")
        identity, remarks = answer
        if identity != self._work.identity:
            raise WorkerMismatch(
                "a worker on the cluster has another model, vocabulary or version of radlabel than this machine: "
                "install the same on every node"
            )
        self._remarks.update(dict.fromkeys(remarks))
        member.is_ready = True

    def _finished(self, reference: Any) -> dict[int, Result]:
        member, number = self._running[reference]
        try:
            kind, answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._lose(member, error)
            return {}
        del self._running[reference]
        member.items.discard(number)
        if kind == "failed":
            advice = MORE_MEMORY if answer.startswith(MemoryError.__name__) else ""
            raise WorkerDied(f"a worker on the cluster failed with {answer}{advice}")
        del self._items[number]
        self._losses.pop(number, None)
        return {number: answer}

    def _lose(self, member: _Member, error: Exception) -> None:
        """Give the items of an actor that died to others, and start another one in its place."""
        self._last_loss = _reason(self._ray, error)
        if member not in self._members:
            return
        self._members.remove(member)
        for reference in [r for r, m in self._starting.items() if m is member]:
            del self._starting[reference]
        for reference in [r for r, (m, _) in self._running.items() if m is member]:
            del self._running[reference]
        # Ray answers items in their order: the oldest was the one being worked on.
        for number in sorted(member.items)[:1]:
            self._losses[number] += 1
        if not member.items and not member.is_ready:
            self._losses[-1] += 1
        if max(self._losses.values(), default=0) >= MAX_LOSSES:
            raise WorkerDied(f"workers on the cluster died again and again ({self._last_loss}){MORE_MEMORY}")
        self._again = sorted({*self._again, *member.items})
        self._ray.kill(member.handle)
        self._add_member()
        self._waiting_since = time.monotonic()

    def _check_that_someone_works(self) -> None:
        if any(member.is_ready for member in self._members):
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > START_TIMEOUT_S:
            why = f" ({self._last_loss})" if self._last_loss else ""
            raise EngineUnavailable(f"no worker has started on the cluster in {START_TIMEOUT_S:.0f} s{why}")


def _reason(ray: Any, error: Exception) -> str:
    """Return why an actor was lost, in our words: Ray's own messages hold addresses, paths and log lines."""
    kinds = ray.exceptions
    if isinstance(error, kinds.OutOfMemoryError) or "OOM" in str(error) or "memory" in str(error).lower():
        return "out of memory"
    if isinstance(error, kinds.NodeDiedError) or "node" in str(error).lower():
        return "a node was lost"
    return type(error).__name__
