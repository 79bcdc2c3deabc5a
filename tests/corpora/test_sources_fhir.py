"""FHIR R4 DiagnosticReports: text and study of each, alone, in Bundles and in bulk exports."""

import base64
import datetime as dt
import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora import ColumnMissing, Report, RowInvalid, SourceUnreadable, iter_records, read_reports
from corpora.sources import recognise_format
from corpora.sources.fhir import ResourceInvalid, check_diagnostic_report, report_of_resource
from corpora.sources.html_text import html_to_text

MARK = "XQMARKQX"
V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"
TEXT = "FINDINGS: Small left effusion.\nIMPRESSION: No pneumonia."


def identifier(value: str, kind: str | None = None, **more: object) -> dict[str, object]:
    coded = {"type": {"coding": [{"system": V2_0203, "code": kind}]}} if kind else {}
    return {**coded, "value": value, **more}


def form(text: str | bytes, content_type: str | None = "text/plain") -> dict[str, str]:
    data = base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
    return {"data": data, **({"contentType": content_type} if content_type else {})}


def diagnostic_report(**elements: object) -> dict[str, Any]:
    given = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "36643-5"}]},
        "presentedForm": [form(TEXT)],
        **elements,
    }
    return {name: value for name, value in given.items() if value is not None}


def test_report_and_its_study() -> None:
    report = report_of_resource(
        diagnostic_report(
            identifier=[identifier("R-1"), identifier("A-1", "ACSN", system="urn:oid:1.2.3")],
            subject={"reference": "Patient/4711", "identifier": identifier("MRN-1", "MR")},
            effectiveDateTime="2024-03-01T10:05:00+01:00",
            category=[{"coding": [{"code": "RAD"}]}, {"coding": [{"code": "CT"}]}],
            imagingStudy=[{"identifier": {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.99"}}],
        )
    )
    assert report == Report(
        *("r1", TEXT, "A-1", "urn:oid:1.2.3", "MRN-1", dt.date(2024, 3, 1), "CT"), study_instance_uid="1.2.840.99"
    )


# Text


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ({"presentedForm": [form(TEXT)], "conclusion": "Shorter."}, TEXT),
        ({"presentedForm": [form("<p>a</p>", "text/html"), form(TEXT)]}, TEXT),
        (
            {"presentedForm": [form(b"%PDF", "application/pdf"), form("<p>R&amp;D<br>b", "text/html; charset=utf-8")]},
            "R&D\nb",
        ),
        ({"presentedForm": [form("größer".encode("cp1252"), "text/plain; charset=windows-1252")]}, "größer"),
        ({"presentedForm": [form("größer".encode("latin-1"))]}, "größer"),
        ({"presentedForm": [form("größer".encode("utf-16"), None)]}, "größer"),
        ({"presentedForm": [form("a\r\nb\x00")]}, "a\nb"),
        ({"presentedForm": [form(" ")], "conclusion": "Normal."}, "Normal."),
        (
            {"presentedForm": [{"contentType": "application/pdf", "url": "Binary/1"}], "conclusion": "Normal."},
            "Normal.",
        ),
        ({"presentedForm": None, "conclusion": "Normal."}, "Normal."),
        ({"presentedForm": None}, ""),
        ({"presentedForm": [{**form("ab"), "data": " YW\r\nI= "}]}, "ab"),
    ],
)
def test_text_is_the_presented_form_or_the_conclusion(elements: dict[str, object], text: str) -> None:
    assert report_of_resource(diagnostic_report(**elements)).text == text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<html><head><title>T</title><style>p{}</style></head><body>a</body></html>", "a"),
        ("<div>a</div><div>b  c</div>", "a\n\nb c"),
        ("a<!-- hidden -->b<![CDATA[x]]>c<?pi?>d", "abcd"),
        ("<ul><li>one</li><li>two</li></ul>", "one\n\ntwo"),
        ("<table><tr><td>a</td><td>b</td></tr></table>", "a b"),
        ("<pre>a\n  b</pre>", "a\nb"),
        ("size <5 mm, > 3 mm &lt;b&gt;", "size <5 mm, > 3 mm <b>"),
        ("<p title='>'>a</p>", "'>a"),
        ("a<script>alert('<p>')</script >b<SCRIPT/>c", "abc"),
        ("a<script>never ended", "a"),
        ("a<b", "a"),
        ("a<!-- never ended", "a"),
        ("", ""),
    ],
)
def test_markup_is_taken_off(document: str, text: str) -> None:
    assert html_to_text(document) == text


