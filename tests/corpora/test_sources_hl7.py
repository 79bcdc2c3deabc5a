"""HL7 v2 messages as interface engines send them: what is read, and what is refused with which code."""

import datetime as dt
import gzip
import pickle
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora import ColumnMissing, Report, RowInvalid, SectionKind, SourceUnreadable, iter_records, read_reports
from corpora.sources import recognise_format
from corpora.sources.hl7 import AckCode, MessageInvalid, ResultStatus, parse_oru
from corpora.sources.hl7_header import read_header
from corpora.sources.hl7_text import Delimiters, escape, unescape

MARK = "XQMARKQX"
MSH = r"MSH|^~\&|RIS|HOSP|RADLABEL|HOSP|20240301101500||ORU^R01^ORU_R01|M17|P|2.5.1||||||UNICODE UTF-8"
PID = "PID|1||9^^^OLD^PI~4711^^^HOSP^MR||NAME^INVENTED"
OBR = "OBR|1|P-1^HIS|F-1^RIS|36643-5^XR Chest 2 views^LN|||202403011005+0100|||||||||||A-1||||||CR|F"
FINDINGS = "OBX|1|TX|59776-5^Findings^LN||Small left effusion.||||||F"
IMPRESSION = "OBX|2|TX|19005-8^Impression^LN||No pneumonia.||||||F"


def message(*segments: str, end: str = "\r") -> bytes:
    return (end.join(segments) + end).encode()


def read_one(*segments: str) -> Report:
    (item,) = parse_oru(message(MSH, PID, OBR, *segments)).reports
    return item.report


def obx(value: str, value_type: str = "TX", identifier: str = "36643-5^XR Chest^LN", status: str = "F") -> str:
    return f"OBX|1|{value_type}|{identifier}||{value}||||||{status}"


# What is read


def test_message_gives_report_and_study() -> None:
    oru = parse_oru(message(MSH, PID, "ORC|RE|P-1|F-1", OBR, FINDINGS, IMPRESSION))
    assert (oru.control_id, oru.message_type, oru.trigger, oru.version) == ("M17", "ORU", "R01", "2.5.1")
    assert (oru.processing_id, oru.sending_application, oru.sending_facility) == ("P", "RIS", "HOSP")
    (item,) = oru.reports
    assert (item.result_status, item.is_addendum, item.is_correction) == (ResultStatus.FINAL, False, False)
    assert item.order_control == "RE"
    report = item.report
    assert (report.report_id, report.accession_number, report.patient_id) == ("F-1", "A-1", "4711")
    assert (report.study_date, report.modality) == (dt.date(2024, 3, 1), "CR")
    assert report.text == "FINDINGS: Small left effusion.\n\nIMPRESSION: No pneumonia."
    assert [(s.kind, report.text[s.start : s.end]) for s in report.sections] == [
        (SectionKind.FINDINGS, "Small left effusion."),
        (SectionKind.IMPRESSION, "No pneumonia."),
    ]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("framing", [(b"", b""), (b"\x0b", b"\x1c\r"), (b"\r\n\x0b", b"\x1c")])
def test_segment_ends_and_framing_do_not_matter(end: str, framing: tuple[bytes, bytes]) -> None:
    data = framing[0] + message(MSH, PID, OBR, FINDINGS, IMPRESSION, end=end) + framing[1]
    assert parse_oru(data).reports == parse_oru(message(MSH, PID, OBR, FINDINGS, IMPRESSION)).reports


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ([obx("First line."), obx("Second line.")], "First line.\nSecond line."),
        ([obx("First line.~Second line.")], "First line.\nSecond line."),
        ([obx(r"First line.\.br\Second \T\ last.", "FT")], "First line.\nSecond & last."),
        ([obx(r"First line.\X0D0A\Second line.")], "First line.\nSecond line."),
        ([obx("Mass & nodule ^ 5", "ST")], "Mass & nodule ^ 5"),  # nobody escaped them
        ([obx("I50^Heart failure^I10~^Effusion", "CWE", "36643-5&IMP^X")], "IMPRESSION: Heart failure\nEffusion"),
        ([obx("^^^^^^^^Original text", "CWE", "&IMP")], "IMPRESSION: Original text"),
        ([obx("12", "NM"), obx("Text.")], "Text."),
        ([obx("Wrong patient.", status="W"), obx("Deleted.", status="D"), obx("Text.")], "Text."),
        ([obx("Text."), obx('""')], 'Text.\n""'),
        ([], ""),
    ],
)
def test_text_of_observations(segments: list[str], text: str) -> None:
    assert read_one(*segments).text == text


