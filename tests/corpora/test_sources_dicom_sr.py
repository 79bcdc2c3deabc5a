"""DICOM structured reports: made in memory, read as reports, and everything that is none."""

import datetime as dt
import io
import random
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    XRayRadiationDoseSRStorage,
)

from corpora import ColumnMissing, Report, RowInvalid, SectionKind, SourceUnreadable, iter_records, read_reports
from corpora.sources import recognise_format
from corpora.sources.dicom_sr import DocumentInvalid, NoReport, read_document, report_of_sr, text_of_sr

MARK = "XQMARKQX"
FINDINGS = ("121070", "DCM", "Findings")
FINDING = ("121071", "DCM", "Finding")
IMPRESSIONS = ("19005-8", "LN", "Impressions")
IMPRESSION = ("121073", "DCM", "Impression")
EFFUSION = ("C2073625", "UMLS", "Pleural effusion")
Code = tuple[str, str, str]


def coded(code: Code) -> Dataset:
    item = Dataset()
    setattr(item, "LongCodeValue" if len(code[0]) > 16 else "CodeValue", code[0])
    item.CodingSchemeDesignator, item.CodeMeaning = code[1:]
    return item


def content(value_type: str, name: Code | None, relationship: str = "CONTAINS", *children: Dataset) -> Dataset:
    item = Dataset()
    item.RelationshipType = relationship
    item.ValueType = value_type
    if name:
        item.ConceptNameCodeSequence = [coded(name)]
    if value_type == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    if children:
        item.ContentSequence = list(children)
    return item


def container(name: Code | None, *children: Dataset) -> Dataset:
    return content("CONTAINER", name, "CONTAINS", *children)


def text(value: str, name: Code | None = FINDING, relationship: str = "CONTAINS") -> Dataset:
    item = content("TEXT", name, relationship)
    item.TextValue = value
    return item


def code(value: Code, name: Code = FINDING, relationship: str = "CONTAINS", *children: Dataset) -> Dataset:
    item = content("CODE", name, relationship, *children)
    item.ConceptCodeSequence = [coded(value)]
    return item


def number(value: str, unit: str, name: Code) -> Dataset:
    item = content("NUM", name, "HAS PROPERTIES")
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = [coded((unit, "UCUM", unit))]
    item.MeasuredValueSequence = [measured]
    return item


def structured_report(*children: Dataset, title: Code = ("18748-4", "LN", "Diagnostic Imaging Report")) -> Dataset:
    dataset = container(title, *children)
    del dataset.RelationshipType
    dataset.SOPClassUID = BasicTextSRStorage
    dataset.SOPInstanceUID = "1.2.840.1.7"
    dataset.StudyInstanceUID = "1.2.840.1"
    dataset.SeriesInstanceUID = "1.2.840.1.2"
    dataset.Modality = "SR"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.AccessionNumber = "A-1"
    dataset.PatientID = "4711"
    dataset.PatientName = "Invented^Name"
    dataset.StudyDate = "20240301"
    return dataset