@given(st.text(st.sampled_from("<>/!-a&;p \n'\"")))
def test_any_document_is_read(document: str) -> None:
    assert "<script" not in html_to_text(document + "<script>x</script>")


@pytest.mark.parametrize("piece", ["<", "<a", "<!--", "<script>", "<p '", "</", "&", "<pre>"])
def test_broken_document_takes_no_longer_than_a_good_one(piece: str) -> None:
    html_to_text(piece * 200_000)


# Identifiers


@pytest.mark.parametrize("how", ["reference", "resource", "contained", "study", "study resource"])
def test_accession_number_of_order_or_study(how: str) -> None:
    accession = identifier("A-7", "ACSN")
    order = {"resourceType": "ServiceRequest", "id": "o1", "identifier": [identifier("P-1", "PLAC"), accession]}
    ways: dict[str, dict[str, object]] = {
        "reference": {"basedOn": [{"identifier": accession}]},
        "resource": {"basedOn": [{"reference": "https://ehr.example/fhir/ServiceRequest/o1"}]},
        "contained": {
            "basedOn": [{"reference": "#o1"}],
            "contained": [{**order, "status": "active", "intent": "order", "subject": {"display": "x"}}],
        },
        "study": {"imagingStudy": [{"identifier": accession}]},
        "study resource": {"imagingStudy": [{"reference": "urn:uuid:77"}]},
    }
    study = {
        "resourceType": "ImagingStudy",
        "identifier": [accession, {"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.5"}],
        "started": "2023-12-24T09:00:00Z",
        "modality": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"}],
    }
    report = report_of_resource(
        diagnostic_report(**ways[how]), related={"ServiceRequest/o1": order, "urn:uuid:77": study}
    )
    assert report.accession_number == "A-7"
    if how == "study resource":
        assert (report.study_date, report.modality) == (dt.date(2023, 12, 24), "MR")
        assert report.study_instance_uid == "1.2.840.5"


def test_patient_is_the_record_number_or_the_reference() -> None:
    patient = {"resourceType": "Patient", "identifier": [identifier("X-1", "SS"), identifier("MRN-1", "MR")]}
    resource = diagnostic_report(subject={"reference": "Patient/4711"})
    assert report_of_resource(resource).patient_id == "Patient/4711"
    assert report_of_resource(resource, related={"Patient/4711": patient}).patient_id == "MRN-1"


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"effectiveDateTime": "2024-03-01"}, dt.date(2024, 3, 1)),
        ({"effectiveDateTime": "2024-03"}, None),
        ({"effectivePeriod": {"start": "2024-03-01T10:00:00Z"}}, dt.date(2024, 3, 1)),
        ({"issued": "2024-03-01T10:00:00Z"}, None),
    ],
)
def test_study_date_is_when_the_study_was(elements: dict[str, object], expected: dt.date | None) -> None:
    assert report_of_resource(diagnostic_report(**elements)).study_date == expected


def test_report_without_id_takes_its_identifier() -> None:
    resource = diagnostic_report(id=None, identifier=[identifier("A-1", "ACSN"), identifier("R-1")])
    assert report_of_resource(resource).report_id == "R-1"
    assert report_of_resource(diagnostic_report(id=None), report_id="row:1").report_id == "row:1"


# What is refused


