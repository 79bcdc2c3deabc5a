"""From reports, as any source has them, to a Parquet file of what they are linked by: one row a report, no text.

Tables (CSV, JSON Lines, Parquet) may be reports, or the rows that `radlabel label` wrote: a text is not needed here.
They may also say how far a report is and when it was signed; of other sources, HL7 says how far it is.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.linking.hl7_keys import iter_hl7
from corpora.linking.normalise import normalise_identifier, normalise_uid
from corpora.linking.outcomes import STATUS_WORDS, ReportStatus
from corpora.linking.settings import LinkSettings
from corpora.reports import Report
from corpora.sources import SOURCES, TABLES, iter_records, recognise_format
from corpora.sources import csv as csv_source
from corpora.sources import hl7 as hl7_source
from corpora.sources import json_lines as json_lines_source
from corpora.sources import parquet as parquet_source
from corpora.sources.columns import FIELDS, describe_columns, fold, plan_columns
from corpora.sources.encoding import encoding_of, iter_lines, open_text, readable
from corpora.sources.records import PLAIN_FIELDS, ReadOptions, RowReader
from corpora.sources.text_folder import iter_files

if TYPE_CHECKING:
    import pyarrow as pa

# Columns that only linking reads. A bare "status" is left out: in label rows it says whether a text was read.
VERSION_ALIASES: Mapping[str, tuple[str, ...]] = {
    "report_status": ("report_status", "result_status", "report_state", "diagnostic_report_status"),
    "report_time": (
        *("report_time", "report_datetime", "report_date_time", "signed_at", "signed_time", "issued"),
        *("result_time", "verification_date_time", "report_date"),
    ),
}
KEY_FIELDS = ("report_id", *PLAIN_FIELDS, "study_date", *VERSION_ALIASES)
_BATCH = 20_000  # rows written at a time: some 10 MB


@dataclass(frozen=True, slots=True, repr=False)
class ReportKeys:
    """What a report is linked by, as its source has it. Absent fields are ``None``."""

    report: Report
    status: ReportStatus | None = None
    time: dt.datetime | None = None

    def __repr__(self) -> str:
        return "ReportKeys(<one report>)"


@dataclass(frozen=True, slots=True)
class ReportSource:
    """Where reports come from; the fields are the arguments of `corpora.iter_records`.

    ``columns`` may also name ``report_status`` and ``report_time``.
    """

    paths: tuple[Path, ...]
    format: str | None = None
    columns: Mapping[str, str] | None = None
    encoding: str | None = None

    def files(self) -> Iterator[Path]:
        """Yield every file that is read, in order, for a digest over them."""
        for path in self.paths:
            with readable(path):
                yield from iter_files(path) if path.is_dir() else iter((path,))


Key = ReportKeys | RowInvalid


def iter_report_keys(source: ReportSource) -> Iterator[Key]:
    """Yield what each report is linked by, or why a row is none, in an order that depends on the files alone.

    Raises
    ------
    SourceUnreadable, ColumnMissing
        As `corpora.iter_records`; a table must have a report id or an accession number.
    """
    columns = dict(source.columns or {})
    for name in columns:
        if name not in FIELDS and name not in VERSION_ALIASES:
            known = ", ".join((*FIELDS, *VERSION_ALIASES))
            raise ColumnMissing(f"a column was given for {name!r}, which is no field of a report: {known}")
    if source.format is not None and source.format not in SOURCES:
        raise SourceUnreadable(f"unknown format {source.format!r}: use one of {', '.join(SOURCES)}")
    for path in source.paths:
        format = source.format or recognise_format(path)
        if format == hl7_source.NAME:
            for item in iter_hl7(path, ReadOptions(columns=columns, encoding=source.encoding)):
                yield item if isinstance(item, RowInvalid) else ReportKeys(*item)
            continue
        if format not in TABLES:
            for record in iter_records(path, format=format, columns=columns, encoding=source.encoding):
                yield ReportKeys(record) if isinstance(record, Report) else record
            continue
        options = ReadOptions(columns=columns, encoding=source.encoding)
        for file in _tables(path, format):
            yield from _READERS[format](file, options)


def _tables(path: Path, format: str) -> Iterator[Path]:
    with readable(path):
        if not path.is_dir():
            yield path
            return
    suffixes = SOURCES[format].SUFFIXES
    files = [file for file in iter_files(path) if file.name.lower().endswith(suffixes)]
    if not files:
        raise SourceUnreadable(f"{path}: holds no file that ends in {' or '.join(suffixes)}")
    yield from files


def _plan(names: list[str], columns: Mapping[str, str], where: str) -> dict[str, int]:
    """Return the place of every field of `KEY_FIELDS` that the table has."""
    usual = {name: column for name, column in columns.items() if name in KEY_FIELDS and name not in VERSION_ALIASES}
    # The text and its sections are not read here, wherever they stand.
    plan = {name: place for name, place in plan_columns(names, usual).items() if name in KEY_FIELDS}
    folded = {fold(name): place for place, name in reversed(list(enumerate(names)))}
    for field, aliases in VERSION_ALIASES.items():
        wanted = columns.get(field)
        if wanted is not None and wanted and fold(wanted) not in folded:
            raise ColumnMissing(f"{where}: there is no column {wanted!r} for {field}; {describe_columns(names)}")
        candidates = aliases if wanted is None else (wanted,) if wanted else ()
        place = next((folded[fold(alias)] for alias in candidates if fold(alias) in folded), None)
        if place is not None and place not in plan.values():
            plan[field] = place
    if "report_id" not in plan and "accession_number" not in plan:
        raise ColumnMissing(
            f"{where}: no column holds a report id or an accession number; {describe_columns(names)}; name it with "
            "--column accession_number=NAME"
        )
    return plan


def _read(reader: RowReader, number: int, cells: Mapping[str, object]) -> Key:
    record = reader.read(number, {name: value for name, value in cells.items() if name not in VERSION_ALIASES})
    if isinstance(record, RowInvalid):
        return record
    time = _time(cells.get("report_time"))
    if isinstance(time, str):
        return reader.invalid(number, time, "report_time")
    return ReportKeys(record, status_of(cells.get("report_status")), time)


def status_of(value: object) -> ReportStatus | None:
    """Return the status that a source's word or code stands for, or ``None`` where it is not known."""
    if not isinstance(value, str):
        return None
    word = "-".join(value.strip().lower().replace("_", "-").split())
    return STATUS_WORDS.get(word) or STATUS_WORDS.get(word.partition("-")[0] if word.endswith("-report") else word)


