"""Ends what a cluster of our own has left when the process that began it is gone; a process itself, run by its path.

Ray has a reaper for that, but some of its agents outlive it when the driver is killed (seen with Ray 2.60). It reads
its standard input, which ends with the process at the other end, however that one ends. It imports next to nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

# What all processes of a cluster have in their environment: the cluster's folder.
VARIABLE = "RADLABEL_RAY_FOLDER"
GRACE_S = 2.0
_TITLE = b"ray::"


def guard(folder: str) -> None:
    """Wait for the end of standard input, then end the cluster's processes and remove its folder."""
    sys.stdin.read()
    deadline = time.monotonic() + GRACE_S
    while members(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    while found := members(folder):  # a process that is being killed may have begun another
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def members(folder: str) -> list[int]:
    """Return the processes of a cluster that are there; where the system has no ``/proc``, none are found.

    They have the folder in their environment. Ray's agents write their title over a part of theirs: they are known by
    that title, and by a file in the folder that they have open, their log at least. Whoever began the cluster has files
    of it open, too, and is no part of it.
    """
    mark = f"{VARIABLE}={folder}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) == os.getpid():
            continue
        try:
            is_marked = mark in (entry / "environ").read_bytes().split(b"\0")
            is_titled = (entry / "comm").read_bytes().startswith(_TITLE)
            if is_marked or (is_titled and any(path.startswith(f"{folder}/") for path in _open_files(entry))):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended, or is another user's
    return found


def _open_files(entry: Path) -> Iterator[str]:
    for descriptor in (entry / "fd").iterdir():
        try:
            yield str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile


if __name__ == "__main__":
    guard(sys.argv[1])
