"""A FHIR R4 DiagnosticReport as a `Report`.

    RadlabelError
    +-- ResourceInvalid    a resource cannot become a report (also ValueError); knows element and kind of issue

fhir.resources checks the form (its R4B models: R4 with the few changes of 4.3, none of them in the resources used
here); what is taken from it stands in http://hl7.org/fhir/R4/diagnosticreport.html. Identifiers are found by their type
(v2-0203 ACSN, MR) or system (urn:dicom:uid), in the report or in what it refers to.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from corpora.errors import RadlabelError
from corpora.reports import Report
from corpora.sources.encoding import UNDECODABLE, decode, encoding_of_bytes
from corpora.sources.headings import modality_of_service
from corpora.sources.html_text import html_to_text
from corpora.sources.plain import plain_text
from corpora.sources.records import MAX_TEXT

Resource = Mapping[str, Any]
DICOM_UID = "urn:dicom:uid"
_PLAIN = ("text/plain", "text/markdown", "")
_HTML = ("text/html", "application/xhtml+xml")
_CHARSET = re.compile(r"charset\s*=\s*\"?([A-Za-z0-9._:-]+)", re.IGNORECASE)
# http://hl7.org/fhir/R4/valueset-diagnostic-report-status.html: what such a report says does not hold.
_WITHDRAWN = frozenset({"cancelled", "entered-in-error"})
_ELEMENT = re.compile(r"[a-z][A-Za-z]{0,40}")
# What pydantic calls a fault: what OperationOutcome calls it (issue-type), and in words. Its own words can quote.
_FAULTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "missing": ("required", "is missing"),
        "extra_forbidden": ("structure", "holds an element that FHIR R4 does not have"),
        "list_type": ("structure", "must be a list"),
        "model_type": ("structure", "must be an object"),
        "dict_type": ("structure", "must be an object"),
        "string_type": ("structure", "must be text"),
    }
)


class ResourceInvalid(RadlabelError, ValueError):
    """A resource cannot become a report. ``expression`` says which element, ``issue`` is a code of FHIR's issue-type,
    ``reason`` a sentence without any content of the resource.
    """

    def __init__(self, reason: str, *, expression: str, issue: str = "invalid") -> None:
        self.reason = reason
        self.expression = expression
        self.issue = issue
        super().__init__(f"{expression}: {reason}")

    def __reduce__(self) -> tuple[object, ...]:
        return (_resource_invalid, (self.reason, self.expression, self.issue))


def _resource_invalid(reason: str, expression: str, issue: str) -> ResourceInvalid:
    return ResourceInvalid(reason, expression=expression, issue=issue)


def check_diagnostic_report(resource: object) -> Resource:
    """Return the resource if it is a DiagnosticReport of valid form, or raise `ResourceInvalid`."""
    from fhir.resources.R4B.diagnosticreport import DiagnosticReport
    from pydantic import ValidationError

    if not isinstance(resource, Mapping):
        raise ResourceInvalid("must be a JSON object", expression="DiagnosticReport", issue="structure")
    if resource.get("resourceType") != "DiagnosticReport":
        raise ResourceInvalid("must be DiagnosticReport", expression="resourceType", issue="not-supported")
    try:
        DiagnosticReport.model_validate(resource)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False, include_context=False)[0]
        kind = str(fault["type"])
        issue, reason = _FAULTS.get(kind, ("value", "is not of the form that FHIR R4 asks for"))
        # The name of an element that does not exist is the sender's own: it is not repeated.
        location = fault["loc"][:-1] if kind == "extra_forbidden" else fault["loc"]
        raise ResourceInvalid(reason, expression=_expression(location), issue=issue) from None
    except RecursionError:
        raise ResourceInvalid("is nested too deeply", expression="DiagnosticReport", issue="too-long") from None
    except Exception:  # a contained resource of a type that does not exist is a KeyError with its name
        raise ResourceInvalid("cannot be read as FHIR R4", expression="DiagnosticReport") from None
    return resource


def report_of_resource(
    resource: object, *, related: Mapping[str, Resource] = MappingProxyType({}), report_id: str | None = None
) -> Report:
    """Return the report that a DiagnosticReport holds.

    Parameters
    ----------
    resource
        The DiagnosticReport, as JSON has it. Its text is the first ``presentedForm`` that is plain text or else HTML
        (whose markup is taken off), or else its ``conclusion``.
    related
        Resources that came with it, by the references that lead to them (``Patient/4711``, ``urn:uuid:...``).
    report_id
        The id of a report that has neither an id nor an identifier.

    Raises
    ------
    ResourceInvalid
        The resource is no DiagnosticReport of valid form, its text comes in a form that is not read, or it was
        withdrawn.

    >>> report = report_of_resource(
    ...     {"resourceType": "DiagnosticReport", "id": "r1", "status": "final", "code": {"text": "Chest"},
    ...      "conclusion": "No pneumothorax."})
    >>> report.report_id, report.text
    ('r1', 'No pneumothorax.')
    """
    checked = check_diagnostic_report(resource)
    if checked.get("status") in _WITHDRAWN:
        raise ResourceInvalid(
            "says that the report was cancelled or entered in error: it gets no labels",
            expression="DiagnosticReport.status",
            issue="business-rule",
        )
    related = {**related, **_contained(checked)}
    studies = [*_referenced(checked.get("imagingStudy"), related)]
    orders = [*_referenced(checked.get("basedOn"), related)]
    identifiers = [*_objects(checked.get("identifier")), *_identifiers(orders), *_identifiers(studies)]
    accession = next((found for found in identifiers if _has_type(found, "ACSN")), {})
    return Report(
        report_id=_text(checked.get("id")) or _own_identifier(checked) or report_id or "",
        text=_report_text(checked),
        accession_number=_text(accession.get("value")),
        accession_number_issuer=_issuer(accession),
        patient_id=_patient_id(checked, related),
        study_date=_study_date(checked, studies),
        modality=_modality(checked, studies),
        study_instance_uid=_study_instance_uid(_identifiers(studies)),
    )


def _report_text(resource: Resource) -> str:
    forms = list(enumerate(_objects(resource.get("presentedForm"))))
    for wanted in (_PLAIN, _HTML):
        for index, form in forms:
            kind = str(form.get("contentType") or "").partition(";")[0].strip().lower()
            if kind in wanted and form.get("data"):
                text = _attachment(form, f"DiagnosticReport.presentedForm[{index}].data")
                text = html_to_text(text) if wanted is _HTML else text
                if text.strip():
                    return text
    conclusion = _text(resource.get("conclusion"))
    if conclusion is None and forms:
        raise ResourceInvalid(
            "holds no text/plain or text/html with its data, and there is no conclusion",
            expression="DiagnosticReport.presentedForm",
            issue="not-supported",
        )
    return plain_text(conclusion or "")


def _attachment(form: Resource, expression: str) -> str:
    data = str(form["data"])
    if len(data) > 2 * MAX_TEXT:
        raise ResourceInvalid("is too large for a report", expression=expression, issue="too-long")
    try:
        content = base64.b64decode(re.sub(r"\s+", "", data), validate=True)
    except (binascii.Error, ValueError):
        raise ResourceInvalid("is not valid base64", expression=expression, issue="value") from None
    charset = _CHARSET.search(str(form.get("contentType") or ""))
    try:
        text = decode(content, charset[1] if charset else encoding_of_bytes(content, None)).removeprefix("\ufeff")
    except LookupError:
        text = UNDECODABLE
    if UNDECODABLE in text:
        raise ResourceInvalid("is no text of its character set", expression=expression, issue="value")
    return plain_text(text)


def _patient_id(resource: Resource, related: Mapping[str, Resource]) -> str | None:
    """Return the patient's medical record number, or another identifier, or else the reference itself."""
    subjects = _referenced([resource.get("subject")], related)
    identifiers = [found for found in _identifiers(subjects) if found.get("value")]
    record = next((found for found in identifiers if _has_type(found, "MR")), next(iter(identifiers), {}))
    subject = resource.get("subject")
    return _text(record.get("value")) or (_text(subject.get("reference")) if isinstance(subject, Mapping) else None)


