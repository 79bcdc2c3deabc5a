"""Acknowledgments of HL7 v2 messages (chapter 2, 2.13 ERR and MSA): made for a sender, and read by one."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from dataclasses import dataclass

from corpora.sources.hl7_header import MessageHeader, narrowed, read_header
from corpora.sources.hl7_message import ERROR_CODES, AckCode, MessageInvalid
from corpora.sources.hl7_text import Delimiters, escape, unescape

APPLICATION = "RADLABEL"
# From v2.5 on, ERR has a field each for place, code and severity; before, one that holds them all.
_FIRST_WITH_ERR_FIELDS = (2, 5)
_DEFAULT_VERSION = "2.5.1"
_TRIGGER = re.compile(r"[A-Z][A-Z0-9]{2}")
_VERSION = re.compile(r"2\.(\d)(?:\.\d+)*")


@dataclass(frozen=True, slots=True)
class Acknowledgment:
    """The answer to a message: ``error_code`` is of table 0357, ``text`` says what is wrong."""

    code: str
    control_id: str
    error_code: int | None = None
    text: str = ""

    @property
    def is_accepted(self) -> bool:
        """Tell whether the message is stored."""
        return self.code == AckCode.ACCEPT


def acknowledge(
    header: MessageHeader | None,
    fault: MessageInvalid | None,
    *,
    notice: str = "",
    now: dt.datetime | None = None,
) -> bytes:
    """Return the acknowledgment of a message: AA, or AE or AR with what is wrong.

    ``notice`` is what a sender should know of a message that is accepted.

    It is in the version, the delimiters and the character set of the message, and goes back to its sender. Of the
    message it repeats its control id and the names of the systems, nothing else. ``header`` is ``None`` where there was
    none to read.
    """
    marks = header.delimiters if header else Delimiters()
    version = header.version if header and _VERSION.fullmatch(header.version) else _DEFAULT_VERSION

    def field(value: str) -> str:
        return escape(value.replace("\n", " "), marks)

    def components(*values: str) -> str:
        return marks.component.join(field(value) for value in values)

    # Of what a sender writes there, only what can be an event (table 0003) goes back.
    trigger = header.trigger if header and _TRIGGER.fullmatch(header.trigger or "") else "R01"
    time = (now or dt.datetime.now(dt.UTC)).strftime("%Y%m%d%H%M%S%z")
    receiver = (header.sending_application, header.sending_facility) if header else ("", "")
    sender = (header.receiving_application or APPLICATION, header.receiving_facility) if header else (APPLICATION, "")
    control_id = field(header.control_id) if header else ""
    code = fault.acknowledgment if fault else AckCode.ACCEPT
    reason = f"{fault.place} {fault.reason}" if fault else ""
    has_err_fields = _number(version) >= _FIRST_WITH_ERR_FIELDS
    msh = [
        *("MSH" + marks.field + marks.encoding_characters, *map(field, sender), *map(field, receiver), time, ""),
        components("ACK", trigger, "ACK") if has_err_fields else components("ACK", trigger),
        uuid.uuid4().hex[:20],  # MSH-10 had 20 characters before v2.5
        field(header.processing_id if header and header.processing_id else "P"),
        version,
    ]
    if header and header.character_set:
        msh += ["", "", "", "", "", header.character_set]
    said = field(reason if fault else notice)
    segments = [msh, ["MSA", code.value, control_id, *([said] if said and not has_err_fields else [])]]
    if fault:
        place = [fault.segment, str(fault.sequence), *([str(fault.field)] if fault.field else [])]
        text = ERROR_CODES[fault.error_code]
        if has_err_fields:
            coded = components(str(fault.error_code), text, "HL70357")
            segments.append(["ERR", "", components(*place), coded, "E", "", "", "", said])
        else:
            coded = marks.subcomponent.join((str(fault.error_code), field(text), "HL70357"))
            segments.append(["ERR", marks.component.join([*place, *[""] * (3 - len(place)), coded])])
    elif notice and has_err_fields:
        coded = components("0", ERROR_CODES[0], "HL70357")
        segments.append(["ERR", "", "", coded, "I", "", "", "", said])  # table 0516: information
    message = "".join(marks.field.join(segment) + "\r" for segment in segments)
    return message.encode((header and header.encoding) or "utf-8", errors="replace")


def read_acknowledgment(message: bytes) -> Acknowledgment:
    """Return what an acknowledgment says; raise `MessageInvalid` where it is none."""
    header = read_header(message)
    marks = header.delimiters
    text = narrowed(message).decode(header.encoding or "utf-8", errors="replace")
    segments = {line[:3]: line.split(marks.field) for line in re.split(r"[\r\n]+", text)}

    def value(segment: str, field: int) -> str:
        fields = segments.get(segment, [])
        return fields[field] if len(fields) > field else ""

    if "MSA" not in segments:
        raise MessageInvalid("the acknowledgment has no such segment", segment="MSA", error_code=100)
    coded = value("ERR", 3).partition(marks.component)[0]
    if not coded and value("ERR", 1):
        coded = value("ERR", 1).split(marks.component)[-1].partition(marks.subcomponent)[0]
    reason = value("ERR", 8) or value("MSA", 3)
    return Acknowledgment(
        code=value("MSA", 1),
        control_id=unescape(value("MSA", 2), marks),
        error_code=int(coded) if coded.isdecimal() else None,
        text=unescape(reason, marks),
    )


def _number(version: str) -> tuple[int, int]:
    match = _VERSION.fullmatch(version)
    return 2, int(match[1]) if match else 0
