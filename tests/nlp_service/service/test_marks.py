"""A marked report through every door: the mark is in what the caller asked for, and in nothing that others read.

The mark stands for a report's words, a name, and identifiers. It must be in no log, metric, error, audit entry, or
table of the jobs' engine.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corpora.sources.dicom_sr import quiet
from nlp_service.hospital.mllp import END, START, send_mllp
from tests.corpora.test_sources_dicom_sr import file_of, structured_report, text
from tests.nlp_service.processes import Served, free_port

MARK = "Wqzxjkvb"
TEXT = f"FINDINGS: Small left effusion in {MARK}. No pneumothorax."


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service that keeps texts, with every door open."""
    folder = tmp_path_factory.mktemp("marks")
    (folder / "exports").mkdir()
    (folder / "exports" / f"{MARK}.csv").write_text(f"report_id,text\n{MARK},{TEXT}\n{MARK},{TEXT}\n,{MARK}\n")
    settings = {
        "RADLABEL_JOB_ROOTS": str(folder / "exports"),
        "RADLABEL_KEEP_TEXTS_DAYS": "9",
        "RADLABEL_MLLP_PORT": str(free_port()),
    }
    served = Served(folder, environment=settings)
    served.mllp_port = int(settings["RADLABEL_MLLP_PORT"])  # type: ignore[attr-defined]
    with served:
        yield served


def post(service: Served, path: str, body: object, kind: str = "application/json", **headers: str) -> bytes:
    status, answer = service.request("POST", path, body, Content_Type=kind, **headers)
    return answer if status >= 400 else b""


def report(**fields: object) -> dict[str, object]:
    marked: dict[str, object] = {"report_id": MARK, "text": TEXT, "accession_number": MARK, "patient_id": MARK}
    return {"reports": [{**marked, **fields}]}


def label(service: Served) -> bytes:
    return post(service, "/v1/label", report())


def store(service: Served) -> bytes:
    return post(service, "/v1/label", {**report(accession_number_issuer=MARK, modality=MARK), "store": True})


def bad_label(service: Served) -> bytes:
    bad = (
        report(study_date=MARK),
        report(study_instance_uid=MARK),
        report(text=[MARK]),
        {**report(), MARK: MARK},
        {**report(), "label_sets": [MARK]},
        json.dumps(report()).encode()[:-9],
        json.dumps(report(text=TEXT * 30_000)).encode(),
    )
    return b"".join(post(service, "/v1/label", body) for body in bad)


def search(service: Served) -> bytes:
    answer = post(service, "/v1/studies/search", {"accession_number": MARK})
    return answer + post(service, "/v1/studies/search", {"study_instance_uid": MARK})


def upload(service: Served) -> bytes:
    path = service.folder / f"{MARK}-upload.jsonl"
    path.write_text(json.dumps({"report_id": MARK, "text": TEXT}) + "\n" + f'{{"{MARK}": 1}}\n{MARK}\n')
    finish(service, service.upload(path, store="true"))
    path.write_text(f"{MARK},{MARK}\n{MARK}\n")
    job = finish(service, service.upload(path, columns=json.dumps({"text": MARK})))
    return (job["error"] or "").replace(path.name, "").encode()  # a file's own name may be told to its owner


def by_path(service: Served) -> bytes:
    status, answer = service.request("POST", "/v1/jobs", {"path": f"{MARK}.csv"})
    assert status == 201
    finish(service, json.loads(answer)["id"])
    return post(service, "/v1/jobs", {"path": f"/{MARK}/{MARK}"})


def finish(service: Served, job: str) -> dict[str, str]:
    deadline = time.monotonic() + 60
    while (state := service.get(f"/v1/jobs/{job}"))["state"] not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    service.request("GET", f"/v1/jobs/{job}/results")
    return dict(state)