def _time(value: object) -> dt.datetime | str | None:
    """Return a point in time, naive (UTC where the source gave a zone), or why the value is none."""
    if value is None or (isinstance(value, float) and value != value) or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        text = value.strip()
        try:
            # DICOM DT and HL7 TS (20240301103000.123+0100) lack the T that ISO's basic form has.
            digits = text[:14] if text[:14].isdigit() else text[:12] if text[:12].isdigit() else ""
            text = f"{digits[:8]}T{digits[8:]}{text[len(digits) :]}" if digits else text
            value = dt.datetime.fromisoformat(text)
        except ValueError:
            return f"is no time of the form YYYY-MM-DDTHH:MM:SS or YYYYMMDDHHMMSS ({len(text)} characters)"
    if not isinstance(value, dt.datetime):
        return f"must be a time, not a value of type {type(value).__name__}"
    return value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value


def _iter_csv(path: Path, options: ReadOptions) -> Iterator[Key]:
    encoding = encoding_of(path, options.encoding)
    separator = csv_source.sniff_separator(path, encoding, options.columns)
    with open_text(path, encoding) as stream:
        rows = csv_source.iter_rows(iter_lines(stream), separator)
        names = csv_source.read_header(rows, path)
        plan = list(_plan(names, options.columns, path.name).items())
        reader = RowReader(path.name, csv_source.stem_of(path), any(name == "report_id" for name, _ in plan), encoding)
        for number, row in enumerate(rows, start=1):
            if isinstance(row, str):
                yield reader.invalid(number, row)
            elif len(row) != len(names):
                yield reader.invalid(number, csv_source.describe_ragged(row, names))
            else:
                yield _read(reader, number, {name: row[place] for name, place in plan})