@pytest.mark.parametrize(
    ("identifier", "kind"),
    [
        ("71020&IMP^Impression", SectionKind.IMPRESSION),
        ("&IMP", SectionKind.IMPRESSION),
        ("&REC^Advice", SectionKind.RECOMMENDATION),
        ("&ADT^Addendum", SectionKind.ADDENDUM),
        ("18782-3^Study observation^LN", SectionKind.FINDINGS),
        ("X1^Narrative^L^59776-5^Findings^LN", SectionKind.FINDINGS),
        ("X2^CLINICAL INFORMATION:^L", SectionKind.INDICATION),
        ("11329-0^History^LN", SectionKind.INDICATION),
    ],
)
def test_observation_identifier_tells_the_section(identifier: str, kind: SectionKind) -> None:
    report = read_one(obx("Text.", identifier=identifier))
    assert [section.kind for section in report.sections] == [kind]


def test_bulk_text_keeps_its_own_headings() -> None:
    report = read_one(
        obx("INDICATION: Cough.", identifier="71020&GDT^Report"),
        obx("FINDINGS: Clear.", identifier="71020&GDT^Report"),
        obx("Normal.", "CWE", "71020&IMP^Impression").replace("||Normal.", "||^Normal."),
    )
    assert report.text == "INDICATION: Cough.\nFINDINGS: Clear.\n\nIMPRESSION: Normal."
    assert report.sections == ()


def test_raw_line_breaks_within_a_field_are_text() -> None:
    data = message(MSH, PID, OBR, "OBX|1|TX|&GDT||FINDINGS:\nSmall effusion.\nOBX was used.||||||F", end="\r")
    (item,) = parse_oru(data).reports
    assert item.report.text == "FINDINGS:\nSmall effusion.\nOBX was used."


def test_every_order_is_a_report_with_its_own_observations() -> None:
    second = OBR.replace("F-1", "F-2").replace("A-1", "A-2")
    oru = parse_oru(message(MSH, PID, "ORC|RE", OBR, obx("One."), "ORC|RE", second, obx("Two."), "NTE|1||Note."))
    assert [(r.report.report_id, r.report.accession_number, r.report.text) for r in oru.reports] == [
        ("F-1", "A-1", "One."),
        ("F-2", "A-2", "Two."),
    ]


def test_orders_without_a_number_of_their_own_differ() -> None:
    bare = "OBR|1|||X"
    ids = [item.report.report_id for item in parse_oru(message(MSH, bare, obx("a"), bare, obx("b"))).reports]
    assert ids == ["M17", "M17:2"]
    ids = [item.report.report_id for item in parse_oru(message(MSH, OBR, obx("a"), OBR, obx("b"))).reports]
    assert ids == ["F-1", "F-1:2"]


def test_second_patient_of_a_message_is_not_the_first() -> None:
    oru = parse_oru(message(MSH, PID, OBR, obx("a"), "PID|2||77^^^HOSP^MR", OBR, obx("b")))
    assert [item.report.patient_id for item in oru.reports] == ["4711", "77"]


