"""Label tables in the forms others read: CheXpert's CSV, both ways, and torchxrayvision's.

The numbers of CheXpert live here alone: 1 positive, 0 negative, -1 uncertain, blank not mentioned (Irvin et al. 2019,
arXiv:1901.07031). torchxrayvision takes 1, 0 and NaN (blank: not known) and has names of its own for some labels
(``xrv.datasets.default_pathologies``, version 1.5).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.findings import Assertion
from corpora.weak_labels.errors import ExportInvalid
from corpora.weak_labels.views import ViewKind, view_kind

TO_NUMBER: Mapping[Assertion | None, str] = {
    Assertion.POSITIVE: "1.0",
    Assertion.NEGATIVE: "0.0",
    Assertion.UNCERTAIN: "-1.0",
    None: "",
}
# Tables on disk have the number as text, as float or as a whole number, and blanks in pandas' words.
_FROM_NUMBER: Mapping[str, Assertion | None] = {
    **dict.fromkeys(("1", "1.0"), Assertion.POSITIVE),
    **dict.fromkeys(("0", "0.0", "-0.0"), Assertion.NEGATIVE),
    **dict.fromkeys(("-1", "-1.0"), Assertion.UNCERTAIN),
    **dict.fromkeys(("", "nan", "NaN"), None),
}
#: The columns before the labels in CheXpert's train.csv.
CHEXPERT_COLUMNS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA")
#: Labels of our sets under the names that torchxrayvision has for them.
XRV_NAMES: Mapping[str, str] = {
    "Pleural Effusion": "Effusion",
    "Pleural Thickening": "Pleural_Thickening",
    "Pleural_Thickening": "Pleural_Thickening",
}
_SEX = {"M": "Male", "F": "Female"}


@dataclass(frozen=True, slots=True, repr=False)
class LabelTableRow:
    """One image with its labels. ``fields`` are further columns, by name, as they stand in the file."""

    path: str
    labels: Mapping[str, Assertion | None]
    patient_sex: str | None = None
    patient_age_years: float | None = None
    view: str | None = None
    patient_id: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"LabelTableRow(<{len(self.labels)} labels>)"


def write_chexpert_csv(
    stream: TextIO, rows: Iterable[LabelTableRow], labels: Sequence[str], *, fields: Sequence[str] = ()
) -> int:
    """Write rows as CheXpert's CSV, one at a time, and return how many there were.

    ``labels`` are the label columns in their order, ``fields`` further columns between CheXpert's own and the labels
    (report id, split). Open the stream with ``newline=""``.

    Raises
    ------
    ExportInvalid
        A row lacks one of the labels or fields, or has others.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*CHEXPERT_COLUMNS, *fields, *labels])
    count = 0
    for count, row in enumerate(rows, start=1):
        _check(row, count, labels, fields)
        kind = view_kind(row.view)
        age = "" if row.patient_age_years is None else f"{row.patient_age_years:g}"
        writer.writerow(
            [
                row.path,
                _SEX.get(row.patient_sex or "", row.patient_sex or "Unknown"),
                age,
                {ViewKind.FRONTAL: "Frontal", ViewKind.LATERAL: "Lateral"}.get(kind, ""),
                (row.view or "") if kind is ViewKind.FRONTAL else "",
                *(row.fields[name] for name in fields),
                *(TO_NUMBER[row.labels[label]] for label in labels),
            ]
        )
    return count


def read_chexpert_csv(path: Path, labels: Sequence[str]) -> Iterator[LabelTableRow | RowInvalid]:
    """Yield the rows of a CheXpert CSV, and for a row that is none the reason.

    Columns other than CheXpert's and ``labels`` come as ``fields``. The view is AP/PA for a frontal image, LATERAL for
    a lateral one.

    Raises
    ------
    SourceUnreadable
        The file cannot be opened or is no UTF-8 text.
    ColumnMissing
        ``Path`` or a label has no column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream)
            names = next(reader, [])
            missing = [name for name in ("Path", *labels) if name not in names]
            if missing:
                raise ColumnMissing(f"{path.name}: there is no column {', '.join(missing)}")
            for number, cells in enumerate(reader, start=1):
                if len(cells) != len(names):
                    reason = f"{len(cells)} cells, the header has {len(names)}"
                    yield RowInvalid(source=path.name, row=number, reason=reason)
                else:
                    yield _read(path.name, number, dict(zip(names, cells, strict=True)), labels)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceUnreadable(f"{path.name}: cannot be read as CSV ({type(error).__name__})") from None


def _read(source: str, number: int, row: dict[str, str], labels: Sequence[str]) -> LabelTableRow | RowInvalid:
    values: dict[str, Assertion | None] = {}
    for label in labels:
        cell = row.pop(label).strip()
        if cell not in _FROM_NUMBER:
            reason = f"holds {len(cell)} characters that are none of 1, 0, -1 and blank"
            return RowInvalid(source=source, row=number, field=label, reason=reason)
        values[label] = _FROM_NUMBER[cell]
    place, sex, age, side, view = (row.pop(name, "") for name in CHEXPERT_COLUMNS)
    try:
        years = float(age) if age.strip() else None
    except ValueError:
        return RowInvalid(source=source, row=number, field="Age", reason=f"holds {len(age)} characters, no number")
    return LabelTableRow(
        place,
        values,
        patient_sex={"Male": "M", "Female": "F", "Unknown": None, "": None}.get(sex, sex),
        patient_age_years=years,
        view="LATERAL" if side == "Lateral" else view or None,
        fields=row,
    )


def write_xrv_csv(
    stream: TextIO, rows: Iterable[LabelTableRow], labels: Sequence[str], *, fields: Sequence[str] = ()
) -> int:
    """Write rows as a table for torchxrayvision, one at a time, and return how many there were.

    Columns: ``filename``, ``patientid``, ``view``, ``sex_male``, ``sex_female``, ``age_years``, ``fields``, the labels
    by torchxrayvision's names. Uncertain and not mentioned are both blank, which is NaN there: not known. Raises as
    `write_chexpert_csv`.
    """
    writer = csv.writer(stream, lineterminator="\n")
    head = ["filename", "patientid", "view", "sex_male", "sex_female", "age_years"]
    writer.writerow([*head, *fields, *(XRV_NAMES.get(label, label) for label in labels)])
    count = 0
    for count, row in enumerate(rows, start=1):
        _check(row, count, labels, fields)
        known = row.patient_sex in _SEX
        writer.writerow(
            [
                row.path,
                row.patient_id or "",
                row.view or "",
                str(row.patient_sex == "M") if known else "",
                str(row.patient_sex == "F") if known else "",
                "" if row.patient_age_years is None else f"{row.patient_age_years:g}",
                *(row.fields[name] for name in fields),
                *("" if row.labels[label] is Assertion.UNCERTAIN else TO_NUMBER[row.labels[label]] for label in labels),
            ]
        )
    return count


def _check(row: LabelTableRow, number: int, labels: Sequence[str], fields: Sequence[str]) -> None:
    for kind, wanted, given in (("label", labels, row.labels), ("field", fields, row.fields)):
        missing = [name for name in wanted if name not in given]
        if missing or (kind == "label" and len(given) != len(wanted)):
            what = f"lacks the {kind} {missing[0]!r}" if missing else "has labels that have no column"
            raise ExportInvalid(f"row {number} {what}")
