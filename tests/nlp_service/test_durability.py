"""A job whose server is killed again and again ends with the bytes of one that was left alone.

`RADLABEL_FULL=1` runs it at full size: 20,000 reports and 20 kills on each database; otherwise a tenth of it.
"""

from __future__ import annotations

import csv
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nlp_service.processes import Served, postgres_programs, postgres_server, upgrade_database

IS_FULL = os.environ.get("RADLABEL_FULL") == "1"
REPORTS = 20_000 if IS_FULL else 4_000
KILLS = 20 if IS_FULL else 4
SIDES = ("left", "right", "bilateral")
FINDINGS = ("pleural effusion", "pneumothorax", "consolidation", "atelectasis", "lung nodule", "rib fracture")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Give the settings of a new database, upgraded."""
    if request.param == "sqlite":
        yield {}
        return
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server() as url:
        settings = {"RADLABEL_DATABASE_URL": url}
        upgrade_database(settings)
        yield settings


@pytest.fixture(scope="module")
def reports_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of reports, no two with the same text, one in a hundred of which is no report."""
    path = tmp_path_factory.mktemp("reports") / "reports.csv"
    rng = random.Random(1)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["report_id", "accession_number", "text"])
        for i in range(REPORTS):
            first, second = rng.sample(FINDINGS, 2)
            text = f"FINDINGS: {rng.choice(SIDES)} {first}, {i} mm. No {second}."
            writer.writerow([f"r{i if i % 100 else 0}", f"a{i}", text])
    return path


def finished(service: Served, job: str, timeout_s: float = 900) -> None:
    deadline = time.monotonic() + timeout_s
    while (state := service.get(f"/v1/jobs/{job}")["state"]) not in ("done", "failed"):
        assert time.monotonic() < deadline, service.get(f"/v1/jobs/{job}")
        time.sleep(0.2)
    assert state == "done"


def results(service: Served, job: str) -> tuple[bytes, bytes]:
    return tuple(service.request("GET", f"/v1/jobs/{job}/{what}")[1] for what in ("results", "rejects"))  # type: ignore[return-value]


def test_killed_job_ends_as_if_it_had_not_been(tmp_path: Path, database: dict[str, str], reports_file: Path) -> None:
    service = Served(tmp_path, environment=database)
    service.start()
    undisturbed = service.upload(reports_file)
    finished(service, undisturbed)
    wanted = results(service, undisturbed)

    job = service.upload(reports_file, store="true")
    rng = random.Random(2)
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.05, 1.5))
        service.kill()
        service.start()
    finished(service, job)

    assert results(service, job) == wanted
    rows, rejects = (part.count(b"\n") for part in wanted)
    assert rows + rejects == REPORTS
    assert rejects == REPORTS // 100 - 1  # those that repeat an id
    # What was stored beside the results is there once as well.
    rates = Counter(
        {
            entry["value"]: entry["reports"]
            for entry in service.get("/v1/drift")["counts"]
            if entry["label"] == "No Finding"
        }
    )
    assert sum(rates.values()) == rows
    assert service.stop() == 0


def test_two_workers_share_one_queue(tmp_path: Path, reports_file: Path) -> None:
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres_server() as url:
        settings = {"RADLABEL_DATABASE_URL": url}
        upgrade_database(settings)
        folders = [tmp_path / name for name in ("api", "one", "two")]
        for folder in folders:
            folder.mkdir()
        service = Served(folders[0], environment={**settings, "RADLABEL_JOB_WORKERS": "0"})
        workers = [Served(f, "jobs", "work", "--name", f.name, environment=settings) for f in folders[1:]]
        service.start()
        for worker in workers:
            worker.start(wait=False)
        job = service.upload(reports_file)
        finished(service, job)
        rows, rejects = (part.count(b"\n") for part in results(service, job))
        assert rows + rejects == REPORTS
        for process in (*workers, service):
            assert process.stop() == 0
