"""Reports from FHIR R4: a DiagnosticReport, a Bundle with some, or newline-delimited JSON of either (bulk export).

A record is a DiagnosticReport; what else a Bundle or an export holds is looked at for identifiers alone. References
lead to resources of the same Bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.sources.csv import stem_of
from corpora.sources.encoding import encoding_of, iter_lines, open_binary, open_text, readable
from corpora.sources.fhir_report import Resource, ResourceInvalid, check_diagnostic_report, report_of_resource
from corpora.sources.records import MAX_TEXT, ReadOptions, Record
from corpora.sources.text_folder import iter_files

__all__ = [
    "ResourceInvalid",
    "check_diagnostic_report",
    "iter_diagnostic_reports",
    "iter_records",
    "recognises",
    "report_of_resource",
]

NAME = "fhir"
DESCRIPTION = "FHIR R4 DiagnosticReport: a resource, a Bundle, or NDJSON of either; gzip allowed"
# Those of JSON Lines as well: `recognises` looks at the content.
SUFFIXES: tuple[str, ...] = (".json", ".json.gz", ".ndjson", ".ndjson.gz")

_LOOKED_AT = 4_096
# The type comes first as FHIR's examples have it, or anywhere where elements were sorted by name.
_RESOURCE = re.compile(
    rb'\A(?:\xef\xbb\xbf)?\s*\{(?:\s*"resourceType"\s*:\s*"[A-Z]|.*"resourceType"\s*:\s*"(?:DiagnosticReport|Bundle)")',
    re.DOTALL,
)


def recognises(path: Path) -> bool:
    """Tell whether a JSON file is of FHIR: its first object begins with a resource type, or has one that is read."""
    if not path.name.lower().endswith(SUFFIXES):
        return False
    try:
        with open_binary(path) as stream:
            return is_resource(stream.read(_LOOKED_AT))
    except SourceUnreadable:
        return False  # whoever reads it will say so


def is_resource(head: bytes) -> bool:
    """Tell whether JSON is a FHIR resource, by its first bytes."""
    return _RESOURCE.match(head[:_LOOKED_AT]) is not None


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per DiagnosticReport, in the order of files, lines and entries; rows count them."""
    if options.columns:
        raise ColumnMissing(f"{path.name}: FHIR resources have no columns to map")
    with readable(path):
        files = iter_files(path, SUFFIXES) if path.is_dir() else iter((path,))
    row = 0
    for file in files:
        for found in _iter_found(file, options.encoding, is_alone=file is path):
            row += 1
            if isinstance(found, str):
                yield RowInvalid(source=path.name, row=row, reason=found)
                continue
            resource, related = found
            try:
                yield report_of_resource(resource, related=related, report_id=f"{stem_of(path)}:{row}")
            except ResourceInvalid as invalid:
                yield RowInvalid(source=path.name, row=row, field=invalid.expression, reason=invalid.reason)


_Found = tuple[Resource, Mapping[str, Resource]] | str


def iter_diagnostic_reports(value: object) -> Iterator[_Found]:
    """Yield each DiagnosticReport of a resource, with the resources that its references may lead to.

    Other resources are passed over: a bulk export and a Bundle hold many.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("resourceType"), str):
        yield "is JSON, but no FHIR resource"
    elif value["resourceType"] == "DiagnosticReport":
        yield value, {}
    elif value["resourceType"] == "Bundle":
        entries = value.get("entry") or []
        if not isinstance(entries, list):
            yield "is a Bundle whose entries are no list"
            return
        related: dict[str, Resource] = {}
        reports: list[Resource] = []
        for entry in entries:
            resource = entry.get("resource") if isinstance(entry, Mapping) else None
            if not isinstance(resource, Mapping):
                continue
            if resource.get("resourceType") == "DiagnosticReport":
                reports.append(resource)
            if isinstance(entry.get("fullUrl"), str):
                related[entry["fullUrl"]] = resource
            if resource.get("id"):
                related[f"{resource.get('resourceType')}/{resource['id']}"] = resource
        for resource in reports:
            yield resource, related


def _iter_found(file: Path, encoding: str | None, *, is_alone: bool) -> Iterator[_Found]:
    """Yield the DiagnosticReports of a file, or why one cannot be had; of a folder, a file that breaks off is a row."""
    try:
        for value in _iter_values(file, encoding):
            if isinstance(value, str):
                yield value
            else:
                yield from iter_diagnostic_reports(value[0])
    except SourceUnreadable:
        if is_alone:
            raise
        yield "is a file that cannot be read, or is cut off"  # its name may be an accession number


def _iter_values(file: Path, encoding: str | None) -> Iterator[tuple[object] | str]:
    """Yield what a file holds, or why a part of it is no JSON: one value, or one on each line."""
    with open_text(file, encoding_of(file, encoding), newline="\n") as stream:
        first = stream.readline(MAX_TEXT + 1)
        while first and not first.strip():
            first = stream.readline(MAX_TEXT + 1)
        if not _is_line(first):
            text = first + stream.read(MAX_TEXT + 1 - len(first))
            yield _parsed(text) if text.strip() else "is an empty file"
            return
        for line in _chained(first, stream):
            if line.strip():
                yield _parsed(line)


def _is_line(text: str) -> bool:
    """Tell whether a file's first line is a value of its own, whole or broken, rather than the first of many lines."""
    text = text.strip().removeprefix("\ufeff")
    return len(text) > 1 and text.startswith("{") and text.endswith("}")


def _chained(first: str, stream: TextIO) -> Iterator[str]:
    yield first
    yield from iter_lines(stream)


def _parsed(text: str) -> tuple[object] | str:
    if len(text) > MAX_TEXT:
        return f"is more than {MAX_TEXT:,} characters"
    try:
        return (json.loads(text.strip().removeprefix("\ufeff")),)
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        # The error holds the text; only its place may be told.
        place = f", from character {error.pos + 1} on" if isinstance(error, json.JSONDecodeError) else ""
        return f"is not JSON{place} ({len(text)} characters)"
