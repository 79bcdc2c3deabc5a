"""`/v1/dicom/sr`: a DICOM structured report in, its labels out, as a row or as a structured report."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from corpora.imaging.evidence import EvidenceMissing
from corpora.reports import Report
from corpora.sources.dicom_sr import DocumentInvalid, read_document, report_of_sr
from nlp_service.api.context import MayLabel, Ready, labeled, waited
from nlp_service.api.models import LabelAnswer, LabelSetId
from nlp_service.api.problems import FieldProblem, Problem, responses
from nlp_service.hospital.sr import measurement_report
from nlp_service.store.keys import Deed
from nlp_service.store.stored import Arrival

router = APIRouter(tags=["DICOM"])
MEDIA_TYPE = "application/dicom"
# In a header that says what is accepted, and not that it is not (q=0).
_NAMED = re.compile(r"(?:^|,)\s*application/dicom\s*(?:;(?!\s*q=0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)", re.IGNORECASE)


@router.post(
    "/v1/dicom/sr",
    summary="Label a structured report",
    response_class=Response,
    responses={
        200: {
            "model": LabelAnswer,
            "description": "A row; or, with `Accept: application/dicom`, a structured report (TID 1500)",
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        },
        **responses(400, 401, 403, 413, 415, 422, 429, 503),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def label_structured_report(
    request: Request,
    service: Ready,
    key_id: MayLabel,
    label_sets: Annotated[
        list[LabelSetId] | None, Query(max_length=16, description="by default, the service's")
    ] = None,
    store: Annotated[bool, Query(description="keep the labels for look-up by accession number or study")] = False,
) -> Response:
    """Read the text of a DICOM structured report: a file of the SR classes for a radiologist's reading.

    The answer is a row as `POST /v1/label` gives it. With `Accept: application/dicom` it is a structured report itself
    (TID 1500, Measurement Report), in the study of the document that was read, which is its evidence.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise Problem(415, "unsupported-media-type", "This kind of body is not read", f"Send {MEDIA_TYPE}.")
    body = await request.body()
    try:
        document = await run_in_threadpool(read_document, body)
        report: Report = await run_in_threadpool(report_of_sr, document)
    except DocumentInvalid as error:
        raise Problem(
            422,
            "invalid-document",
            "The document is not a structured report that can be read",
            errors=[FieldProblem(field="body", reason=str(error))],
        ) from None
    if len(report.text) > service.settings.max_report_characters:
        raise Problem(413, "report-too-long", "The report is too long")
    names = tuple(dict.fromkeys(label_sets or service.settings.label_sets))
    rows = await labeled(service, [report], names)
    arrivals = [Arrival(report, "sr")] if store else []
    deed = Deed("store" if store else "label", "sr", 1, key_id)
    await waited(service.write_down(deed, arrivals, rows if store else (), names), service)
    service.metrics.on_labeled(rows, "sr")
    if _NAMED.search(request.headers.get("accept", "")):
        try:
            made = await run_in_threadpool(
                measurement_report, document, rows[0], service.vocabulary, service.queue.model
            )
        except EvidenceMissing as error:
            raise Problem(422, "no-evidence", "A structured report cannot be made", str(error)) from None
        return Response(made, media_type=MEDIA_TYPE)
    content = f'{{"results":[{service.queue.form(names).json_text(rows[0])}]}}'
    return Response(content.encode("utf-8", "replace"), media_type="application/json")
