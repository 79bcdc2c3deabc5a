"""Which column of a table holds which field of a report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from corpora.errors import ColumnMissing
from corpora.sources.records import PLAIN_FIELDS, SECTION_FIELDS

# The usual names of a field, the likeliest first. Case, spaces and punctuation do not matter. A name that often means
# something else ("date", "findings_count") is left out: a field that is missing can be mapped, a wrong one misleads.
ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "report_id": (
            *("report_id", "report_uid", "id", "uid", "study_id", "note_id", "document_id", "doc_id"),
            *("filename", "file_name"),
        ),
        "text": (
            *("text", "report_text", "report", "radiology_report", "full_text", "note_text", "narrative"),
            *("report_body", "body"),
        ),
        "accession_number": ("accession_number", "accession", "accession_no", "accession_num", "accession_id"),
        "accession_number_issuer": (
            *("accession_number_issuer", "issuer_of_accession_number", "accession_issuer"),
            "issuer_of_accession_number_sequence",
        ),
        "patient_id": ("patient_id", "subject_id", "patient", "mrn"),
        "study_date": ("study_date", "study_datetime", "exam_date", "examination_date"),
        "modality": ("modality",),
        "body_part": ("body_part", "body_part_examined"),
        "study_instance_uid": ("study_instance_uid", "study_uid"),
        "indication": ("indication", "clinical_indication", "clinical_information", "clinical_history", "history"),
        "technique": ("technique",),
        "comparison": ("comparison", "comparisons"),
        "findings": ("findings",),
        "impression": ("impression", "impressions", "conclusion", "conclusions", "opinion"),
        "addendum": ("addendum", "addenda"),
        "recommendation": ("recommendation", "recommendations"),
        "other": (),
    }
)
FIELDS = ("report_id", "text", *PLAIN_FIELDS, "study_date", *SECTION_FIELDS)
MAX_LISTED = 40  # column names in a message
_NAME = re.compile(r"[^\W\d][\w .:()/#&%-]{0,47}|")  # an index column may have an empty name


def check_mapping(columns: Mapping[str, str] | None) -> dict[str, str]:
    """Return the mapping of field to column; raise `ColumnMissing` where it names a field that no report has."""
    for name in columns or {}:
        if name not in FIELDS:
            raise ColumnMissing(f"a column was given for {name!r}, which is no field of a report: {', '.join(FIELDS)}")
    return dict(columns or {})


def plan_columns(names: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Return the index into ``names`` of every field that has a column.

    A field that ``columns`` maps takes that column, first by its exact name, then by the folded one, and is left out
    where the column's name is empty. The others are found among the `ALIASES`. If sections were mapped and no text,
    the text is not looked for: the caller has said where the report stands.

    >>> plan_columns(["Accession Number", "REPORT"], {})
    {'text': 1, 'accession_number': 0}
    """
    exact: dict[str, int] = {}
    folded: dict[str, int] = {}
    for index, name in enumerate(names):
        exact.setdefault(name, index)
        folded.setdefault(fold(name) or name, index)
    plan: dict[str, int] = {}
    only_sections = "text" not in columns and any(columns.get(name) for name in SECTION_FIELDS)
    for field in FIELDS:
        if field in columns:
            wanted = columns[field]
            if wanted == "":
                continue
            if wanted not in exact and (fold(wanted) or wanted) not in folded:
                raise ColumnMissing(f"there is no column {wanted!r} for {field}; {describe_columns(names)}")
            plan[field] = exact[wanted] if wanted in exact else folded[fold(wanted) or wanted]
        elif field != "text" or not only_sections:
            taken = next((folded[fold(alias)] for alias in ALIASES[field] if fold(alias) in folded), None)
            if taken is not None and taken not in plan.values():
                plan[field] = taken
    return plan


def has_text(plan: Mapping[str, object]) -> bool:
    """Tell whether the fields of ``plan`` hold anything that can be read: a text, or a section."""
    return "text" in plan or any(name in plan for name in SECTION_FIELDS)


def missing_text(names: Sequence[str]) -> str:
    """Return the sentence that says a table has no text, and what to do."""
    return (
        f"no column holds the text of the reports ({', '.join(ALIASES['text'])}, or a section such as findings or "
        f"impression); {describe_columns(names)}; name it with --column text=NAME"
    )


def describe_columns(names: Sequence[str]) -> str:
    """Return a list of the columns for a message, unless the first row may be data.

    In a table without a header the first row is somebody's report, which no message may show. A row counts as a header
    if one of its cells is a usual name of some field; even then only cells that are shaped like names are listed.
    """
    if not any(fold(name) in _KNOWN for name in names):
        return f"the first row has {count_cells(len(names))}, and none is a known column name: is it a header?"
    listed = [repr(name.strip()) for name in names if _NAME.fullmatch(name.strip())][:MAX_LISTED]
    more = f" and {len(names) - len(listed)} more" if len(names) > len(listed) else ""
    return f"the columns are: {', '.join(listed)}{more}"


def count_cells(number: int) -> str:
    """Return "1 cell" or "2 cells"."""
    return "1 cell" if number == 1 else f"{number} cells"


def fold(name: str) -> str:
    """Return a column's name without case, spaces and punctuation."""
    return re.sub(r"[\W_]+", "", name).casefold()


_KNOWN = frozenset(fold(alias) for aliases in ALIASES.values() for alias in aliases)
