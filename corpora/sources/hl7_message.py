"""HL7 v2 ORU^R01 messages: an unsolicited observation result, one report for each OBR.

    RadlabelError
    +-- MessageInvalid     a message cannot become reports (also ValueError); knows place, HL7 error code, AE or AR

Where a field stands is HL7 v2.5.1's, chapters 4 and 7, as IHE Radiology profiles it; older and newer versions have the
same fields. python-hl7 cuts the message; escape sequences are replaced here, since its own function logs what it does
not know. Strict where a report would be lost or go to the wrong study, tolerant elsewhere: an odd date is no date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from corpora.errors import RadlabelError
from corpora.reports import Report

# Table 0357, in the words of v2.5.1.
ERROR_CODES: Mapping[int, str] = MappingProxyType(
    {
        0: "Message accepted",
        100: "Segment sequence error",
        101: "Required field missing",
        102: "Data type error",
        103: "Table value not found",
        104: "Value too long",
        200: "Unsupported message type",
        201: "Unsupported event code",
        202: "Unsupported processing id",
        203: "Unsupported version id",
        207: "Application internal error",
    }
)
_FIRST_REJECTION = 200  # table 0357: errors below are of content (AE), the others reject the message whole (AR)


class AckCode(StrEnum):
    """Table 0008, original mode."""

    ACCEPT = "AA"
    ERROR = "AE"  # the content is at fault: the same message will fail again
    REJECT = "AR"  # not for this receiver, or the receiver has a problem of its own


class ResultStatus(StrEnum):
    """Table 0123, result status of a whole report (OBR-25)."""

    ORDERED = "O"
    INCOMPLETE = "I"  # no results yet
    SCHEDULED = "S"
    PARTIAL = "A"  # some results; radiology systems send addenda with it
    PRELIMINARY = "P"
    STORED = "R"  # not yet verified
    FINAL = "F"
    CORRECTED = "C"
    CANCELLED = "X"
    UNKNOWN_ORDER = "Y"
    UNKNOWN_PATIENT = "Z"


# Table 0119, order control (ORC-1): the order was cancelled or discontinued, as told by either side.
_CANCELLING = frozenset({"CA", "CR", "OC", "DC", "DR", "OD"})


class MessageInvalid(RadlabelError, ValueError):
    """A message cannot become reports. ``segment``, ``sequence`` (from 1) and ``field`` say where, ``error_code`` is of
    table 0357, and ``reason`` a sentence without any content of the message.
    """

    def __init__(
        self, reason: str, *, segment: str, error_code: int, sequence: int = 1, field: int | None = None
    ) -> None:
        self.reason = reason
        self.segment = segment
        self.sequence = sequence
        self.field = field
        self.error_code = error_code
        super().__init__(f"{self.place}: {reason} (HL7 error {error_code})")

    def __reduce__(self) -> tuple[object, ...]:
        return (_message_invalid, (self.reason, self.segment, self.error_code, self.sequence, self.field))

    @property
    def place(self) -> str:
        """Return where the fault is: ``OBR[2]-3``."""
        number = f"[{self.sequence}]" if self.sequence > 1 else ""
        return f"{self.segment}{number}" + (f"-{self.field}" if self.field else "")

    @property
    def acknowledgment(self) -> AckCode:
        """Return the code to answer with."""
        return AckCode.REJECT if self.error_code >= _FIRST_REJECTION else AckCode.ERROR


def _message_invalid(reason: str, segment: str, error_code: int, sequence: int, field: int | None) -> MessageInvalid:
    return MessageInvalid(reason, segment=segment, error_code=error_code, sequence=sequence, field=field)


@dataclass(frozen=True, slots=True, repr=False)
class OruReport:
    """One report of a message. ``is_addendum`` says that it adds to an earlier text, ``is_correction`` that it replaces
    one; a later message with neither replaces what came before, too, as a final reading does a preliminary one.
    """

    report: Report
    result_status: ResultStatus | None = None
    is_addendum: bool = False
    is_correction: bool = False
    order_control: str | None = None  # ORC-1, table 0119

    @property
    def is_cancelled(self) -> bool:
        """Tell whether the order is no more, by ORC-1 or OBR-25: a text that comes with it is no result."""
        return self.result_status is ResultStatus.CANCELLED or self.order_control in _CANCELLING

    def __repr__(self) -> str:
        return f"OruReport({self.result_status.name if self.result_status else 'no status'}, {self.report!r})"


@dataclass(frozen=True, slots=True, repr=False)
class OruMessage:
    """What a message says: who sent it, and its reports."""

    control_id: str
    message_type: str
    trigger: str
    version: str
    processing_id: str
    sending_application: str
    sending_facility: str
    reports: tuple[OruReport, ...]

    def __repr__(self) -> str:
        return f"OruMessage({self.message_type}^{self.trigger}, {len(self.reports)} reports)"


def number_repeats(reports: tuple[OruReport, ...]) -> tuple[OruReport, ...]:
    """Return the reports with ids that differ: a second one of the same id gets ``:2`` behind it."""
    seen: dict[str, int] = {}
    numbered: list[OruReport] = []
    for item in reports:
        report_id = item.report.report_id
        seen[report_id] = seen.get(report_id, 0) + 1
        if seen[report_id] > 1:
            item = replace(item, report=replace(item.report, report_id=f"{report_id}:{seen[report_id]}"))
        numbered.append(item)
    return tuple(numbered)
