"""Bodies on their way in: who may send one at all, how large it may be, and how slow."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlp_service.api import bodies
from nlp_service.api.bodies import Message, counted, is_deeper
from nlp_service.api.problems import Problem
from tests.nlp_service.processes import Served

LIMIT = 2**20
FORM = "multipart/form-data; boundary=x7x"
LONG = 2**30  # declared, and never sent


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service that asks for keys."""
    settings = {"RADLABEL_REQUIRE_KEYS": "true", "RADLABEL_MAX_BODY_BYTES": str(LIMIT)}
    with Served(tmp_path_factory.mktemp("guarded"), environment=settings) as served:
        yield served


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service that does not wait for long."""
    settings = {"RADLABEL_REQUEST_TIMEOUT_S": "1", "RADLABEL_MAX_BODY_BYTES": str(LIMIT)}
    with Served(tmp_path_factory.mktemp("hasty"), environment=settings) as served:
        yield served


def opening(service: Served, path: str, kind: str, *more: str) -> tuple[int, bytes]:
    """Send the head of a request with the first byte of its body alone; return what is answered."""
    head = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", "Connection: close", *more)
    with socket.create_connection(("127.0.0.1", service.port), timeout=60) as connection:
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode() + b"-")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("path", ["/v1/label", "/v1/jobs", "/v1/studies/search", "/v1/dicom/sr", "/v1/nothing", "/"])
@pytest.mark.parametrize("kind", ["application/json", FORM, "application/dicom", ""])
def test_without_a_key_no_body_is_waited_for(guarded: Served, path: str, kind: str) -> None:
    assert opening(guarded, path, kind, f"Content-Length: {LIMIT}")[0] == 401
    assert opening(guarded, path, kind, "Transfer-Encoding: chunked", "Authorization: Bearer rl_a_b")[0] in (400, 401)


def test_a_client_of_fhir_is_told_so_in_its_own_terms(guarded: Served) -> None:
    status, body = opening(guarded, "/v1/fhir/DiagnosticReport/$label", "application/fhir+json", "Content-Length: 50")
    assert (status, json.loads(body)["issue"][0]["code"]) == (401, "login")


@pytest.mark.parametrize("path", ["/v1/label", "/v1/studies/search", "/v1/jobs/x/cancel", "/v1/datasets", "/v1/jobs/"])
def test_only_what_takes_files_takes_the_size_of_files(hasty: Served, path: str) -> None:
    assert opening(hasty, path, FORM, f"Content-Length: {LONG}")[0] == 413
    assert opening(hasty, path, FORM, f"Content-Length: {LIMIT}")[0] == 408


def test_an_upload_that_stands_still_is_given_up(hasty: Served) -> None:
    assert opening(hasty, "/v1/jobs", FORM, f"Content-Length: {LONG}")[0] == 408


def test_an_upload_may_take_as_long_as_its_size_needs_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is the sender's: a part arrives each second."""
    now = 0.0

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return now

    monkeypatch.setattr(bodies, "time", Clock)

    async def parts_of(size: int) -> int:
        nonlocal now
        now = 0.0

        async def receive() -> Message:
            nonlocal now
            now += 1.0
            return {"type": "http.request", "body": b"a" * size, "more_body": True}

        upload = counted(receive, 2**40, 10.0)
        for number in range(1000):
            try:
                await upload()
            except Problem:
                return number
        return 1000

    assert asyncio.run(parts_of(20_000)) == 1000
    assert asyncio.run(parts_of(100)) < 20


JSON = st.recursive(st.none() | st.text(max_size=20), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(0, 5), st.booleans())
def test_depth_is_that_of_the_brackets_outside_strings(value: object, limit: int, is_ascii: bool) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    assert is_deeper(body, limit) == (depth_of(value) > limit)


@given(st.binary(max_size=100))
def test_any_bytes_are_deep_or_not(body: bytes) -> None:
    assert is_deeper(body, body.count(b"[") + body.count(b"{")) is False
