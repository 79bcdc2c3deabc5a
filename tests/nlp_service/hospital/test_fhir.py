"""`DiagnosticReport/$label`: Bundles that are valid FHIR R4, and that say what the labeler said.

`RADLABEL_FULL=1` checks 500 reports instead of 60.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from corpora.findings import Status
from corpora.grammar import SentenceGrammar
from corpora.grammar.compose import compose_report
from corpora.sources.fhir import report_of_resource
from corpora.vocabulary import load_vocabulary
from nlp_service.hospital.fhir import (
    bundle_of,
    capability_statement,
    findings_of_bundle,
    labels_of_bundle,
    operation_definition,
)
from nlp_service.labeler import Labeler
from tests.nlp_service.processes import Served

NUMBER = 500 if os.environ.get("RADLABEL_FULL") == "1" else 60
SCHEMA = Path(__file__).parents[3] / "build" / "fhir" / "fhir.schema.json"
NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def diagnostic_report(number: int, text: str) -> dict[str, Any]:
    """Return a report as systems send them: now with everything around it, now with the least."""
    resource: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": f"r{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "36643-5", "display": "XR Chest 2 Views"}]},
    }
    if number % 2:
        resource |= {
            "subject": {"reference": f"Patient/p{number}"},
            "effectiveDateTime": "2026-02-28T09:30:00+01:00",
            "presentedForm": [
                {"contentType": "text/plain; charset=utf-8", "data": base64.b64encode(text.encode()).decode()}
            ],
        }
    else:
        resource |= {"identifier": [{"system": "urn:x", "value": f"i{number}"}], "conclusion": text}
    return resource


@cache
def answers() -> list[tuple[dict[str, Any], Any, dict[str, Any]]]:
    """Return made-up reports with their labels and their Bundles."""
    vocabulary = load_vocabulary()
    grammar, rng = SentenceGrammar(vocabulary), random.Random(7)
    texts = [compose_report(grammar, rng).report.text for _ in range(NUMBER - 3)]
    texts += [
        "No acute cardiopulmonary abnormality.",
        "12 mm nodule (0.8 x 1.2 cm) in the right upper lobe.",
        "<&>\x0bl",
    ]
    resources = [diagnostic_report(i, text) for i, text in enumerate(texts)]
    labeler = Labeler(label_sets=["chexpert14", "nih14"], reader="rules")
    labeled = labeler.label_many([report_of_resource(resource) for resource in resources])
    return [
        (resource, row, bundle_of(resource, row, labeler.vocabulary, labeler.model, now=NOW))
        for resource, row in zip(resources, labeled, strict=True)
    ]


def test_every_bundle_is_valid_for_fhir_resources() -> None:
    from fhir.resources.R4B.bundle import Bundle

    for _, _, bundle in answers():
        Bundle.model_validate(bundle)


def test_every_answer_is_valid_for_the_schema_of_r4() -> None:
    if not SCHEMA.is_file():
        pytest.skip("the schema of FHIR R4 is not there: make peers")
    import jsonschema_rs

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema.pop("id", None)
    validator = jsonschema_rs.validator_for(schema)
    resources = [bundle for _, _, bundle in answers()]
    # The schema is that of 4.0.0, which cannot know the number of its corrections.
    resources.append({**capability_statement("http://127.0.0.1/fhir"), "fhirVersion": "4.0.0"})
    resources.append(operation_definition("http://127.0.0.1/fhir", ["x"]))
    for resource in resources:
        error = next(iter(validator.iter_errors(resource)), None)
        assert error is None, error


def test_a_bundle_read_back_says_what_the_labeler_said() -> None:
    for _, row, bundle in answers():
        bundle = json.loads(json.dumps(bundle))
        wanted = {
            label_set: {name: label for name, label in labels.items() if label.value is not None}
            for label_set, labels in row.labels.items()
        }
        assert labels_of_bundle(bundle) == {label_set: labels for label_set, labels in wanted.items() if labels}
        found = findings_of_bundle(bundle)
        assert [(f.concept_id, f.assertion, f.start, f.end, f.laterality, f.location) for f in found] == [
            (f.concept_id, f.assertion, f.start, f.end, f.laterality, f.location) for f in row.findings
        ]
        assert [f.measurement for f in found] == [f.measurement for f in row.findings]


def test_references_within_a_bundle_lead_to_its_entries() -> None:
    for resource, _, bundle in answers():
        names = {entry["fullUrl"] for entry in bundle["entry"]}
        assert len(names) == len(bundle["entry"])
        references = set(_references(bundle)) - set(_references(resource))
        assert {name for name in references if name.startswith("urn:")} <= names
        assert {name for name in references if not name.startswith("urn:")} <= {f"DiagnosticReport/{resource['id']}"}


def test_what_is_contained_in_the_report_is_neither_referred_to_nor_repeated() -> None:
    labeler = Labeler(reader="rules")
    resource = diagnostic_report(1, "Small left pleural effusion.") | {
        "contained": [
            {"resourceType": "Patient", "id": "p", "identifier": [{"value": "MARKED-1"}]},
            {"resourceType": "Organization", "id": "o", "name": "MARKED-2"},
        ],
        "subject": {"reference": "#p", "display": "MARKED-3", "identifier": {"value": "MARKED-4"}},
        "encounter": {
            "reference": "Encounter/e",
            "identifier": {"value": "v-1", "assigner": {"reference": "#o", "display": "MARKED-5"}},
        },
    }
    row = labeler.label(report_of_resource(resource))
    bundle = bundle_of(resource, row, labeler.vocabulary, labeler.model, now=NOW)
    assert [name for name in _references(bundle) if name.startswith("#")] == []
    assert "MARKED" not in json.dumps(bundle)
    observations = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation"]
    assert observations
    for observation in observations:
        assert "subject" not in observation
        assert observation["encounter"] == {"reference": "Encounter/e", "identifier": {"value": "v-1"}}


@pytest.mark.parametrize("status", ["cancelled", "entered-in-error"])
def test_a_report_that_was_withdrawn_gets_an_outcome_and_no_labels(service: Served, status: str) -> None:
    found, outcome = post(service, diagnostic_report(1, "Small left pleural effusion.") | {"status": status})
    assert (found, outcome["resourceType"]) == (422, "OperationOutcome")
    (issue,) = outcome["issue"]
    assert (issue["code"], issue["expression"]) == ("business-rule", ["DiagnosticReport.status"])
    assert "cancelled or entered in error" in issue["diagnostics"]


@pytest.mark.parametrize(
    "status", ["registered", "partial", "preliminary", "amended", "corrected", "appended", "unknown"]
)
def test_a_report_of_any_other_status_is_labeled(service: Served, status: str) -> None:
    found, bundle = post(service, diagnostic_report(1, "Small left pleural effusion.") | {"status": status})
    assert (found, bundle["resourceType"]) == (200, "Bundle")


def test_a_report_without_text_gets_an_outcome() -> None:
    labeler = Labeler(reader="rules")
    resource = diagnostic_report(0, "Findings:")
    row = labeler.label(report_of_resource(resource))
    assert row.status is not Status.OK
    kinds = [
        e["resource"]["resourceType"] for e in bundle_of(resource, row, labeler.vocabulary, labeler.model)["entry"]
    ]
    assert kinds == ["Device", "DocumentReference", "OperationOutcome"]


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Run a service."""
    served = Served(tmp_path_factory.mktemp("fhir"))
    served.start()
    yield served
    served.stop()


