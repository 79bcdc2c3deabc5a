"""The report, as every source yields it and every reader takes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class SectionKind(StrEnum):
    """The parts of a radiology report that matter to its reading (ACR practice parameter for communication, II.B)."""

    INDICATION = "indication"  # why the study was asked for, clinical history: never evidence
    TECHNIQUE = "technique"  # how it was done: never evidence
    COMPARISON = "comparison"  # earlier studies: evidence only where a finding is said to persist
    FINDINGS = "findings"
    IMPRESSION = "impression"  # conclusion, opinion: may withdraw what the findings say
    ADDENDUM = "addendum"  # later text or final reading: overrides what came before
    RECOMMENDATION = "recommendation"  # advice: never evidence
    OTHER = "other"  # text under no heading, or under one nobody knows: read like findings


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report: ``start``/``end`` are half-open character offsets of its body in ``Report.text``."""

    kind: SectionKind
    start: int
    end: int


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """One radiology report and what is known of its study.

    ``text`` is the report as it was given; every offset that radlabel returns points into it. ``sections`` is filled by
    sources that store a report in parts (Open-i, a table with one column a section) and empty where headings have to be
    found in the text. ``accession_number`` belongs to the study and is not unique; ``accession_number_issuer`` says who
    gave it (DICOM PS3.3 C.4.4, Issuer of Accession Number Sequence). ``study_instance_uid`` is the study's own name
    (DICOM PS3.3 C.7.2.1), where the source says it. Absent fields are ``None``.
    """

    report_id: str
    text: str
    accession_number: str | None = None
    accession_number_issuer: str | None = None
    patient_id: str | None = None
    study_date: dt.date | None = None
    modality: str | None = None
    body_part: str | None = None
    sections: tuple[Section, ...] = ()
    study_instance_uid: str | None = None

    def __repr__(self) -> str:
        # A debug print must not leak what the type will not show: no text, no identifier.
        return f"Report(<{len(self.text)} characters, {len(self.sections)} sections given>)"

    @classmethod
    def from_sections(
        cls,
        report_id: str,
        parts: Iterable[tuple[SectionKind, str]],
        *,
        accession_number: str | None = None,
        accession_number_issuer: str | None = None,
        patient_id: str | None = None,
        study_date: dt.date | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        study_instance_uid: str | None = None,
    ) -> Report:
        """Return a report whose text is its parts, each under a heading line, with their offsets in ``sections``.

        Empty parts are left out.

        >>> report = Report.from_sections("r1", [(SectionKind.FINDINGS, "Clear."), (SectionKind.IMPRESSION, "Normal.")])
        >>> report.text
        'FINDINGS: Clear.\\n\\nIMPRESSION: Normal.'
        >>> [report.text[s.start : s.end] for s in report.sections]
        ['Clear.', 'Normal.']
        """
        pieces: list[str] = []
        sections: list[Section] = []
        length = 0
        for kind, body in parts:
            if not body.strip():
                continue
            heading = ("\n\n" if pieces else "") + f"{kind.value.upper()}: "
            start = length + len(heading)
            sections.append(Section(kind, start, start + len(body)))
            pieces += [heading, body]
            length = start + len(body)
        return cls(
            report_id=report_id,
            text="".join(pieces),
            accession_number=accession_number,
            accession_number_issuer=accession_number_issuer,
            patient_id=patient_id,
            study_date=study_date,
            modality=modality,
            body_part=body_part,
            sections=tuple(sections),
            study_instance_uid=study_instance_uid,
        )