@pytest.mark.parametrize(
    ("obr", "others", "expected"),
    [
        ("OBR|1|P-1^HIS|F-1^RIS|X||||||||||||||A-1", (), ("A-1", None)),
        ("OBR|1|P-1^HIS|F-1^RIS|X||||||||||||||A-1^HOSP", (), ("A-1", "HOSP")),
        ("OBR|1|P-1^HIS|F-1^RIS|X", ("IPC|I-1^RIS^1.2.3^ISO|RP|1.2.840.1|SPS",), ("I-1", "RIS")),
        ("OBR|1|P-1^HIS|F-1^RIS|X||||||||||||||||S-1", (), ("F-1", "RIS")),
        ('OBR|1|P-1^HIS|F-1^^1.2.3^ISO|X||||||||||||||""', (), ("F-1", "1.2.3")),
        ("OBR|1|P-1^HIS||X", (), (None, None)),
    ],
)
def test_accession_number_is_where_ihe_has_it(
    obr: str, others: tuple[str, ...], expected: tuple[str | None, str | None]
) -> None:
    (item,) = parse_oru(message(MSH, PID, obr, *others, FINDINGS)).reports
    assert (item.report.accession_number, item.report.accession_number_issuer) == expected


def test_site_may_have_fields_elsewhere() -> None:
    obr = "OBR|1|P-1^HIS|F-1^RIS|X||||||||||||||NOT-THIS||S-1^THERE"
    (item,) = parse_oru(message(MSH, PID, obr, FINDINGS), locations={"accession_number": "OBR-20"}).reports
    assert (item.report.accession_number, item.report.accession_number_issuer) == ("S-1", "THERE")


@pytest.mark.parametrize(
    "segment",
    [
        "ZDS|1.2.840.99^RIS^Application^DICOM",
        "IPC|A|RP|1.2.840.99^RIS|SPS",
        "OBX|9|ST|110180^Study Instance UID^DCM||1.2.840.99||||||F",
        "OBX|9|HD|113014^DICOM Study^DCM||1.2.840.99^^ISO||||||F",
    ],
)
def test_study_instance_uid_is_found_and_is_no_text(segment: str) -> None:
    report = read_one(FINDINGS, segment)
    assert report.study_instance_uid == "1.2.840.99"
    assert "1.2.840" not in report.text


@pytest.mark.parametrize(
    ("status", "identifier", "expected"),
    [
        ("P", "&GDT", (ResultStatus.PRELIMINARY, False, False)),
        ("F", "&GDT", (ResultStatus.FINAL, False, False)),
        ("C", "&GDT", (ResultStatus.CORRECTED, False, True)),
        ("A", "&GDT", (ResultStatus.PARTIAL, True, False)),
        ("F", "&ADT^Addendum", (ResultStatus.FINAL, True, False)),
        ("?", "&GDT", (None, False, False)),
        ("", "&GDT", (None, False, False)),
    ],
)
def test_status_tells_additions_from_corrections(
    status: str, identifier: str, expected: tuple[ResultStatus | None, bool, bool]
) -> None:
    obr = OBR.removesuffix("F") + status
    (item,) = parse_oru(message(MSH, PID, obr, obx("Later text.", identifier=identifier))).reports
    assert (item.result_status, item.is_addendum, item.is_correction) == expected


def test_report_with_its_addendum_within_it_is_whole() -> None:
    (item,) = parse_oru(message(MSH, PID, OBR, FINDINGS, obx("Also a nodule.", identifier="&ADT"))).reports
    assert not item.is_addendum
    assert [section.kind for section in item.report.sections] == [SectionKind.FINDINGS, SectionKind.ADDENDUM]


def test_corrected_observation_makes_a_correction() -> None:
    (item,) = parse_oru(message(MSH, PID, OBR, obx("Corrected text.", status="C"))).reports
    assert item.is_correction


@pytest.mark.parametrize(
    ("field", "expected"),
    [("20240301", dt.date(2024, 3, 1)), ("202403", None), ("00000000", None), ("yesterday", None), ("", None)],
)
def test_odd_date_is_no_date(field: str, expected: dt.date | None) -> None:
    obr = f"OBR|1||F-1|X|||{field}"
    (item,) = parse_oru(message(MSH, obr, FINDINGS)).reports
    assert item.report.study_date == expected


