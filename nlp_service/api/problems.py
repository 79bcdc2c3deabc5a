"""What a client is told when something is wrong: problem details (RFC 9457), which name the field and quote nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from nlp_service.errors import describe

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
_URN = "urn:radlabel:problem:"


class FieldProblem(BaseModel):
    """What is wrong with one field; the value is not repeated."""

    field: str = Field(description="where it stands, such as reports[3].text", examples=["reports[3].text"])
    reason: str = Field(examples=["must be text"])


class ProblemDetails(BaseModel):
    """RFC 9457, with the fields at fault."""

    type: str = Field(examples=["urn:radlabel:problem:invalid-request"])
    title: str = Field(examples=["The request is not valid"])
    status: int = Field(examples=[422])
    detail: str | None = Field(default=None, examples=["1 field is not valid"])
    errors: list[FieldProblem] | None = None


class Problem(Exception):
    """An answer that is a problem. ``kind`` ends its type, ``detail`` is a sentence without any content."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str | None = None,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        super().__init__(title)

    def response(self) -> JSONResponse:
        """Return the answer."""
        details = ProblemDetails(
            type=f"{_URN}{self.kind}",
            title=self.title,
            status=self.status,
            detail=self.detail,
            errors=self.errors or None,
        )
        return JSONResponse(
            details.model_dump(exclude_none=True), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of answers that are problems."""
    return {
        code: {
            "description": HTTPStatus(code).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for code in codes
    }


async def on_problem(_request: Request, problem: Exception) -> JSONResponse:
    """Answer with a problem."""
    assert isinstance(problem, Problem)
    return problem.response()


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Answer what the framework refuses: a path or a method that does not exist, a body that is no text."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:  # bytes that are not UTF-8
        reason = FieldProblem(field="body", reason="is not valid JSON")
        return Problem(422, "invalid-request", "The request is not valid", errors=[reason]).response()
    phrase = HTTPStatus(error.status_code).phrase
    kind = phrase.lower().replace(" ", "-")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_of(request)))
    return Problem(error.status_code, kind, phrase, headers=headers).response()


def _methods_of(request: Request) -> set[str]:
    """Return the methods of a path; the framework tells those of the first of its routes alone."""
    return {
        method
        for route in request.app.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }


async def on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """Answer a request that is not of the form: which fields, and what they should be."""
    assert isinstance(error, RequestValidationError)
    found = [FieldProblem(field=_field(e["loc"], str(e["type"])), reason=_reason(e)) for e in error.errors()]
    shown = found[:20]
    number = f"{len(found)} fields are" if len(found) > 1 else "1 field is"
    return Problem(
        422, "invalid-request", "The request is not valid", f"{number} not of the form that is asked for", errors=shown
    ).response()


async def on_store_away(_request: Request, error: Exception) -> JSONResponse:
    """Answer while the database cannot be reached: that is nothing the client did."""
    log.error("the store cannot be reached", extra={"fault": describe(error)})
    return Problem(
        503, "store-failed", "The store cannot be reached", "Try again later.", headers={"Retry-After": "10"}
    ).response()


def _field(location: Iterable[object], kind: str) -> str:
    """Return where an error is, as ``reports[3].text``. Names that the client made up are not repeated."""
    parts = list(location)
    if kind == "json_invalid":
        return "body"  # what else is told is where in the body, by a number
    if parts and parts[0] in ("body", "query", "path", "header"):
        parts = parts[1:] if parts[0] == "body" and len(parts) > 1 else parts
    name = ""
    for part in parts:
        if isinstance(part, int):
            name += f"[{part}]"
        elif kind == "extra_forbidden" and part is parts[-1]:
            name += f"{'.' if name else ''}(a field that is not known)"
        elif isinstance(part, str) and part.replace("_", "").replace("-", "").isalnum() and len(part) <= 40:
            name += f"{'.' if name else ''}{part}"
    return name or "body"


# Pydantic's own messages can hold a value; these cannot.
_REASONS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    "string_type": "must be text",
    "string_too_short": "is too short",
    "string_too_long": "is too long",
    "string_pattern_mismatch": "is not of the form that is asked for",
    "string_unicode": "is not valid Unicode text",
    "list_type": "must be a list",
    "too_short": "holds too few items",
    "too_long": "holds too many items",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "date_type": "must be a date of the form YYYY-MM-DD",
    "date_parsing": "must be a date of the form YYYY-MM-DD",
    "date_from_datetime_parsing": "must be a date of the form YYYY-MM-DD",
    "date_from_datetime_inexact": "must be a date of the form YYYY-MM-DD",
    "json_invalid": "is not valid JSON",
    "enum": "is not one of the values that it may have",
    "literal_error": "is not one of the values that it may have",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "value_error": "is not valid",
    "nul": "must not hold the character NUL",
    "names_a_study": "must name a study: give accession_number or study_instance_uid",
}


def _reason(error: Mapping[str, Any]) -> str:
    kind = str(error["type"])
    reason = _REASONS.get(kind, "is not valid")
    context = error.get("ctx") or {}
    limit = next(
        (context[k] for k in ("max_length", "min_length", "le", "ge") if isinstance(context.get(k), int)), None
    )
    if limit is None:
        return reason
    return f"{reason}: the limit is {limit:,}"
