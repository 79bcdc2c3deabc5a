"""Files on their way into a job and out of it: what they unpack to, where they may lie, what they are called."""

from __future__ import annotations

import gzip
import io
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.nlp_service.processes import Served

LIMIT = 2**20
FIRST = b"report_id,text\nr0,Small effusion.\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service with a tight limit, and two folders of files for jobs, before and behind one that is not there."""
    folder = tmp_path_factory.mktemp("uploads")
    roots = [folder / "one", folder / "gone", folder / "two"]
    for number, root in enumerate(roots):
        if root.name != "gone":
            (root / "2026").mkdir(parents=True)
            (root / "2026" / f"{number}.csv").write_bytes(FIRST)
    settings = {
        "RADLABEL_MAX_UNPACKED_BYTES": str(LIMIT),
        "RADLABEL_JOB_ROOTS": ",".join(map(str, roots)),
    }
    with Served(folder, environment=settings) as served:
        yield served


def upload(service: Served, name: str, data: bytes) -> tuple[int, dict[str, Any]]:
    head = f'--x7x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = head.encode() + data + b"\r\n--x7x--\r\n"
    status, answer = service.request("POST", "/v1/jobs", body, Content_Type="multipart/form-data; boundary=x7x")
    return status, json.loads(answer)


def finished(service: Served, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (state := service.get(f"/v1/jobs/{job}"))["state"] not in ("done", "failed", "cancelled"):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return dict(state)


def parquet(texts: list[str], **options: Any) -> bytes:
    stream = io.BytesIO()
    table = pa.table({"report_id": [str(i) for i in range(len(texts))], "text": texts})
    pq.write_table(table, stream, compression="zstd", **options)
    return stream.getvalue()


BOMB = gzip.compress(FIRST + b"r1," + b"a" * (10 * LIMIT), mtime=0)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("bomb.csv.gz", BOMB),
        ("bomb.csv", BOMB),
        ("bomb", BOMB),
        ("bomb.parquet", BOMB),
        ("second member.csv", gzip.compress(FIRST, mtime=0) + BOMB),
        ("behind zeros.csv", gzip.compress(FIRST, mtime=0) + bytes(64) + BOMB),
        ("plain.csv", FIRST + b"r1," + b"a" * LIMIT),
        ("bomb.pq", parquet([f"{i}" + "a" * 100_000 for i in range(50)], use_dictionary=False)),
        ("parquet called.csv", parquet([f"{i}" + "a" * 100_000 for i in range(50)], use_dictionary=False)),
    ],
)
def test_what_unpacks_to_too_much_is_refused_whatever_it_is_called(service: Served, name: str, data: bytes) -> None:
    before = len(service.get("/v1/jobs")["jobs"])
    status, problem = upload(service, name, data)
    assert (status, problem["type"]) == (413, "urn:radlabel:problem:unpacks-too-large")
    deadline = time.monotonic() + 30
    while len(service.get("/v1/jobs")["jobs"]) != before:  # nothing is left of it
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_value_that_stands_once_for_many_rows_is_counted_for_each(service: Served) -> None:
    data = parquet(["a" * 100_000] * 50)
    assert len(data) < LIMIT
    status, job = upload(service, "repeated.parquet", data)
    assert status == 201
    ended = finished(service, job["id"])
    assert ended["state"] == "failed"
    assert "repeated.parquet: unpacks to more than" in ended["error"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", FIRST),
        ("a.csv", gzip.compress(FIRST, mtime=0)),
        ("a.csv.gz", gzip.compress(FIRST, mtime=0) + bytes(64) + gzip.compress(b"r1,No effusion.\n", mtime=0)),
        ("a.parquet", parquet(["Small effusion."] * 2)),
    ],
)
def test_what_does_not_is_read(service: Served, name: str, data: bytes) -> None:
    status, job = upload(service, name, data)
    assert status == 201
    assert finished(service, job["id"])["counts"]["ok"] >= 1


@pytest.mark.parametrize("path", ["2026/0.csv", "2026/2.csv"])
def test_a_path_is_looked_for_in_every_folder(service: Served, path: str) -> None:
    status, answer = service.request("POST", "/v1/jobs", {"path": path})
    assert status == 201, answer
    assert finished(service, json.loads(answer)["id"])["counts"]["ok"] == 1


def test_a_path_that_is_in_no_folder_is_refused(service: Served) -> None:
    for path in ("2026/1.csv", "../service.log", str(service.folder / "service.log")):
        assert service.request("POST", "/v1/jobs", {"path": path})[0] == 422, path


@pytest.mark.parametrize("name", ["march.csv", "März 2026.csv.gz", "a'b; c=.csv", ".csv"])
def test_downloads_are_called_after_the_file(service: Served, name: str) -> None:
    data = gzip.compress(FIRST, mtime=0) if name.endswith(".gz") else FIRST
    job = upload(service, name, data)[1]["id"]
    finished(service, job)
    stem = name.partition(".")[0] or "job"
    for path, ending in (
        ("results?format=csv", "labels.csv"),
        ("results", "labels.jsonl"),
        ("rejects", "rejects.jsonl"),
    ):
        with urllib.request.urlopen(f"{service.url}/v1/jobs/{job}/{path}") as answer:
            kind, _, called = answer.headers["Content-Disposition"].partition("; filename*=utf-8''")
        assert (kind, urllib.parse.unquote(called)) == ("attachment", f"{stem}-{ending}")
