"""What a FHIR client asks a server besides its data: what it can do, how its operation is called, what went wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.sources.fhir_report import ResourceInvalid
from nlp_service._version import __version__

Element = dict[str, Any]
FHIR_VERSION = "4.0.1"
MEDIA_TYPE = "application/fhir+json"
OPERATION_ID = "DiagnosticReport-label"


@dataclass(frozen=True, slots=True, repr=False)
class LabelRequest:
    """What `$label` was asked: a DiagnosticReport, and the label sets that are wanted (none: the server's own)."""

    diagnostic_report: Mapping[str, Any]
    label_sets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LabelRequest({len(self.label_sets)} label sets)"


def read_label_request(body: object) -> LabelRequest:
    """Return what the body of a `$label` request asks: a DiagnosticReport alone, or Parameters with one.

    The report itself is not checked (`report_of_resource` does). Raises `ResourceInvalid` where there is none.
    """
    if not isinstance(body, Mapping):
        raise ResourceInvalid("must be a JSON object", expression="DiagnosticReport", issue="structure")
    if body.get("resourceType") != "Parameters":
        return LabelRequest(body)
    reports: list[Mapping[str, Any]] = []
    label_sets: list[str] = []
    parameters = body.get("parameter")
    for index, item in enumerate(parameters if isinstance(parameters, list) else ()):
        place = f"Parameters.parameter[{index}]"
        name = item.get("name") if isinstance(item, Mapping) else None
        if name == "resource" and isinstance(item.get("resource"), Mapping):
            reports.append(item["resource"])
        elif name == "label-set" and isinstance(item.get("valueString"), str):
            label_sets.append(item["valueString"])
        else:
            reason = "must be resource, with a DiagnosticReport, or label-set, with a string"
            raise ResourceInvalid(reason, expression=place, issue="value")
    if len(reports) != 1:
        reason = f"must hold one parameter named resource, not {len(reports)}"
        raise ResourceInvalid(reason, expression="Parameters.parameter", issue="required")
    return LabelRequest(reports[0], tuple(label_sets))


def operation_outcome(
    reason: str, *, issue: str = "invalid", severity: str = "error", expression: str | None = None
) -> Element:
    """Return an OperationOutcome of one issue; ``issue`` is a code of http://hl7.org/fhir/issue-type."""
    found: Element = {"severity": severity, "code": issue, "diagnostics": reason}
    if expression is not None:
        found["expression"] = [expression]
    return {"resourceType": "OperationOutcome", "issue": [found]}


def outcome_of(error: ResourceInvalid) -> Element:
    """Return the OperationOutcome that says what is wrong with a resource."""
    return operation_outcome(error.reason, issue=error.issue, expression=error.expression)


def capability_statement(base_url: str, *, needs_keys: bool = True, now: dt.datetime | None = None) -> Element:
    """Return the CapabilityStatement of the server at ``base_url``, for ``GET [base]/metadata``."""
    base_url = base_url.rstrip("/")
    security = (
        {"service": [{"text": "API key"}], "description": "Send a key as `Authorization: Bearer <key>`."}
        if needs_keys
        else {"description": "Open to this machine alone."}
    )
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": (now or dt.datetime.now(dt.UTC)).date().isoformat(),
        "kind": "instance",
        "software": {"name": "radlabel", "version": __version__},
        "implementation": {"description": "Labels radiology reports", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", MEDIA_TYPE],
        "rest": [
            {
                "mode": "server",
                "documentation": "Reads a DiagnosticReport and answers with its findings and labels as Observations. "
                "Nothing is stored. For research; not a medical device.",
                "security": security,
                "resource": [
                    {
                        "type": "DiagnosticReport",
                        "documentation": "Only the operation: reports are not kept as resources.",
                        "operation": [
                            {
                                "name": "label",
                                "definition": _definition(base_url),
                                "documentation": "POST a DiagnosticReport, or Parameters with one.",
                            }
                        ],
                    },
                    {"type": "OperationDefinition", "interaction": [{"code": "read"}]},
                ],
            }
        ],
    }


def operation_definition(base_url: str, label_sets: Sequence[str] = ()) -> Element:
    """Return the OperationDefinition of `$label`; ``label_sets`` are those that can be asked for."""
    known = f" One of {', '.join(label_sets)}." if label_sets else ""
    return {
        "resourceType": "OperationDefinition",
        "id": OPERATION_ID,
        "url": _definition(base_url.rstrip("/")),
        "version": __version__,
        "name": "LabelDiagnosticReport",
        "title": "Label a diagnostic report",
        "status": "active",
        "kind": "operation",
        "description": "Reads the text of a DiagnosticReport and returns its findings and its labels as Observations. "
        "For research; not a medical device.",
        "affectsState": False,
        "code": "label",
        "resource": ["DiagnosticReport"],
        "system": False,
        "type": True,
        "instance": False,
        "parameter": [
            {
                "name": "resource",
                "use": "in",
                "min": 1,
                "max": "1",
                "documentation": "The report. Its text is the first presentedForm with data of text/plain, or else of "
                "text/html; or else its conclusion.",
                "type": "DiagnosticReport",
            },
            {
                "name": "label-set",
                "use": "in",
                "min": 0,
                "max": "*",
                "documentation": f"A label set to give; without it, the server's own.{known}",
                "type": "string",
            },
            {
                "name": "return",
                "use": "out",
                "min": 1,
                "max": "1",
                "documentation": "A collection with a Device, a DocumentReference, an Observation for each finding and "
                "one for each label that has a value.",
                "type": "Bundle",
            },
        ],
    }


def _definition(base_url: str) -> str:
    return f"{base_url}/OperationDefinition/{OPERATION_ID}"
