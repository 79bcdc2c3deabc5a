"""What an engine is asked for, and the order in which it answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class Worker(Protocol[ItemIn, ResultOut]):
    """Work that is loaded and ready."""

    @property
    def identity(self) -> str:
        """Name all that the results depend on; an engine refuses a worker that differs from `Work.identity`."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what a user should know of this worker, such as a missing GPU."""
        ...

    def __call__(self, item: ItemIn, /) -> ResultOut:
        """Return the result of an item, which depends on nothing but the item and the identity."""
        ...


class Work(Protocol[ItemIn, ResultOut]):
    """What workers do: small and picklable, as it travels to each of them."""

    @property
    def identity(self) -> str:
        """Name all that the results depend on."""
        ...

    def start(self) -> Worker[ItemIn, ResultOut]:
        """Load what is needed, once in each worker."""
        ...


class Pool(Protocol[ItemIn, ResultOut]):
    """Workers that are running."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what the workers had to say, each thing once; it is known when results have come."""
        ...

    def map(self, items: Iterable[ItemIn], /) -> Iterator[ResultOut]:
        """Yield the results in the order of the items. Raises `WorkerDied` where an item cannot be worked on."""
        ...


def in_order(
    items: Iterable[Item],
    *,
    can_take: Callable[[], bool],
    send: Callable[[int, Item], None],
    receive: Callable[[], Mapping[int, Result]],
    window: int,
) -> Iterator[Result]:
    """Yield results in the order of their items, with at most ``window`` items on their way.

    ``send`` gives a numbered item to a worker, ``receive`` waits and returns what has come, by number. A slow item
    holds back those behind it, and no more than the window waits for it.
    """
    source = enumerate(items)
    order: deque[int] = deque()
    ready: dict[int, Result] = {}
    is_exhausted = False
    while True:
        while not is_exhausted and len(order) < window and can_take():
            numbered = next(source, None)
            if numbered is None:
                is_exhausted = True
            else:
                send(*numbered)
                order.append(numbered[0])
        if is_exhausted and not order:
            return
        if not order or order[0] not in ready:
            ready.update(receive())
        while order and order[0] in ready:
            yield ready.pop(order.popleft())
