"""Bodies of requests on their way in: how large, how slow and how deeply nested they may be.

A limit holds while a body arrives: nothing is parsed, and nothing beyond the limit is kept.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi.concurrency import run_in_threadpool

from nlp_service.api.problems import Problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

_UPLOAD_RATE = 16 * 1024  # bytes a second: slower than any line that uploads are worth sending over
# One pass whatever the bytes are: a string takes all up to its end, or all there is where it has none, and nothing of
# it is looked at twice.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_LONG = 64 * 1024  # bytes; a longer body is looked at in a thread, so that other requests go on


def too_large(limit: int) -> Problem:
    """Return the problem of a body beyond ``limit`` bytes."""
    return Problem(413, "too-large", "The body is too large", f"The limit is {limit:,} bytes.")


async def read_body(receive: Receive, limit: int, timeout_s: float) -> bytes:
    """Return a body of at most ``limit`` bytes that arrives within ``timeout_s``."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "cut-off", "The body was not sent to its end")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit:
                    raise too_large(limit)
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise _too_slow() from None


def counted(receive: Receive, limit: int, timeout_s: float) -> Receive:
    """Return a body as it arrives, up to ``limit`` bytes, as long as it is not slower than `_UPLOAD_RATE`.

    Only the time that the sender lets pass counts: an upload may wait for the disk of the service. ``timeout_s`` is
    what it may be late.
    """
    size, waited, is_whole = 0, 0.0, False

    async def receive_counted() -> Message:
        nonlocal size, waited, is_whole
        if is_whole:
            return await receive()  # waits for the client to go
        left = timeout_s + size / _UPLOAD_RATE - waited
        if left <= 0:
            raise _too_slow()
        started = time.monotonic()
        try:
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError:
            raise _too_slow() from None
        waited += time.monotonic() - started
        size += len(message.get("body", b""))
        if size > limit:
            raise too_large(limit)
        is_whole = not message.get("more_body")
        return message

    return receive_counted


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a body that was read already."""
    is_sent = False

    async def receive_again() -> Message:
        nonlocal is_sent
        if is_sent:
            return await receive()  # waits for the client to go
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def check_depth(body: bytes, limit: int) -> None:
    """Refuse JSON that nests deeper than the limit, before a parser recurses into it."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return
    is_too_deep = is_deeper(body, limit) if len(body) <= _LONG else await run_in_threadpool(is_deeper, body, limit)
    if is_too_deep:
        raise Problem(413, "too-deep", "The JSON nests too deep", f"The limit is {limit} levels.")


def is_deeper(body: bytes, limit: int) -> bool:
    """Tell whether JSON, or what should be some, nests deeper than ``limit``.

    >>> is_deeper(b'[["[["]]', 2), is_deeper(b'[[{', 2)
    (False, True)
    """
    depth = 0
    for match in _TOKEN.finditer(body):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            if depth > limit:
                return True
        elif token in (b"]", b"}"):
            depth -= 1
    return False


def _too_slow() -> Problem:
    return Problem(408, "too-slow", "The body took too long to arrive")
