"""From the named cells of one row to a `Report`, or to the reason why it is none; shared by every table-like source."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from corpora.errors import RowInvalid
from corpora.reports import Report, Section, SectionKind

Record = Report | RowInvalid

PLAIN_FIELDS = (
    *("accession_number", "accession_number_issuer", "patient_id", "modality", "body_part"),
    "study_instance_uid",
)
SECTION_FIELDS: Mapping[str, SectionKind] = MappingProxyType({kind.value: kind for kind in SectionKind})
# The order in which parts become a text: as a report is dictated, so that the impression closes it.
SECTION_ORDER = (
    SectionKind.INDICATION,
    SectionKind.TECHNIQUE,
    SectionKind.COMPARISON,
    SectionKind.FINDINGS,
    SectionKind.OTHER,
    SectionKind.IMPRESSION,
    SectionKind.RECOMMENDATION,
    SectionKind.ADDENDUM,
)
MAX_TEXT = 64 * 2**20  # characters of one cell or line; beyond it, a quote was left open or the file is no table
_DICOM_DATE = re.compile(r"(\d{8})(?:\.0|\d{6}(?:\.\d+)?)?", re.ASCII)  # DA or DT, and DA as a float column prints it
_NULL_DATES = frozenset({"nan", "nat", "none", "null", "n/a", "na"})


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a caller may say about a source: how its columns map to fields, and its encoding."""

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class RowReader:
    """Turns cells, by field name, into records of one file.

    ``source`` is the file's name for messages, ``stem`` the start of the ids given to rows of a file without an id
    column (``<stem>:<row>``), ``has_id`` whether it has one, ``encoding`` what its text was decoded with.
    """

    source: str
    stem: str
    has_id: bool
    encoding: str = "utf-8"

    def read(self, row: int, cells: Mapping[str, object], sections: object = None) -> Record:
        """Return the report that row number ``row`` holds, or the `RowInvalid` that says why it holds none.

        ``cells`` maps fields of a report and kinds of section to values, ``sections`` may be a mapping of section
        names to texts. A text wins over sections, since whoever stores both has taken the sections from the text.
        """
        try:
            return self._read(row, cells, sections)
        except RowInvalid as invalid:
            # The traceback holds the frames, and they hold the row.
            return invalid.with_traceback(None)

    def invalid(self, row: int, reason: str, field: str | None = None) -> RowInvalid:
        """Return the error for a row of this source."""
        return RowInvalid(source=self.source, row=row, field=field, reason=reason)

    def _read(self, row: int, cells: Mapping[str, object], sections: object) -> Report:
        report_id = self._string(row, "report_id", cells.get("report_id"))
        if report_id is None or not report_id.strip():
            if self.has_id:
                raise self.invalid(row, "is empty, so the row cannot be told from others", "report_id")
            report_id = f"{self.stem}:{row}"
        accession_number, issuer, patient_id, modality, body_part, study_instance_uid = (
            self._string(row, name, cells.get(name)) or None for name in PLAIN_FIELDS
        )
        study_date = self._date(row, cells.get("study_date"))
        text, given = self._body(row, cells, sections)
        return Report(
            report_id=report_id,
            text=text,
            accession_number=accession_number,
            accession_number_issuer=issuer,
            patient_id=patient_id,
            study_date=study_date,
            modality=modality,
            body_part=body_part,
            sections=given,
            study_instance_uid=study_instance_uid,
        )

    def _body(self, row: int, cells: Mapping[str, object], sections: object) -> tuple[str, tuple[Section, ...]]:
        text = self._string(row, "text", cells.get("text")) or ""
        parts = [] if text.strip() else self._parts(row, cells, sections)
        if not parts:
            return text, ()
        assembled = Report.from_sections("", parts)
        return assembled.text, assembled.sections

    def _parts(self, row: int, cells: Mapping[str, object], sections: object) -> list[tuple[SectionKind, str]]:
        found: dict[SectionKind, list[str]] = {}
        for name, kind in SECTION_FIELDS.items():
            body = self._string(row, name, cells.get(name))
            if body and body.strip():
                found.setdefault(kind, []).append(body)
        if sections is not None:
            if not isinstance(sections, Mapping):
                raise self.invalid(row, f"must be an object of names and texts, not {_kind(sections)}", "sections")
            for name, value in sections.items():
                body = self._string(row, "sections", value)
                if body and body.strip():
                    kind = SECTION_FIELDS.get(str(name).strip().lower(), SectionKind.OTHER)
                    found.setdefault(kind, []).append(body)
        return [(kind, body) for kind in SECTION_ORDER for body in found.get(kind, ())]

    def _string(self, row: int, name: str, value: object) -> str | None:
        if isinstance(value, bytes):
            # Some Parquet writers leave out that a column of bytes is text.
            value = value.decode("utf-8", errors="surrogateescape")
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return None
        if isinstance(value, str):
            if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
                raise self.invalid(row, f"is not valid {self.encoding} text", name)
            return value
        # Numbers are good ids, but no text: a column of numbers under "text" is a mapping gone wrong.
        if name in ("report_id", "accession_number", "patient_id") and not isinstance(value, bool):
            if isinstance(value, int):
                return str(value)
            if isinstance(value, float) and value.is_integer():
                return str(int(value))  # a column of whole numbers with gaps is stored as floats
        raise self.invalid(row, f"must be text, not {_kind(value)}", name)

    def _date(self, row: int, value: object) -> dt.date | None:
        if isinstance(value, dt.datetime):
            return value.date()
        if isinstance(value, dt.date):
            return value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        text = self._string(row, "study_date", value)
        if text is None or not text.strip() or text.strip().lower() in _NULL_DATES:
            return None
        date = parse_date(text)
        if date is None:
            raise self.invalid(
                row, f"is no date of the form YYYY-MM-DD or YYYYMMDD ({len(text)} characters)", "study_date"
            )
        return date


def parse_date(text: str) -> dt.date | None:
    """Return the day that ``text`` names in ISO 8601 or as a DICOM DA or DT value (PS3.5 6.2), or ``None``.

    >>> parse_date("2024-03-01"), parse_date("20240301"), parse_date("2024-03-01T10:30:00"), parse_date("1.3.24")
    (datetime.date(2024, 3, 1), datetime.date(2024, 3, 1), datetime.date(2024, 3, 1), None)
    """
    text = text.strip()
    dicom = _DICOM_DATE.fullmatch(text)
    try:
        return dt.date.fromisoformat(dicom[1]) if dicom else dt.datetime.fromisoformat(text).date()
    except ValueError:
        return None


def _kind(value: object) -> str:
    """Say what kind of thing a value is, in words that quote nothing of it."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)} items"
    return f"a value of type {type(value).__name__}"