def _iter_json_lines(path: Path, options: ReadOptions) -> Iterator[Key]:
    encoding = encoding_of(path, options.encoding)
    plans: dict[tuple[str, ...], dict[str, str]] = {}
    has_id: bool | None = None
    with open_text(path, encoding, newline="\n") as stream:
        for number, line in enumerate(iter_lines(stream), start=1):
            line = line.strip().removeprefix("\ufeff")
            if not line:
                continue
            reader = RowReader(path.name, csv_source.stem_of(path), bool(has_id), encoding)
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                yield reader.invalid(number, f"is not JSON ({len(line)} characters)")
                continue
            if not isinstance(row, dict):
                yield reader.invalid(number, "is JSON, but no object")
                continue
            keys = tuple(row)
            if keys not in plans:
                if len(plans) >= _MAX_PLANS:
                    plans.clear()
                folded = {fold(key) for key in keys}
                wanted = {name: key if fold(key) in folded else "" for name, key in options.columns.items()}
                try:
                    plans[keys] = {name: keys[place] for name, place in _plan(list(keys), wanted, path.name).items()}
                except ColumnMissing:
                    yield reader.invalid(number, "has no key for a report id, nor for an accession number")
                    continue
            if has_id is None:
                has_id = "report_id" in plans[keys]
                reader = RowReader(path.name, csv_source.stem_of(path), has_id, encoding)
            yield _read(reader, number, {name: row[key] for name, key in plans[keys].items()})


def _iter_parquet(path: Path, options: ReadOptions) -> Iterator[Key]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with readable(path):
        try:
            file = pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False)
        except pa.ArrowException as error:
            raise SourceUnreadable(f"{path}: is no Parquet file, or one that is cut off") from error
        with file:
            names = file.schema_arrow.names
            plan = _plan(names, options.columns, path.name)
            reader = RowReader(path.name, csv_source.stem_of(path), "report_id" in plan)
            number = 0
            try:
                wanted = [names[place] for place in plan.values()]
                for batch in file.iter_batches(batch_size=_BATCH, columns=wanted, use_threads=False):
                    columns = [parquet_source._values(batch.column(names[place])) for place in plan.values()]
                    for row in zip(*columns, strict=True):
                        number += 1
                        yield _read(reader, number, dict(zip(plan, row, strict=True)))
            except (pa.ArrowException, OSError):
                # The cause is not kept: Arrow's messages may quote a value.
                raise SourceUnreadable(f"{path}: is damaged behind row {number}") from None


_MAX_PLANS = 256
_READERS: Mapping[str, Callable[[Path, ReadOptions], Iterator[Key]]] = {
    csv_source.NAME: _iter_csv,
    json_lines_source.NAME: _iter_json_lines,
    parquet_source.NAME: _iter_parquet,
}


def key_schema() -> pa.Schema:
    """Return the schema of the file that `write_report_keys` makes; ``*_key`` are the normalised forms."""
    import pyarrow as pa

    text = [
        *("report_id", "accession_number", "accession_number_issuer", "patient_id", "modality"),
        *("accession_key", "issuer_key", "patient_key", "uid_key", "status"),
    ]
    return pa.schema(
        [
            pa.field("report_row", pa.int64(), nullable=False),
            *((name, pa.string()) for name in text),
            ("study_date", pa.date32()),
            ("report_time", pa.timestamp("us")),
            # of rows that are none
            ("source", pa.string()),
            ("source_row", pa.int64()),
            ("field", pa.string()),
            ("invalid_reason", pa.string()),
        ]
    )


def write_report_keys(
    keys: Iterable[Key], path: Path, settings: LinkSettings, on_rows: Callable[[int], None] = lambda rows: None
) -> int:
    """Write a row for each of ``keys``, valid or not, and return how many there are.

    ``report_row`` counts from 1 over all sources. Memory does not grow with the number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = key_schema()
    count = 0
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for key in keys:
            count += 1
            rows.append(_row(count, key, settings))
            if len(rows) == _BATCH:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                rows.clear()
                on_rows(count)
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    on_rows(count)
    return count


def _row(number: int, key: Key, settings: LinkSettings) -> dict[str, Any]:
    if isinstance(key, RowInvalid):
        return {
            "report_row": number,
            "source": key.source,
            "source_row": key.row,
            "field": key.field,
            "invalid_reason": key.reason,
        }
    report = key.report
    return {
        "report_row": number,
        "report_id": report.report_id,
        "accession_number": report.accession_number,
        "accession_number_issuer": report.accession_number_issuer,
        "patient_id": report.patient_id,
        "modality": report.modality.strip().upper() or None if report.modality else None,
        "accession_key": normalise_identifier(
            report.accession_number, ignore_leading_zeros=settings.ignore_leading_zeros
        ),
        "issuer_key": normalise_identifier(report.accession_number_issuer),
        "patient_key": normalise_identifier(
            report.patient_id, ignore_leading_zeros=settings.ignore_patient_leading_zeros
        ),
        "uid_key": normalise_uid(report.study_instance_uid) if settings.use_study_instance_uid else None,
        "status": key.status.value if key.status else None,
        "study_date": report.study_date,
        "report_time": key.time,
    }
