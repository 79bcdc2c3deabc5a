"""`/v1/fhir`: the operation `DiagnosticReport/$label`, and what describes it. Errors are OperationOutcomes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from corpora.sources.fhir import ResourceInvalid, report_of_resource
from nlp_service.api.context import MayLabel, Ready, labeled, waited
from nlp_service.api.problems import Problem
from nlp_service.hospital.fhir import (
    MEDIA_TYPE,
    OPERATION_ID,
    bundle_of,
    capability_statement,
    operation_definition,
    operation_outcome,
    outcome_of,
    read_label_request,
)
from nlp_service.service import Service
from nlp_service.store.keys import Deed

_JSON_TYPES = ("application/fhir+json", "application/json", "application/json+fhir")
# HTTP status: FHIR's issue-type. Others are "processing".
_ISSUES = {401: "login", 403: "forbidden", 413: "too-costly", 415: "not-supported", 422: "invalid", 429: "throttled"}
_EXAMPLE = {
    "resourceType": "DiagnosticReport",
    "id": "r-001",
    "status": "final",
    "code": {"text": "Chest radiograph"},
    "conclusion": "Small left pleural effusion. No pneumothorax.",
}


class FhirRoute(APIRoute):
    """A route whose problems are OperationOutcomes, as clients of FHIR expect them."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """Return the handler."""
        answer = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await answer(request)
            except ResourceInvalid as error:
                return _as_json(outcome_of(error), 422)
            except Problem as problem:
                return as_outcome(problem)

        return handler


router = APIRouter(tags=["FHIR"], route_class=FhirRoute)


def _answers(resource: str, *codes: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of the answers: FHIR has the form of a resource by its own."""
    content = {MEDIA_TYPE: {"schema": {"type": "object"}}}
    return {
        200: {"description": resource, "content": content},
        **{code: {"description": "OperationOutcome", "content": content} for code in codes},
    }


@router.post(
    "/v1/fhir/DiagnosticReport/$label",
    summary="Label a DiagnosticReport",
    response_class=Response,
    responses=_answers("Bundle of Observations", 400, 401, 403, 413, 415, 422, 429, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "object"}, "example": _EXAMPLE}},
        }
    },
)
async def label_diagnostic_report(request: Request, service: Ready, key_id: MayLabel) -> Response:
    """Read a DiagnosticReport (`presentedForm` or `conclusion`) and return its findings and labels as Observations.

    The body is the DiagnosticReport, or Parameters with it as `resource` and any number of `label-set`. Nothing is
    stored.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _JSON_TYPES:
        raise Problem(415, "unsupported-media-type", "This kind of body is not read", f"Send {MEDIA_TYPE}.")
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise ResourceInvalid("must be valid JSON", expression="DiagnosticReport", issue="structure") from None
    asked = read_label_request(body)
    report = report_of_resource(asked.diagnostic_report, report_id="report")
    limit = service.settings.max_report_characters
    if len(report.text) > limit:
        raise ResourceInvalid(f"has more than {limit:,} characters", expression="DiagnosticReport", issue="too-long")
    label_sets = asked.label_sets or service.settings.label_sets
    rows = await labeled(service, [report], label_sets)
    service.metrics.on_labeled(rows, "fhir")
    await waited(service.write_down(Deed("label", "fhir", 1, key_id)), service)
    bundle = bundle_of(
        asked.diagnostic_report, rows[0], service.vocabulary, service.queue.model, now=dt.datetime.now(dt.UTC)
    )
    return _as_json(bundle)


@router.get(
    "/v1/fhir/metadata",
    summary="CapabilityStatement",
    response_class=Response,
    responses=_answers("CapabilityStatement"),
)
async def read_capabilities(request: Request) -> Response:
    """Return what this FHIR server can do."""
    service: Service = request.app.state.service
    return _as_json(capability_statement(_base(request), needs_keys=service.settings.needs_keys))


@router.get(
    f"/v1/fhir/OperationDefinition/{OPERATION_ID}",
    summary="OperationDefinition of $label",
    response_class=Response,
    responses=_answers("OperationDefinition", 503),
)
async def read_operation(request: Request, service: Ready) -> Response:
    """Return how `$label` is called."""
    return _as_json(operation_definition(_base(request), sorted(service.vocabulary.label_sets)))


def as_outcome(problem: Problem) -> Response:
    """Return a problem as an OperationOutcome."""
    words = problem.title + (f": {problem.detail}" if problem.detail else "")
    words += "".join(f" {error.field} {error.reason}." for error in problem.errors)
    issue = _ISSUES.get(problem.status, "processing")
    return _as_json(operation_outcome(words, issue=issue), problem.status, problem.headers)


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/v1/fhir"


def _as_json(resource: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, status, headers=headers, media_type=f"{MEDIA_TYPE}; charset=utf-8")
