"""HL7 messages sent to a running service: stored once each, whatever happens to the server, and labeled.

`RADLABEL_FULL=1` runs the kills at full size: 5,000 messages and 5 kills; otherwise a tenth of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from corpora.sources.hl7_header import read_header
from nlp_service.hospital.acknowledge import acknowledge, read_acknowledgment
from nlp_service.hospital.mllp import send_mllp
from nlp_service.settings import ServiceSettings, SettingsInvalid
from tests.nlp_service.processes import Served, free_port

IS_FULL = os.environ.get("RADLABEL_FULL") == "1"
MESSAGES = 5_000 if IS_FULL else 500
KILLS = 5 if IS_FULL else 2
SENDERS = 4


def oru(number: int, text: str = "Small left pleural effusion.", status: str = "F") -> bytes:
    return (
        f"MSH|^~\\&|RIS|HOSP|RADLABEL|LAB|20240301101500||ORU^R01|M{number}{status}|P|2.5.1\r"
        f"PID|1||P-{number}^^^HOSP^MR\r"
        f"OBR|1||F-{number}^RIS|X||||||||||||||A-{number}|||||||{status}\r"
        f"OBX|1|TX|&GDT||FINDINGS: {text} Series {number}.||||||{status}\r"
    ).encode()


def served(folder: Path, port: int, **environment: str) -> Served:
    return Served(folder, environment={"RADLABEL_MLLP_PORT": str(port), **environment})


def stored(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "radlabel.db") as connection:
        return [row[0] for row in connection.execute("SELECT accession_number FROM reports")]


def waiting(folder: Path) -> int:
    with sqlite3.connect(folder / "radlabel.db") as connection:
        return int(connection.execute("SELECT count(*) FROM reports WHERE is_waiting").fetchone()[0])


async def send_until_acknowledged(port: int, messages: list[bytes], seen: Counter[str]) -> None:
    """Send messages as an interface engine does: each again and again until there is an AA."""
    left = messages
    while left:
        with suppress(OSError, TimeoutError):
            for message in left[:]:
                answers = await send_mllp("127.0.0.1", port, [message], timeout_s=30)
                seen[answers[0].code] += 1
                if answers[0].is_accepted:
                    left = [other for other in left if other is not message]
        await asyncio.sleep(0.05)


def test_every_message_is_stored_once_whatever_happens_to_the_server(tmp_path: Path) -> None:
    port = free_port()
    seen: Counter[str] = Counter()
    rng = random.Random(1)

    async def kill_now_and_then(service: Served) -> None:
        for _ in range(KILLS):
            await asyncio.sleep(rng.uniform(0.3, 1.5))
            await asyncio.to_thread(service.kill)
            await asyncio.to_thread(service.start)

    async def play(service: Served) -> None:
        parts = [[oru(i) for i in range(first, MESSAGES, SENDERS)] for first in range(SENDERS)]
        await asyncio.gather(*(send_until_acknowledged(port, part, seen) for part in parts), kill_now_and_then(service))

    with served(tmp_path, port) as service:
        asyncio.run(play(service))
        numbers = Counter(stored(tmp_path))
        assert len(numbers) == MESSAGES
        assert set(numbers.values()) == {1}
        assert seen["AA"] >= MESSAGES
        # All of them are labeled, those too that were stored right before the end of the server.
        deadline = time.monotonic() + 120
        while waiting(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        found = service.request("POST", "/v1/studies/search", {"accession_number": "A-7"})
        assert found[0] == 200
        assert b'"Pleural Effusion":{"value":"positive"' in found[1].replace(b" :", b":").replace(b": ", b":")
        # The counter starts anew with the server, and the last server may have had nothing left to acknowledge.
        asyncio.run(send_until_acknowledged(port, [oru(MESSAGES)], seen))
        assert b'radlabel_hl7_acknowledgments_total{code="AA"}' in service.request("GET", "/metrics")[1]
        assert service.stop() == 0


def test_a_final_report_stands_beside_its_preliminary_one(tmp_path: Path) -> None:
    port = free_port()
    messages = [oru(1, status="P"), oru(1, "No pleural effusion.", status="F"), oru(1, status="P")]
    with served(tmp_path, port) as service:
        answers = asyncio.run(send_mllp("127.0.0.1", port, messages))
        assert [answer.code for answer in answers] == ["AA", "AA", "AA"]
        status, body = service.request("POST", "/v1/studies/search", {"accession_number": "A-1"})
        assert status == 200
        assert body.count(b'"result_status"') == 2  # the third message was the first again


def test_what_was_corrected_back_to_what_it_was_is_the_newest(tmp_path: Path) -> None:
    port = free_port()
    there, not_there = "Pleural effusion.", "No pleural effusion."
    messages = [oru(1, there), *(oru(1, text, "C") for text in (not_there, there, not_there))]
    numbered = [message.replace(b"|M1", b"|%dM1" % i) for i, message in enumerate(messages)]
    with served(tmp_path, port, RADLABEL_KEEP_TEXTS_DAYS="1") as service:
        answers = asyncio.run(send_mllp("127.0.0.1", port, [*numbered, numbered[-1]]))
        assert [answer.code for answer in answers] == ["AA"] * 5
        _, body = service.request("POST", "/v1/studies/search", {"accession_number": "A-1"})
    texts = [report["text"] for report in json.loads(body)["reports"]]
    assert ["No pleural" in text for text in texts] == [True, False, True, False]  # the last came twice


def of_order(control: str, number: int, text: str, status: str = "F") -> bytes:
    return oru(number, text, status).replace(b"OBR|1|", f"ORC|{control}|P-{number}|F-{number}\rOBR|1|".encode())


CANCELLED = [("CA", "F"), ("OC", "F"), ("CR", "F"), ("DC", "C"), ("OD", "P"), ("DR", ""), ("RE", "X"), ("OC", "X")]


def test_a_report_of_a_cancelled_order_is_stored_as_that_and_gets_no_labels(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port, RADLABEL_KEEP_TEXTS_DAYS="30") as service:
        for number, (control, status) in enumerate(CANCELLED):
            final = of_order("RE", number, "No effusion.")
            cancelled = of_order(control, number, "Large pneumothorax.", status)
            answers = asyncio.run(send_mllp("127.0.0.1", port, [final, cancelled, cancelled]))
            assert [(answer.code, answer.error_code) for answer in answers] == [("AA", None), ("AA", 0), ("AA", 0)]
            assert "cancelled" in answers[1].text
        deadline = time.monotonic() + 60
        while waiting(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for number, case in enumerate(CANCELLED):
            _, body = service.request("POST", "/v1/studies/search", {"accession_number": f"A-{number}"})
            last, first = json.loads(body)["reports"]
            assert (first["result_status"], len(first["labels"])) == ("F", 1), case
            assert (last["result_status"], last["labels"], last["text"]) == ("X", [], None), case


def test_a_notice_is_in_the_place_that_the_version_has_for_it() -> None:
    for version, segment in (("2.5.1", "ERR|||0^Message accepted^HL70357|I||||told"), ("2.3.1", "MSA|AA|M1F|told")):
        header = read_header(oru(1).replace(b"2.5.1", version.encode()))
        answer = acknowledge(header, None, notice="told")
        assert segment in answer.decode().split("\r")
        assert read_acknowledgment(answer).text == "told"
        assert read_acknowledgment(answer).is_accepted


def test_what_is_not_in_the_networks_of_senders_is_turned_away(tmp_path: Path) -> None:
    port = free_port()
    with served(tmp_path, port, RADLABEL_MLLP_SENDERS="10.1.2.0/24"):
        with pytest.raises(ConnectionError):
            asyncio.run(send_mllp("127.0.0.1", port, [oru(1)], timeout_s=5))
        assert stored(tmp_path) == []


def test_beyond_loopback_the_senders_must_be_named() -> None:
    with pytest.raises(SettingsInvalid, match="mllp_senders"):
        ServiceSettings.load(host="0.0.0.0", mllp_port=2575)
    with pytest.raises(SettingsInvalid, match="such as 10"):
        ServiceSettings.load(mllp_port=2575, mllp_senders=("ward 3",))
    assert ServiceSettings.load(host="0.0.0.0", mllp_port=2575, mllp_senders=("10.0.0.0/8",)).mllp_port == 2575


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = served(tmp_path, port)
        service.start(wait=False)
        assert service.process is not None
        assert service.process.wait(60) == 2
    assert f"127.0.0.1:{port} cannot be listened on for MLLP" in service.log.read_text()
