"""Reports from text files: one file a report, its name without the suffix the report's id.

A folder is read with all that lies below it, in the order of names. Rows count files in that order: a file's name is
often an accession number, so messages give its place and size instead of the name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corpora.errors import ColumnMissing, RowInvalid
from corpora.sources.encoding import decode, encoding_of_bytes, readable
from corpora.sources.records import MAX_TEXT, ReadOptions, Record, RowReader

NAME = "text"
DESCRIPTION = "a text file, or a folder of them; the name is the report's id"
SUFFIXES: tuple[str, ...] = (".txt",)


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per file; the text is the file's, line ends included."""
    if options.columns:
        raise ColumnMissing(f"{path.name}: text files have no columns to map")
    with readable(path):
        files = iter_files(path, SUFFIXES) if path.is_dir() else iter((path,))
    if options.encoding is not None:
        encoding_of_bytes(b"", options.encoding)  # an unknown name fails once, before the first file
    for number, file in enumerate(files, start=1):
        yield _read(file, RowReader(path.name, path.name, True), number, options.encoding)


def iter_files(folder: Path, suffixes: tuple[str, ...] = ("",)) -> Iterator[Path]:
    """Yield the files below ``folder`` that end in one of ``suffixes``, folder by folder, each in the order of names.

    Hidden files are left out (macOS puts a ``._name`` beside each file it copies), and links to folders are not
    followed, so that a link upwards makes no circle.
    """
    with readable(folder):
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from iter_files(entry, suffixes)
        elif entry.name.lower().endswith(suffixes):
            yield entry


def _read(file: Path, reader: RowReader, number: int, encoding: str | None) -> Record:
    place = f"file {number} in the order of names"
    try:
        size = file.stat().st_size
        if size > 4 * MAX_TEXT:
            return reader.invalid(number, f"{place} has {size:,} bytes, more than a report can have")
        data = file.read_bytes()
    except OSError as error:
        return reader.invalid(number, f"{place} cannot be read: {error.strerror or 'unknown reason'}")
    found = encoding_of_bytes(data, encoding)
    text = decode(data, found).removeprefix("\ufeff")
    if "\0" in text:
        return reader.invalid(number, f"{place} is binary, not text ({size:,} bytes)", "text")
    record = reader.read(number, {"report_id": file.name.rpartition(".")[0] or file.name, "text": text})
    if isinstance(record, RowInvalid):
        return reader.invalid(number, f"{place} is not {found} text, or has a broken name ({size:,} bytes)", "text")
    return record
