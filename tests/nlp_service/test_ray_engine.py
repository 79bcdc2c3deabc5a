"""The Ray engine on a cluster of three simulated nodes: the bytes of the local engine, whatever happens to a node.

One cluster serves the module. Its nodes are real processes of Ray (a raylet and its workers each) on this machine.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from corpora import read_reports
from nlp_service import batch, chunks
from nlp_service.batch import Progress, label_files
from nlp_service.engines import EngineName, EngineOptions, open_pool
from nlp_service.engines.ray_session import connected, short_folder
from nlp_service.errors import EngineUnavailable, WorkerDied, WorkerMismatch
from tests.nlp_service.invented import ROOT, invented_rows, write_csv
from tests.nlp_service.works import MARK, Failing

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ray's cluster for tests wants a POSIX system")
FULL = os.environ.get("RADLABEL_FULL") == "1"
PADCHEST_REPORTS = 107_783
# Ray's workers would make way for all other processes of the machine.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


class ThreeNodes:
    """A cluster, and what to do to it."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 1, "include_dashboard": False},
        )
        self.others = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.address: str = self.cluster.address

    @property
    def options(self) -> EngineOptions:
        return EngineOptions(EngineName.RAY, 3, self.address)

    def kill_a_node(self) -> None:
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)

    def workers(self) -> list[int]:
        """Return the processes of our own workers that run on the nodes."""
        mark = f"RAY_TMPDIR={self.folder}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                is_worker = (entry / "cmdline").read_bytes().startswith(b"ray::Actor")
                if is_worker and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    def restore(self) -> None:
        while len(self.others) < 2:
            self.others.append(self.cluster.add_node(num_cpus=1))
        self.cluster.wait_for_nodes()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ThreeNodes]:
    """Yield a cluster that this process is connected to, so that each run does not have to."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own making, in the code that only tests use
        with tempfile.TemporaryDirectory(prefix="r-", dir=short_folder(), ignore_cleanup_errors=True) as folder:
            for name, value in {"PYTHONPATH": str(ROOT), "RAY_TMPDIR": folder, **QUIET}.items():
                patch.setenv(name, value)
            three = ThreeNodes(Path(folder))
            try:
                with connected(three.options):
                    yield three
            finally:
                three.cluster.shutdown()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    monkeypatch.setattr(batch, "usable_cores", lambda: 1)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Return 400 reports, with two rows that fail."""
    rows: list[tuple[str, ...]] = [*invented_rows(400)]
    rows[33] = rows[12]
    rows[150] = ("too", "few")
    return write_csv(tmp_path / "reports.csv", rows)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("labels.jsonl", {"reader": "encoder", "label_sets": ["chexpert14", "nih14"], "abstain": (0.1, 0.9)}),
        ("labels.parquet", {"reader": "rules", "shard_records": 60, "keep_errors": True}),
    ],
)
def test_ray_gives_the_bytes_of_the_local_engine(
    tmp_path: Path, reports: Path, nodes: ThreeNodes, name: str, options: dict[str, Any]
) -> None:
    summaries = []
    for engine in ("local", "ray"):
        (tmp_path / engine).mkdir()
        where: dict[str, Any] = {"engine": engine, "ray_address": nodes.address if engine == "ray" else None}
        summaries.append(label_files([reports], tmp_path / engine / name, **where, **options))
    assert summaries[0].counts == summaries[1].counts
    assert files_below(tmp_path / "local") == files_below(tmp_path / "ray")


def test_run_begun_on_one_engine_goes_on_with_the_other(tmp_path: Path, reports: Path, nodes: ThreeNodes) -> None:
    class Stopped(BaseException):
        pass

    def stop(progress: Progress) -> None:
        if progress.counts.read >= 200:
            raise Stopped

    whole, mixed = tmp_path / "whole.csv", tmp_path / "mixed.csv"
    label_files([reports], whole, reader="rules")
    on_ray: dict[str, Any] = {"engine": "ray", "ray_address": nodes.address, "reader": "rules"}
    with pytest.raises(Stopped):
        label_files([reports], mixed, on_progress=stop, **on_ray)
    assert label_files([reports], mixed, reader="rules", resume=True).progress.resumed >= 200
    assert mixed.read_bytes() == whole.read_bytes()


def test_node_that_is_lost_in_the_middle_costs_nothing(tmp_path: Path, nodes: ThreeNodes) -> None:
    reports = write_csv(tmp_path / "reports.csv", invented_rows(900))
    whole, shaken = tmp_path / "whole.jsonl", tmp_path / "shaken.jsonl"
    label_files([reports], whole, reader="rules")
    lost: list[int] = []

    def lose_one(progress: Progress) -> None:
        if progress.counts.read >= 200 and not lost:
            lost.append(progress.counts.read)
            nodes.kill_a_node()

    try:
        summary = label_files(
            [reports], shaken, engine="ray", ray_address=nodes.address, reader="rules", jobs=3, on_progress=lose_one
        )
    finally:
        nodes.restore()
    assert lost
    assert summary.counts.read == 900
    assert shaken.read_bytes() == whole.read_bytes()


