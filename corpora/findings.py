"""What is read from a report: findings with evidence, and the labels of its study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Assertion(StrEnum):
    """What a report says of a finding. Not mentioned is ``None``, never a member."""

    POSITIVE = "positive"
    NEGATIVE = "negative"
    UNCERTAIN = "uncertain"


class Hedge(StrEnum):
    """Why a finding is uncertain: the read-out against human codes treats the kinds differently."""

    MODAL = "modal"  # "may represent", "possible", "suggestive of", "cannot be excluded"
    PROBABLE = "probable"  # "likely", "probable", "favored to represent"
    BORDERLINE = "borderline"  # "borderline enlarged"
    ALTERNATIVE = "alternative"  # "atelectasis or infiltrate", "scar versus atelectasis"


class Status(StrEnum):
    """What came of a report."""

    OK = "ok"
    NO_TEXT = "no_text"  # nothing to read
    NOT_APPLICABLE = "not_applicable"  # text, but no radiology report
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A size as the report gives it: one to three extents of one object, in ``unit``, and in millimetres."""

    values: tuple[float, ...]
    unit: str
    size_mm: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One mention of a finding; ``start``/``end`` are half-open character offsets into the report's text.

    ``sentence`` counts the report's sentences from 0. ``anatomy`` is the organ or region (an anatomy id), ``location``
    the places named within it (anatomy ids), ``laterality`` one of left, right, bilateral; ``probability`` is the
    reader's own for the assertion, or ``None`` where the reader is a set of rules and has none.
    """

    text: str
    start: int
    end: int
    section: str
    sentence: int
    concept_id: str
    concept_name: str
    cui: str | None
    assertion: Assertion
    probability: float | None = None
    anatomy: str | None = None
    laterality: str | None = None
    location: tuple[str, ...] = ()
    severity: str | None = None
    temporality: str | None = None
    measurement: Measurement | None = None
    hedge: Hedge | None = None

    def __repr__(self) -> str:
        # The text is the report's: it stays out of debug prints.
        return f"Finding({self.concept_id!r}, {self.assertion.value}, {self.start}:{self.end}, {self.section})"


@dataclass(frozen=True, slots=True)
class StudyLabel:
    """One label of one study. ``evidence`` holds indices into the study's findings.

    ``basis`` says where the value comes from: ``span`` (the findings listed), ``attention`` (a model's most attended
    sentence) or ``rule`` (derived, as No Finding is). ``probability`` maps value to probability, or is ``None``.
    ``abstained``: the probability was too close to call, so there is no value.
    """

    value: Assertion | None
    basis: str = "span"
    evidence: tuple[int, ...] = ()
    probability: Mapping[str, float] | None = None
    abstained: bool = False


@dataclass(frozen=True, slots=True)
class LabeledReport:
    """A report read: its findings, and its labels by label set and label."""

    report_id: str
    status: Status
    accession_number: str | None = None
    labels: Mapping[str, Mapping[str, StudyLabel]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    reason: str | None = None  # for status error: a sentence without any content of the report

    def __repr__(self) -> str:
        return f"LabeledReport(<{self.status.value}, {len(self.findings)} findings>)"
