"""Data sets over the API: durable, told in numbers, and nothing of a patient where it does not belong."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpora.dataset import open_dataset
from corpora.dataset.check import check_dataset
from corpora.deidentification import Pseudonymiser
from tests.nlp_service.datasets.making import MARK, Study, files_of, studies, write_images, write_reports
from tests.nlp_service.processes import Served

QUICK = {"image": {"size": 64}, "card": {"plots": False}}


def hospital(folder: Path, patients: int = 12) -> list[Study]:
    known = studies(patients)
    write_images(folder / "dicom", known)
    write_reports(folder / "reports.csv", known)
    return known


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service with a hospital under its job folder, and another beside it."""
    folder = tmp_path_factory.mktemp("datasets")
    hospital(folder / "exports")
    hospital(folder / "secret", 2)
    (folder / "exports" / "link").symlink_to(folder / "secret")
    with Served(folder, environment={"RADLABEL_JOB_ROOTS": str(folder / "exports")}) as served:
        yield served


def post(service: Served, body: object) -> tuple[int, Any]:
    status, answer = service.request("POST", "/v1/datasets", body)
    return status, json.loads(answer)


def asked(service: Served, **more: Any) -> str:
    status, answer = post(service, {"images": "dicom", "reports": "reports.csv", "recipe": QUICK, **more})
    assert status == 201, answer
    return str(answer["id"])


def ended(service: Served, dataset: str) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while (found := service.get(f"/v1/datasets/{dataset}"))["state"] in ("waiting", "running"):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return dict(found)


@pytest.fixture(scope="module")
def done(service: Served) -> dict[str, Any]:
    """Return a data set that was built."""
    return ended(service, asked(service, name="chest of the test", recipe={"image": {"size": 64}}))


def test_a_data_set_is_built_in_the_background(service: Served, done: dict[str, Any]) -> None:
    assert (done["state"], done["name"], done["error"]) == ("done", "chest of the test", None)
    images = done["counts"]["images"]
    assert images["indexed"] == done["rows"] + sum(images["excluded"].values())
    assert sum(done["splits"].values()) == done["rows"] == sum(study.images for study in studies(12))
    folder = open_dataset(service.folder / "datasets" / done["id"])
    assert folder.digest == done["digest"]
    assert check_dataset(folder, pseudonymiser=Pseudonymiser.from_file(service.folder / "datasets.key")).is_good
    assert done["id"] in [one["id"] for one in service.get("/v1/datasets")["datasets"]]
    assert sorted(path.name for path in (service.folder / "datasets").iterdir() if done["id"] in path.name) == [
        done["id"]
    ]
    assert (service.folder / "datasets").stat().st_mode & 0o777 == 0o700
    assert (service.folder / "datasets.key").stat().st_mode & 0o777 == 0o600


def test_the_card_comes_in_three_forms(service: Served, done: dict[str, Any]) -> None:
    path = f"/v1/datasets/{done['id']}/card"
    html = service.request("GET", path)[1].decode()
    assert html.startswith("<!doctype html>")
    text = service.request("GET", f"{path}?format=markdown")[1].decode()
    answer = service.get(f"{path}?format=json")
    assert answer["markdown"] == text
    assert len(answer["plots"]) == 9
    assert all(f"(card/{name})" in text for name in answer["plots"])
    for shown in (html, text):
        assert MARK not in shown
        assert str(service.folder) not in shown


def test_the_labels_of_a_job_do_in_place_of_labelling(service: Served, done: dict[str, Any]) -> None:
    job = service.upload(service.folder / "exports" / "reports.csv")
    deadline = time.monotonic() + 60
    while service.get(f"/v1/jobs/{job}")["state"] != "done":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    found = ended(service, asked(service, labels_job=job))
    assert found["state"] == "done", found
    root = service.folder / "datasets"
    mine, other = open_dataset(root / found["id"]), open_dataset(root / done["id"])
    columns = ["image_id", "split", *(f"{kind}:{label}" for kind in ("label", "target") for label in mine.labels)]
    assert mine.table(columns) == other.table(columns)
    status, answer = post(service, {"images": "dicom", "labels_job": "0" * 32})
    assert (status, answer["errors"][0]["field"]) == (422, "labels_job")
    status, answer = post(service, {"images": "dicom", "labels_job": job, "recipe": {"labels": {"label_set": "nih14"}}})
    assert (status, answer["errors"][0]["field"]) == (422, "labels_job")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "images"),
        ({"images": "dicom"}, "reports"),
        ({"images": "nowhere", "reports": "reports.csv"}, "images"),
        ({"images": "../secret/dicom", "reports": "reports.csv"}, "images"),
        ({"images": "link/dicom", "reports": "reports.csv"}, "images"),
        ({"images": "dicom", "reports": "../secret/reports.csv"}, "reports"),
        ({"images": "https://pacs.example/dicom-web", "reports": "reports.csv"}, "images"),
        ({"images": "dicom", "reports": "reports.csv", "recipe": {"reports": "x"}}, "recipe.reports"),
        (
            {"images": "dicom", "reports": "reports.csv", "recipe": {"deidentify": {"map_file": "/tmp/map"}}},
            "recipe.deidentify.map_file",
        ),
        (
            {"images": "dicom", "reports": "reports.csv", "recipe": {"splits": {"previous": "/x"}}},
            "recipe.splits.previous",
        ),
        ({"images": "dicom", "reports": "reports.csv", "recipe": {"policy": "/etc/passwd"}}, "recipe.policy"),
        ({"images": "dicom", "reports": "reports.csv", "recipe": {"image": {"size": 5}}}, "recipe.image.size"),
        ({"images": "dicom", "reports": "reports.csv", "recipe": {"labels": {"label_set": "x9"}}}, "label_sets"),
        (
            {"images": "dicom", "reports": "reports.csv", "recipe": {"policy": {"labels": {MARK: {}}}}},
            "recipe.policy",
        ),
        ({"images": "dicom", "reports": "reports.csv", "recipe": {MARK: MARK}}, "recipe"),
        ({"images": "dicom", "reports": "reports.csv", "recipe": {"image": {MARK: MARK}}}, "recipe.image"),
        ({"images": MARK, "reports": MARK, MARK: 1}, None),
        ({"images": "dicom", "reports": ["reports.csv"]}, "reports"),
    ],
)
def test_a_bad_request_names_the_field_and_repeats_nothing(service: Served, body: object, field: str | None) -> None:
    status, answer = post(service, body)
    assert status == 422, answer
    if field is not None:
        assert answer["errors"][0]["field"] == field
    assert MARK not in json.dumps(answer)
    assert str(service.folder) not in json.dumps(answer)