def test_workers_whose_memory_is_out_now_and_then_cost_nothing(tmp_path: Path, nodes: ThreeNodes) -> None:
    """A worker is ended by SIGKILL, as the kernel does it where memory is short, at three moments of a run."""
    reports = write_csv(tmp_path / "reports.csv", invented_rows(900))
    whole, shaken = tmp_path / "whole.jsonl", tmp_path / "shaken.jsonl"
    label_files([reports], whole, reader="rules")
    killed: list[int] = []

    def kill_one(progress: Progress) -> None:
        if progress.counts.read >= 200 * (len(killed) + 1) and (found := nodes.workers()):
            os.kill(found[0], signal.SIGKILL)
            killed.append(found[0])

    summary = label_files(
        [reports], shaken, engine="ray", ray_address=nodes.address, reader="rules", jobs=2, on_progress=kill_one
    )
    assert len(set(killed)) >= 3
    assert summary.counts.read == 900
    assert shaken.read_bytes() == whole.read_bytes()


def test_workers_whose_memory_is_out_again_and_again_end_a_run_that_is_resumed(
    tmp_path: Path, nodes: ThreeNodes
) -> None:
    reports = write_csv(tmp_path / "reports.csv", invented_rows(900))
    whole, ended = tmp_path / "whole.csv", tmp_path / "ended.csv"
    label_files([reports], whole, reader="rules")
    is_short, is_over = threading.Event(), threading.Event()

    def kill_all() -> None:
        while not is_over.wait(0.05):
            for pid in nodes.workers() if is_short.is_set() else ():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def begin(progress: Progress) -> None:
        if progress.counts.read >= 200:
            is_short.set()

    on_ray: dict[str, Any] = {"engine": "ray", "ray_address": nodes.address, "reader": "rules", "jobs": 1}
    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(WorkerDied, match=r"died again and again .*; give each more memory, or use fewer --workers"):
            label_files([reports], ended, on_progress=begin, **on_ray)
    finally:
        is_over.set()
        killer.join()
    assert not ended.exists()
    assert label_files([reports], ended, resume=True, **on_ray).progress.resumed >= 200
    assert ended.read_bytes() == whole.read_bytes()


def test_results_come_in_order_and_remarks_once(nodes: ThreeNodes) -> None:
    with open_pool(Failing(), nodes.options) as pool:
        assert list(pool.map(range(200))) == [2 * number for number in range(200)]
        assert list(pool.map([])) == []
        assert pool.remarks == ("has no GPU",)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("error", WorkerDied, r"failed with ValueError in nlp_service"),
        ("start", WorkerDied, r"could not start: ValueError in nlp_service"),
        (
            "memory",
            WorkerDied,
            r"failed with MemoryError in nlp_service.*; give each more memory",
        ),
        ("killed", WorkerDied, r"died again and again .*; give each more memory, or use fewer --workers"),
        ("identity", WorkerMismatch, "another model, vocabulary or version"),
    ],
)
def test_worker_that_fails_is_an_error_without_content(
    nodes: ThreeNodes, how: str, error: type[Exception], message: str
) -> None:
    options = EngineOptions(EngineName.RAY, 1, nodes.address)
    with open_pool(Failing(how), options) as pool, pytest.raises(error, match=message) as failed:
        list(pool.map([*range(10), -1, *range(10)]))
    assert MARK not in str(failed.value)


def test_gpu_that_is_nowhere_is_said_so(tmp_path: Path, reports: Path, nodes: ThreeNodes) -> None:
    with pytest.raises(EngineUnavailable, match=r"no node .* has a processor and 0\.5 GPU for a worker"):
        label_files(
            [reports], tmp_path / "l.csv", engine="ray", ray_address=nodes.address, gpus_per_worker=0.5, reader="rules"
        )
    assert not (tmp_path / "l.csv").exists()


def test_no_text_of_a_report_is_in_the_logs_of_ray(tmp_path: Path, nodes: ThreeNodes) -> None:
    """Runs after the others of this module, so that the logs hold their failures as well."""
    rows = [(f"{MARK}{number}", f"{MARK}ACC{number}", f"FINDINGS: {MARK} has cardiomegaly.") for number in range(60)]
    reports = write_csv(tmp_path / "reports.csv", [*rows, rows[0]])
    label_files([reports], tmp_path / "l.csv", engine="ray", ray_address=nodes.address, reader="rules")
    looked_at = 0
    for path in nodes.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            looked_at += 1
            assert MARK.encode() not in path.read_bytes(), path.name
    assert looked_at > 10


@pytest.mark.skipif(not FULL, reason="RADLABEL_FULL=1 labels all of PadChest on both engines")
def test_all_of_padchest_has_the_same_bytes_on_both_engines(
    tmp_path: Path, padchest_corpus: Path, nodes: ThreeNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 500)
    assert sum(1 for _ in read_reports(padchest_corpus)) == PADCHEST_REPORTS
    for engine in ("local", "ray"):
        (tmp_path / engine).mkdir()
        where: dict[str, Any] = {"engine": engine, "ray_address": nodes.address if engine == "ray" else None}
        label_files(
            [padchest_corpus],
            tmp_path / engine / "l.parquet",
            label_sets=["chexpert14", "nih14"],
            shard_records=10_000,
            jobs=2,
            **where,
        )
    assert files_below(tmp_path / "local") == files_below(tmp_path / "ray")