def post(service: Served, body: object, kind: str = "application/fhir+json") -> tuple[int, dict[str, Any]]:
    status, answer = service.request("POST", "/v1/fhir/DiagnosticReport/$label", body, Content_Type=kind)
    return status, json.loads(answer)


def test_the_operation_answers_with_a_bundle(service: Served) -> None:
    status, bundle = post(service, diagnostic_report(1, "Small left pleural effusion. No pneumothorax."))
    assert (status, bundle["resourceType"]) == (200, "Bundle")
    labels = labels_of_bundle(bundle)["chexpert14"]
    assert {name: str(label.value) for name, label in labels.items()} == {
        "Pleural Effusion": "positive",
        "Pneumothorax": "negative",
    }


def test_parameters_choose_the_label_sets(service: Served) -> None:
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "resource", "resource": diagnostic_report(2, "Small left pleural effusion.")},
            {"name": "label-set", "valueString": "nih14"},
        ],
    }
    status, bundle = post(service, parameters)
    assert status == 200
    assert list(labels_of_bundle(bundle)) == ["nih14"]


@pytest.mark.parametrize(
    ("body", "status", "issue"),
    [
        (b"{", 422, "structure"),
        ([], 422, "structure"),
        ({"resourceType": "Patient"}, 422, "not-supported"),
        ({"resourceType": "DiagnosticReport", "status": "final"}, 422, "required"),
        ({"resourceType": "Parameters", "parameter": []}, 422, "required"),
        ({**diagnostic_report(2, "x"), "presentedForm": [{"contentType": "text/plain", "data": "%%"}]}, 422, None),
    ],
)
def test_what_is_wrong_is_an_outcome(service: Served, body: object, status: int, issue: str | None) -> None:
    found, outcome = post(service, body)
    assert (found, outcome["resourceType"]) == (status, "OperationOutcome")
    assert issue in (None, outcome["issue"][0]["code"])


def test_another_kind_of_body_or_label_set_is_an_outcome(service: Served) -> None:
    status, outcome = post(service, b"<x/>", kind="application/fhir+xml")
    assert (status, outcome["issue"][0]["code"]) == (415, "not-supported")
    resource = {"name": "resource", "resource": diagnostic_report(2, "x")}
    asked = {"resourceType": "Parameters", "parameter": [resource, {"name": "label-set", "valueString": "none14"}]}
    status, outcome = post(service, asked)
    assert (status, outcome["issue"][0]["code"]) == (422, "invalid")
    assert "none14" not in json.dumps(outcome)


def test_the_server_describes_itself(service: Served) -> None:
    statement = service.get("/v1/fhir/metadata")
    operation = statement["rest"][0]["resource"][0]["operation"][0]
    assert operation["name"] == "label"
    path = operation["definition"].removeprefix(service.url)
    assert service.get(path)["code"] == "label"
