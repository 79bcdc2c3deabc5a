"""What models say of images, beside the reports: sent, found by study, replaced, deleted, in no log."""

from __future__ import annotations

import base64
import csv
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nlp_service.png import PngInvalid, bare_png
from tests.nlp_service.processes import Served

MODEL = {"name": "radlabel-classification", "version": "0.1.0", "digest": "ab" * 32}
UID = "1.2.826.0.1.3680043.10.1"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(*extra: bytes, side: int = 2) -> bytes:
    rows = b"".join(b"\x00" + bytes(side) for _ in range(side))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service."""
    with Served(tmp_path_factory.mktemp("images")) as served:
        yield served


def post(service: Served, path: str, body: object) -> tuple[int, Any]:
    status, answer = service.request("POST", path, body)
    return status, json.loads(answer)


def send(service: Served, *images: dict[str, Any], **model: str) -> int:
    body = {"model": MODEL | model, "images": list(images)}
    status, answer = post(service, "/v1/studies/image-scores", body)
    assert status == 201, answer
    return int(answer["images"])


def found(service: Served, **study: str) -> dict[str, Any]:
    status, answer = post(service, "/v1/studies/search", study)
    assert status == 200, answer
    return dict(answer)


def test_scores_stand_beside_the_report_and_overlays_come_without_extras(service: Served) -> None:
    report = {"report_id": "r1", "accession_number": "S1", "text": "Small left pleural effusion."}
    assert post(service, "/v1/label", {"reports": [report], "store": True})[0] == 200
    drawn = png(chunk(b"tEXt", b"Comment\x00DOE^JANE"))
    image = {"image_id": "i1", "accession_number": "S1", "study_instance_uid": UID, "patient_id": "P1"}
    assert send(
        service, {**image, "scores": {"Pleural Effusion": 0.9}, "overlays": {"Pleural Effusion": encoded(drawn)}}
    )
    answer = found(service, accession_number="S1")
    assert [report["report_id"] for report in answer["reports"]] == ["r1"]
    [shown] = answer["images"]
    assert shown["scores"] == {"Pleural Effusion": 0.9}
    assert shown["model"] == MODEL | {"label_set": None, "thresholds": {}}
    assert found(service, study_instance_uid=UID)["images"] == [shown]
    [overlay] = shown["overlays"]
    assert overlay["name"] == "Pleural Effusion"
    status, content = service.request("GET", f"/v1/overlays/{overlay['id']}")
    assert (status, content) == (200, png())
    assert service.request("GET", f"/v1/overlays/{'0' * 32}")[0] == 404


def test_the_same_model_on_the_same_image_counts_once_and_another_beside_it(service: Served) -> None:
    image = {"image_id": "i2", "accession_number": "S2"}
    send(service, {**image, "scores": {"Edema": 0.1}, "overlays": {"Edema": encoded(png())}})
    send(service, {**image, "scores": {"Edema": 0.7}})
    send(service, {**image, "scores": {"Edema": 0.4}}, digest="cd" * 32)
    send(service, {**image, "accession_number_issuer": "PACS", "scores": {"Edema": 0.2}})
    images = found(service, accession_number="S2")["images"]
    assert [one["scores"]["Edema"] for one in images] == [0.2, 0.4, 0.7]
    assert [one["overlays"] for one in images] == [[], [], []]
    assert len(found(service, accession_number="S2", accession_number_issuer="PACS")["images"]) == 1


def test_thresholds_and_label_set_go_with_the_scores(service: Served) -> None:
    image = {"image_id": "i5", "accession_number": "S5", "scores": {"Edema": 0.4}}
    told = {"label_set": "chexpert14", "thresholds": {"Edema": 0.3}}
    for thresholds in ({"Edema": 0.7}, {"Edema": 0.3}):
        body = {"model": MODEL | told | {"thresholds": thresholds}, "images": [image]}
        assert post(service, "/v1/studies/image-scores", body)[0] == 201
    [shown] = found(service, accession_number="S5")["images"]
    assert shown["model"] == MODEL | told
    body = {"model": MODEL | {"thresholds": {"Edema": 1.5}}, "images": [image]}
    status, answer = post(service, "/v1/studies/image-scores", body)
    assert (status, answer["errors"][0]["field"]) == (422, "model.thresholds.Edema")


def test_answer_that_leaves_out_the_oldest_says_so(service: Served) -> None:
    images = [{"image_id": f"m{number}", "accession_number": "S6", "scores": {}} for number in range(100)]
    send(service, *images)
    answer = found(service, accession_number="S6")
    assert (len(answer["images"]), answer["is_complete"]) == (100, True)
    send(service, {**images[0], "image_id": "newest"})
    answer = found(service, accession_number="S6")
    assert (len(answer["images"]), answer["is_complete"]) == (100, False)
    assert answer["images"][0]["image_id"] == "newest"


def test_what_is_deleted_goes_with_its_overlays(service: Served) -> None:
    send(service, {"image_id": "i3", "accession_number": "S3", "scores": {}, "overlays": {"boxes": encoded(png())}})
    [overlay] = found(service, accession_number="S3")["images"][0]["overlays"]
    assert post(service, "/v1/studies/delete", {"accession_number": "S3"}) == (200, {"reports": 0, "images": 1})
    assert found(service, accession_number="S3")["images"] == []
    assert service.request("GET", f"/v1/overlays/{overlay['id']}")[0] == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"accession_number": None}, "images[0]"),
        ({"scores": {"Edema": 1.5}}, "images[0].scores.Edema"),
        ({"overlays": {"Edema": "!"}}, "images[0].overlays"),
        ({"overlays": {"Edema": encoded(b"GIF89a")}}, "images[0].overlays"),
        ({"overlays": {"Edema": encoded(png()[:-6])}}, "images[0].overlays"),
        ({"overlays": {"Edema": encoded(png(side=2).replace(b"IDAT", b"IDAU"))}}, "images[0].overlays"),
        ({"secret": 1}, "images[0].(a field that is not known)"),
    ],
)
def test_what_is_no_image_is_refused_by_field(service: Served, change: dict[str, Any], field: str) -> None:
    image = {"image_id": "MARK", "accession_number": "MARK", "scores": {"Edema": 0.5}, **change}
    status, answer = post(service, "/v1/studies/image-scores", {"model": MODEL, "images": [image]})
    assert status == 422, answer
    assert [error["field"] for error in answer["errors"]] == [field]
    assert "MARK" not in json.dumps(answer)
    assert found(service, accession_number="MARK")["images"] == []


def test_a_png_that_is_too_large_is_refused() -> None:
    with pytest.raises(PngInvalid, match="sides of 1 to 4,096"):
        bare_png(png(side=4097))
    with pytest.raises(PngInvalid, match="without its parts"):
        bare_png(b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""))


def test_predictions_are_pushed_and_what_names_no_study_is_told(service: Served, tmp_path: Path) -> None:
    folder = tmp_path / "found"
    (folder / "overlays").mkdir(parents=True)
    further = {"label_set": "chexpert14", "thresholds": {"Pleural Effusion": 0.3}}
    about = {**MODEL, **further, "task": "classification", "labels": ["Pleural Effusion"]}
    (folder / "model.json").write_text(json.dumps(about))
    columns = ["image_id", "file", "study_instance_uid", "accession_number", "accession_number_issuer", "patient_id"]
    with (folder / "predictions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*columns, "Pleural Effusion"])
        writer.writerow(["1.2.3", "a.dcm", UID, "S4", "", "P4", 0.25])
        writer.writerow(["1.2.4", "b.dcm", "", "", "", "", 0.75])
    (folder / "overlays" / "1.2.3.Pleural_Effusion.png").write_bytes(png())
    push = [sys.executable, "-m", "nlp_service", "vision", "push", str(folder), "--url", service.url]
    told = subprocess.run(push, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr.splitlines()) == (
        1,
        ["1 images sent", "1 images name no study (accession number or Study Instance UID): left out"],
    )
    [image] = found(service, accession_number="S4")["images"]
    assert image["scores"] == {"Pleural Effusion": 0.25}
    assert image["model"] == MODEL | further
    assert [overlay["name"] for overlay in image["overlays"]] == ["Pleural Effusion"]


def test_identifiers_are_in_no_log(service: Served) -> None:
    send(service, {"image_id": "ZMARKED", "accession_number": "ZMARKED", "patient_id": "ZMARKED", "scores": {}})
    found(service, accession_number="ZMARKED")
    assert "ZMARKED" not in service.log.read_text()
    assert "ZMARKED" not in service.request("GET", "/metrics")[1].decode()
    assert "ZMARKED" not in json.dumps(service.get("/v1/audit"))
