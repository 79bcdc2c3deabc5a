"""Running a command and measuring it: wall time, processor time, and the memory of the whole process tree."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

SAMPLE_S = 0.05
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of a command took; ``peak_mib`` is the largest sum over its processes seen at one time."""

    wall_s: float
    cpu_s: float
    peak_mib: float

    def as_json(self) -> dict[str, float]:
        """Return the numbers, rounded to what they are worth."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def run_measured(command: Sequence[str | Path], *, cwd: Path | None = None) -> Run:
    """Run a command to its end and return what it took; raise `RuntimeError` with its last words if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = _PeakMemory(process.pid)
    peak.start()
    _, said = process.communicate()
    wall = time.perf_counter() - started
    peak.stop()
    if process.returncode != 0:
        raise RuntimeError(f"{command[0]} exited with {process.returncode}: {said.strip()[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return Run(wall, cpu, peak.bytes / MIB)


class _PeakMemory(threading.Thread):
    """Watches the memory of a process and its descendants.

    The proportional set size (``Pss``) counts a page shared by n processes as 1/n in each, so that workers forked from
    one parent are not counted as if each had loaded everything. Linux only: elsewhere the peak is 0.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._pid = pid
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_S):
            self.bytes = max(self.bytes, memory_of_tree(self._pid))

    def stop(self) -> None:
        self._done.set()
        self.join()


def memory_of_tree(pid: int) -> int:
    """Return the bytes that a process and its descendants take now, shared pages counted in part."""
    return sum(memory_of(process) for process in tree_of(pid))


def tree_of(pid: int) -> list[int]:
    """Return a process and its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it has ended meanwhile
    return found


def memory_of(pid: int) -> int:
    """Return the proportional set size of a process in bytes, 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def machine() -> dict[str, object]:
    """Return what a number depends on besides the code: cores, processor, system, versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cores": cores,
        "processor": _processor(),
        "system": platform.system(),
        "python": platform.python_version(),
        "radlabel": version("radlabel"),
        "spacy": version("spacy"),
        "pyarrow": version("pyarrow"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