@pytest.mark.parametrize(
    ("resource", "expression", "issue"),
    [
        ([1], "DiagnosticReport", "structure"),
        ({}, "resourceType", "not-supported"),
        ({"resourceType": MARK}, "resourceType", "not-supported"),
        (diagnostic_report(code=None), "DiagnosticReport.code", "required"),
        ({**diagnostic_report(), MARK: 1}, "DiagnosticReport", "structure"),
        (diagnostic_report(conclusion=[MARK]), "DiagnosticReport.conclusion", "structure"),
        (diagnostic_report(conclusion=""), "DiagnosticReport.conclusion", "value"),
        (diagnostic_report(code={"text": {MARK: 1}}), "DiagnosticReport.code.text", "structure"),
        (diagnostic_report(identifier=MARK), "DiagnosticReport.identifier", "structure"),
        (diagnostic_report(effectiveDateTime=MARK), "DiagnosticReport.effectiveDateTime", "value"),
        (diagnostic_report(contained=[{"resourceType": MARK}]), "DiagnosticReport", "invalid"),
        (diagnostic_report(presentedForm=[{"data": f"!{MARK}!"}]), "DiagnosticReport.presentedForm[0].data", "value"),
        (diagnostic_report(presentedForm=[form(b"\xff\xfe\x00")]), "DiagnosticReport.presentedForm[0].data", "value"),
        (
            diagnostic_report(presentedForm=[form(MARK, f"text/plain; charset={MARK}")]),
            *("DiagnosticReport.presentedForm[0].data", "value"),
        ),
        (
            diagnostic_report(presentedForm=[form(MARK, "application/pdf")]),
            "DiagnosticReport.presentedForm",
            "not-supported",
        ),
        (diagnostic_report(presentedForm=[{"url": MARK}]), "DiagnosticReport.presentedForm", "not-supported"),
    ],
)
def test_resource_that_cannot_be_read_says_where_and_why(resource: object, expression: str, issue: str) -> None:
    with pytest.raises(ResourceInvalid) as caught:
        report_of_resource(resource)
    assert (caught.value.expression, caught.value.issue) == (expression, issue)
    assert MARK not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_deep_nesting_is_an_error() -> None:
    extension: dict[str, object] = {"url": "urn:x"}
    for _ in range(400):
        extension = {"url": "urn:x", "extension": [extension]}
    with pytest.raises(ResourceInvalid, match="nested too deeply"):
        check_diagnostic_report(diagnostic_report(extension=[extension]))


def test_error_survives_a_process_border() -> None:
    error = ResourceInvalid("is missing", expression="DiagnosticReport.code", issue="required")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.issue) == (str(error), "required")


