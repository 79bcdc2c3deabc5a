"""Which engine, how many workers, and what each of them gets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class EngineName(StrEnum):
    """Where work is done."""

    LOCAL = "local"  # processes of this machine
    RAY = "ray"  # actors of a Ray cluster, or of one that is started on this machine


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How many workers, and where.

    ``workers`` is their number; ``None`` asks Ray for as many as the cluster has room for. ``ray_address`` is the
    cluster's (``HOST:PORT``, or ``auto`` for one that runs on this machine); without it Ray is started here and stopped
    at the end. ``gpus_per_worker`` may be a fraction: with 0.25, four workers share a GPU.
    """

    name: EngineName = EngineName.LOCAL
    workers: int | None = 1
    ray_address: str | None = None
    gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        if self.name is not EngineName.RAY and (self.ray_address is not None or self.gpus_per_worker):
            raise ValueError("an address of Ray and shares of a GPU are for the engine ray")
        if self.workers is not None and self.workers < 1:
            raise ValueError("at least one worker is wanted")
        if self.gpus_per_worker < 0 or (self.gpus_per_worker > 1 and self.gpus_per_worker % 1):
            raise ValueError("a worker gets a part of one GPU, or whole ones")