def test_an_index_of_images_elsewhere_is_refused(service: Served) -> None:
    from corpora.imaging.dicom_folder import index_folder

    exports = service.folder / "exports"
    index_folder(service.folder / "secret" / "dicom", exports / "secret.parquet")
    status, answer = post(service, {"images": "secret.parquet", "reports": "reports.csv"})
    assert (status, answer["errors"][0]["field"]) == (422, "images")
    index_folder(exports / "dicom", exports / "index.parquet")
    assert ended(service, asked(service, images="index.parquet"))["state"] == "done"
    (exports / "broken.parquet").write_bytes(b"PAR1")
    assert post(service, {"images": "broken.parquet", "reports": "reports.csv"})[0] == 422


def test_a_build_that_fails_says_why_without_a_name(service: Served) -> None:
    found = ended(service, asked(service, recipe={**QUICK, "filter": {"views": ["lateral"]}}))
    assert found["state"] == "failed"
    assert "no image is left" in found["error"]
    assert MARK not in found["error"]
    assert str(service.folder) not in found["error"]
    assert not list((service.folder / "datasets").glob(f"{found['id']}*"))
    assert service.request("GET", f"/v1/datasets/{found['id']}/card")[0] == 409


def test_a_data_set_is_cancelled_and_deleted(service: Served, done: dict[str, Any]) -> None:
    dataset = asked(service)
    assert service.request("POST", f"/v1/datasets/{dataset}/cancel")[0] == 200
    assert ended(service, dataset)["state"] in ("cancelled", "done")
    for one in (dataset, ended(service, asked(service))["id"]):
        assert service.request("DELETE", f"/v1/datasets/{one}")[0] == 204
        assert service.request("GET", f"/v1/datasets/{one}")[0] == 404
        assert service.request("DELETE", f"/v1/datasets/{one}")[0] == 404
        assert service.request("POST", f"/v1/datasets/{one}/cancel")[0] == 404
    deadline = time.monotonic() + 20
    while list((service.folder / "datasets").glob(f"{dataset}*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nothing_of_a_patient_is_where_others_read(service: Served, done: dict[str, Any]) -> None:
    assert MARK not in service.log.read_text()
    assert MARK.encode() not in service.request("GET", "/metrics")[1]
    assert MARK not in json.dumps(service.get("/v1/audit"))
    assert "data set" in {entry["action"] for entry in service.get("/v1/audit")["entries"]}
    for name in ("jobs.db", "radlabel.db"):
        with sqlite3.connect(f"file:{service.folder / name}?mode=ro", uri=True) as database:
            dumped = "\n".join(database.iterdump())
        if name == "jobs.db":
            assert str(service.folder / "exports") not in dumped
            assert "reports.csv" not in dumped
            assert MARK not in dumped


def test_a_killed_service_goes_on_to_the_same_data_set(tmp_path: Path) -> None:
    exports = tmp_path / "exports"
    hospital(exports, 70)
    with Served(tmp_path, environment={"RADLABEL_JOB_ROOTS": str(exports)}) as service:
        whole = ended(service, asked(service))
        dataset = asked(service)
        drawn = service.folder / "datasets" / f"{dataset}.part" / "drawn" / "000000.json"
        deadline = time.monotonic() + 60
        while not drawn.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        service.kill()
        assert drawn.exists()
        service.start()
        found = ended(service, dataset)
        assert found["state"] == "done", found
        assert found["digest"] == whole["digest"]
        root = service.folder / "datasets"
        assert files_of(root / dataset) == files_of(root / whole["id"])
        # A stop that is asked for ends the build soon, and the next start goes on with it.
        third = asked(service)
        time.sleep(0.7)
        assert service.stop() == 0
        service.start()
        assert ended(service, third)["digest"] == whole["digest"]
