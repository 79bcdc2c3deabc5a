"""From the bytes of an ORU^R01 message to its reports."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from corpora.reports import Report, SectionKind
from corpora.sources.encoding import UNDECODABLE, decode
from corpora.sources.headings import Part, assemble, modality_of_service, section_of
from corpora.sources.hl7_header import MessageHeader, check_header, narrowed, read_header
from corpora.sources.hl7_message import MessageInvalid, OruMessage, OruReport, ResultStatus, number_repeats
from corpora.sources.hl7_text import unescape

if TYPE_CHECKING:
    import hl7

# Where a field of a report is looked for, the first that has a value. The accession number: IHE RAD TF-2, Send Imaging
# Result [RAD-128], has it in OBR-18, as Procedure Scheduled [RAD-4] has for v2.3.1; v2.5.1 orders have it in IPC-1; and
# the filler order number (OBR-3) "may also contain the Accession Number if that is the local definition". OBR-20 is the
# scheduled procedure step there, so it counts only where it is asked for.
LOCATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "report_id": ("OBR-3", "ORC-3"),
        "accession_number": ("OBR-18", "IPC-1", "OBR-3", "ORC-3"),
        "patient_id": (),  # PID-3, whose repetitions have types
        "study_date": ("OBR-7",),
        "modality": ("OBR-24",),
        "body_part": (),
        "study_instance_uid": ("IPC-3", "ZDS-1"),
        "accession_number_issuer": (),
    }
)
# Separators in one message. python-hl7 makes an object for each piece: without a limit, a message of nothing but
# separators takes a thousand times its size. A long report has some hundred.
MAX_SEPARATORS = 200_000
LOCATION = re.compile(r"(?P<segment>[A-Z][A-Z0-9]{2})-(?P<field>\d{1,2})(?:[.-](?P<component>\d{1,2}))?")

_TEXT_TYPES = frozenset({"TX", "FT", "ST", ""})
_CODED_TYPES = frozenset({"CE", "CWE", "CF", "CNE"})
_ENCAPSULATED_TYPES = frozenset({"ED", "RP"})
# Chapter 7, 7.4.2 (observation identifier suffixes); GDT is text of any kind, so it opens no section. FND is not in the
# standard, but is sent.
_SECTION_OF_SUFFIX = {
    "IMP": SectionKind.IMPRESSION,
    "REC": SectionKind.RECOMMENDATION,
    "ADT": SectionKind.ADDENDUM,
    "FND": SectionKind.FINDINGS,
}
_UID_CODES = frozenset({"110180", "113014"})  # DCM: Study Instance UID, DICOM Study (IHE RAD-28)
_UID = re.compile(r"[0-9.]{5,64}")
_WITHDRAWN = frozenset({"D", "W", "X"})  # OBX-11: deleted, posted as wrong, cannot be obtained
_SEGMENT_START = re.compile(r"[A-Z][A-Z0-9]{2}")


@dataclass(slots=True)
class _Group:
    """An order with its observations; ``segments`` has the first of each kind that was there when it ended."""

    number: int
    segments: dict[str, hl7.Segment]
    observations: list[tuple[int, hl7.Segment]] = field(default_factory=list)


def parse_oru(
    message: bytes, *, encoding: str | None = None, locations: Mapping[str, str] = MappingProxyType({})
) -> OruMessage:
    r"""Return what an ORU^R01 message says.

    Parameters
    ----------
    message
        One message, with or without MLLP framing; segments may end in CR, LF or both. A line that begins with no
        segment name belongs to the segment before it.
    encoding
        The character set, if MSH-18 is not to be believed.
    locations
        Report field to the place where this sender has it, such as ``{"accession_number": "OBR-20"}``.

    Raises
    ------
    MessageInvalid
        It is not an ORU^R01, has no OBR, cannot be decoded, or has its text in a form that is not read.

    >>> message = parse_oru(
    ...     b"MSH|^~\\&|RIS|HOSP|||20240301||ORU^R01|17|P|2.5.1\r"
    ...     b"PID|1||4711^^^HOSP^MR\r"
    ...     b"OBR|1||X-9|36643-5^XR Chest^LN|||20240301|||||||||||A-1|||||||F\r"
    ...     b"OBX|1|TX|59776-5^Findings^LN||Lungs are clear.||||||F\r"
    ...     b"OBX|2|TX|19005-8^Impression^LN||Normal chest.||||||F\r"
    ... )
    >>> [(item.report.report_id, item.report.accession_number, item.report.text) for item in message.reports]
    [('X-9', 'A-1', 'FINDINGS: Lungs are clear.\n\nIMPRESSION: Normal chest.')]
    """
    header = read_header(message, encoding)
    check_header(header)
    segments = _segments(message, header)
    groups = _groups(segments)
    reader = _Reader(header, locations)
    return OruMessage(
        control_id=header.control_id,
        message_type=header.message_type,
        trigger=header.trigger or "R01",
        version=header.version,
        processing_id=header.processing_id,
        sending_application=header.sending_application,
        sending_facility=header.sending_facility,
        reports=number_repeats(tuple(reader.read(group) for group in groups)),
    )


def _segments(message: bytes, header: MessageHeader) -> hl7.Message:
    import hl7

    text = decode(narrowed(message), header.encoding or "utf-8")
    if UNDECODABLE in text:
        raise MessageInvalid("is no text of its character set", segment="MSH", field=18, error_code=102)
    marks = header.delimiters
    if sum(map(text.count, (marks.field, *marks.encoding_characters))) > MAX_SEPARATORS:
        raise MessageInvalid(f"has more than {MAX_SEPARATORS:,} delimiters", segment="MSH", error_code=104)
    lines: list[list[str]] = []  # of each segment
    for line in re.split(r"\r\n|\r|\n", text):
        if _SEGMENT_START.fullmatch(line[:3]) and line[3:4] == marks.field:
            lines.append([line])
        elif line.strip() and lines:
            lines[-1].append(line)
    parsed: hl7.Message = hl7.parse("\r".join("\n".join(segment) for segment in lines))
    return parsed


def _groups(segments: hl7.Message) -> list[_Group]:
    """Return the orders of a message in turn; what stands before the first belongs to all, and so does a later PID."""
    groups: list[_Group] = []
    common: dict[str, hl7.Segment] = {}
    order: hl7.Segment | None = None
    number = 0
    for segment in segments:
        name = str(segment[0])
        if name == "PID":
            common["PID"], order = segment, None
        elif name == "ORC":
            order = segment
        elif name == "OBR":
            groups.append(_Group(len(groups) + 1, {**common, **({"ORC": order} if order else {}), "OBR": segment}))
            order = None
        elif name == "OBX":
            number += 1
            if groups:  # before the first order it is about the patient, not a report
                groups[-1].observations.append((number, segment))
        elif groups:
            groups[-1].segments.setdefault(name, segment)
        else:
            common.setdefault(name, segment)
    if not groups:
        raise MessageInvalid("the message has no such segment, so no report", segment="OBR", error_code=100)
    return groups


class _Reader:
    """Reads the orders of one message."""

    def __init__(self, header: MessageHeader, locations: Mapping[str, str]) -> None:
        self._header = header
        self._locations = {name: (locations[name],) if name in locations else LOCATIONS[name] for name in LOCATIONS}

    def read(self, group: _Group) -> OruReport:
        """Return the report of an order."""
        parts: list[Part] = []
        is_correction = False
        encapsulated: int | None = None
        study_instance_uid = self._first(group, "study_instance_uid")
        for number, segment in group.observations:
            value_type = self._value(segment, 2).upper()
            code = self._value(segment, 3)
            if code in _UID_CODES and (found := _UID.fullmatch(self._value(segment, 5))):
                study_instance_uid = study_instance_uid or found[0]
                continue
            if self._value(segment, 11) in _WITHDRAWN:
                continue
            is_correction = is_correction or self._value(segment, 11) == "C"
            if value_type in _ENCAPSULATED_TYPES:
                encapsulated = encapsulated or number
            elif (text := self._text(segment, value_type)).strip():
                parts.append((self._section(segment, code), text))
        if encapsulated and not parts:
            reason = "the text comes as an encapsulated document, which is not read: send TX, FT or ST"
            raise MessageInvalid(reason, segment="OBX", sequence=encapsulated, field=2, error_code=102)
        text, sections = assemble(parts)
        accession_number, issuer = self._accession_number(group)
        status = self._status(group)
        return OruReport(
            report=Report(
                report_id=self._first(group, "report_id") or self._fallback_id(group),
                text=text,
                accession_number=accession_number,
                accession_number_issuer=self._first(group, "accession_number_issuer") or issuer,
                patient_id=self._first(group, "patient_id") or self._patient_id(group),
                study_date=_day(self._first(group, "study_date")),
                modality=modality_of_service(self._first(group, "modality")),
                body_part=self._first(group, "body_part"),
                sections=sections,
                study_instance_uid=study_instance_uid,
            ),
            result_status=status,
            # A text that has its addendum within it is the whole report again.
            is_addendum=status is ResultStatus.PARTIAL
            or (bool(parts) and all(kind is SectionKind.ADDENDUM for kind, _ in parts)),
            is_correction=is_correction or status is ResultStatus.CORRECTED,
            order_control=self._at(group, "ORC-1") or None,
        )

    def _text(self, segment: hl7.Segment, value_type: str) -> str:
        """Return OBX-5 as text, its repetitions under one another; nothing where the type holds no text."""
        values = _repetitions(segment, 5)
        if value_type in _TEXT_TYPES:
            # Text has no components: a bare "&" or "^" in it is one that somebody did not escape.
            return "\n".join(self._plain(str(value)) for value in values)
        if value_type in _CODED_TYPES:
            # The text, else the original text (CWE-9), else the code: impressions are sent as ^heart failure.
            found = (_component(value, 2) or _component(value, 9) or _component(value, 1) for value in values)
            return "\n".join(self._plain(value) for value in found if value)
        return ""

    def _section(self, segment: hl7.Segment, code: str) -> SectionKind | None:
        identifier = next(iter(_repetitions(segment, 3)), "")
        suffix = _component(identifier, 1, 2).strip().upper()
        if suffix in _SECTION_OF_SUFFIX:
            return _SECTION_OF_SUFFIX[suffix]
        # An alternate code (OBX-3.4) may be the LOINC one.
        meaning = self._plain(_component(identifier, 2) or _component(identifier, 5))
        return section_of(code) or section_of(_component(identifier, 4), meaning)

    def _accession_number(self, group: _Group) -> tuple[str | None, str | None]:
        for location in self._locations["accession_number"]:
            if value := self._at(group, location):
                whole = _whole_field(location)
                return value, self._at(group, f"{whole}.2") or self._at(group, f"{whole}.3") or None
        return None, None

    def _patient_id(self, group: _Group) -> str | None:
        """Return the medical record number (CX-5 MR), or else the first identifier."""
        segment = group.segments.get("PID")
        if segment is None:
            return None
        identifiers = _repetitions(segment, 3)
        preferred = [value for value in identifiers if _component(value, 5).strip() == "MR"]
        values = (self._clean(_component(value, 1)) for value in (*preferred, *identifiers))
        return next((value for value in values if value), None)

    def _status(self, group: _Group) -> ResultStatus | None:
        try:
            return ResultStatus(self._at(group, "OBR-25"))
        except ValueError:
            return None

    def _fallback_id(self, group: _Group) -> str:
        return self._header.control_id if group.number == 1 else f"{self._header.control_id}:{group.number}"

    def _first(self, group: _Group, name: str) -> str | None:
        return next((value for location in self._locations[name] if (value := self._at(group, location))), None)

    def _at(self, group: _Group, location: str) -> str:
        match = LOCATION.fullmatch(location)
        segment = group.segments.get(match["segment"]) if match else None
        if match is None or segment is None:
            return ""
        return self._value(segment, int(match["field"]), int(match["component"] or 1))

    def _value(self, segment: hl7.Segment, number: int, component: int = 1) -> str:
        return self._clean(_component(next(iter(_repetitions(segment, number)), ""), component))

    def _clean(self, value: str) -> str:
        value = self._plain(value).strip()
        return "" if value == '""' else value  # HL7's null: delete what you have

    def _plain(self, value: str) -> str:
        return unescape(value, self._header.delimiters, self._header.encoding or "utf-8")


def _repetitions(segment: hl7.Segment, number: int) -> list[object]:
    return list(segment[number]) if len(segment) > number else []


def _component(value: object, number: int, subcomponent: int = 1) -> str:
    """Return a component, whichever way python-hl7 cut its parent: a part without delimiters is text, not a list."""
    for place in (number, subcomponent):
        if isinstance(value, str):
            value = value if place == 1 else ""
        else:
            parts = list(value)  # type: ignore[call-overload]
            value = parts[place - 1] if len(parts) >= place else ""
    return str(value)


def _whole_field(location: str) -> str:
    match = LOCATION.fullmatch(location)
    return f"{match['segment']}-{match['field']}" if match else location


def _day(value: str | None) -> dt.date | None:
    """Return the day of a time stamp, or ``None`` if it is none or less exact."""
    try:
        return dt.date.fromisoformat((value or "")[:8])
    except ValueError:
        return None
