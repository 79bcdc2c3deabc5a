"""A report cut into its sections, by the headings in its text or as its source gave them."""

from __future__ import annotations

import re
from importlib import resources

import yaml

from corpora.reports import Report, Section, SectionKind


def _load_names() -> dict[str, SectionKind]:
    text = resources.files(__package__).joinpath("data/sections.yaml").read_text("utf-8")
    return {name: SectionKind(kind) for kind, names in yaml.safe_load(text).items() for name in names}


_KIND_OF = _load_names()
_ALTERNATIVES = "|".join(re.escape(name).replace(r"\ ", r"[ \t]+") for name in sorted(_KIND_OF, key=len, reverse=True))
# A heading stands at the start of a line, or follows a sentence on the same line if it is written in capitals.
_HEADING = re.compile(
    r"(?:(?P<line>^[ \t]*(?:[#*>]+[ \t]*)?(?:\d+[.)][ \t]+(?=[A-Z]{4}))?)"
    r"|(?P<inline>(?<=[.:;!?)\]])[ \t]+|(?<=[a-z0-9])[ \t]{2,}))"
    rf"(?P<name>{_ALTERNATIVES})(?:\(s\))?[ \t]*\**[ \t]*"
    r"(?P<end>[:;]|[-–—](?=\s)|\.(?=[ \t]*$)|[ \t]*$)\**",
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
        return name.isupper() or (name.istitle() and match.group("end") != ".")
    # Alone on its line.
    return name[0].isupper()
