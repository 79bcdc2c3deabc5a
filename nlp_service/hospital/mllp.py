r"""HL7 v2 messages over MLLP: a server that answers once a message is stored, and a client to send some.

The Minimal Lower Layer Protocol, release 1: a message comes between ``\x0b`` and ``\x1c\r``, and the next when it has
been acknowledged. The server asks nothing of the sender beyond that: it passes over what stands between frames, takes a
message again that it has had before (the store knows it), and answers every frame. AA means that the message is
durably stored; AE that its content is at fault, and it would fail again; AR that it was refused, and may be sent again
if the error is 207.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

from corpora.sources.hl7 import MessageInvalid, OruMessage, parse_oru
from corpora.sources.hl7_header import MessageHeader, read_header
from nlp_service.errors import describe
from nlp_service.hospital.acknowledge import Acknowledgment, acknowledge, read_acknowledgment

log = logging.getLogger(__name__)
Store = Callable[[OruMessage], Awaitable[None]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

START = b"\x0b"
END = b"\x1c\r"
_ANEW = START + b"MSH"
_READ = 65_536
_HEADER_BYTES = 4_096  # of a message that is too large, so that it can be answered
_CANCELLED = "a report of this message has its order cancelled (ORC-1, OBR-25): it is stored as that, and not labeled"
_LONG = 262_144  # bytes; a longer message is parsed in a thread, so that the others go on


@dataclass(frozen=True, slots=True)
class MllpLimits:
    """What a sender may ask of the server."""

    max_message_bytes: int = 4 * 2**20
    max_connections: int = 64
    idle_timeout_s: float = 3600.0  # between messages: senders keep a connection for the day
    message_timeout_s: float = 60.0  # from the first byte of a message to its last


@dataclass(slots=True)
class _Frame:
    """What came between start and end. ``data`` is the beginning alone if it ``is_too_large``."""

    data: bytes
    is_too_large: bool = False


@dataclass(slots=True, eq=False)
class _Connection:
    task: asyncio.Task[None]
    writer: asyncio.StreamWriter
    is_busy: bool = False  # from the last byte of a message to its acknowledgment
    buffer: bytearray = field(default_factory=bytearray)


class MllpServer:
    """Takes ORU^R01 messages on a port, gives them to ``store``, and acknowledges them when it returns.

    ``store`` gets each message once it is parsed and has to be idempotent: a sender that saw no acknowledgment sends
    the message again. What it raises is answered with AR and error 207, and the sender tries again. ``on_answer`` is
    told the code of every acknowledgment. ``locations`` are as in `parse_oru`. ``senders`` are the networks whose
    messages are taken; without any, everyone's are who can connect.

    An instance belongs to the event loop that `start` runs in.
    """

    def __init__(
        self,
        host: str,
        port: int,
        store: Store,
        *,
        limits: MllpLimits = MllpLimits(),
        tls: ssl.SSLContext | None = None,
        locations: dict[str, str] | None = None,
        on_answer: Callable[[str], None] | None = None,
        senders: Sequence[Network] = (),
    ) -> None:
        self._host = host
        self._port = port
        self._store = store
        self._limits = limits
        self._tls = tls
        self._locations = dict(locations or {})
        self._on_answer = on_answer
        self._senders = tuple(senders)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._is_stopping = False

    async def start(self) -> None:
        """Listen; raise `OSError` where the port cannot be had."""
        self._is_stopping = False
        self._server = await asyncio.start_server(self._serve, self._host, self._port, ssl=self._tls)

    @property
    def port(self) -> int:
        """Return the port that is listened on, which the system chose if it was given as 0."""
        if self._server is None:
            return self._port
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """Return how many senders are connected."""
        return len(self._connections)

    async def stop(self, timeout_s: float = 10.0) -> None:
        """Take no more messages, finish those under way, and close all connections.

        A message that is not acknowledged when ``timeout_s`` is over is left: its sender will send it again.
        """
        if self._server is None:
            return
        self._is_stopping = True
        self._server.close()
        busy = [connection.task for connection in self._connections if connection.is_busy]
        for connection in self._connections:
            if not connection.is_busy:
                connection.task.cancel()
        if busy:
            await asyncio.wait(busy, timeout=timeout_s)
        tasks = [connection.task for connection in self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = _Connection(task, writer)
        is_full = len(self._connections) >= self._limits.max_connections
        if self._is_stopping or is_full or not self._may_send(writer):
            # MLLP has no word for it: a sender that cannot connect tries again.
            log.warning("a sender was turned away", extra={"door": "hl7", "count": len(self._connections)})
            await _close(writer)
            return
        self._connections.add(connection)
        try:
            while not self._is_stopping and (frame := await self._next_frame(reader, connection)) is not None:
                connection.is_busy = True
                writer.write(START + await self._answer(frame) + END)
                await writer.drain()
                connection.is_busy = False
        except TimeoutError:
            log.info("a connection was closed: nothing came", extra={"door": "hl7"})
        except (OSError, asyncio.CancelledError):
            pass  # the sender went away, or the server stops: what was not acknowledged comes again
        finally:
            self._connections.discard(connection)
            await _close(writer)

    def _may_send(self, writer: asyncio.StreamWriter) -> bool:
        if not self._senders:
            return True
        address = ipaddress.ip_address(str(writer.get_extra_info("peername")[0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 sender at a socket that takes both
        return any((mapped or address) in network for network in self._senders)

    async def _next_frame(self, reader: asyncio.StreamReader, connection: _Connection) -> _Frame | None:
        """Return what comes between the next start and its end, or ``None`` where the sender has closed.

        What stands before the start is dropped, and so is a message that breaks off and begins anew. Of one that is too
        large, no more than the beginning is kept.
        """
        buffer = connection.buffer
        if not await _skip_to(reader, buffer, START, self._limits.idle_timeout_s):
            return None
        head: bytes | None = None
        looked_at = 0
        async with asyncio.timeout(self._limits.message_timeout_s):
            while True:
                end = buffer.find(END, looked_at)
                # A start alone may be in a text: word processors break lines with it.
                again = buffer.rfind(_ANEW, max(looked_at - len(_ANEW), 1), end if end >= 0 else len(buffer))
                if again > 0:
                    del buffer[:again]
                    head, looked_at = None, 0
                    continue
                if end >= 0:
                    data = head if head is not None else bytes(buffer[1:end])
                    is_too_large = head is not None or end - 1 > self._limits.max_message_bytes
                    del buffer[: end + len(END)]
                    return _Frame(data, is_too_large)
                if len(buffer) > self._limits.max_message_bytes:
                    head = head if head is not None else bytes(buffer[1:_HEADER_BYTES])
                    del buffer[1:-1]  # the last byte may be the first of the end
                looked_at = max(len(buffer) - 1, 0)
                chunk = await reader.read(_READ)
                if not chunk:
                    return None
                buffer += chunk

    async def _answer(self, frame: _Frame) -> bytes:
        """Return the acknowledgment of a frame; its message is stored if that is AA."""
        header: MessageHeader | None = None
        fault: MessageInvalid | None = None
        notice = ""
        try:
            header = read_header(frame.data)
            if frame.is_too_large:
                limit = self._limits.max_message_bytes
                raise MessageInvalid(f"the message has more than {limit:,} bytes", segment="MSH", error_code=104)
            message = await self._parse(frame.data)
            if any(item.is_cancelled for item in message.reports):
                notice = _CANCELLED
            try:
                await self._store(message)
            except Exception as error:  # whatever it is, the sender has to keep the message
                log.error("a message could not be stored", extra={"door": "hl7", "fault": describe(error)})
                reason = "the message could not be stored; send it again"
                fault = MessageInvalid(reason, segment="MSH", error_code=207)
        except MessageInvalid as invalid:
            fault = invalid
            log.warning(
                "a message was not accepted",
                extra={"door": "hl7", "outcome": invalid.acknowledgment.value, "fault": str(invalid)},
            )
        except Exception as error:  # a fault of ours must not keep the sender waiting for an answer
            log.error("a message could not be read", extra={"door": "hl7", "fault": describe(error)})
            fault = MessageInvalid("the message could not be processed", segment="MSH", error_code=207)
        if self._on_answer is not None:
            self._on_answer(fault.acknowledgment.value if fault else "AA")
        return acknowledge(header, fault, notice=notice)

    async def _parse(self, data: bytes) -> OruMessage:
        if len(data) > _LONG:
            return await asyncio.to_thread(parse_oru, data, locations=self._locations)
        return parse_oru(data, locations=self._locations)


async def send_mllp(
    host: str,
    port: int,
    messages: Iterable[bytes],
    *,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 60.0,
) -> list[Acknowledgment]:
    """Send messages over one connection, each when the one before was acknowledged, and return the acknowledgments.

    Raises `TimeoutError` where one does not come in time, `OSError` where the connection cannot be made or breaks.
    """
    answers: list[Acknowledgment] = []
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    buffer = bytearray()
    try:
        for message in messages:
            writer.write(START + message + END)
            await writer.drain()
            if not await _skip_to(reader, buffer, START, timeout_s):
                raise ConnectionError("the connection was closed before an acknowledgment came")
            if not await _skip_to(reader, buffer, END, timeout_s, keep=True):
                raise ConnectionError("the connection was closed within an acknowledgment")
            end = buffer.index(END)
            answers.append(read_acknowledgment(bytes(buffer[1:end])))
            del buffer[: end + len(END)]
    finally:
        await _close(writer)
    return answers


async def _skip_to(
    reader: asyncio.StreamReader, buffer: bytearray, mark: bytes, timeout_s: float, *, keep: bool = False
) -> bool:
    """Read until ``buffer`` holds ``mark``, dropping what stands before it; tell whether it came."""
    async with asyncio.timeout(timeout_s):
        while (place := buffer.find(mark)) < 0:
            if not keep:
                buffer.clear()
            chunk = await reader.read(_READ)
            if not chunk:
                return False
            buffer += chunk
    if not keep:
        del buffer[:place]
    return True


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
