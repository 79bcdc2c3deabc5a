"""The clients against a real service: what they return, and what they raise."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from corpora import Report
from nlp_service.client import AsyncClient, Client, ServiceProblem
from tests.nlp_service.processes import Served, free_port

MARK = "Qzvmark"
REPORTS = [
    Report(f"r{i}", f"Small left pleural effusion, {i} mm. No pneumothorax.", accession_number=f"A{i}")
    for i in range(450)
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "on-the-server.csv").write_text("EXAM,BODY\nr1,Small effusion.\n")
    with Served(folder, environment={"RADLABEL_JOB_ROOTS": str(folder)}) as served:
        yield served


@pytest.fixture(scope="module")
def reports_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of reports, one of which is there twice."""
    path = tmp_path_factory.mktemp("files") / "reports.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["EXAM", "BODY"])
        writer.writerows([report.report_id, report.text] for report in [*REPORTS, REPORTS[0]])
    return path


def test_reports_are_labeled_batch_by_batch_and_found_again(service: Served) -> None:
    with Client(service.url) as client:
        rows = list(client.label(REPORTS, ["nih14"], store=True))
        assert [row["report_id"] for row in rows] == [report.report_id for report in REPORTS]
        assert {row["labels"]["nih14"]["Effusion"]["value"] for row in rows} == {"positive"}
        found = client.search("A7")
        assert [report["report_id"] for report in found] == ["r7"]
        assert client.search(study_instance_uid="1.2.3") == []
        assert client.model()["model"]["digest"] == rows[0]["model"]["digest"]
        assert "chexpert14" in {item["id"] for item in client.labels()["label_sets"]}
        assert len(client.vocabulary()) > 300


def test_a_job_from_the_file_to_the_results(service: Served, reports_file: Path, tmp_path: Path) -> None:
    with Client(service.url) as client:
        columns = {"report_id": "EXAM", "text": "BODY"}
        job = client.wait(client.submit_job(reports_file, ["chexpert14"], columns=columns)["id"], timeout_s=60)
        assert (job["state"], job["counts"]["rejected"]) == ("done", 1)
        rows = list(client.results(job["id"]))
        assert [row["report_id"] for row in rows] == [report.report_id for report in REPORTS]
        assert [reject["field"] for reject in client.rejects(job["id"])] == ["report_id"]
        client.save_results(job["id"], tmp_path / "labels.csv")
        with (tmp_path / "labels.csv").open(newline="") as stream:
            assert len(list(csv.DictReader(stream))) == len(REPORTS)
        with pytest.raises(ValueError, match="suffix"):
            client.save_results(job["id"], tmp_path / "labels.txt")
        assert job["id"] in {item["id"] for item in client.jobs()}
        client.delete(job["id"])
        with pytest.raises(ServiceProblem) as refused:
            client.job(job["id"])
        assert refused.value.status == 404


def test_the_same_without_blocking(service: Served, reports_file: Path, tmp_path: Path) -> None:
    async def play() -> None:
        async with AsyncClient(service.url) as client:
            parts = await asyncio.gather(*(client.label(REPORTS[i : i + 50], store=True) for i in range(0, 450, 50)))
            assert [row["report_id"] for part in parts for row in part] == [report.report_id for report in REPORTS]
            job = await client.submit_job(reports_file, columns={"report_id": "EXAM", "text": "BODY"})
            job = await client.wait(job["id"], timeout_s=60)
            rows = [row async for row in client.results(job["id"])]
            assert len(rows) == len(REPORTS)
            assert [reject["field"] async for reject in client.rejects(job["id"])] == ["report_id"]
            await client.save_results(job["id"], tmp_path / "labels.csv")
            with (tmp_path / "labels.csv").open(newline="") as stream:
                assert len(list(csv.DictReader(stream))) == len(REPORTS)
            with pytest.raises(ServiceProblem):
                await client.save_results("0" * 32, tmp_path / "none.csv")
            assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]
            assert len(await client.vocabulary()) > 300
            assert (await client.cancel(job["id"]))["state"] == "done"
            assert await client.search("A8")
            assert (await client.model())["reader"] == "rules"
            assert await client.labels()
            await client.delete(job["id"])
            assert job["id"] not in {item["id"] for item in await client.jobs()}
            with pytest.raises(ServiceProblem):
                await client.job(job["id"])

    asyncio.run(play())


def test_a_file_of_the_server_is_named_by_either_client(service: Served) -> None:
    columns = {"report_id": "EXAM", "text": "BODY"}
    with Client(service.url) as client:
        job = client.wait(client.submit_path("on-the-server.csv", ["nih14"], columns=columns)["id"], timeout_s=60)
        assert [row["report_id"] for row in client.results(job["id"])] == ["r1"]
        with pytest.raises(ServiceProblem) as refused:
            client.submit_path("elsewhere.csv")
        assert list(refused.value.fields) == ["path"]

    async def play() -> None:
        async with AsyncClient(service.url) as client:
            job = await client.submit_path("on-the-server.csv", columns=columns, format="csv", store=True)
            assert (await client.wait(job["id"], timeout_s=60))["counts"]["ok"] == 1

    asyncio.run(play())


# Everything that Python, or Unicode, takes for a line end, and JSON for a character of a string.
LINE_ENDS = "\u2028 \u2029 \x85 \x0b \x0c \x1c \x1d \x1e"


def test_line_ends_of_unicode_are_characters_of_an_id(service: Served, tmp_path: Path) -> None:
    ids = [f"a{LINE_ENDS}{i}" for i in range(300)]
    path = tmp_path / "reports.jsonl"
    rows = [{"report_id": name, "text": "Small effusion."} for name in [*ids, ids[0]]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Client(service.url) as client:
        job = client.wait(client.submit_job(path)["id"], timeout_s=60)["id"]
        assert [row["report_id"] for row in client.results(job)] == ids
        assert [row["report_id"] for row in client.rejects(job)] == ids[:1]

    async def play() -> None:
        async with AsyncClient(service.url) as client:
            assert [row["report_id"] async for row in client.results(job)] == ids
            assert [row["report_id"] async for row in client.rejects(job)] == ids[:1]

    asyncio.run(play())


def test_both_clients_have_the_same_methods() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)


def test_a_problem_names_fields_and_quotes_nothing(service: Served) -> None:
    bad = Report("r", MARK, study_date=dt.date(2026, 1, 1), study_instance_uid=MARK)
    with Client(service.url) as client, pytest.raises(ServiceProblem) as refused:
        list(client.label([Report("a", "b"), bad]))
    assert refused.value.status == 422
    assert list(refused.value.fields) == ["reports[1].study_instance_uid"]
    assert MARK not in str(refused.value) + repr(refused.value)
    assert refused.value.__cause__ is None


def test_where_nobody_listens_that_is_said() -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(ServiceProblem, match="cannot be reached"):
        client.model()


def test_a_busy_service_is_asked_again(tmp_path: Path) -> None:
    """Twelve clients share a queue that has room for one of them: each gets its answer in the end."""
    with Served(tmp_path, environment={"RADLABEL_MAX_WAITING_REPORTS": "40"}) as service:

        async def play() -> None:
            async with AsyncClient(service.url) as client:
                parts = await asyncio.gather(*(client.label(REPORTS[:150]) for _ in range(12)))
            assert {len(part) for part in parts} == {150}

        asyncio.run(play())
        metrics = service.request("GET", "/metrics")[1].decode()
    assert 'radlabel_refused_total{reason="queue full"}' in metrics
    assert json.loads(service.log.read_text().splitlines()[0])["event"]
