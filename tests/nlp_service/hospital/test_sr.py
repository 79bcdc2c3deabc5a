"""Structured reports: what a service reads in one, and the one it writes, read back by DCMTK and by highdicom."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.corpora.test_sources_dicom_sr import file_of, structured_report, text
from tests.nlp_service.processes import Served

TEXT = "12 mm nodule in the right upper lobe. Small left pleural effusion, unchanged. No pneumothorax."
DOOR = "/v1/dicom/sr"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service."""
    served = Served(tmp_path_factory.mktemp("sr"))
    served.start()
    yield served
    served.stop()


def document(said: str = TEXT, **values: str) -> bytes:
    source = structured_report(text(said))
    identity = {"PatientID": "P-1", "PatientName": "Doe^Jane", "AccessionNumber": "A-1"}
    for name, value in {**identity, "StudyInstanceUID": "2.25.1", "SeriesInstanceUID": "2.25.2", **values}.items():
        setattr(source, name, value)
    return file_of(source)


def post(service: Served, body: bytes, path: str = DOOR, **headers: str) -> tuple[int, bytes]:
    return service.request("POST", path, body, **{"Content_Type": "application/dicom", **headers})


def groups(made: Dataset) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what each group of measurements says: its finding, and its evaluations and measurements by name."""

    def meaning(item: Dataset, sequence: str) -> str:
        return str(item[sequence].value[0].CodeMeaning)

    for container in made.ContentSequence:
        if meaning(container, "ConceptNameCodeSequence") != "Imaging Measurements":
            continue
        for group in container.ContentSequence:
            said: dict[str, str] = {}
            for item in group.ContentSequence:
                name = meaning(item, "ConceptNameCodeSequence")
                if item.ValueType == "CODE":
                    said[name] = meaning(item, "ConceptCodeSequence")
                    for child in item.get("ContentSequence", ()):
                        said[meaning(child, "ConceptNameCodeSequence")] = meaning(child, "ConceptCodeSequence")
                elif item.ValueType == "NUM":
                    said[name] = str(item.MeasuredValueSequence[0].NumericValue)
            yield said.pop("Finding"), said


def test_a_structured_report_gets_a_row_and_is_stored_where_asked(service: Served) -> None:
    status, body = post(service, document(), f"{DOOR}?label_sets=nih14&store=true")
    row = json.loads(body)["results"][0]
    assert (status, row["status"], row["accession_number"]) == (200, "ok", "A-1")
    assert {name for name, label in row["labels"]["nih14"].items() if label["value"] == "positive"} == {
        "Effusion",
        "Nodule",
    }
    status, found = service.request("POST", "/v1/studies/search", {"study_instance_uid": "2.25.1"})
    assert [report["door"] for report in json.loads(found)["reports"]] == ["sr"]


def test_a_structured_report_comes_back_where_asked(service: Served, tmp_path: Path) -> None:
    status, body = post(service, document(), Accept="application/dicom")
    assert status == 200
    made = dcmread(io.BytesIO(body))
    assert (made.StudyInstanceUID, made.AccessionNumber, made.PatientID) == ("2.25.1", "A-1", "P-1")
    assert (made.CompletionFlag, made.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    said = dict(groups(made))
    nodule = next(value for name, value in said.items() if "nodule" in name.lower())
    assert float(nodule["Length"]) == 12
    effusion = next(value for name, value in said.items() if "effusion" in name.lower())
    assert (effusion["Assertion"], effusion["Laterality"], effusion["Severity"]) == ("Present", "Left", "small")
    labels = said["Labels of the study: chexpert14"]
    assert (labels["Pleural Effusion"], labels["Pneumothorax"]) == ("Present", "Absent")
    # The evidence is the document that was read.
    named = made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert named.SeriesInstanceUID == "2.25.2"
    if shutil.which("dsrdump") is None:
        pytest.skip("DCMTK is not installed")
    path = tmp_path / "made.dcm"
    path.write_bytes(body)
    dump = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, check=False)
    assert dump.returncode == 0, dump.stderr
    assert "Imaging Measurement Report" in dump.stdout
    assert "E:" not in dump.stderr


@pytest.mark.parametrize("name", ["Müller^Jürgen", "山田^太郎", "No caret"])
def test_a_name_comes_back_in_its_script_and_is_in_no_log(service: Served, name: str) -> None:
    source = document(SpecificCharacterSet="ISO_IR 192", PatientName=name)
    status, body = post(service, source, Accept="application/dicom")
    made = dcmread(io.BytesIO(body))
    assert (status, made.SpecificCharacterSet, str(made.PatientName)) == (200, "ISO_IR 192", name)
    assert name not in service.log.read_text()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientBirthDate", "1970"), ("PatientSex", "U"), ("StudyDate", "2026/01/01"), ("StudyTime", "noon")],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_value_against_the_standard_is_left_out(service: Served, keyword: str, value: str) -> None:
    status, body = post(service, document(**{keyword: value}), Accept="application/dicom")
    assert status == 200
    assert not dcmread(io.BytesIO(body)).get(keyword)


def test_a_report_of_which_nothing_was_read_has_a_structured_report_that_says_so(service: Served) -> None:
    spanish = "Silueta cardiaca de tamaño normal. Senos costofrénicos libres. No se observan infiltrados."
    status, body = post(service, document(spanish), Accept="application/dicom")
    assert status == 200, body
    [(finding, said)] = groups(dcmread(io.BytesIO(body)))
    assert (finding, said) == ("Labels of the study", {"Status": "not_applicable"})


def test_without_evidence_there_is_no_structured_report(service: Served) -> None:
    status, body = post(service, document(StudyInstanceUID=""), Accept="application/dicom")
    problem: dict[str, Any] = json.loads(body)
    assert (status, problem["type"]) == (422, "urn:radlabel:problem:no-evidence")
    assert "StudyInstanceUID" in problem["detail"]
    assert post(service, document(StudyInstanceUID=""))[0] == 200  # its labels need none


@pytest.mark.parametrize("body", [b"", b"x" * 200, b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_what_is_no_structured_report_is_a_problem(service: Served, body: bytes) -> None:
    status, answer = post(service, body)
    assert (status, json.loads(answer)["errors"][0]["field"]) == (422, "body")
    assert post(service, document(), Content_Type="text/plain")[0] == 415


@pytest.mark.parametrize(
    ("accept", "is_dicom"),
    [
        ("application/dicom", True),
        ("Application/DICOM; q=0.5", True),
        ("application/json, application/dicom;q=0.9", True),
        ("application/dicom;q=0", False),
        ("application/dicom+json", False),
        ("*/*", False),
    ],
)
def test_the_answer_is_of_the_kind_that_is_accepted(service: Served, accept: str, is_dicom: bool) -> None:
    status, body = post(service, document(), Accept=accept)
    assert status == 200
    assert (body[128:132] == b"DICM") is is_dicom