def file_of(dataset: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    stream = io.BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def read_text(*children: Dataset) -> str:
    return text_of_sr(structured_report(*children))[0]


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    # Reading keeps pydicom's warnings from the console; the filters of whoever reads are as they were afterwards.
    before = list(warnings.filters)
    yield
    assert warnings.filters == before


# What is read


@pytest.mark.parametrize(
    "transfer_syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
def test_document_gives_report_and_study(tmp_path: Path, transfer_syntax: str) -> None:
    dataset = structured_report(
        container(FINDINGS, text("Kleiner Erguß links.\r\nHeart is normal.")),
        container(IMPRESSIONS, text("No pneumonia.", IMPRESSION)),
    )
    issuer = Dataset()
    issuer.LocalNamespaceEntityID = "HOSP"
    dataset.IssuerOfAccessionNumberSequence = [issuer]
    path = tmp_path / "a.dcm"
    path.write_bytes(file_of(dataset, transfer_syntax))
    (report,) = read_reports(path)
    assert (report.report_id, report.accession_number, report.accession_number_issuer) == ("1.2.840.1.7", "A-1", "HOSP")
    assert (report.patient_id, report.study_date, report.study_instance_uid) == (
        *("4711", dt.date(2024, 3, 1)),
        "1.2.840.1",
    )
    assert report.text == "FINDINGS: Kleiner Erguß links.\nHeart is normal.\n\nIMPRESSION: No pneumonia."
    assert [section.kind for section in report.sections] == [SectionKind.FINDINGS, SectionKind.IMPRESSION]


def test_accession_number_may_stand_with_the_request() -> None:
    dataset = structured_report(text("Normal."))
    dataset.AccessionNumber = ""
    request = Dataset()
    request.AccessionNumber = "A-9"
    dataset.ReferencedRequestSequence = [request]
    assert report_of_sr(dataset).accession_number == "A-9"


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        (("121060", "DCM", "History"), SectionKind.INDICATION),
        (("55111-9", "LN", "Current Procedure Descriptions"), SectionKind.TECHNIQUE),
        (("121068", "DCM", "Previous Findings"), SectionKind.COMPARISON),
        (("59776-5", "LN", "Findings"), SectionKind.FINDINGS),
        (("121076", "DCM", "Conclusions"), SectionKind.IMPRESSION),
        (("121074", "DCM", "Recommendations"), SectionKind.RECOMMENDATION),
        (("121078", "DCM", "Addendum"), SectionKind.ADDENDUM),
        (("X1", "99HOSP", "Impression"), SectionKind.IMPRESSION),
    ],
)
def test_heading_tells_the_section(heading: Code, kind: SectionKind) -> None:
    _, sections = text_of_sr(structured_report(container(heading, text("Text.", None))))
    assert [section.kind for section in sections] == [kind]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (
            [text("FINDINGS: Clear.\nIMPRESSION: Normal.", ("X", "99HOSP", "Report"))],
            "FINDINGS: Clear.\nIMPRESSION: Normal.",
        ),
        ([container(FINDINGS, text("Clear.", ("L", "99HOSP", "Lungs")))], "FINDINGS: Lungs: Clear."),
        ([container(FINDINGS, text("Clear.", ("121106", "DCM", "Comment")))], "FINDINGS: Clear."),
        ([container(FINDINGS, container(("L", "99HOSP", "Lungs"), text("Clear.")))], "FINDINGS: Clear."),
        (
            [text("Jane Invented", ("121008", "DCM", "Person Observer Name"), "HAS OBS CONTEXT"), text("Clear.")],
            "FINDINGS: Clear.",
        ),
        ([container(FINDINGS, code(EFFUSION))], "FINDINGS: Pleural effusion."),
    ],
)
def test_items_become_text(items: list[Dataset], expected: str) -> None:
    assert read_text(*items) == expected


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        ([], "Pleural effusion."),
        (
            [code(("7771000", "SCT", "Left"), ("272741003", "SCT", "Laterality"), "HAS CONCEPT MOD")],
            "Left Pleural effusion.",
        ),
        ([code(("272519000", "SCT", "Absent"), ("P", "99X", "Presence"), "HAS PROPERTIES")], "No pleural effusion."),
        ([code(("2667000", "SCT", "Absent"), ("P", "99X", "Presence"), "HAS CONCEPT MOD")], "No pleural effusion."),
        (
            [code(("373068000", "SCT", "Undetermined"), ("P", "99X", "P"), "HAS CONCEPT MOD")],
            "Possible pleural effusion.",
        ),
        ([code(("52101004", "SCT", "Present"), ("P", "99X", "P"), "HAS CONCEPT MOD")], "Pleural effusion."),
    ],
)
def test_coded_finding_is_said_with_what_modifies_it(children: list[Dataset], expected: str) -> None:
    said = read_text(container(FINDINGS, code(EFFUSION, FINDING, "CONTAINS", *children)))
    assert said.removeprefix("FINDINGS: ").split("\n")[0] == expected


def test_measurement_is_said_with_its_unit() -> None:
    nodule = code(("N", "99X", "Nodule"), FINDING, "CONTAINS", number("12", "mm", ("D", "99X", "Diameter")))
    assert read_text(container(FINDINGS, nodule)) == "FINDINGS: Nodule.\nDiameter: 12 mm."


# What is none


def image() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = "1.2.840.1.9"
    dataset.PatientName = MARK
    return dataset


def other_class(sop_class: str) -> Dataset:
    dataset = structured_report(text(MARK))
    dataset.SOPClassUID = sop_class
    return dataset


def test_objects_of_other_kinds_are_no_reports(tmp_path: Path) -> None:
    measurements = structured_report(text(MARK), title=("126000", "DCM", "Imaging Measurement Report"))
    for dataset in (image(), other_class(XRayRadiationDoseSRStorage), measurements):
        with pytest.raises(NoReport) as caught:
            report_of_sr(read_document(file_of(dataset)))
        assert MARK not in str(caught.value)
    path = tmp_path / "image.dcm"
    path.write_bytes(file_of(image()))
    (record,) = iter_records(path)
    assert str(record) == "image.dcm, row 1: is a DICOM object, but no structured report of a reading"


