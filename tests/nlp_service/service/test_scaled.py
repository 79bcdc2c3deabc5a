"""Several API processes and a worker on one PostgreSQL, started with what the Kubernetes manifests say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.nlp_service.invented import invented_rows, write_csv
from tests.nlp_service.processes import Served, free_port, postgres_programs, postgres_server

MANIFESTS = ROOT / "deploy" / "kubernetes"
REPORTS = 3000
BODY = {"reports": [{"report_id": "s1", "text": "FINDINGS: Moderate cardiomegaly.", "accession_number": "SHARED-1"}]}


@dataclass(frozen=True)
class Pod:
    """A container of the manifests: its command, and its environment with the cluster's part filled in."""

    arguments: list[str]
    environment: dict[str, str]

    @classmethod
    def of(cls, file: str, name: str, database_url: str) -> Pod:
        manifest = next(yaml.safe_load_all((MANIFESTS / file).read_text("utf-8")))
        [container] = manifest["spec"]["template"]["spec"]["containers"]
        environment = dict(yaml.safe_load((MANIFESTS / "settings.yaml").read_text("utf-8"))["data"])
        del environment["RADLABEL_DATA_DIR"]  # below /tmp, which is every pod's own
        for variable in container["env"]:
            environment[variable["name"]] = database_url if "secretKeyRef" in variable["valueFrom"] else name
        arguments = [re.sub(r"\$\((\w+)\)", lambda word: environment[word[1]], word) for word in container["args"]]
        return cls(arguments, environment)

    def process(self, folder: Path) -> Served:
        """Return the process; as pods have addresses of their own and processes have not, with another port."""
        folder.mkdir()
        port = free_port()
        served = Served(
            folder, *[str(port) if word == "8000" else word for word in self.arguments], environment=self.environment
        )
        served.port = port
        return served

    def run(self, folder: Path, *arguments: str) -> str:
        """Run another command in the pod, as `kubectl exec` does."""
        environment = {**os.environ, **self.environment, "RADLABEL_DATA_DIR": str(folder)}
        command = [sys.executable, "-m", "nlp_service", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@dataclass(frozen=True)
class Scaled:
    one: Served
    other: Served
    pod: Pod


@pytest.fixture(scope="module")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    """Run the migration, two API processes that leave jobs alone, and a worker."""
    if postgres_programs() is None:
        pytest.skip("PostgreSQL is not installed")
    folder = tmp_path_factory.mktemp("scaled")
    with postgres_server() as url:
        migration = Pod.of("migrate.yaml", "radlabel-migrate-x", url)
        migration.run(folder, *migration.arguments)
        pods = [Pod.of("api.yaml", f"radlabel-api-{name}", url) for name in ("one", "other")]
        one, other = (pod.process(folder / name) for pod, name in zip(pods, ("one", "other"), strict=True))
        worker = Pod.of("workers.yaml", "radlabel-worker-0", url).process(folder / "worker")
        token = pods[0].run(one.folder, "keys", "create", "tests", "--scope", "label", "--scope", "jobs")
        one.token = other.token = token
        try:
            for process in (one, other):
                process.start()
            worker.start(wait=False)
            yield Scaled(one, other, pods[0])
        finally:
            for process in (one, other, worker):
                process.__exit__()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("reports") / "reports.csv", invented_rows(REPORTS))


def followed(service: Served, job: str) -> list[dict[str, Any]]:
    """Return what a process tells of a job until it ends."""
    status, body = service.request("GET", f"/v1/jobs/{job}/events")
    assert status == 200
    return [json.loads(line.removeprefix("data: ")) for line in body.decode().splitlines() if line.startswith("data: ")]


def results(service: Served, job: str) -> bytes:
    status, body = service.request("GET", f"/v1/jobs/{job}/results")
    assert status == 200, body
    return body


def test_job_is_followed_and_fetched_where_it_was_not_begun(scaled: Scaled, reports: Path) -> None:
    job = scaled.one.upload(reports)
    assert job in [listed["id"] for listed in scaled.other.get("/v1/jobs")["jobs"]]
    events = followed(scaled.other, job)
    assert events[-1]["state"] == "done"
    assert events[-1]["records_done"] == REPORTS
    assert results(scaled.other, job) == results(scaled.one, job)


def test_job_whose_api_process_is_killed_is_finished(scaled: Scaled, reports: Path) -> None:
    undisturbed = scaled.other.upload(reports)
    assert followed(scaled.other, undisturbed)[-1]["state"] == "done"
    job = scaled.one.upload(reports)
    scaled.one.kill()
    try:
        assert scaled.other.get(f"/v1/jobs/{job}")["state"] != "done"
        assert followed(scaled.other, job)[-1]["state"] == "done"
        assert results(scaled.other, job) == results(scaled.other, undisturbed)
    finally:
        scaled.one.start()
    assert results(scaled.one, job) == results(scaled.other, undisturbed)


def test_study_is_found_where_it_was_not_stored(scaled: Scaled) -> None:
    status, body = scaled.one.request("POST", "/v1/label", {**BODY, "store": True})
    assert status == 200, body
    status, body = scaled.other.request("POST", "/v1/studies/search", {"accession_number": "SHARED-1"})
    assert status == 200, body
    [found] = json.loads(body)["reports"]
    assert found["report_id"] == "s1"


def test_key_that_one_process_revokes_opens_no_other(scaled: Scaled) -> None:
    token = scaled.pod.run(scaled.one.folder, "keys", "create", "short-lived")
    authorization = {"Authorization": f"Bearer {token}"}
    assert scaled.other.request("POST", "/v1/label", BODY, **authorization)[0] == 200
    [key] = [
        line.split()[0] for line in scaled.pod.run(scaled.one.folder, "keys", "list").splitlines() if "short" in line
    ]
    scaled.pod.run(scaled.one.folder, "keys", "revoke", key)
    deadline = time.monotonic() + 60
    while (status := scaled.other.request("POST", "/v1/label", BODY, **authorization)[0]) == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert status == 401