def _study_date(resource: Resource, studies: list[Resource]) -> dt.date | None:
    period = resource.get("effectivePeriod")
    candidates = [resource.get("effectiveDateTime"), period.get("start") if isinstance(period, Mapping) else None]
    candidates += [study.get("started") for study in studies]
    for value in candidates:
        try:
            return dt.date.fromisoformat(str(value or "")[:10])
        except ValueError:
            continue  # a year or a month is a valid date in FHIR, and no day
    return None


def _modality(resource: Resource, studies: list[Resource]) -> str | None:
    codings = [coding for study in studies for coding in _objects(study.get("modality"))]
    for concept in _objects(resource.get("category")):
        codings += _objects(concept.get("coding"))
    return next((found for coding in codings if (found := modality_of_service(_text(coding.get("code"))))), None)


def _study_instance_uid(identifiers: Iterator[Resource]) -> str | None:
    for identifier in identifiers:
        if identifier.get("system") == DICOM_UID and (value := _text(identifier.get("value"))):
            return value.removeprefix("urn:oid:")
    return None


def _own_identifier(resource: Resource) -> str | None:
    found = (item for item in _objects(resource.get("identifier")) if not _has_type(item, "ACSN"))
    return next((value for item in found if (value := _text(item.get("value")))), None)


def _issuer(identifier: Resource) -> str | None:
    assigner = identifier.get("assigner")
    return _text(identifier.get("system")) or (
        _text(assigner.get("display")) if isinstance(assigner, Mapping) else None
    )


def _identifiers(resources: list[Resource] | Iterator[Resource]) -> Iterator[Resource]:
    """Yield the identifiers of references, which have one, and of resources, which have a list."""
    for resource in resources:
        found = resource.get("identifier")
        yield from [found] if isinstance(found, Mapping) else _objects(found)


def _has_type(identifier: Resource, code: str) -> bool:
    kind = identifier.get("type")
    return isinstance(kind, Mapping) and any(coding.get("code") == code for coding in _objects(kind.get("coding")))


def _referenced(references: object, related: Mapping[str, Resource]) -> Iterator[Resource]:
    """Yield each reference, for the identifier it may have, and the resource that it leads to if that came along."""
    for reference in _objects(references):
        yield reference
        target = _text(reference.get("reference")) or ""
        found = related.get(target) or related.get("/".join(target.split("/")[-2:]))
        if found is not None:
            yield found


def _contained(resource: Resource) -> dict[str, Resource]:
    return {f"#{item['id']}": item for item in _objects(resource.get("contained")) if item.get("id")}


def _objects(value: object) -> list[Resource]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    """Return a string that holds something."""
    return value if isinstance(value, str) and value.strip() else None


def _expression(location: tuple[int | str, ...]) -> str:
    """Return where an element is, as FHIRPath has it; what does not look like an element's name is left out."""
    path = "DiagnosticReport"
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _ELEMENT.fullmatch(part):
            path += f".{part}"
    return path
