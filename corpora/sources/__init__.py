"""Report sources: one module each, all with the same entry point, and the one function that picks among them.

A source module has a ``NAME`` (what ``format=`` and ``--format`` take), ``SUFFIXES``, a sentence in ``DESCRIPTION``
and ``iter_records(path, options)``, which streams what it finds as `Record`: a `Report`, or a `RowInvalid` where one
row cannot become a report. It raises `SourceUnreadable` or `ColumnMissing` where the source as a whole cannot be read.
A new source is a new module with these four names, listed in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

from corpora.errors import RowInvalid, SourceUnreadable
from corpora.reports import Report
from corpora.sources import csv, dicom_sr, fhir, hl7, json_lines, openi, padchest, parquet, text_folder
from corpora.sources.columns import check_mapping
from corpora.sources.encoding import open_binary, readable
from corpora.sources.records import ReadOptions, Record

Location = str | Path
OnInvalid = Literal["raise", "skip"] | Callable[[RowInvalid], None]


class Source(Protocol):
    """What a source module offers."""

    NAME: str
    DESCRIPTION: str
    SUFFIXES: tuple[str, ...]

    def iter_records(self, path: Path, options: ReadOptions) -> Iterator[Record]:
        """Yield the records of one file or folder, in an order that never changes."""


SOURCES: Mapping[str, Source] = {
    source.NAME: source for source in (csv, json_lines, parquet, text_folder, openi, padchest, hl7, fhir, dicom_sr)
}
TABLES = (csv.NAME, json_lines.NAME, parquet.NAME)  # sources that are one file; a folder of them is read file by file
SNIFFED_BYTES = 65_536
LOOKED_AT_FILES = 1_000  # how many files of a folder are looked at to tell what it holds


def read_reports(
    source: Location | Iterable[Location],
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    start: int = 0,
    on_invalid: OnInvalid = "raise",
) -> Iterator[Report]:
    """Return an iterator over the reports of one or several files or folders.

    ``on_invalid`` says what becomes of a row that is no report: ``"raise"`` raises its `RowInvalid`, ``"skip"`` goes
    on, and a function is called with it. The other arguments are those of `iter_records`, which yields both kinds.

    >>> import tempfile
    >>> table = Path(tempfile.mkdtemp()) / "reports.csv"
    >>> _ = table.write_text("report_id,text\\nr1,Lungs are clear.\\n", encoding="utf-8")
    >>> [(report.report_id, report.text) for report in read_reports(table)]
    [('r1', 'Lungs are clear.')]
    """
    records = iter_records(source, format=format, columns=columns, encoding=encoding, start=start)
    return _iter_reports(records, on_invalid)


def _iter_reports(records: Iterator[Record], on_invalid: OnInvalid) -> Iterator[Report]:
    for record in records:
        if isinstance(record, Report):
            yield record
        elif on_invalid == "raise":
            raise record
        elif on_invalid != "skip":
            on_invalid(record)


def iter_records(
    source: Location | Iterable[Location],
    *,
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    start: int = 0,
) -> Iterator[Record]:
    """Return an iterator over the records of one or several files or folders: reports, and rows that are none.

    A record's position is its 0-based place in this iterator; it depends on the files alone, so ``start=n`` goes on
    behind the first ``n`` records. Memory does not grow with the number of records.

    Parameters
    ----------
    source
        A file, a folder, or several of them, which are read one after the other.
    format
        A key of `SOURCES`; without it the suffix and, where that says nothing, the content decide.
    columns
        Report field to column name (``{"text": "REPORT_BODY"}``) for tables; a field mapped to an empty name is not
        read. Fields that are not mapped are found by their usual names (`corpora.sources.columns.ALIASES`).
    encoding
        The encoding of CSV, JSON Lines and text files; without it, it is detected per file.

    Raises
    ------
    SourceUnreadable
        At once where a path does not exist or its format cannot be told, while iterating where a file breaks off.
    ColumnMissing
        Where ``columns`` names no field of a report, or, while iterating, a column that a table does not have.
    """
    locations = [source] if isinstance(source, str | Path) else list(source)
    if format is not None and format not in SOURCES:
        raise SourceUnreadable(f"unknown format {format!r}: use one of {', '.join(SOURCES)}")
    options = ReadOptions(columns=check_mapping(columns), encoding=encoding)
    plan = [part for location in locations for part in _plan(Path(location), format)]
    records = (record for name, path in plan for record in SOURCES[name].iter_records(path, options))
    return islice(records, start, None)


def recognise_format(path: Path) -> str:
    """Return the key of `SOURCES` that reads ``path``; raise `SourceUnreadable` where nothing does."""
    with readable(path):
        if path.is_dir():
            return _recognise_folder(path)
        if not path.exists():
            raise SourceUnreadable(f"{path}: there is no such file or folder")
        if not path.is_file():
            raise SourceUnreadable(f"{path}: is neither a file nor a folder")
        if padchest.recognises(path):
            return padchest.NAME
        return _format_of_name(path) or _format_of_content(path)


def _plan(path: Path, format: str | None) -> Iterator[tuple[str, Path]]:
    name = format or recognise_format(path)
    if not path.is_dir() or name not in TABLES:
        yield name, path
        return
    suffixes = SOURCES[name].SUFFIXES
    files = [file for file in text_folder.iter_files(path) if file.name.lower().endswith(suffixes)]
    if not files:
        raise SourceUnreadable(f"{path}: holds no file that ends in {' or '.join(suffixes)}")
    for file in files:
        yield name, file


def _format_of_name(path: Path) -> str | None:
    name = path.name.lower()
    found = next((key for key, source in SOURCES.items() if name.endswith(source.SUFFIXES)), None)
    # JSON is the suffix of two formats; the first object tells which.
    return fhir.NAME if found == json_lines.NAME and fhir.recognises(path) else found


def _format_of_content(path: Path) -> str:
    with open_binary(path) as stream:
        start = stream.read(SNIFFED_BYTES)
    if dicom_sr.recognises(start):
        return dicom_sr.NAME
    if hl7.recognises(start):
        return hl7.NAME
    head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"PAR1"):
        return parquet.NAME
    if head.startswith(b"{"):
        return fhir.NAME if fhir.is_resource(head) else json_lines.NAME
    if head.startswith(b"<"):
        return openi.NAME
    raise SourceUnreadable(
        f"{path}: neither name nor content tell the format; say which with --format: {', '.join(SOURCES)}"
    )


def _recognise_folder(path: Path) -> str:
    """Tell a folder of text files from one of XML files, of tables, or a corpus as it lies in the cache."""
    if openi.archive_in(path):
        return openi.NAME
    if padchest.table_in(path):
        return padchest.NAME
    found: dict[str, None] = {}
    for file in islice(text_folder.iter_files(path), LOOKED_AT_FILES):
        key = _format_of_name(file)
        if key:
            found[key] = None
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise SourceUnreadable(f"{path}: holds no file of a format that can be read ({', '.join(SOURCES)})")
    raise SourceUnreadable(f"{path}: holds files of several formats; say which with --format: {', '.join(found)}")
