"""Tables without identifiers: the image index, linked rows and label rows, with the pseudonyms that headers get."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from corpora.deidentification.errors import ColumnNotClassified
from corpora.deidentification.pseudonyms import IdentifierKind, Pseudonymiser


class ColumnRule(StrEnum):
    """What becomes of a column. A pseudonym's rule has the name of the kind of identifier."""

    PATIENT_ID = "patient_id"
    ACCESSION_NUMBER = "accession_number"
    REPORT_ID = "report_id"
    IMAGE_ID = "image_id"  # a SOP Instance UID gets the UID that its header gets
    UID = "uid"
    DATE = "date"  # shifted by the patient's days
    DROP = "drop"
    KEEP = "keep"
    FINDINGS = "findings"  # their text is the report's and goes; offsets and the rest stay
    AGE = "age"  # over 89 becomes 90


def _rules(**columns: str) -> Mapping[str, ColumnRule]:
    return {name: ColumnRule(rule) for rule, names in columns.items() for name in names.split()}


#: Columns that radlabel writes. File names and free text may hold anything, so they go.
KNOWN_COLUMNS: Mapping[str, ColumnRule] = _rules(
    patient_id="patient_id",
    accession_number="accession_number",
    report_id="report_id",
    image_id="image_id",
    uid="study_instance_uid series_instance_uid sop_instance_uid",
    date="study_date",
    drop="patient_id_issuer accession_number_issuer file mask_file study_description series_description study_time "
    "modified_ns text report_text",
    findings="findings",
    age="patient_age_years",
    keep="source sop_class_uid modality body_part view laterality patient_orientation photometric_interpretation rows "
    "columns bits_stored number_of_frames row_spacing_mm column_spacing_mm patient_sex manufacturer model_name "
    "burned_in_annotation transfer_syntax_uid size_bytes split boxes status model_name model_version model_digest "
    "labels outcome reason policy",
)
#: Columns that a label set names: ``chexpert14:Edema``, ``target:Edema``.
_LABEL_COLUMN = ":"


def deidentify_table(table: Any, pseudonymiser: Pseudonymiser, rules: Mapping[str, ColumnRule] | None = None) -> Any:
    """Return a pyarrow table (or record batch as a table) with pseudonyms in place of identifiers.

    Rows that were linked stay linked: the same identifier gives the same pseudonym in every table and header.

    Parameters
    ----------
    rules
        How to treat further columns, or known ones in another way.

    Raises
    ------
    ColumnNotClassified
        A column is neither known nor in ``rules``, or dates are to be shifted and ``patient_id`` is not there.
    """
    import pyarrow as pa

    given = {**KNOWN_COLUMNS, **(rules or {})}
    names = list(table.schema.names)
    unknown = sorted(name for name in names if name not in given and _LABEL_COLUMN not in name)
    if unknown:
        raise ColumnNotClassified(
            f"say how to treat the columns {', '.join(unknown)}: drop, keep or a kind of pseudonym"
        )
    chosen = {name: given.get(name, ColumnRule.KEEP) for name in names}
    if ColumnRule.DATE in chosen.values() and "patient_id" not in names:
        raise ColumnNotClassified("dates are shifted by patient, and there is no column patient_id")
    owners = _owners(table, names)
    columns: dict[str, Any] = {}
    for name, rule in chosen.items():
        if rule is not ColumnRule.DROP:
            columns[name] = _treated(table.column(name), rule, pseudonymiser, owners)
    return pa.table(columns)


def _owners(table: Any, names: list[str]) -> list[str]:
    """Return for each row whose shift its dates get: the patient's, or as for headers the study's."""
    patients = table.column("patient_id").to_pylist() if "patient_id" in names else [None] * table.num_rows
    studies = table.column("study_instance_uid").to_pylist() if "study_instance_uid" in names else patients
    return [(patient or "").strip() or study or "" for patient, study in zip(patients, studies, strict=True)]


def _treated(column: Any, rule: ColumnRule, pseudonymiser: Pseudonymiser, owners: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    match rule:
        case ColumnRule.KEEP:
            return column
        case ColumnRule.AGE:
            return pc.if_else(pc.greater(column, 89), pa.scalar(90, column.type), column)
        case ColumnRule.DATE:
            values = column.to_pylist()
            shifted = [
                None if date is None else pseudonymiser.shift_date(owner, date)
                for date, owner in zip(values, owners, strict=True)
            ]
            return pa.array(shifted, pa.date32())
        case ColumnRule.FINDINGS:
            bare = [None if row is None else [{**finding, "text": ""} for finding in row] for row in column.to_pylist()]
            return pa.array(bare, column.type)
    encoded = pc.dictionary_encode(column.combine_chunks() if hasattr(column, "combine_chunks") else column)
    made = [
        None if value is None else _replaced(value, rule, pseudonymiser) for value in encoded.dictionary.to_pylist()
    ]
    return pa.array(made, pa.string()).take(encoded.indices)


def _replaced(value: str, rule: ColumnRule, pseudonymiser: Pseudonymiser) -> str:
    if not value.strip():
        return ""
    is_uid = all(part.isdecimal() for part in value.strip().split(".")) and value.count(".") >= 3
    if rule is ColumnRule.UID or (rule is ColumnRule.IMAGE_ID and is_uid):
        return pseudonymiser.uid(value)
    return pseudonymiser.pseudonym(IdentifierKind(rule.value), value)
