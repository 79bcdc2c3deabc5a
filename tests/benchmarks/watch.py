"""Watching a long run of the command: the memory of each of its processes and its speed, from the start to the end."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.measure import MIB, memory_of, tree_of

SAMPLE_S = 2.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A moment of a run: seconds since its start, records done, memory of the largest worker and of the driver."""

    elapsed_s: float
    read: int
    worker_mib: float
    driver_mib: float


def run_watched(command: Sequence[str | Path]) -> tuple[dict[str, object], list[Sample]]:
    """Run a command that writes its progress as JSON lines; return its summary and what was seen on the way.

    Raises `RuntimeError` with its last words if it fails.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    samples: list[Sample] = []
    done = threading.Event()
    read = 0
    words = [""]

    def listen() -> None:
        nonlocal read
        assert process.stderr is not None
        for line in process.stderr:
            words[0] = line
            try:
                read = int(json.loads(line)["read"])
            except (ValueError, KeyError, TypeError):
                continue

    def watch() -> None:
        started = time.perf_counter()
        while not done.wait(SAMPLE_S):
            sizes = {pid: memory_of(pid) / MIB for pid in tree_of(process.pid)}
            driver = sizes.pop(process.pid, 0.0)
            samples.append(Sample(time.perf_counter() - started, read, max(sizes.values(), default=driver), driver))

    threads = [threading.Thread(target=listen), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    assert process.stdout is not None
    said = process.stdout.read()
    code = process.wait()
    done.set()
    for thread in threads:
        thread.join()
    process.stdout.close()
    if process.stderr:
        process.stderr.close()
    if code not in (0, 1):
        raise RuntimeError(f"{command[0]} exited with {code}: {words[0].strip()}")
    return json.loads(said), samples


def speed_between(samples: Sequence[Sample], low: float, high: float) -> float:
    """Return the records a second between two shares of the records, such as 0.8 and 1."""
    total = samples[-1].read
    first = next((sample for sample in samples if sample.read >= low * total and sample.read > 0), samples[-1])
    last = next((sample for sample in samples if sample.read >= high * total), samples[-1])
    seconds = last.elapsed_s - first.elapsed_s
    return (last.read - first.read) / seconds if seconds > 0 else 0.0


def worker_mib_between(samples: Sequence[Sample], low: float, high: float) -> float:
    """Return the largest memory of a worker between two shares of the records."""
    total = samples[-1].read
    return max((sample.worker_mib for sample in samples if low * total <= sample.read <= high * total), default=0.0)
