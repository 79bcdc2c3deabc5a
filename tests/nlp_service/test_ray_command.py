"""`radlabel label --engine ray` with a cluster of its own: begun for the run, gone after it, whatever ends it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nlp_service import chunks
from nlp_service.batch import label_files
from nlp_service.engines.ray_guard import members
from tests.nlp_service.invented import SMALL_CHUNKS, environment, invented_rows, radlabel, write_csv

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Return 60 reports, with two rows that fail."""
    rows: list[tuple[str, ...]] = [*invented_rows(60)]
    rows[33] = rows[12]
    rows[50] = ("too", "few")
    return write_csv(tmp_path / "reports.csv", rows)


def test_command_starts_ray_by_itself_and_leaves_nothing_running(tmp_path: Path, reports: Path) -> None:
    crowded = tmp_path / "crowded"
    (crowded / "models").mkdir(parents=True)
    (crowded / "models" / "__init__.py").write_text("raise ImportError('the folder of the user was imported')\n")
    home = tmp_path / "home"
    home.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.setenv("TMPDIR", str(home))
        own = crowded / "own.yaml"
        own.write_text("findings: [{id: own_sign, name: Own sign, synonyms: [sign of our own]}]\n", encoding="utf-8")
        options = ("--reader", "rules", "--workers", "1", "--vocabulary")
        one = radlabel(tmp_path, "label", reports, "-o", tmp_path / "local.csv", *options, own)
        two = radlabel(
            tmp_path, "label", reports, "-o", tmp_path / "ray.csv", "--engine", "ray", *options, own.name, cwd=crowded
        )
    assert one.returncode == two.returncode == 1  # two rows failed
    assert (tmp_path / "local.csv").read_bytes() == (tmp_path / "ray.csv").read_bytes()
    assert [line.partition("(")[0] for line in two.stderr.splitlines()] == [
        line.partition("(")[0].replace("local.csv", "ray.csv") for line in one.stderr.splitlines()
    ]
    assert list(home.iterdir()) == []


def test_killed_run_takes_its_cluster_along_and_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    reports = write_csv(tmp_path / "reports.csv", invented_rows(1500))
    whole, killed = tmp_path / "whole.csv", tmp_path / "killed.csv"
    label_files([reports], whole, reader="rules")
    script = tmp_path / "run.py"
    script.write_text(SMALL_CHUNKS, encoding="utf-8")
    mark = f"RADLABEL_TEST_RUN={tmp_path.name}"
    options = ("--engine", "ray", "--reader", "rules", "--workers", "1")
    process = subprocess.Popen(
        [sys.executable, *map(str, (script, "label", reports, "-o", killed, *options))],
        env={**environment(), "RADLABEL_TEST_RUN": tmp_path.name},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: len(list((tmp_path / "killed.csv.part").glob("chunk-??????"))) > 5)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: not processes_with(mark), what=lambda: processes_with(mark))
    assert label_files([reports], killed, reader="rules", resume=True).progress.resumed >= 100
    assert killed.read_bytes() == whole.read_bytes()


def test_agents_that_write_over_their_environment_are_known_by_title_and_open_files(tmp_path: Path) -> None:
    cluster, other = tmp_path / "cluster", tmp_path / "cluster-2"
    for folder in (cluster, other):
        folder.mkdir()
    waiting = "import os, sys; open('/proc/self/comm', 'w').write(sys.argv[1]); os.close(2); sys.stdin.read()"
    started = []
    # An agent, one of another cluster, and the process that began the cluster.
    for folder, title in ((cluster, "ray::Agent"), (other, "ray::Agent"), (cluster, "python")):
        with (folder / f"{title[:3]}.log").open("w") as log:
            command = [sys.executable, "-c", waiting, title]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.PIPE)
        started.append(process)
        assert process.stderr is not None
        process.stderr.read()  # until it has its title
    try:
        assert members(str(cluster)) == [started[0].pid]
    finally:
        for process in started:
            process.communicate(b"")


def test_cluster_whose_memory_is_out_is_one_line_and_the_run_is_resumed(
    tmp_path: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's own monitor ends every worker here: it is told that a hundredth of the memory is all there is."""
    options = ("--reader", "rules", "--workers", "1")
    assert radlabel(tmp_path, "label", reports, "-o", tmp_path / "whole.csv", *options).returncode == 1
    output = tmp_path / "labels.csv"
    on_ray = ("label", reports, "-o", output, "--engine", "ray", *options)
    with monkeypatch.context() as short:
        short.setenv("RAY_memory_usage_threshold", "0.01")
        short.setenv("RAY_memory_monitor_refresh_ms", "50")
        ended = radlabel(tmp_path, *on_ray)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "error: workers on the cluster died again and again (out of memory); give each more memory, or use fewer "
        "--workers"
    ]
    assert not output.exists()
    assert radlabel(tmp_path, *on_ray, "--resume").returncode == 1  # two rows failed
    assert output.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def wait_for(
    condition: Callable[[], bool], timeout_s: float = 60.0, what: Callable[[], object] = lambda: "it took too long"
) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def processes_with(mark: str) -> list[str]:
    """Return the processes that have a variable of the environment, which what they start inherits."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(f"{entry.name} {(entry / 'comm').read_text().strip()} {_state(entry)}")
        except OSError:
            continue
    return found


def _state(entry: Path) -> str:
    """Return the state of a process, and its parent."""
    lines = (entry / "status").read_text().splitlines()
    return " ".join(line.replace("\t", " ") for line in lines if line.startswith(("State", "PPid")))
