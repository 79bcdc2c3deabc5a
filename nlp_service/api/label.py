"""`POST /v1/label`: reports in, labels and findings out."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from corpora.reports import Report
from nlp_service.api.context import MayLabel, Ready, labeled, waited
from nlp_service.api.models import LabelAnswer, LabelRequest, ReportIn
from nlp_service.api.problems import FieldProblem, Problem, responses
from nlp_service.service import Service
from nlp_service.store.keys import Deed
from nlp_service.store.stored import Arrival

router = APIRouter(tags=["label"])


@router.post(
    "/v1/label",
    summary="Label reports",
    response_class=Response,
    responses={
        200: {"model": LabelAnswer, "description": "A row for each report, in the order of the request"},
        **responses(401, 403, 413, 415, 422, 429, 503),
    },
)
async def label_reports(body: LabelRequest, service: Ready, key_id: MayLabel) -> Response:
    """Read one report, or up to 1,000 together. Nothing is stored unless ``store`` is true."""
    check_reports(body.reports, service)
    reports = [report_of(item) for item in body.reports]
    label_sets = tuple(dict.fromkeys(body.label_sets or service.settings.label_sets))
    rows = await labeled(service, reports, label_sets)
    # Made by hand, and once for answer and store: the rows have the form they have in files, and checking it again
    # would cost more than reading.
    form = service.queue.form(label_sets)
    contents = [form.json_content(row) for row in rows]
    deed = Deed("store" if body.store else "label", "api", len(reports), key_id)
    if body.store:
        arrivals = [Arrival(report, "api") for report in reports]
        stored = service.write_down(deed, arrivals, rows, label_sets, contents)
    else:
        stored = service.write_down(deed)
    answer = ",".join(form.json_text(row, content) for row, content in zip(rows, contents, strict=True))
    await waited(stored, service)
    service.metrics.on_labeled(rows, "api")
    return Response(f'{{"results":[{answer}]}}'.encode(), media_type="application/json")


def check_reports(reports: list[ReportIn], service: Service) -> None:
    """Raise a problem where there are too many reports, or one is too long."""
    settings = service.settings
    if len(reports) > settings.max_reports:
        raise Problem(
            413,
            "too-many-reports",
            "Too many reports in one request",
            f"The limit is {settings.max_reports:,}; jobs take any number.",
        )
    long = [i for i, report in enumerate(reports) if len(report.text) > settings.max_report_characters]
    if long:
        reason = f"is too long: the limit is {settings.max_report_characters:,} characters"
        raise Problem(
            413,
            "report-too-long",
            "A report is too long",
            errors=[FieldProblem(field=f"reports[{i}].text", reason=reason) for i in long[:20]],
        )


def report_of(item: ReportIn) -> Report:
    """Return the report that a request holds."""
    return Report(
        report_id=item.report_id,
        text=item.text,
        accession_number=item.accession_number,
        accession_number_issuer=item.accession_number_issuer,
        patient_id=item.patient_id,
        study_date=item.study_date,
        modality=item.modality,
        study_instance_uid=item.study_instance_uid,
    )
