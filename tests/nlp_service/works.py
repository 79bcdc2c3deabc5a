"""Work for the engines that is no labelling: it fails in the ways that workers fail."""

from __future__ import annotations

import os
import resource
import signal
import time
from dataclasses import dataclass

MARK = "Zwicky-Marker"


@dataclass(frozen=True)
class Failing:
    """Doubles numbers, and fails at those that are negative in the way of ``how``."""

    how: str = ""
    identity: str = "doubling"

    def start(self) -> Doubler:
        if self.how == "start":
            raise ValueError(MARK)
        return Doubler(self.how, "another" if self.how == "identity" else self.identity)


@dataclass(frozen=True)
class Doubler:
    how: str
    identity: str

    @property
    def remarks(self) -> tuple[str, ...]:
        return ("has no GPU",)

    def __call__(self, number: int) -> int:
        if number >= 0:
            time.sleep(number % 3 / 1000)
            return 2 * number
        if self.how == "killed":  # as the kernel does it where memory is short
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "memory":
            resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
            return len(bytearray(8 * 2**30))
        raise ValueError(f"{MARK}: {number}")
