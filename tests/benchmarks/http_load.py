"""A load generator of its own: HTTP/1.1 on bare asyncio streams, so that the client costs little of the machine."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, slots=True)
class Load:
    """What a load came to: latencies in seconds, in the order in which answers came."""

    wall_s: float
    latencies_s: list[float]
    statuses: dict[int, int]

    def as_json(self, reports: int) -> dict[str, object]:
        """Return the numbers, rounded to what they are worth."""
        p99 = quantiles(self.latencies_s, n=100)[98]
        return {
            "requests": len(self.latencies_s),
            "reports_per_s": round(reports / self.wall_s, 1),
            "p50_ms": round(1000 * median(self.latencies_s), 1),
            "p99_ms": round(1000 * p99, 1),
            "p99_over_p50": round(p99 / median(self.latencies_s), 2),
            "statuses": self.statuses,
        }


async def closed_loop(port: int, bodies: Sequence[bytes], connections: int) -> Load:
    """Send every body once, each connection its next one when the last was answered."""
    waiting = list(enumerate(bodies))[::-1]
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def client() -> None:
        connection = await Connection.open(port)
        while waiting:
            _, body = waiting.pop()
            started = time.perf_counter()
            status = await connection.post(body)
            latencies.append(time.perf_counter() - started)
            statuses[status] = statuses.get(status, 0) + 1
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    return Load(time.perf_counter() - started, latencies, statuses)


async def open_loop(port: int, bodies: Sequence[bytes], connections: int, rate: float, seed: int = 1) -> Load:
    """Send bodies at random times, ``rate`` a second on average, whether or not earlier ones were answered.

    A latency counts from when the request was due: waiting for a free connection is part of it.
    """
    rng = random.Random(seed)
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await Connection.open(port))
    latencies: list[float] = []
    statuses: dict[int, int] = {}

    async def one(body: bytes, due: float) -> None:
        connection = await free.get()
        status = await connection.post(body)
        latencies.append(time.perf_counter() - due)
        statuses[status] = statuses.get(status, 0) + 1
        free.put_nowait(connection)

    started = due = time.perf_counter()
    tasks = []
    for body in bodies:
        due += rng.expovariate(rate)
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        tasks.append(asyncio.create_task(one(body, due)))
    await asyncio.gather(*tasks)
    wall = time.perf_counter() - started
    while not free.empty():
        free.get_nowait().close()
    return Load(wall, latencies, statuses)


class Connection:
    """A connection to `POST /v1/label` that is kept open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24))

    async def post(self, body: bytes) -> int:
        """Send a body and read the answer to its end; return its status."""
        self._writer.write(
            b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await self._reader.readexactly(length)
        return status

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