def test_folder_passes_over_images_but_not_over_what_may_be_a_report(tmp_path: Path) -> None:
    report = file_of(structured_report(container(FINDINGS, text("Clear."))))
    (tmp_path / "below").mkdir()
    contents = {
        "1.dcm": file_of(image()),
        f"2{MARK}.dcm": b"no DICOM",
        "below/3.DCM": report,
        "below/4.dcm": file_of(other_class(XRayRadiationDoseSRStorage)),
        "below/5.dcm": file_of(other_class(EncapsulatedPDFStorage)),
        "below/6.dcm": report[: len(report) - 30],
        "below/7.dcm": file_of(structured_report(text(MARK), title=("126000", "DCM", "Imaging Measurement Report"))),
        "8.dcm": report,
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    assert recognise_format(tmp_path) == "dicom-sr"
    shown = [record.text if isinstance(record, Report) else record.reason for record in iter_records(tmp_path)]
    assert shown[0] == "file 2 in the order of names is no DICOM file: it lacks the prefix DICM"
    assert "FINDINGS: Clear." in shown
    assert sum(text == "FINDINGS: Clear." for text in shown) == 2
    assert any("is an encapsulated document, whose text is not read" in text for text in shown)
    assert len(shown) == 5
    rows = [record.row for record in iter_records(tmp_path) if isinstance(record, RowInvalid)]
    assert rows == sorted(rows)
    assert not [text for text in shown if MARK in text]


def damaged() -> dict[str, bytes]:
    good = file_of(structured_report(container(FINDINGS, text(f"{MARK} " * 100))))
    deep = text(MARK)
    for _ in range(200):
        deep = container(FINDINGS, deep)
    no_uid = structured_report(text(MARK))
    data = file_of(no_uid)
    del no_uid.SOPInstanceUID
    bomb = file_of(structured_report(text(MARK)), DeflatedExplicitVRLittleEndian)
    head = bomb[: bomb.index(b"1.2.840.10008.1.2.1.99") + 22]
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return {
        "empty": b"",
        "text": MARK.encode() * 100,
        "prefix": bytes(128) + b"DICM",
        "cut": good[:-100],
        "rubbish": good[:400] + MARK.encode() * 50,
        "deep": file_of(structured_report(deep)),
        "bomb": head + packer.compress(bytes(64 * 2**20)) + packer.flush(),
        "large": good + bytes(17 * 2**20),
        "value": data.replace(b"CONTAINER", MARK.encode()[:8] + b"\xff"),
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_file_is_an_error_that_quotes_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(damaged()[name])
    (record,) = iter_records(path, format="dicom-sr")
    if isinstance(record, Report):  # what was cut off or replaced was not needed
        assert name in ("rubbish", "value")
        return
    assert MARK not in str(record) + repr(record)
    with pytest.raises(DocumentInvalid) as caught:
        report_of_sr(read_document(damaged()[name]))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_any_damage_is_an_error_or_a_report() -> None:
    choose = random.Random(7)
    good = file_of(structured_report(container(FINDINGS, code(EFFUSION), text("Clear."))))
    for _ in range(300):
        data = bytearray(good)
        for _ in range(choose.randint(1, 20)):
            data[choose.randrange(132, len(data))] = choose.randrange(256)
        try:
            report_of_sr(read_document(bytes(data)))
        except DocumentInvalid as error:
            assert "Clear" not in str(error)  # noqa: PT017


def test_report_has_to_have_a_name() -> None:
    dataset = structured_report(text("a"))
    del dataset.SOPInstanceUID
    with pytest.raises(DocumentInvalid, match="has no SOP Instance UID"):
        report_of_sr(dataset)


@pytest.mark.parametrize(("name", "data"), [("a.dcm", b""), ("A.DCM", b""), ("IM0001", bytes(128) + b"DICM")])
def test_format_is_recognised(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert recognise_format(tmp_path / name) == "dicom-sr"


def test_columns_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ColumnMissing, match="no columns to map"):
        list(read_reports(tmp_path / "a.dcm", format="dicom-sr", columns={"text": "TextValue"}))
    with pytest.raises(SourceUnreadable, match="no such file"):
        list(read_reports(tmp_path / "a.dcm", format="dicom-sr"))
