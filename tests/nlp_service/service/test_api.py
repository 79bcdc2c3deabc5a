"""The API as its users see it: labels, jobs, look-up, reference, and what is wrong told by field."""

from __future__ import annotations

import csv
import gzip
import io
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.nlp_service.processes import Served

TEXT = "FINDINGS: Small left pleural effusion. No pneumothorax."


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service with a folder of files for jobs."""
    folder = tmp_path_factory.mktemp("api")
    (folder / "exports").mkdir()
    (folder / "exports" / "inside.csv").write_text(f"report_id,text\nr1,{TEXT}\n")
    (folder / "outside.csv").write_text(f"report_id,text\nr1,{TEXT}\n")
    (folder / "exports" / "link.csv").symlink_to(folder / "outside.csv")
    with Served(folder, environment={"RADLABEL_JOB_ROOTS": str(folder / "exports")}) as served:
        yield served


def post(service: Served, path: str, body: object, **headers: str) -> tuple[int, Any]:
    status, answer = service.request("POST", path, body, **headers)
    return status, json.loads(answer) if answer else None


def label(service: Served, *reports: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    status, answer = post(service, "/v1/label", {"reports": list(reports), **more})
    assert status == 200, answer
    results: list[dict[str, Any]] = answer["results"]
    return results


def finished(service: Served, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while (state := service.get(f"/v1/jobs/{job}"))["state"] not in ("done", "failed", "cancelled"):
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return dict(state)


def test_reports_are_labeled_in_order(service: Served) -> None:
    texts = ["Cardiomegaly.", "", TEXT, "No pneumonia."]
    rows = label(service, *({"report_id": f"r{i}", "text": text} for i, text in enumerate(texts)))
    assert [row["report_id"] for row in rows] == ["r0", "r1", "r2", "r3"]
    assert [row["status"] for row in rows] == ["ok", "no_text", "ok", "ok"]
    labels = rows[2]["labels"]["chexpert14"]
    assert (labels["Pleural Effusion"]["value"], labels["Pneumothorax"]["value"]) == ("positive", "negative")
    finding = rows[2]["findings"][labels["Pleural Effusion"]["evidence"][0]]
    assert TEXT[finding["start"] : finding["end"]] == finding["text"]


def test_label_sets_are_those_asked_for(service: Served) -> None:
    row = label(service, {"report_id": "r", "text": TEXT}, label_sets=["nih14", "openi", "nih14"])[0]
    assert list(row["labels"]) == ["nih14", "openi"]
    status, problem = post(service, "/v1/label", {"reports": [{"report_id": "r", "text": TEXT}], "label_sets": ["x9"]})
    assert (status, problem["errors"][0]["field"]) == (422, "label_sets")
    assert "chexpert14" in problem["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "reports"),
        ({"reports": []}, "reports"),
        ({"reports": [{"report_id": "r"}]}, "reports[0].text"),
        ({"reports": [{"report_id": "r", "text": 5}]}, "reports[0].text"),
        ({"reports": [{"report_id": "r", "text": "a\x00b"}]}, "reports[0].text"),
        ({"reports": [{"report_id": "r", "text": "a"}, {"report_id": 7, "text": "a"}]}, "reports[1].report_id"),
        ({"reports": [{"report_id": "r", "text": "a", "study_date": "soon"}]}, "reports[0].study_date"),
        (
            {"reports": [{"report_id": "r", "text": "a", "study_instance_uid": "1.2.x"}]},
            "reports[0].study_instance_uid",
        ),
        ({"reports": [{"report_id": "r", "text": "a"}], "store": "yes"}, "store"),
        (b"{", "body"),
    ],
)
def test_what_is_wrong_is_told_by_field(service: Served, body: object, field: str) -> None:
    status, problem = post(service, "/v1/label", body)
    assert (status, problem["type"]) == (422, "urn:radlabel:problem:invalid-request")
    assert field in [error["field"] for error in problem["errors"]]


def test_limits_are_told(service: Served) -> None:
    report = {"report_id": "r", "text": "a"}
    status, problem = post(service, "/v1/label", {"reports": [report] * 1001})
    assert (status, problem["type"]) == (413, "urn:radlabel:problem:too-many-reports")
    status, problem = post(service, "/v1/label", {"reports": [report, {"report_id": "r", "text": "a" * 1_000_001}]})
    assert (status, problem["errors"][0]["field"]) == (413, "reports[1].text")
    status, problem = post(service, "/v1/label", b'{"reports":' + b"[" * 200 + b"]" * 200 + b"}")
    assert (status, problem["type"]) == (413, "urn:radlabel:problem:too-deep")
    # Refused by its header alone, before a byte of it is read.
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        head = (
            "POST /v1/label HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            "Content-Length: 99999999",
        )
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_stored_reports_are_found_and_others_are_not(service: Served) -> None:
    one = {"report_id": "s1", "text": TEXT, "accession_number": "ACC-1", "accession_number_issuer": "RIS"}
    two = {"report_id": "s2", "text": "No effusion.", "accession_number": "ACC-1", "accession_number_issuer": "OTHER"}
    three = {"report_id": "s3", "text": TEXT, "accession_number": "ACC-2", "study_instance_uid": "1.2.3"}
    label(service, one, two, three, store=True)
    label(service, one, store=True)  # once more: it is the same report
    label(service, {"report_id": "s4", "text": TEXT, "accession_number": "ACC-4"})

    def found(**wanted: str) -> list[str]:
        status, answer = post(service, "/v1/studies/search", wanted)
        assert status == 200
        return sorted(report["report_id"] for report in answer["reports"])

    assert found(accession_number="ACC-1") == ["s1", "s2"]
    assert found(accession_number="ACC-1", accession_number_issuer="RIS") == ["s1"]
    assert found(study_instance_uid="1.2.3") == ["s3"]
    assert found(accession_number="ACC-%") == found(accession_number="ACC-4") == found(accession_number="acc-1") == []
    assert post(service, "/v1/studies/search", {})[0] == 422
    report = post(service, "/v1/studies/search", {"study_instance_uid": "1.2.3"})[1]["reports"][0]
    assert report["text"] is None  # texts are not kept unless the service is told to
    assert report["labels"][0]["labels"]["chexpert14"]["Pleural Effusion"]["value"] == "positive"
    assert report["labels"][0]["model"]["digest"]


def test_concurrent_requests_share_batches(service: Served) -> None:
    before = metric(service, "radlabel_batch_reports_count"), metric(service, "radlabel_batch_reports_sum")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda i: label(service, {"report_id": f"b{i}", "text": f"{TEXT} {i} mm."}), range(96)))
    windows = metric(service, "radlabel_batch_reports_count") - before[0]
    assert metric(service, "radlabel_batch_reports_sum") - before[1] == 96
    assert windows < 96


def metric(service: Served, name: str) -> float:
    lines = service.request("GET", "/metrics")[1].decode().splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} ")), 0.0)


def files(rows: list[dict[str, str]]) -> Iterator[tuple[str, bytes]]:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    yield "reports.csv", stream.getvalue().encode()
    yield "reports.csv.gz", gzip.compress(stream.getvalue().encode())
    yield "reports.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode()
    table = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), table)
    yield "reports.parquet", table.getvalue()


def test_files_of_all_forms_become_the_same_results_in_all_forms(service: Served, tmp_path: Path) -> None:
    rows = [{"report_id": f"r{i}", "text": f"{TEXT} {i} mm.", "accession_number": f"A{i}"} for i in range(300)]
    outputs = set()
    for name, data in files(rows):
        path = tmp_path / name
        path.write_bytes(data)
        job = finished(service, service.upload(path, label_sets="chexpert14"))
        assert (job["state"], job["records"], job["progress"]) == ("done", 300, 1.0)
        assert job["counts"] == {"ok": 300, "no_text": 0, "not_applicable": 0, "rejected": 0}
        outputs.add(service.request("GET", f"/v1/jobs/{job['id']}/results")[1])
    assert len(outputs) == 1
    lines = [json.loads(line) for line in outputs.pop().splitlines()]
    assert [line["report_id"] for line in lines] == [f"r{i}" for i in range(300)]
    results = f"/v1/jobs/{job['id']}/results"
    wide = list(csv.DictReader(io.StringIO(service.request("GET", f"{results}?format=csv")[1].decode())))
    table = pq.read_table(io.BytesIO(service.request("GET", f"{results}?format=parquet")[1]))
    assert (
        [row["accession_number"] for row in wide]
        == table["accession_number"].to_pylist()
        == [f"A{i}" for i in range(300)]
    )
    pages = [service.get(f"{results}?offset={first}&limit=128") for first in (0, 128, 256)]
    assert [row for page in pages for row in page["results"]] == lines
    assert [page["next_offset"] for page in pages] == [128, 256, None]


def test_rows_that_cannot_be_read_are_listed(service: Served, tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text(f"report_id,text\nr1,{TEXT}\nr1,{TEXT}\n,{TEXT}\n")
    job = finished(service, service.upload(path))
    assert job["counts"]["rejected"] == 2
    rejects = [json.loads(line) for line in service.request("GET", f"/v1/jobs/{job['id']}/rejects")[1].splitlines()]
    assert [(reject["row"], reject["field"]) for reject in rejects] == [(2, "report_id"), (3, "report_id")]
    entries = service.get("/v1/audit?limit=1000")["entries"]
    assert [entry["count"] for entry in entries if entry["action"] == "rejects"] == [2]


def test_a_file_that_cannot_be_read_fails_the_job_with_its_reason(service: Served, tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text("name,words\na,b\n")
    job = finished(service, service.upload(path))
    assert job["state"] == "failed"
    assert "reports.csv" in job["error"]
    assert "text" in job["error"]
    status, problem = service.request("GET", f"/v1/jobs/{job['id']}/results")
    assert (status, json.loads(problem)["type"]) == (409, "urn:radlabel:problem:job-not-done")


def test_jobs_by_path_stay_under_their_folders(service: Served) -> None:
    status, job = post(service, "/v1/jobs", {"path": "inside.csv"})
    assert status == 201
    assert finished(service, job["id"])["counts"]["ok"] == 1
    outside = service.folder / "outside.csv"
    for path in (
        "../outside.csv",
        str(outside),
        "link.csv",
        "none.csv",
        "a\x00b",
        "/etc/passwd",
        "~",
        "inside.csv/../../",
    ):
        status, problem = post(service, "/v1/jobs", {"path": path})
        assert (status, problem["errors"][0]["field"]) == (422, "path"), path


def test_a_job_is_cancelled_and_deleted(service: Served, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    with path.open("w") as stream:
        stream.writelines(json.dumps({"report_id": f"r{i}", "text": f"{TEXT} {i} mm."}) + "\n" for i in range(30_000))
    job = service.upload(path)
    assert service.request("POST", f"/v1/jobs/{job}/cancel")[0] == 200
    assert finished(service, job)["state"] == "cancelled"
    assert job in [item["id"] for item in service.get("/v1/jobs")["jobs"]]
    assert service.request("DELETE", f"/v1/jobs/{job}")[0] == 204
    assert service.request("GET", f"/v1/jobs/{job}")[0] == 404
    assert service.request("DELETE", f"/v1/jobs/{job}")[0] == 404


def test_a_job_can_be_followed(service: Served, tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text(json.dumps({"report_id": "r", "text": TEXT}) + "\n")
    job = service.upload(path)
    status, stream = service.request("GET", f"/v1/jobs/{job}/events")
    events = [json.loads(part.split("data: ", 1)[1]) for part in stream.decode().strip().split("\n\n")]
    assert (status, events[-1]["state"]) == (200, "done")


def test_the_texts_of_a_job_are_gone_when_it_is_done(service: Served, tmp_path: Path) -> None:
    word = "quixotryl"
    path = tmp_path / "reports.jsonl"
    path.write_text(json.dumps({"report_id": "r", "text": f"{TEXT} {word}."}) + "\n")
    finished(service, service.upload(path, store="true"))
    for _ in range(20):  # deleted pages are overwritten when the log is written back
        kept = [file for file in service.folder.glob("*.db*") if word.encode() in file.read_bytes()]
        if not kept:
            break
        time.sleep(0.5)
    assert [file.name for file in kept if not file.name.endswith("-wal")] == []


def test_the_reference_tells_what_there_is(service: Served) -> None:
    sets = {item["id"]: item for item in service.get("/v1/labels")["label_sets"]}
    assert {"chexpert14", "nih14", "openi"} <= set(sets)
    assert len(sets["chexpert14"]["labels"]) == 14
    effusions = service.get("/v1/vocabulary?q=hydropneumothorax")["findings"]
    assert "Hydropneumothorax" in [finding["name"] for finding in effusions]
    assert service.get("/v1/model")["reader"] == "rules"
    document = service.get("/openapi.json")
    assert document["paths"]["/v1/label"]["post"]["requestBody"]
    assert "examples" in json.dumps(document)


def test_the_drift_counts_values_by_week(service: Served) -> None:
    label(service, {"report_id": "d1", "text": "FINDINGS: Mild pulmonary edema.", "accession_number": "D1"}, store=True)
    counts = service.get("/v1/drift")["counts"]
    edema = [entry for entry in counts if (entry["label"], entry["value"]) == ("Edema", "positive")]
    assert sum(entry["reports"] for entry in edema) == 1


def test_the_audit_trail_cannot_be_changed(service: Served) -> None:
    import sqlite3

    assert {"label", "store", "search", "job"} <= {
        entry["action"] for entry in service.get("/v1/audit?limit=1000")["entries"]
    }
    with sqlite3.connect(service.folder / "radlabel.db") as connection:
        for statement in ("UPDATE audit SET count = 0", "DELETE FROM audit"):
            with pytest.raises(sqlite3.DatabaseError):
                connection.execute(statement)


def test_what_there_is_not_is_a_problem_too(service: Served) -> None:
    for method, path, status in (
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/label", 405),
        ("GET", f"/v1/jobs/{'0' * 32}", 404),
        ("GET", "/v1/jobs/x", 422),
    ):
        found, body = service.request(method, path)
        assert (found, json.loads(body)["status"]) == (status, status)
