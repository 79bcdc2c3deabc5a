"""HL7 v2 over MLLP: a real client on a real socket, and what it is answered."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import shutil
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.sources.hl7 import AckCode, MessageInvalid, OruMessage
from corpora.sources.hl7_header import read_header
from nlp_service.hospital.acknowledge import Acknowledgment, acknowledge, read_acknowledgment
from nlp_service.hospital.mllp import END, START, MllpLimits, MllpServer, send_mllp

MARK = "XQMARKQX"


def oru(number: int = 1, text: str = "Small effusion.", version: str = "2.5.1", kind: str = "ORU^R01") -> bytes:
    return (
        f"MSH|^~\\&|RIS|HOSP|RADLABEL|LAB|20240301101500||{kind}|M{number}|P|{version}\r"
        f"PID|1||{MARK}^^^HOSP^MR\r"
        f"OBR|1||F-{number}^RIS|X||||||||||||||A-{number}|||||||F\r"
        f"OBX|1|TX|&GDT||{text}||||||F\r"
    ).encode()


class Kept:
    """A store that keeps messages by control id."""

    def __init__(self, fails: int = 0, seconds: float = 0.0) -> None:
        self.messages: dict[str, OruMessage] = {}
        self.calls = 0
        self.started = asyncio.Event()
        self._fails = fails
        self._seconds = seconds

    async def __call__(self, message: OruMessage) -> None:
        self.calls += 1
        self.started.set()
        await asyncio.sleep(self._seconds)
        if self.calls <= self._fails:
            raise RuntimeError(f"the disk is full at {message.reports[0].report.text}")
        self.messages[message.control_id] = message


def serve(
    play: Callable[[MllpServer, Kept], Coroutine[Any, Any, None]],
    *,
    fails: int = 0,
    seconds: float = 0.0,
    **given: Any,
) -> Kept:
    """Run a server on a free port of this machine while ``play`` talks to it."""

    async def run() -> Kept:
        kept = Kept(fails, seconds)
        async with MllpServer("127.0.0.1", 0, kept, **given) as server:
            await play(server, kept)
        assert server.connections == 0
        return kept

    return asyncio.run(asyncio.wait_for(run(), 30))


async def talk(server: MllpServer, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Send pieces as they are and return all that comes back until the server closes or is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause_s)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def codes(answer: bytes) -> list[str]:
    return [read_acknowledgment(part.lstrip(START)).code for part in answer.split(END) if part]


def test_message_is_acknowledged_once_it_is_stored() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        answers = await send_mllp("127.0.0.1", server.port, [oru(1), oru(2)])
        assert answers == [Acknowledgment("AA", "M1"), Acknowledgment("AA", "M2")]
        assert all(answer.is_accepted for answer in answers)

    kept = serve(play)
    assert [message.reports[0].report.accession_number for message in kept.messages.values()] == ["A-1", "A-2"]


def test_acknowledgment_waits_for_the_store() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        sending = asyncio.create_task(send_mllp("127.0.0.1", server.port, [oru()]))
        await kept.started.wait()
        await asyncio.sleep(0.05)
        assert not sending.done()
        assert (await sending)[0].code == "AA"

    serve(play, seconds=0.3)


def test_store_that_fails_is_a_refusal_and_the_message_can_come_again(caplog: pytest.LogCaptureFixture) -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        first, second = await send_mllp("127.0.0.1", server.port, [oru(text=MARK), oru(text=MARK)])
        assert (first.code, first.error_code, first.control_id) == ("AR", 207, "M1")
        assert "send it again" in first.text
        assert second.code == "AA"

    with caplog.at_level(logging.DEBUG):
        serve(play, fails=1)
    assert "a message could not be stored" in caplog.text
    assert MARK not in caplog.text + "".join(str(record.__dict__) for record in caplog.records)


def test_repeated_message_is_acknowledged_again() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        assert [a.code for a in await send_mllp("127.0.0.1", server.port, [oru(), oru()])] == ["AA", "AA"]
        assert [a.code for a in await send_mllp("127.0.0.1", server.port, [oru()])] == ["AA"]

    kept = serve(play)
    assert (kept.calls, len(kept.messages)) == (3, 1)


@pytest.mark.parametrize(
    ("message", "code", "error_code", "text"),
    [
        (oru(kind="ADT^A08"), "AR", 200, "MSH-9 only ORU messages are read"),
        (oru(kind="ORU^R30"), "AR", 201, "MSH-9 of ORU messages, only event R01 is read"),
        (oru(version="3.0"), "AR", 203, "MSH-12 only version 2 is read"),
        (oru().replace(b"OBR|", b"ZBR|"), "AE", 100, "OBR the message has no such segment, so no report"),
        (oru().replace(b"|P|2.5.1", b"|P|2.5.1||||||KLINGON"), "AE", 103, "MSH-18 is no character set"),
        (oru().replace(b"|P|2.5.1", b"|P|2.5.1||||||UNICODE UTF-8").replace(b"Small", b"\xff"), "AE", 102, "MSH-18"),
        (oru(version="2.3").replace(b"OBR|", b"ZBR|"), "AE", 100, "OBR the message has no such segment"),
    ],
)
def test_message_that_cannot_be_read_is_answered_with_a_reason(
    message: bytes, code: str, error_code: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        (answer,) = await send_mllp("127.0.0.1", server.port, [message])
        assert (answer.code, answer.error_code, answer.control_id) == (code, error_code, "M1")
        assert answer.text.startswith(text)
        raw = await talk(server, START + message + END)
        assert MARK.encode() not in raw

    told: list[str] = []
    with caplog.at_level(logging.DEBUG):
        kept = serve(play, on_answer=told.append)
    assert (kept.calls, told) == (0, [code, code])
    assert MARK not in caplog.text + "".join(str(record.__dict__) for record in caplog.records)


def test_frame_without_a_header_is_answered_too() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        (answer,) = await send_mllp("127.0.0.1", server.port, [b"GET / HTTP/1.1"])
        assert (answer.code, answer.control_id, answer.error_code) == ("AE", "", 100)

    serve(play)


def test_rubbish_between_frames_is_passed_over() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        stream = b"GET / \r\n" + START + oru(1) + END + b"\r\n\0\x1c\r" + START + oru(2) + END + b"\n" + MARK.encode()
        assert codes(await talk(server, stream)) == ["AA", "AA"]

    assert list(serve(play).messages) == ["M1", "M2"]


def test_message_in_small_pieces_and_many_at_once() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        stream = b"".join(START + oru(number) + END for number in range(20))
        assert codes(await talk(server, stream)) == ["AA"] * 20
        framed = START + oru(99) + END
        assert codes(await talk(server, *(framed[i : i + 7] for i in range(0, len(framed), 7)), pause_s=0.001)) == [
            "AA"
        ]

    assert len(serve(play).messages) == 21


def test_message_that_breaks_off_and_begins_anew_is_taken_once() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        assert codes(await talk(server, START + oru(1)[:80] + START + oru(2) + END)) == ["AA"]
        assert codes(await talk(server, START + oru(3)[:80])) == []

    assert list(serve(play).messages) == ["M2"]


def test_vertical_tab_in_a_text_begins_no_message() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        assert codes(await talk(server, START + oru(1, "One.\x0bTwo.") + END)) == ["AA"]

    (message,) = serve(play).messages.values()
    assert message.reports[0].report.text == "One.Two."


def test_message_that_is_too_large_is_answered_and_the_next_is_read() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        large, small = await send_mllp("127.0.0.1", server.port, [oru(1, "x" * 3_000_000), oru(2)])
        assert (large.code, large.error_code, large.control_id) == ("AE", 104, "M1")
        assert "more than 10,000 bytes" in large.text
        assert small.code == "AA"

    assert list(serve(play, limits=MllpLimits(max_message_bytes=10_000)).messages) == ["M2"]


def test_long_message_is_read() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        (answer,) = await send_mllp("127.0.0.1", server.port, [oru(1, "Clear lungs. " * 50_000)])
        assert answer.code == "AA"

    assert serve(play).calls == 1


def test_silent_and_slow_senders_are_let_go() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(START + b"MSH|")
        assert await reader.read() == b""
        writer.close()

    serve(play, limits=MllpLimits(idle_timeout_s=0.1, message_timeout_s=0.1))


def test_number_of_connections_has_a_limit() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        open_ones = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert server.connections == 2
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()
        for _, other in open_ones:
            other.close()
        await asyncio.sleep(0.05)
        assert [a.code for a in await send_mllp("127.0.0.1", server.port, [oru()])] == ["AA"]

    serve(play, limits=MllpLimits(max_connections=2))


def test_connections_do_not_wait_for_one_another() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        started = asyncio.get_running_loop().time()
        await asyncio.gather(*(send_mllp("127.0.0.1", server.port, [oru(n)]) for n in range(10)))
        assert asyncio.get_running_loop().time() - started < 2

    assert len(serve(play, seconds=0.3).messages) == 10


def test_stop_finishes_what_is_under_way() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", server.port)
        sending = asyncio.create_task(send_mllp("127.0.0.1", server.port, [oru(1), oru(2)]))
        await kept.started.wait()
        port = server.port
        await server.stop()
        with pytest.raises(OSError):  # noqa: PT011 - whichever way the system says that nobody listens
            await sending
        assert list(kept.messages) == ["M1"]
        assert await idle_reader.read() == b""
        idle_writer.close()
        with pytest.raises(OSError):  # noqa: PT011
            await asyncio.open_connection("127.0.0.1", port)

    serve(play, seconds=0.2)


def test_stop_does_not_wait_for_ever() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        sending = asyncio.create_task(send_mllp("127.0.0.1", server.port, [oru()]))
        await kept.started.wait()
        await server.stop(timeout_s=0.1)
        with pytest.raises(ConnectionError):
            await sending
        assert kept.messages == {}

    serve(play, seconds=20)


def test_client_says_when_no_acknowledgment_comes() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        with pytest.raises(TimeoutError):
            await send_mllp("127.0.0.1", server.port, [oru()], timeout_s=0.05)

    serve(play, seconds=0.5)


def test_taken_port_is_an_error() -> None:
    async def play(server: MllpServer, kept: Kept) -> None:
        with pytest.raises(OSError):  # noqa: PT011
            await MllpServer("127.0.0.1", server.port, kept).start()

    serve(play)


def test_tls(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.create_default_context(cafile=str(certificate))

    async def play(server: MllpServer, kept: Kept) -> None:
        assert (await send_mllp("127.0.0.1", server.port, [oru()], tls=client_side))[0].code == "AA"

    assert serve(play, tls=server_side).calls == 1


# Acknowledgments


NOW = dt.datetime(2024, 3, 1, 10, 15, tzinfo=dt.UTC)
FAULT = MessageInvalid("is missing", segment="OBR", sequence=2, field=3, error_code=101)


@pytest.mark.parametrize("version", ["2.1", "2.3.1", "2.4", "2.5", "2.5.1", "2.8.2"])
def test_acknowledgment_is_of_the_version_of_the_message(version: str) -> None:
    header = read_header(oru(version=version))
    parsed = hl7.parse(acknowledge(header, FAULT, now=NOW).decode())
    msh, msa, err = parsed.segment("MSH"), parsed.segment("MSA"), parsed.segment("ERR")
    assert [str(msh[n]) for n in (3, 4, 5, 6, 7, 11, 12)] == [
        *("RADLABEL", "LAB", "RIS", "HOSP", "20240301101500+0000", "P"),
        version,
    ]
    assert [str(msa[1]), str(msa[2])] == ["AE", "M1"]
    if version >= "2.5":
        assert str(msh[9]) == "ACK^R01^ACK"
        assert [str(err[n]) for n in (2, 3, 4, 8)] == [
            *("OBR^2^3", "101^Required field missing^HL70357", "E"),
            "OBR[2]-3 is missing",
        ]
    else:
        assert str(msh[9]) == "ACK^R01"
        assert str(err[1]) == "OBR^2^3^101&Required field missing&HL70357"
        assert str(msa[3]) == "OBR[2]-3 is missing"


@pytest.mark.parametrize("version", ["2.3", "2.5.1"])
@pytest.mark.parametrize("delimiters", ["|^~\\&", "*:+!%", "$@#/."])
def test_acknowledgment_is_read_as_it_was_made(version: str, delimiters: str) -> None:
    table = str.maketrans("|^~\\&", delimiters)
    header = read_header(f"MSH|^~\\&|RIS|HOSP|||20240301||ORU^R01|M 17|P|{version}\r".translate(table).encode())
    read = read_acknowledgment(acknowledge(header, FAULT))
    assert read == Acknowledgment("AE", "M 17", 101, "OBR[2]-3 is missing")
    assert read_acknowledgment(acknowledge(header, None)) == Acknowledgment(AckCode.ACCEPT.value, "M 17")


@given(st.text(min_size=1))
def test_control_id_comes_back_whatever_it_is(control_id: str) -> None:
    data = f"MSH|^~\\&|RIS|HOSP|||20240301||ORU^R01|{control_id}|P|2.5\r".encode("utf-8", "replace")
    try:
        header = read_header(data)
    except MessageInvalid:
        return
    answer = acknowledge(header, None)
    assert END not in answer
    assert START not in answer
    assert answer.count(b"\r") == 2
    assert read_acknowledgment(answer).control_id == header.control_id


def test_what_is_no_acknowledgment_is_an_error() -> None:
    with pytest.raises(MessageInvalid, match="MSA"):
        read_acknowledgment(oru())
