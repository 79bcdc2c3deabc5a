"""Jobs beside one another, and what becomes of them when the database goes away, or a kill comes between two steps."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from nlp_service.jobs import table
from nlp_service.store.database import open_database
from tests.nlp_service.processes import Served, postgres, postgres_programs, upgrade_database

LARGE = 15_000


def write_reports(path: Path, number: int) -> Path:
    lines = ["report_id,text", *(f"r{i},Effusion of {i} mm. No pneumothorax." for i in range(number))]
    path.write_text("\n".join(lines) + "\n")
    return path


def job_in(service: Served, job: str, *states: str, timeout_s: float = 120) -> dict[str, Any]:
    """Wait until a job is in one of the states, and return it."""
    deadline = time.monotonic() + timeout_s
    while (found := service.get(f"/v1/jobs/{job}"))["state"] not in states:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return dict(found)


def queued_chunks(folder: Path, job: str) -> int:
    with sqlite3.connect(folder / "jobs.db") as connection:
        query = "select count(*) from workflow_status where status = 'ENQUEUED' and workflow_uuid like ?"
        return int(connection.execute(query, (f"chunk-{job}-%",)).fetchone()[0])


def test_a_small_job_does_not_wait_for_a_large_one_and_a_cancelled_one_leaves_the_queue(tmp_path: Path) -> None:
    with Served(tmp_path) as service:
        large = service.upload(write_reports(tmp_path / "large.csv", LARGE))
        deadline = time.monotonic() + 60
        while service.get(f"/v1/jobs/{large}")["records_done"] == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        small = service.upload(write_reports(tmp_path / "small.csv", 1))
        job_in(service, small, "done")
        assert service.get(f"/v1/jobs/{large}")["state"] == "running"
        assert queued_chunks(tmp_path, large) > 0
        status, body = service.request("POST", f"/v1/jobs/{large}/cancel")
        assert (status, json.loads(body)["state"]) == (200, "cancelled")
        assert queued_chunks(tmp_path, large) == 0


def test_a_job_that_a_kill_kept_out_of_the_queue_is_done_after_the_next_start(tmp_path: Path) -> None:
    file = write_reports(tmp_path / "reports.csv", 3)
    service = Served(tmp_path)
    with service:
        service.kill()
        # What is in the store when the kill comes before the job is in the queue.
        engine = open_database(f"sqlite:///{tmp_path / 'radlabel.db'}").execution_options(radlabel_writes=True)
        options = {"label_sets": ["chexpert14"], "format": None, "columns": None, "encoding": None, "store": False}
        with engine.begin() as connection:
            job = table.add_job(connection, file.name, options, key_id=None, path=str(file))
        engine.dispose()
        service.start()
        assert job_in(service, job, "done", "failed")["counts"]["ok"] == 3


def test_what_jobs_did_is_in_the_metrics_and_their_pages_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    rows = [f"r{i},{'Small effusion.' if i % 50 else ''}" for i in range(700)]
    path.write_text("\n".join(["report_id,text", *rows, "r1,Seen twice."]) + "\n")
    with Served(tmp_path) as service:
        job = service.upload(path)
        counts = job_in(service, job, "done")["counts"]
        assert counts == {"ok": 686, "no_text": 14, "not_applicable": 0, "rejected": 1}
        metrics = service.request("GET", "/metrics")[1].decode()
        assert 'radlabel_reports_total{door="job",status="ok"} 686.0' in metrics
        assert "radlabel_rejects_total 1.0" in metrics
        whole = [json.loads(line) for line in service.request("GET", f"/v1/jobs/{job}/results")[1].splitlines()]
        paged: list[Any] = []
        offset: int | None = 0
        while offset is not None:
            page = service.get(f"/v1/jobs/{job}/results?offset={offset}&limit=130")
            paged += page["results"]
            offset = page["next_offset"]
        assert paged == whole
        assert len(whole) == 700


def test_the_database_is_its_users_alone_whatever_the_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Served(tmp_path) as service:
        job_in(service, service.upload(write_reports(tmp_path / "reports.csv", 1)), "done")
        kept = [path for path in tmp_path.iterdir() if ".db" in path.name]
        assert {"radlabel.db", "jobs.db"} <= {path.name for path in kept}
        assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in kept] == [0] * len(kept)


@pytest.mark.skipif(postgres_programs() is None, reason="PostgreSQL is not installed")
def test_an_outage_of_the_database_costs_time_and_nothing_else(tmp_path: Path) -> None:
    with postgres() as database:
        settings = {"RADLABEL_DATABASE_URL": database.url, "RADLABEL_SHUTDOWN_TIMEOUT_S": "1"}
        upgrade_database(settings)
        with Served(tmp_path, environment=settings) as service:
            job = service.upload(write_reports(tmp_path / "reports.csv", 4000))
            while service.get(f"/v1/jobs/{job}")["records_done"] == 0:
                time.sleep(0.05)
            database.stop()
            status, body = service.request("GET", "/v1/jobs")
            assert (status, json.loads(body)["type"]) == (503, "urn:radlabel:problem:store-failed")
            time.sleep(6)  # longer than a step is tried
            database.start()
            done = job_in(service, job, "done", "failed")
            assert (done["state"], done["counts"]["ok"]) == ("done", 4000)
            assert len(service.get(f"/v1/jobs/{job}/results?offset=3900&limit=200")["results"]) == 100

            again = service.upload(write_reports(tmp_path / "again.csv", 4000))
            while service.get(f"/v1/jobs/{again}")["records_done"] == 0:
                time.sleep(0.05)
            database.stop()
            service.stop()  # raises if the process does not end
            lines = [line for line in service.log.read_text().splitlines() if line]
            assert all(json.loads(line)["event"] for line in lines)
            database.start()
            service.start()
            assert job_in(service, again, "done", "failed")["state"] == "done"


def test_a_study_can_be_deleted(tmp_path: Path) -> None:
    with Served(tmp_path) as service:
        reports = [
            {"report_id": name, "text": "Effusion.", "accession_number": number, "accession_number_issuer": issuer}
            for name, number, issuer in (("r1", "A1", "RIS"), ("r2", "A1", "PACS"), ("r3", "A2", "RIS"))
        ]
        assert service.request("POST", "/v1/label", {"reports": reports, "store": True})[0] == 200
        study = {"accession_number": "A1", "accession_number_issuer": "RIS"}
        status, body = service.request("POST", "/v1/studies/delete", study)
        assert (status, json.loads(body)) == (200, {"reports": 1, "images": 0})
        left = json.loads(service.request("POST", "/v1/studies/search", {"accession_number": "A1"})[1])["reports"]
        assert [report["report_id"] for report in left] == ["r2"]
        assert service.request("POST", "/v1/studies/delete", {})[0] == 422
    forget = [sys.executable, "-m", "nlp_service", "db", "forget", "--accession-number", "A2"]
    told = subprocess.run([*forget, "--data-dir", str(tmp_path)], check=True, capture_output=True, text=True)
    assert told.stderr == "1 reports and the scores of 0 images are gone\n"
    engine = open_database(f"sqlite:///{tmp_path / 'radlabel.db'}")
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from labels")).scalar_one() == 1
        assert "delete study" in connection.execute(sa.text("select action from audit")).scalars().all()
    engine.dispose()
