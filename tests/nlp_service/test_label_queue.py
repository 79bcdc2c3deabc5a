"""Who is read with whom: large requests fill long windows, background work short ones, and nobody is mixed up."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from corpora.reports import Report
from nlp_service.label_queue import BACKGROUND_WINDOW, WINDOW, LabelQueue, Window
from nlp_service.labeler import Labeler

SETS = ("chexpert14",)


class Watcher:
    """Keeps the windows; holds the thread of the queue after the first one until told to go on."""

    def __init__(self, *, is_held: bool = False) -> None:
        self.windows: list[Window] = []
        self.read_first = threading.Event()
        self.go_on = threading.Event()
        if not is_held:
            self.go_on.set()

    def __call__(self, window: Window) -> None:
        self.windows.append(window)
        self.read_first.set()
        assert self.go_on.wait(60)

    @property
    def sizes(self) -> list[int]:
        return [window.reports for window in self.windows]


@pytest.fixture(scope="module")
def labeler() -> Labeler:
    return Labeler(reader="rules", label_sets=SETS)


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def queue(labeler: Labeler, watcher: Watcher) -> Iterator[LabelQueue]:
    queue = LabelQueue(labeler, max_waiting=10_000, on_window=watcher)
    yield queue
    watcher.go_on.set()
    queue.close()


def reports(prefix: str, number: int) -> list[Report]:
    return [Report(report_id=f"{prefix}{i}", text="Small left pleural effusion.") for i in range(number)]


def ids(prefix: str, number: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(number)]


def test_a_large_request_fills_long_windows_and_comes_back_in_order(queue: LabelQueue, watcher: Watcher) -> None:
    labeled = queue.submit(reports("a", 2 * WINDOW + 9), SETS).result(60)
    assert [row.report_id for row in labeled] == ids("a", 2 * WINDOW + 9)
    queue.close()
    assert watcher.sizes == [WINDOW, WINDOW, 9]


def test_background_work_fills_short_windows(queue: LabelQueue, watcher: Watcher) -> None:
    labeled = queue.submit(reports("a", 2 * BACKGROUND_WINDOW + 9), SETS, in_background=True).result(60)
    assert [row.report_id for row in labeled] == ids("a", 2 * BACKGROUND_WINDOW + 9)
    queue.close()
    assert watcher.sizes == [BACKGROUND_WINDOW, BACKGROUND_WINDOW, 9]


@pytest.mark.parametrize(
    ("hurried", "background", "expected"),
    [
        # What requests leave free of a short window goes to the background.
        (30, 100, [1, BACKGROUND_WINDOW, BACKGROUND_WINDOW, 130 - 2 * BACKGROUND_WINDOW]),
        # Requests that fill more than a short window go alone.
        (100, 70, [1, 100, BACKGROUND_WINDOW, 70 - BACKGROUND_WINDOW]),
    ],
)
def test_requests_go_before_the_background(
    labeler: Labeler, hurried: int, background: int, expected: list[int]
) -> None:
    watcher = Watcher(is_held=True)
    queue = LabelQueue(labeler, max_waiting=10_000, on_window=watcher)
    first = queue.submit(reports("first", 1), SETS)
    assert watcher.read_first.wait(60)
    slow = queue.submit(reports("b", background), SETS, in_background=True)
    fast = queue.submit(reports("u", hurried), SETS)
    watcher.go_on.set()
    for future, expected_ids in ((first, ids("first", 1)), (fast, ids("u", hurried)), (slow, ids("b", background))):
        assert [row.report_id for row in future.result(60)] == expected_ids
    queue.close()
    assert watcher.sizes == expected