# Files


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    entries = [{"fullUrl": f"urn:uuid:{number}", "resource": resource} for number, resource in enumerate(resources)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def write(path: Path, *values: object, indent: int | None = None) -> Path:
    lines = (value if isinstance(value, str) else json.dumps(value, indent=indent) for value in values)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.ndjson", "export"])
def test_resource_in_a_file(tmp_path: Path, name: str, indent: int | None) -> None:
    path = write(tmp_path / name, diagnostic_report(), indent=indent)
    assert recognise_format(path) == "fhir"
    assert [report.text for report in read_reports(path)] == [TEXT]


def test_sorted_elements_are_recognised(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", dict(sorted(diagnostic_report().items())))
    assert recognise_format(path) == "fhir"


def test_bundle_gives_its_reports_with_what_they_refer_to(tmp_path: Path) -> None:
    patient = {"resourceType": "Patient", "id": "p", "identifier": [identifier("MRN-1", "MR")]}
    study = {"resourceType": "ImagingStudy", "identifier": [identifier("A-1", "ACSN")]}
    path = write(
        tmp_path / "a.json",
        bundle(
            patient,
            study,
            diagnostic_report(subject={"reference": "Patient/p"}, imagingStudy=[{"reference": "urn:uuid:1"}]),
            diagnostic_report(id="r2", subject={"reference": "urn:uuid:0"}),
        ),
        indent=1,
    )
    first, second = read_reports(path)
    assert (first.report_id, first.patient_id, first.accession_number) == ("r1", "MRN-1", "A-1")
    assert (second.report_id, second.patient_id, second.accession_number) == ("r2", "MRN-1", None)


def test_bad_resource_of_a_bundle_costs_itself(tmp_path: Path) -> None:
    bad = diagnostic_report(id="r2", code=None)
    path = write(tmp_path / "a.json", bundle(diagnostic_report(), bad, diagnostic_report(id="r3")))
    first, second, third = iter_records(path)
    assert isinstance(first, Report)
    assert str(second) == "a.json, row 2, field 'DiagnosticReport.code': is missing"
    assert isinstance(third, Report)


def test_bulk_export_passes_over_other_resources_and_bad_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path / "export.ndjson",
        {"resourceType": "Patient", "id": "p"},
        diagnostic_report(),
        "",
        f'{{"resourceType": "DiagnosticReport", "id": "{MARK}}}',
        [MARK],
        {"id": MARK},
        bundle(diagnostic_report(id="r2")),
        {"resourceType": "Bundle", "type": "searchset"},
        {"resourceType": "Bundle", "entry": MARK},
        diagnostic_report(id="r3"),
    )
    shown = [record.report_id if isinstance(record, Report) else str(record) for record in iter_records(path)]
    assert shown == [
        "r1",
        "export.ndjson, row 2: is not JSON, from character 44 on (54 characters)",
        "export.ndjson, row 3: is JSON, but no FHIR resource",
        "export.ndjson, row 4: is JSON, but no FHIR resource",
        "r2",
        "export.ndjson, row 6: is a Bundle whose entries are no list",
        "r3",
    ]
    assert [report.report_id for report in read_reports(path, start=6)] == ["r3"]


def test_first_line_that_is_broken_costs_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "export.ndjson", '{"resourceType": "Patient", "id": }', diagnostic_report())
    invalid, report = iter_records(path, format="fhir")
    assert isinstance(invalid, RowInvalid)
    assert isinstance(report, Report)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is an empty file"),
        ('{"resourceType": "Bundle",\n', "is not JSON"),
        ('{"resourceType": "Bundle", "entry": ' + "[" * 100_000, "is nested too deeply"),
        ("[]", "is JSON, but no FHIR resource"),
    ],
)
def test_file_that_is_none(tmp_path: Path, content: str, reason: str) -> None:
    (record,) = iter_records(write(tmp_path / "a.json", content), format="fhir")
    assert reason in str(record)


def test_folder_of_resources(tmp_path: Path) -> None:
    write(tmp_path / "1.json", diagnostic_report(), indent=2)
    (tmp_path / f"2{MARK}.json.gz").write_bytes(gzip.compress(json.dumps(diagnostic_report(id="r2")).encode())[:-9])
    write(tmp_path / "3.ndjson", diagnostic_report(id="r3"), diagnostic_report(id="r4"))
    records = list(iter_records(tmp_path, format="fhir"))
    assert [record.report_id for record in records if isinstance(record, Report)] == ["r1", "r3", "r4"]
    assert [MARK in str(record) for record in records if isinstance(record, RowInvalid)] == [False]


def test_folder_is_recognised_by_content(tmp_path: Path) -> None:
    write(tmp_path / "1.json", diagnostic_report(), indent=2)
    assert recognise_format(tmp_path) == "fhir"
    write(tmp_path / "2.json", {"id": "1", "text": "a"})
    with pytest.raises(SourceUnreadable, match="several formats"):
        recognise_format(tmp_path)


def test_ordinary_json_lines_stay_so(tmp_path: Path) -> None:
    assert recognise_format(write(tmp_path / "a.json", {"id": "1", "text": '"resourceType": "Bundle"'})) == "jsonl"


def test_columns_cannot_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(ColumnMissing, match="no columns to map"):
        list(read_reports(write(tmp_path / "a.json", diagnostic_report()), columns={"text": "conclusion"}))