@pytest.mark.parametrize(
    ("service", "modality"), [("CT", "CT"), ("NMR", "MR"), ("RUS", "US"), ("RAD", None), ("", None), ("DX", "DX")]
)
def test_service_section_is_a_modality_where_it_names_one(service: str, modality: str | None) -> None:
    obr = f"OBR|1||F-1|X{'|' * 20}{service}"
    (item,) = parse_oru(message(MSH, obr, FINDINGS)).reports
    assert item.report.modality == modality


# Delimiters and character sets


def test_other_delimiters_are_those_of_the_header() -> None:
    (item,) = parse_oru(b"MSH*:+!%*RIS******ORU:R01*M1*P*2.3\rOBR*1**F:RIS\rOBX*1*TX*%IMP**A !S! B!T!C+D\r").reports
    assert item.report.text == "IMPRESSION: A : B%C\nD"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("8859/1", "cp1252"),
        ("8859/2", "iso8859_2"),
        ("UNICODE UTF-8", "utf-8"),
        ("GB 18030-2000", "gb18030"),
        ("BIG-5", "big5"),
        ("ISO IR14~ISO IR87", "iso2022_jp"),
        ("", "utf-8"),
        ("", "cp1252"),
        ("ASCII", "utf-8"),
    ],
)
def test_text_is_in_the_character_set_of_the_header(name: str, encoding: str) -> None:
    text = {
        "gb18030": "两肺未见异常",
        "big5": "兩肺未見異常",
        "iso2022_jp": "肺野に異常なし",
        "iso8859_2": "Płuca bez zmian",
    }.get(encoding, "Opacité à gauche, größer")
    header = MSH.removesuffix("UNICODE UTF-8") + name
    (item,) = parse_oru("\r".join([header, PID, OBR, obx(text)]).encode(encoding)).reports
    assert item.report.text == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_unicode_in_any_form(encoding: str) -> None:
    header = MSH.removesuffix("UNICODE UTF-8") + ("UNICODE UTF-16" if "16" in encoding else "")
    (item,) = parse_oru("\r".join([header, PID, OBR, obx("Größer.")]).encode(encoding)).reports
    assert item.report.text == "Größer."


def test_hex_escape_is_in_the_character_set_of_the_message() -> None:
    assert unescape(r"gr\XF6\\XDF\er", encoding="cp1252") == "größer"
    assert unescape(r"gr\XC3B6\\XC39F\er") == "größer"
    assert unescape(r"gr\XF6\ér") == "gröér"


# Escape sequences

DELIMITERS = st.builds(
    lambda marks: Delimiters(*marks),
    st.permutations("|^~\\&#*:+!%$@").map(lambda marks: marks[:6]),
)
TEXT = st.text(st.one_of(st.sampled_from("|^~\\&#*:+!%$@\n\t .XHNEFSTR0Aébr"), st.characters(exclude_categories=["C"])))


@given(TEXT, DELIMITERS)
def test_escaped_text_comes_back(text: str, delimiters: Delimiters) -> None:
    value = escape(text, delimiters)
    assert not set(value) & {delimiters.field, delimiters.component, delimiters.repetition, delimiters.subcomponent}
    assert "\n" not in value
    assert unescape(value, delimiters) == text


@given(TEXT)
def test_escaped_text_comes_back_through_a_message(text: str) -> None:
    report = read_one(obx(escape(text)))
    assert report.text == (text if text.strip() else "")


