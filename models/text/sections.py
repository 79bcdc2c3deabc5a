"""A report cut into its sections, by the headings in its text or as its source gave them."""

from __future__ import annotations

import re

from corpora.reports import Report, Section, SectionKind

# The names radiologists give their sections, by what they mean. Matched without case, with or without a colon.
_NAMES: dict[SectionKind, tuple[str, ...]] = {
    SectionKind.INDICATION: (
        "indication", "indications", "clinical indication", "clinical indications", "reason for exam",
        "reason for examination", "reason for study", "reason for the exam", "reason", "history", "clinical history",
        "clinical information", "clinical data", "clinical details", "clinical statement", "clinical background",
        "medical condition", "presenting complaint", "brief history", "patient history", "hx", "ind", "clinical question",
        "question", "symptoms", "relevant history", "past medical history", "pmh", "admitting diagnosis", "diagnosis codes",
        "reason for visit", "exam indication", "clinical", "complaint",
    ),
    SectionKind.TECHNIQUE: (
        "technique", "procedure", "examination", "exam", "study", "protocol", "views", "method", "contrast",
        "exam type", "procedure comments", "type of exam", "exam description", "study type", "radiation dose", "dose",
        "techniques", "imaging technique", "examinations", "exams", "exam name", "study description", "test",
        "modality", "date of exam", "exam date", "date", "ordering physician", "accession", "patient", "name", "mrn", "dob",
        "views obtained", "number of views", "scan", "medication", "projection",
    ),
    SectionKind.COMPARISON: ("comparison", "comparisons", "compared to", "prior study", "prior studies", "previous studies", "comparison studies", "comparison exam", "priors"),
    SectionKind.FINDINGS: (
        "findings", "finding", "report", "description", "observations", "observation", "body", "results", "result",
        "discussion", "radiographic findings", "ct findings", "imaging findings", "chest findings", "findings and impression",
        "narrative", "details",
    ),
    SectionKind.IMPRESSION: (
        "impression", "impressions", "conclusion", "conclusions", "opinion", "summary", "interpretation", "diagnosis",
        "imp", "assessment", "radiological diagnosis", "final impression", "overall impression", "comment", "concl",
        "impression and plan", "key findings", "bottom line", "final diagnosis", "radiologic impression",
        "summary of findings", "impression/recommendation", "findings/impression", "conclusion/impression",
    ),
    SectionKind.ADDENDUM: (
        "addendum", "addenda", "final report addendum", "amended report", "correction", "corrected report", "revised report",
        "addendum impression", "final report", "final read", "final reading", "attending addendum", "attending read", "amendment", "final attending read", "final interpretation", "revised impression", "corrected impression", "attending correction", "over read", "overread",
    ),
    SectionKind.RECOMMENDATION: (
        "recommendation", "recommendations", "follow up", "followup", "follow-up", "advice", "suggestion", "plan",
        "recommended follow-up", "recommendation(s)", "action", "critical result", "notification", "critical results",
        "communication", "dictated by", "signed by", "electronically signed", "attending", "transcribed", "signature", "radiologist", "electronically signed by", "reported by", "report signed", "verified by", "cc",
    ),
}  # fmt: skip
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names}
_ALTERNATIVES = "|".join(re.escape(name).replace(r"\ ", r"[ \t]+") for name in sorted(_KIND_OF, key=len, reverse=True))
# A heading stands at the start of a line, or follows a sentence on the same line if it is written in capitals.
_HEADING = re.compile(
    rf"(?:(?P<line>^[ \t]*(?:[#*>]+[ \t]*)?(?:\d+[.)][ \t]+(?=[A-Z]{{4}}))?)|(?P<inline>(?<=[.:;!?)\]])[ \t]+|(?<=[a-z0-9])[ \t]{{2,}}))"
    rf"(?P<name>{_ALTERNATIVES})(?:\(s\))?[ \t]*\**[ \t]*"
    r"(?P<end>[:;]|[-–—](?=\s)|\.(?=[ \t]*$)|[ \t]*$)\**",  # noqa: RUF001
    re.IGNORECASE | re.MULTILINE,
)
_UNTITLED = SectionKind.OTHER


def split_sections(report: Report) -> tuple[Section, ...]:
    """Return the sections of a report in order; text before or without any heading is of kind ``other``.

    Sections given by the source are taken as they are.

    >>> report = Report("r1", "INDICATION: Cough.\\nFINDINGS: Clear lungs. IMPRESSION: Normal.")
    >>> [(s.kind.value, report.text[s.start : s.end].strip()) for s in split_sections(report)]
    [('indication', 'Cough.'), ('findings', 'Clear lungs.'), ('impression', 'Normal.')]
    """
    if report.sections:
        return report.sections
    sections: list[Section] = []
    kind, start = _UNTITLED, 0
    for match in _HEADING.finditer(report.text):
        if not _is_heading(report.text, match):
            continue
        sections.append(Section(kind, start, match.start("name")))
        kind, start = _KIND_OF[_normalised(match.group("name"))], match.end()
    sections.append(Section(kind, start, len(report.text)))
    return tuple(s for s in sections if report.text[s.start : s.end].strip())


def _normalised(name: str) -> str:
    return " ".join(name.lower().split())


def _is_heading(text: str, match: re.Match[str]) -> bool:
    name = match.group("name")
    ends_by_colon = match.group("end") in {":", ";"}
    if match.group("line") is None:
        # Inside a line only an unmistakable form counts: "FINDINGS:", or "Findings:" after a sentence.
        return ends_by_colon and name[0].isupper()
    if ends_by_colon:
        return True
    if match.group("end").strip():  # a dash or a full stop
        return name.isupper() or name.istitle() and match.group("end") != "."
    # Alone on its line.
    return name[0].isupper()
