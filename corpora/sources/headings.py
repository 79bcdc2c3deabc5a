"""What the codes of the hospital formats mean for a report: which section opens, which machine was used.

HL7 v2, FHIR and DICOM SR give a report in parts, each under a code rather than under a heading in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from corpora.reports import Report, Section, SectionKind

# DICOM PS3.16 CID 7001 and CID 7002, in their LOINC codes and in the DCM codes that they replaced; LOINC 18782-3 is
# what radiology systems send as the narrative of a study. Codes of the two systems never coincide.
SECTION_OF_CODE: Mapping[str, SectionKind] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("11329-0", "18785-6", "55108-5", "55115-0", "55752-0"),
                *("121060", "121062", "121109", "121110", "121118"),
            ),
            SectionKind.INDICATION,
        ),
        **dict.fromkeys(("29549-3", "55111-9", "73569-6", "121064", "121065"), SectionKind.TECHNIQUE),
        **dict.fromkeys(("18834-2", "55114-3", "121066", "121068", "121069"), SectionKind.COMPARISON),
        **dict.fromkeys(("18782-3", "59776-5", "121070", "121071"), SectionKind.FINDINGS),
        **dict.fromkeys(
            ("19005-8", "55110-1", "55112-7", "121072", "121073", "121076", "121077", "121111"),
            SectionKind.IMPRESSION,
        ),
        # That a result was telephoned says nothing of the study that the findings do not say.
        **dict.fromkeys(("18783-1", "73568-8", "121074", "121075"), SectionKind.RECOMMENDATION),
        **dict.fromkeys(("55107-7", "121078"), SectionKind.ADDENDUM),
    }
)
_SECTION_OF_NAME: Mapping[str, SectionKind] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("indication", "indications", "history", "clinical history", "clinical information", "request"),
                *("reason for exam", "reason for study", "clinical indication", "reason for request"),
            ),
            SectionKind.INDICATION,
        ),
        **dict.fromkeys(("technique", "procedure", "procedure description", "protocol"), SectionKind.TECHNIQUE),
        **dict.fromkeys(("comparison", "comparisons", "previous findings"), SectionKind.COMPARISON),
        **dict.fromkeys(("finding", "findings", "observations"), SectionKind.FINDINGS),
        **dict.fromkeys(
            ("impression", "impressions", "conclusion", "conclusions", "opinion", "summary"), SectionKind.IMPRESSION
        ),
        **dict.fromkeys(("recommendation", "recommendations"), SectionKind.RECOMMENDATION),
        **dict.fromkeys(("addendum", "addenda"), SectionKind.ADDENDUM),
    }
)
# HL7 table 0074, diagnostic service sections that use one kind of machine. IHE RAD-4 has a DICOM modality there.
_MODALITY_OF_SERVICE = {"NMR": "MR", "NMS": "NM", "RUS": "US", "OUS": "US", "VUS": "US", "CUS": "US"}
_MODALITIES = frozenset("CR CT DX IO MG MR NM OT PT PX RF RG US XA".split())

Part = tuple[SectionKind | None, str]


def section_of(code: str | None, meaning: str | None = None) -> SectionKind | None:
    """Return the section that a code opens, or else its meaning in words; ``None`` if neither is a known heading.

    >>> section_of("19005-8"), section_of("local17", "Impression:"), section_of("36643-5", "XR Chest 2 views")
    (<SectionKind.IMPRESSION: 'impression'>, <SectionKind.IMPRESSION: 'impression'>, None)
    """
    if code and code.strip() in SECTION_OF_CODE:
        return SECTION_OF_CODE[code.strip()]
    return _SECTION_OF_NAME.get(" ".join((meaning or "").strip(" :").lower().split()))


def modality_of_service(code: str | None) -> str | None:
    """Return the DICOM modality that a diagnostic service section names, or ``None``: several machines, or none.

    >>> modality_of_service("NMR"), modality_of_service("ct"), modality_of_service("RAD")
    ('MR', 'CT', None)
    """
    code = (code or "").strip().upper()
    return _MODALITY_OF_SERVICE.get(code) or (code if code in _MODALITIES else None)


def assemble(parts: Iterable[Part]) -> tuple[str, tuple[Section, ...]]:
    r"""Return the text of a report and its sections from parts, each with its section or ``None``.

    Where every part has a section, the sections are given with the text. A part without one may be a whole report with
    headings of its own, so then the text alone is returned, the parts with a section under a heading behind the others;
    whoever reads it finds the headings. Neighbours of one section are joined by a line break.

    >>> assemble([(None, "FINDINGS: Clear."), (None, "No effusion."), (SectionKind.IMPRESSION, "Well.")])
    ('FINDINGS: Clear.\nNo effusion.\n\nIMPRESSION: Well.', ())
    """
    joined: list[tuple[SectionKind | None, list[str]]] = []
    for kind, body in parts:
        if joined and joined[-1][0] is kind:
            joined[-1][1].append(body)
        else:
            joined.append((kind, [body]))
    whole = [(kind, "\n".join(bodies)) for kind, bodies in joined]
    whole = [(kind, body) for kind, body in whole if body.strip()]
    headed = [(kind, body) for kind, body in whole if kind is not None]
    if len(headed) == len(whole):
        report = Report.from_sections("", headed)
        return report.text, report.sections
    pieces = [body for kind, body in whole if kind is None]
    return "\n\n".join([*pieces, *(f"{kind.value.upper()}: {body}" for kind, body in headed)]), ()
