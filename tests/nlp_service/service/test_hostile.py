"""Requests that mean harm or make no sense: no server error, no hang, and nothing of them quoted."""

from __future__ import annotations

import gzip
import io
import json
import socket
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.nlp_service.processes import Served

MARK = "Zqxwvutsr"  # in every request; it must be in no answer and no log
LABEL, JOBS, SEARCH = "/v1/label", "/v1/jobs", "/v1/studies/search"
FHIR, SR, REVIEW = "/v1/fhir/DiagnosticReport/$label", "/v1/dicom/sr", "/v1/review/1"
INJECTIONS = (
    "' OR '1'='1",
    "'; DROP TABLE reports; --",
    "${jndi:ldap://x}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "../../../etc/passwd",
    "%00",
    "$(id)",
    "a\r\nSet-Cookie: x=1",
    "\u202e\u2066\ufeff",
    "%s%n%x",
    "*",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service with tight limits."""
    folder = tmp_path_factory.mktemp("hostile")
    settings = {
        "RADLABEL_JOB_ROOTS": str(folder),
        "RADLABEL_MAX_BODY_BYTES": str(2**20),
        "RADLABEL_MAX_UPLOAD_BYTES": str(4 * 2**20),
        "RADLABEL_MAX_UNPACKED_BYTES": str(16 * 2**20),
        "RADLABEL_REQUEST_TIMEOUT_S": "10",
    }
    with Served(folder, environment=settings) as served:
        yield served


def report(**fields: object) -> dict[str, object]:
    return {"reports": [{"report_id": MARK, "text": MARK, **fields}]}


def json_bodies() -> Iterator[tuple[str, bytes]]:
    """Yield bodies for the routes that take JSON."""
    text = json.dumps
    wrong: tuple[object, ...] = (None, True, 0, -1, 1e308, 10**30, MARK, [MARK], {MARK: MARK}, [[]], {})
    for value in wrong:
        yield f"text {type(value).__name__}", text(report(text=value)).encode()
        yield f"body {type(value).__name__}", text(value).encode()
        yield f"reports {type(value).__name__}", text({"reports": value}).encode()
        yield f"label_sets {type(value).__name__}", text({**report(), "label_sets": value}).encode()
    for field in ("accession_number", "accession_number_issuer", "patient_id", "modality", "study_instance_uid"):
        yield f"long {field}", text(report(**{field: MARK * 100})).encode()
        yield f"number as {field}", text(report(**{field: 5})).encode()
    for i, injection in enumerate(INJECTIONS):
        yield f"injection {i}", text(report(accession_number=injection + MARK, patient_id=injection)).encode()
        yield f"injection {i} in a name", text({**report(), injection + MARK: 1}).encode()
    yield "NaN", b'{"reports": NaN, "x": "' + MARK.encode() + b'"}'
    yield "infinite", b'{"reports": [{"report_id": "' + MARK.encode() + b'", "text": Infinity}]}'
    yield "lone surrogate", b'{"reports": [{"report_id": "' + MARK.encode() + b'", "text": "\\ud800"}]}'
    yield "surrogate as id", b'{"reports": [{"report_id": "\\udfff", "text": "' + MARK.encode() + b'"}], "store": true}'
    yield "no UTF-8", b'{"reports": [{"report_id": "\xff\xfe' + MARK.encode() + b'", "text": "a"}]}'
    yield "UTF-16", text(report()).encode("utf-16")
    yield "byte order mark", b"\xef\xbb\xbf" + text(report()).encode()
    yield "same key twice", b'{"reports": [], "reports": [{"report_id": "' + MARK.encode() + b'", "text": ""}]}'
    yield "cut off", text(report()).encode()[:-5]
    yield "two documents", text(report()).encode() * 2
    yield "deep lists", b'{"reports":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    yield "deep objects", b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    yield "unclosed", b"[" * 100_000
    yield "a string without an end", b"[" * 40 + b'\\"' * 200_000
    yield "strings without an end", b"[]" * 20 + b'\\"' * 200_000
    yield "long number", b'{"reports": ' + b"9" * 100_000 + b"}"
    yield "long escape", b'{"reports": [{"report_id": "r", "text": "' + b"\\u0041" * 50_000 + b'"}]}'
    yield "null characters", text(report(text=f"{MARK}\x00{MARK}")).encode()
    yield "control characters", text(report(text="".join(map(chr, range(1, 32))) + MARK)).encode()
    yield "combining characters", text(report(text="e" + "\u0301" * 20_000 + MARK)).encode()
    yield "one long word", text(report(text="a" * 500_000)).encode()
    yield "many line ends", text(report(text="\n" * 300_000 + MARK)).encode()
    yield "one sentence", text(report(text="no effusion or " * 30_000)).encode()
    yield "one wrapped sentence", text(report(text="no\n" * 150_000)).encode()
    yield "headings alone", text(report(text="FINDINGS:\n" * 20_000)).encode()
    yield "negations alone", text(report(text="no " * 50_000 + "effusion")).encode()
    yield "a date that is none", text(report(study_date="2026-13-45" + MARK)).encode()
    yield "empty", b""
    yield "white space", b" \n" * 1000


def test_json_of_any_kind(service: Served) -> None:
    bodies = list(json_bodies())
    assert len(bodies) >= 80
    for path in (LABEL, SEARCH, FHIR, REVIEW, JOBS):
        for name, body in bodies if path == LABEL else bodies[::3]:
            started = time.monotonic()
            kind = "application/fhir+json" if path == FHIR else "application/json"
            status, answer = service.request("POST", path, body, Content_Type=kind)
            assert status < 500, (path, name, status)
            assert time.monotonic() - started < 30, (path, name)
            if status >= 400:
                assert MARK.encode() not in answer, (path, name)
                assert json.loads(answer)


def uploads() -> Iterator[tuple[str, str, bytes]]:
    """Yield files that are no good."""
    rows = f"report_id,text\n{MARK},{MARK}\n".encode()
    yield "empty", "a.csv", b""
    yield "a bomb", "a.csv.gz", gzip.compress(b"report_id,text\n" + b"a" * (64 * 2**20))
    yield "a bomb in a bomb", "a.csv.gz", gzip.compress(gzip.compress(b"\0" * (64 * 2**20)))
    yield "cut off gzip", "a.csv.gz", gzip.compress(rows * 100)[:-20]
    yield "no gzip", "a.csv.gz", rows
    yield "no Parquet", "a.parquet", rows
    yield "cut off Parquet", "a.parquet", parquet_bomb()[:-100]
    yield "a Parquet bomb", "a.parquet", parquet_bomb()
    yield "wrong Parquet", "a.parquet", b"PAR1" + b"\xff" * 1000 + b"PAR1"
    yield "a zip", "a.csv", zipped(rows)
    yield "XML entities", "a.xml", entities()
    yield "a traversing name", "../../../../tmp/x.csv", rows
    yield "a name of nothing", "...", rows
    yield "a long name", "a" * 5000 + ".csv", rows
    yield "null bytes", "a.csv", b"\0" * 100_000
    yield "binary", "a.csv", bytes(range(256)) * 1000
    yield "one long line", "a.csv", b"report_id,text\n" + b'r,"' + b"a" * (3 * 2**20)
    yield "many columns", "a.csv", b",".join(b"c%d" % i for i in range(50_000)) + b"\n"
    yield "broken JSON lines", "a.jsonl", b"{" * 10_000 + b"\n" + b"[]\n" * 1000
    yield "deep JSON line", "a.jsonl", b"[" * 100_000 + b"\n"
    yield "HL7 of separators", "a.hl7", b"MSH|^~\\&|" + b"|^~&" * 100_000
    yield "DICOM of nothing", "a.dcm", b"\0" * 128 + b"DICM" + b"\xff" * 1000
    yield "too large", "a.csv", b"a" * (5 * 2**20)


def parquet_bomb() -> bytes:
    stream = io.BytesIO()
    text = pa.array(["a" * (4 * 2**20)] * 20)
    pq.write_table(
        pa.table({"report_id": pa.array([str(i) for i in range(20)]), "text": text}), stream, compression="zstd"
    )
    return stream.getvalue()


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("../a.csv", data)
    return stream.getvalue()


def entities() -> bytes:
    lines = ["<!DOCTYPE a ["] + [f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else MARK}">' for i in range(9)]
    return "\n".join([*lines, "]><eCitation>&e8;</eCitation>"]).encode()


def test_uploads_of_any_kind(service: Served, tmp_path: Path) -> None:
    jobs = []
    for name, filename, data in uploads():
        boundary = "x7x"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        try:
            status, answer = service.request("POST", JOBS, body, Content_Type=kind)
        except OSError:  # a body that is too large is not read to its end
            assert name == "too large"
            continue
        assert status < 500, (name, status)
        if status == 201:
            jobs.append((name, json.loads(answer)["id"]))
        else:
            assert MARK.encode() not in answer, name
    for name, job in jobs:
        deadline = time.monotonic() + 60
        while (state := service.get(f"/v1/jobs/{job}"))["state"] not in ("done", "failed"):
            assert time.monotonic() < deadline, (name, state)
            time.sleep(0.1)
        assert MARK not in (state["error"] or ""), name
        assert service.request("GET", f"/v1/jobs/{job}/rejects")[0] < 500
    assert service.request("GET", "/readyz")[0] == 200  # it lives


FORMS = (
    b"",
    b"--x7x",
    b"--x7x--\r\n",
    b"--x7x\r\n\r\n\r\n--x7x--\r\n",
    b'--x7x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x7x--\r\n',
    b'--x7x\r\nContent-Disposition: form-data; name="' + b"a" * 100_000 + b'"\r\n\r\nabc\r\n--x7x--\r\n',
    b'--x7x\r\nContent-Disposition: form-data; name="store"\r\n\r\n' + b"a" * 200_000 + b"\r\n--x7x--\r\n",
    b"--x7x\r\nContent-Disposition: attachment\r\n\r\nabc\r\n--x7x--\r\n",
    b"--x7x\r\n" + b"X: y\r\n" * 1000 + b"\r\nabc\r\n--x7x--\r\n",
    b'--x7x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\nno end',
)


@pytest.mark.parametrize("body", FORMS)
def test_forms_that_are_broken(service: Served, body: bytes) -> None:
    status, answer = service.request("POST", JOBS, body, Content_Type="multipart/form-data; boundary=x7x")
    assert 400 <= status < 500
    assert json.loads(answer)["title"]


HEADS = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    b"BREW /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
    b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n\r\n",
    b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /v1/label HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/xml\r\nContent-Length: 4\r\n\r\n<a/>",
    b"GET /static/../../settings.py HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /static/%2e%2e/%2e%2e/settings.py HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /%ff%fe%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /v1/jobs/..%2f..%2f HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\n\r\n\r\n\r\n",
    b"\0" * 1000,
)


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_what_is_hardly_http(service: Served, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(head)
        connection.shutdown(socket.SHUT_WR)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 5"), answer[:100]
    assert b"class ServiceSettings" not in answer


def test_a_body_that_never_comes_is_given_up(service: Served) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        head = ("POST /v1/label HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Content-Length: 50")
        connection.sendall(("\r\n".join(head) + "\r\n\r\n{").encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")


def test_queries_of_any_kind(service: Served) -> None:
    job = "0" * 32
    paths = (
        *(f"/v1/jobs?limit={value}" for value in ("0", "-1", "1e9", "x", "9" * 400, "%00")),
        *(f"/v1/jobs/{job}/results?offset={value}" for value in ("-1", "9" * 30, "x", "NaN")),
        *(f"/v1/jobs/{value}" for value in ("..", "%2e%2e", "A" * 32, "' OR 1=1", MARK)),
        f"/v1/vocabulary?q={MARK * 50}",
        f"/v1/review?limit=101&{MARK}=1",
        "/v1/drift?weeks=0",
        "/v1/audit?before=-1",
        "/v1/audit?limit=" + "9" * 5000,
        "/v1/jobs?" + "&".join(f"a{i}=1" for i in range(3000)),
    )
    for path in paths:
        for method in ("GET", "DELETE", "PUT"):
            status, answer = service.request(method, path.replace(" ", "%20"))
            assert status < 500, (method, path[:60])
            if status >= 400:
                assert MARK.encode() not in answer


def test_the_log_quotes_nothing_of_all_that(service: Served) -> None:
    """The last test of the module."""
    log = service.log.read_text(encoding="utf-8", errors="replace")
    assert MARK not in log
    assert "Traceback" not in log