def mllp(service: Served) -> bytes:
    def oru(kind: str = "ORU^R01", date: str = "20260301") -> bytes:
        return (
            f"MSH|^~\\&|RIS|HOSP|RADLABEL|LAB|20260301||{kind}|M1|P|2.5.1\rPID|1||{MARK}^^^HOSP^MR||{MARK}^{MARK}\r"
            f"OBR|1||{MARK}^RIS|X|||{date}|||||||||||{MARK}|||||||F\rOBX|1|TX|{MARK}||{TEXT}||||||F\r"
        ).encode()

    port = service.mllp_port  # type: ignore[attr-defined]
    messages = [oru(), oru(kind=f"ADT^{MARK}"), oru(date=MARK), f"MSH|{MARK}".encode(), MARK.encode()]
    asyncio.run(send_mllp("127.0.0.1", port, messages[:1]))

    async def raw(message: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(START + message + END)
        answer = await asyncio.wait_for(reader.readuntil(END), 20)
        writer.close()
        return answer

    return b"".join(asyncio.run(raw(message)) for message in messages[1:])


def fhir(service: Served) -> bytes:
    good = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"text": MARK},
        "presentedForm": [{"contentType": "text/plain", "data": base64.b64encode(TEXT.encode()).decode()}],
        "subject": {"display": MARK},
    }
    path, kind = "/v1/fhir/DiagnosticReport/$label", "application/fhir+json"
    bad = ({**good, MARK: MARK}, {**good, "status": [MARK]}, {**good, "code": MARK}, {"resourceType": MARK}, {MARK: 1})
    return b"".join(post(service, path, body, kind) for body in (good, *bad))


def sr(service: Served) -> bytes:
    document = structured_report(text(TEXT))
    document.PatientName, document.PatientID, document.AccessionNumber = MARK, MARK, MARK
    data = file_of(document)
    kind = "application/dicom"
    answer = post(service, "/v1/dicom/sr?store=true", data, kind) + post(service, "/v1/dicom/sr", data[:-40], kind)
    with quiet():
        document.StudyInstanceUID = MARK  # breaks the rules of a UID
    return answer + post(service, "/v1/dicom/sr", file_of(document), kind, Accept=kind)


def review(service: Served) -> bytes:
    reports = service.get("/v1/review")["reports"]
    wrong = {"label_set": MARK, "label": MARK, "value": None}
    answer = post(service, f"/v1/review/{reports[0]['id']}", {"corrections": [wrong], "reviewer": MARK})
    return answer + post(service, f"/v1/review/{reports[0]['id']}", {"reviewer": MARK, "corrections": [], MARK: 1})


def lost(service: Served) -> bytes:
    answers = [service.request("GET", path)[1] for path in (f"/{MARK}", f"/v1/jobs/{MARK}", f"/v1/jobs?limit={MARK}")]
    return b"".join(answers)


DOORS: tuple[Callable[[Served], bytes], ...] = (
    *(label, store, bad_label, search, upload, by_path),
    *(mllp, fhir, sr, review, lost),
)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: str(door.__name__))
def test_no_error_repeats_what_was_sent(service: Served, door: Callable[[Served], bytes]) -> None:
    assert MARK not in door(service).decode("utf-8", "replace")


def test_nothing_that_others_read_has_the_mark(service: Served) -> None:
    """The last test that uses the service: everything has gone through it."""
    deadline = time.monotonic() + 60
    while '"is_waiting": true' in json.dumps(search_answer(service)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert MARK in json.dumps(search_answer(service))  # it is there for those who ask for it
    assert MARK not in service.request("GET", "/metrics")[1].decode()
    assert MARK not in json.dumps(service.get("/v1/audit?limit=1000"))
    assert MARK not in json.dumps(service.get("/v1/drift"))
    assert service.stop() == 0
    assert MARK not in service.log.read_text()
    engine = service.folder / "jobs.db"
    assert engine.is_file()
    for file in service.folder.glob("jobs.db*"):
        assert MARK.encode() not in file.read_bytes()
    with sqlite3.connect(service.folder / "radlabel.db") as connection:
        assert MARK not in str(connection.execute("SELECT * FROM audit").fetchall())


def search_answer(service: Served) -> object:
    status, answer = service.request("POST", "/v1/studies/search", {"accession_number": MARK})
    assert status == 200
    return json.loads(answer)


def test_a_crash_tells_a_kind_and_a_place(tmp_path: Path) -> None:
    """The database goes away under a running service: the worst that an answer can be is a 5xx without content."""
    service = Served(tmp_path)
    service.start()
    with sqlite3.connect(tmp_path / "radlabel.db") as connection:
        connection.execute("DROP TABLE labels")
    status, answer = service.request("POST", "/v1/label", {**report(), "store": True})
    assert status == 503
    assert MARK not in answer.decode()
    service.request("GET", "/v1/review")
    service.stop()
    assert MARK not in service.log.read_text()
    assert "SELECT" not in service.log.read_text()