@given(st.text())
def test_any_text_can_be_read_as_a_value(text: str) -> None:
    value = unescape(text)
    assert not any(ord(character) < 32 and character not in "\n\t" for character in value)
    assert len(value) <= 4 * len(text) + 20


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (r"\F\\S\\T\\R\\E\\P\ ", "|^&~\\# "),
        (r"\H\bold\N\ text", "bold text"),
        (r"a\.br\b\.sp2\c\.sk3\d", "a\nb\n\nc   d"),
        (r"\.in+4\a\.ti-2\b\.fi\c\.nf\d\.ce\e", "abcd\ne"),
        (r"\.sp9999\ ", "\n" * 20 + " "),
        (r"\Zlocal\a\C2842\b\M2442AB\c", "abc"),
        (r"and\or, C:\scans\x, 5\ mm", r"and\or, C:\scans\x, 5\ mm"),
        (r"\X0\ \XGG\ \unknown\ ", r"\X0\ \XGG\ \unknown\ "),
        ("a\\X00\\b\x00c", "abc"),
        ("\\", "\\"),
        ("", ""),
    ],
)
def test_escape_sequences(value: str, expected: str) -> None:
    assert unescape(value) == expected


# What is refused


@pytest.mark.parametrize(
    ("data", "place", "error_code", "answer"),
    [
        (b"", "MSH", 100, AckCode.ERROR),
        (b"PID|1||4711\r", "MSH", 100, AckCode.ERROR),
        (b"MSH", "MSH-1", 102, AckCode.ERROR),
        (b"MSHA^~\\&A", "MSH-1", 102, AckCode.ERROR),
        (b"MSH|^^^^|a", "MSH-2", 102, AckCode.ERROR),
        (b"MSH|abcd|a", "MSH-2", 102, AckCode.ERROR),
        (b"MSH|^~\\&|RIS|||||||M1|P|2.5", "MSH-9", 101, AckCode.ERROR),
        (b"MSH|^~\\&|RIS||||||ADT^A01|M1|P|2.5", "MSH-9", 200, AckCode.REJECT),
        (b"MSH|^~\\&|RIS||||||ORU^R30|M1|P|2.5", "MSH-9", 201, AckCode.REJECT),
        (b"MSH|^~\\&|RIS||||||ORU^R01||P|2.5", "MSH-10", 101, AckCode.ERROR),
        (b"MSH|^~\\&|RIS||||||ORU^R01|M1|Q|2.5", "MSH-11", 202, AckCode.REJECT),
        (b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|3.0", "MSH-12", 203, AckCode.REJECT),
        (b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|2.5||||||XQMARKQX\r", "MSH-18", 103, AckCode.ERROR),
        (b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|2.5\rPID|1||XQMARKQX\r", "OBR", 100, AckCode.ERROR),
        (b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|2.5\rOBX|1|TX|&GDT||XQMARKQX\r", "OBR", 100, AckCode.ERROR),
        (
            b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|2.5||||||UNICODE UTF-8\rOBR|1\rOBX|1|TX|&GDT||XQMARKQX\xff\r",
            *("MSH-18", 102, AckCode.ERROR),
        ),
        (
            b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|2.5\rOBR|1\rOBX|1|NM|A||1\rOBX|2|ED|&GDT||^AP^PDF^Base64^XQMARKQX\r",
            *("OBX[2]-2", 102, AckCode.ERROR),
        ),
        (b"MSH|^~\\&|RIS||||||ORU^R01|M1|P|2.5\rOBR" + b"|" * 250_000, "MSH", 104, AckCode.ERROR),
        (b"\xff\xfeM\x00S\x00H\x00\x00\xd8", "MSH-18", 102, AckCode.ERROR),
    ],
)
def test_message_that_cannot_be_read_says_where_and_why(
    data: bytes, place: str, error_code: int, answer: AckCode
) -> None:
    with pytest.raises(MessageInvalid) as caught:
        parse_oru(data)
    error = caught.value
    assert (error.place, error.error_code, error.acknowledgment) == (place, error_code, answer)
    assert error.__context__ is None
    shown = str(error) + repr(error) + repr(error.args)
    assert MARK not in shown
    assert "RIS" not in shown


def test_error_survives_a_process_border() -> None:
    error = MessageInvalid("is missing", segment="OBX", sequence=2, field=5, error_code=101)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.place, again.error_code) == (str(error), "OBX[2]-5", 101)


BEGINNINGS = (b"", b"MSH|^~\\&|", message(MSH), message(MSH, PID, OBR) + b"OBX|1|TX|")


@given(st.binary(max_size=200), st.sampled_from(BEGINNINGS))
def test_any_bytes_are_a_message_or_an_error(data: bytes, before: bytes) -> None:
    with suppress(MessageInvalid):
        assert parse_oru(before + data).reports


def test_messages_do_not_show_themselves() -> None:
    oru = parse_oru(message(MSH.replace("M17", MARK), PID.replace("4711", MARK), OBR.replace("A-1", MARK), obx(MARK)))
    assert MARK not in repr(oru) + repr(oru.reports) + repr(read_header(message(MSH.replace("M17", MARK))))


# Files


def write(path: Path, *messages: bytes) -> Path:
    path.write_bytes(b"".join(messages))
    return path


def other(number: int, status: str = "F") -> bytes:
    obr = OBR.replace("F-1", f"F-{number}").removesuffix("F") + status
    return message(MSH.replace("M17", f"M{number}"), PID, obr, obx(f"Text {number} {status}."))


def test_file_of_many_messages_is_read_in_order(tmp_path: Path) -> None:
    path = write(tmp_path / "feed.hl7", *(other(number) for number in range(50)))
    assert [report.text for report in read_reports(path)] == [f"Text {number} F." for number in range(50)]
    assert [report.text for report in read_reports(path, start=48)] == ["Text 48 F.", "Text 49 F."]


@pytest.mark.parametrize(
    "content",
    [
        b"\x0b" + other(1) + b"\x1c\r\x0b" + other(2) + b"\x1c\r",
        b"FHS|^~\\&|RIS\rBHS|^~\\&|RIS\r" + other(1) + other(2) + b"BTS|2\rFTS|1\r",
        (other(1) + other(2)).replace(b"\r", b"\n"),
        (other(1) + other(2)).replace(b"\r", b"\r\n"),
        b"\xef\xbb\xbf" + other(1) + b"\r\r\n\n" + other(2),
        gzip.compress(other(1) + other(2)),
        (other(1) + other(2)).decode().encode("utf-16"),
    ],
)
def test_framing_batches_and_line_ends_of_files(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "feed.hl7", content)
    assert [report.text for report in read_reports(path)] == ["Text 1 F.", "Text 2 F."]


def test_a_report_of_a_cancelled_order_is_a_row_without_a_report(tmp_path: Path) -> None:
    """The ids of those behind it count it: they are those that the linking gives, which knows of cancelled ones."""
    cancelled = other(1).replace(b"\rOBR|", b"\rORC|OC|P-1|F-1\rOBR|")
    path = write(tmp_path / "feed.hl7", other(1), cancelled, other(1, "X"), other(1, "C"))
    shown = [record.report_id if isinstance(record, Report) else str(record) for record in iter_records(path)]
    assert shown == [
        "F-1",
        "feed.hl7, row 2: is of an order that was cancelled (ORC-1, OBR-25)",
        "feed.hl7, row 3: is of an order that was cancelled (ORC-1, OBR-25)",
        "F-1:4",
    ]


def test_a_text_of_very_many_lines_is_read_in_a_time_that_grows_with_it() -> None:
    """Each line that was added to the text before it copied all of it: these took half an hour."""
    number = 4_000_000
    data = message(MSH, PID, OBR, obx("a\n" * number + "b"))
    (item,) = parse_oru(data).reports
    assert item.report.text.count("\n") == number


def test_later_reading_of_a_report_is_no_repetition(tmp_path: Path) -> None:
    path = write(tmp_path / "feed.hl7", other(1, "P"), other(2), other(1, "F"), other(1, "C"))
    found = [(report.report_id, report.text) for report in read_reports(path)]
    assert found == [("F-1", "Text 1 P."), ("F-2", "Text 2 F."), ("F-1:2", "Text 1 F."), ("F-1:3", "Text 1 C.")]


def test_bad_message_costs_itself(tmp_path: Path) -> None:
    adt = message(MSH.replace("ORU^R01^ORU_R01", "ADT^A08"), PID)
    path = write(tmp_path / "feed.hl7", b"rubbish\r", other(1), adt, other(2), b"MSH|cut\r", other(3))
    shown = [record.text if isinstance(record, Report) else str(record) for record in iter_records(path)]
    assert shown == [
        "feed.hl7, row 1, field 'MSH': the message does not begin with this segment (HL7 error 100)",
        "Text 1 F.",
        "feed.hl7, row 3, field 'MSH-9': only ORU messages are read (HL7 error 200)",
        "Text 2 F.",
        "feed.hl7, row 5, field 'MSH-2': must hold four different delimiters (HL7 error 102)",
        "Text 3 F.",
    ]


def test_oversized_message_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from corpora.sources import hl7

    monkeypatch.setattr(hl7, "MAX_MESSAGE", 2_000)
    long = message(MSH, PID, OBR, *(obx("x" * 100) for _ in range(100)))
    path = write(tmp_path / "feed.hl7", other(1), long, other(2))
    first, second, third = iter_records(path)
    assert isinstance(first, Report)
    assert str(second) == "feed.hl7, row 2: is a message of more than 2,000 bytes"
    assert isinstance(third, Report)


def test_empty_and_missing_files(tmp_path: Path) -> None:
    (record,) = iter_records(write(tmp_path / "empty.hl7"))
    assert str(record) == "empty.hl7, row 1: is an empty file"
    with pytest.raises(SourceUnreadable):
        list(iter_records(tmp_path / "gone.hl7", format="hl7"))


def test_folder_is_read_file_by_file_and_names_are_not_shown(tmp_path: Path) -> None:
    write(tmp_path / "1.hl7", other(1))
    write(tmp_path / f"2{MARK}.hl7.gz", gzip.compress(other(2))[:-9])
    write(tmp_path / "3.hl7", other(3))
    records = list(iter_records(tmp_path))
    assert [record.text for record in records if isinstance(record, Report)] == ["Text 1 F.", "Text 3 F."]
    (invalid,) = (record for record in records if isinstance(record, RowInvalid))
    assert "is a file that cannot be read, or is cut off" in str(invalid)
    assert MARK not in str(invalid)


def test_fields_can_be_mapped_to_places(tmp_path: Path) -> None:
    path = write(tmp_path / "feed.hl7", other(1))
    (report,) = read_reports(path, columns={"accession_number": "OBR-2", "report_id": "MSH-10", "body_part": "OBR-4.2"})
    assert (report.accession_number, report.report_id, report.body_part) == ("P-1", "M1", "XR Chest 2 views")
    with pytest.raises(ColumnMissing, match="has its place"):
        list(read_reports(path, columns={"text": "OBX-5"}))
    with pytest.raises(ColumnMissing, match="a field such as OBR-18"):
        list(read_reports(path, columns={"accession_number": "ACCESSION"}))


def test_encoding_can_be_forced(tmp_path: Path) -> None:
    header = MSH.removesuffix("UNICODE UTF-8") + "8859/1"
    path = write(tmp_path / "feed.hl7", "\r".join([header, PID, OBR, obx("Größer.")]).encode())
    (report,) = read_reports(path, encoding="utf-8")
    assert report.text == "Größer."


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.hl7", b""), ("A.HL7.GZ", gzip.compress(b"", mtime=0)), ("feed", other(1)), ("feed.dat", b"\x0b" + other(1))],
)
def test_format_is_recognised(tmp_path: Path, name: str, content: bytes) -> None:
    assert recognise_format(write(tmp_path / name, content)) == "hl7"
