"""Open-i records: invented ones for every branch, and the whole collection where it was fetched."""

import datetime as dt
import gzip
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from corpora import ColumnMissing, Report, RowInvalid, SectionKind, SourceUnreadable, iter_records, read_reports
from corpora.sources.openi import DICOM_TABLE, iter_openi_codes


def record(number: int, parts: Mapping[str, str], codes: Iterable[str] = ("normal",)) -> bytes:
    """Return an invented record in the collection's form."""
    texts = "".join(f'<AbstractText Label="{label}">{text}</AbstractText>' for label, text in parts.items())
    majors = "".join(f"<major>{code}</major>" for code in codes)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<eCitation><meta type="rr"/><uId id="CXR{number}"/><docSource>CXR</docSource>'
        f"<MedlineCitation><Article><Abstract>{texts}</Abstract></Article></MedlineCitation>"
        f"<MeSH>{majors}<automatic>effusion</automatic></MeSH></eCitation>\n"
    ).encode()


def fill(folder: Path, records: Mapping[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in records.items():
        (folder / name).write_bytes(data)
    return folder


def pack(path: Path, records: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in records.items():
            member = tarfile.TarInfo(f"ecgen-radiology/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


COLLECTION = {
    "10.xml": record(10, {"COMPARISON": "None.", "INDICATION": "Cough", "FINDINGS": "Clear.", "IMPRESSION": "Normal."}),
    "2.xml": record(2, {"FINDINGS": "Left &lt; right.", "IMPRESSION": ""}, ["Opacity/lung/base/left ", " Nodule"]),
    "9.xml": record(9, {"FINDINGS": "", "IMPRESSION": ""}, ["No Indexing"]),
}


def test_archive_and_folder_give_the_same_reports_in_the_order_of_numbers(tmp_path: Path) -> None:
    from_folder = list(read_reports(fill(tmp_path / "xml", COLLECTION)))
    from_archive = list(read_reports(pack(tmp_path / "reports.tgz", COLLECTION)))
    assert [report.report_id for report in from_folder] == ["CXR2", "CXR9", "CXR10"]
    assert from_folder == from_archive


def test_sections_are_those_of_the_record(tmp_path: Path) -> None:
    *_, report = read_reports(fill(tmp_path, COLLECTION))
    assert [(section.kind, report.text[section.start : section.end]) for section in report.sections] == [
        (SectionKind.COMPARISON, "None."),
        (SectionKind.INDICATION, "Cough"),
        (SectionKind.FINDINGS, "Clear."),
        (SectionKind.IMPRESSION, "Normal."),
    ]
    assert report.body_part == "CHEST"
    assert report.modality is None


def test_report_without_text_is_a_report(tmp_path: Path) -> None:
    (report,) = read_reports(fill(tmp_path, {"9.xml": COLLECTION["9.xml"]}))
    assert (report.report_id, report.text, report.sections) == ("CXR9", "", ())


def test_codes_are_those_of_people_without_spaces_around(tmp_path: Path) -> None:
    assert dict(iter_openi_codes(fill(tmp_path, COLLECTION))) == {
        "CXR2": ("Opacity/lung/base/left", "Nodule"),
        "CXR9": ("No Indexing",),
        "CXR10": ("normal",),
    }


def test_headers_beside_the_archive_give_accession_number_and_study(tmp_path: Path) -> None:
    header = "imageid,Accession Number,Modality,Patient ID,Study Date\n"
    rows = "CXR2_IM-1-1001,81,CR,2,20110328\nCXR2_IM-1-2001,81,CR,2,20110328\n"
    (tmp_path / DICOM_TABLE).write_bytes(gzip.compress((header + rows).encode()))
    first, second, _ = read_reports(pack(tmp_path / "reports.tgz", COLLECTION))
    assert (first.accession_number, first.patient_id, first.study_date, first.modality) == (
        "81",
        "2",
        dt.date(2011, 3, 28),
        "CR",
    )
    assert second.accession_number is None
    in_folder = read_reports(fill(tmp_path / "ecgen-radiology", COLLECTION))
    assert next(in_folder).accession_number == "81"


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "imageid,Accession Number,Modality,Patient ID,Study Date\nCXR1\n"])
def test_damaged_headers_are_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / DICOM_TABLE).write_bytes(gzip.compress(content.encode()))
    with pytest.raises(SourceUnreadable, match=DICOM_TABLE):
        list(read_reports(fill(tmp_path / "xml", COLLECTION)))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<eCitation><uId id='CXR3'/>", "is no well-formed XML (line 1, column 28)"),
        (b"", "is no well-formed XML"),
        (b"<html><body>MARK</body></html>", "field 'uId': is missing"),
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><a>&e;</a>', "declares entities"),
        (b'<?xml version="1.0" encoding="MARK"?><a/>', "reason"),
    ],
)
def test_file_that_is_no_record_costs_itself(tmp_path: Path, data: bytes, reason: str) -> None:
    folder = fill(tmp_path, {**COLLECTION, "3.xml": data})
    first, second, *others = iter_records(folder)
    assert isinstance(first, Report)
    assert isinstance(second, RowInvalid)
    assert second.row == 2
    assert reason in str(second) or reason == "reason"
    assert "MARK" not in str(second)
    assert len(others) == 2
    with pytest.raises(RowInvalid, match="row 2"):
        list(iter_openi_codes(folder))


def test_archive_that_is_damaged_is_unreadable(tmp_path: Path) -> None:
    whole = pack(tmp_path / "reports.tgz", COLLECTION).read_bytes()
    (tmp_path / "cut.tgz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tgz").write_bytes(b"no archive" * 1000)
    with pytest.raises(SourceUnreadable, match="is cut off or damaged"):
        list(iter_records(tmp_path / "cut.tgz"))
    with pytest.raises(SourceUnreadable, match="is no tar archive"):
        list(iter_records(tmp_path / "text.tgz"))


def test_columns_cannot_be_mapped(tmp_path: Path) -> None:
    with pytest.raises(ColumnMissing, match="no columns to map"):
        list(iter_records(fill(tmp_path, COLLECTION), columns={"text": "FINDINGS"}))


def test_whole_collection_has_the_published_numbers(openi_corpus: Path) -> None:
    reports = list(read_reports(openi_corpus))
    assert len({report.report_id for report in reports}) == len(reports) == 3_955
    assert [report.report_id for report in reports[:10]] == [f"CXR{number}" for number in range(1, 11)]
    assert sum(not report.text for report in reports) == 28
    assert sum(report.accession_number is not None for report in reports) == 3_851
    read_as_evidence = {SectionKind.FINDINGS, SectionKind.IMPRESSION}
    assert sum(not read_as_evidence & {section.kind for section in report.sections} for report in reports) == 28


def test_whole_collection_is_coded(openi_corpus: Path) -> None:
    codes = dict(iter_openi_codes(openi_corpus))
    assert len(codes) == 3_955
    assert all(codes.values())
    assert sum(map(len, codes.values())) == 8_298
    assert all(code == code.strip() for found in codes.values() for code in found)
