"""Reports from JSON Lines: one object a line, one key a field.

Keys have the names that columns have in a table; ``sections`` may hold an object of section names and texts. The first
object decides whether the file gives ids: if it does, a later row without one is invalid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from corpora.errors import RowInvalid, SourceUnreadable
from corpora.sources.columns import ALIASES, fold, has_text, plan_columns
from corpora.sources.csv import stem_of
from corpora.sources.encoding import encoding_of, iter_lines, open_text
from corpora.sources.records import MAX_TEXT, SECTION_FIELDS, ReadOptions, Record, RowReader

NAME = "jsonl"
DESCRIPTION = "JSON Lines, one object a report; gzip allowed"
SUFFIXES: tuple[str, ...] = (".jsonl", ".jsonl.gz", ".ndjson", ".ndjson.gz", ".json", ".json.gz")

SECTIONS_KEY = "sections"
_MAX_PLANS = 256  # sets of keys whose fields are remembered; more of them means the keys are data


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per line but the blank ones; the row's number is the line's, so that an editor finds it."""
    encoding = encoding_of(path, options.encoding)
    plans: dict[tuple[str, ...], dict[str, str]] = {}
    reader = RowReader(path.name, stem_of(path), False, encoding)
    is_first = True
    with open_text(path, encoding, newline="\n") as stream:
        for number, line in _iter_whole_lines(stream):
            if number == 1 and line is not None:
                line = line.removeprefix("\ufeff")
                if line.lstrip().startswith("["):
                    raise SourceUnreadable(f"{path}: is a JSON array; JSON Lines has one object on each line")
            if line is not None and not line.strip():
                continue
            row = _parse(reader, number, line)
            if isinstance(row, RowInvalid):
                yield row
                continue
            keys = tuple(row)
            plan = plans.get(keys) or _plan(reader, number, keys, options.columns)
            if isinstance(plan, RowInvalid):
                yield plan
                continue
            if len(plans) < _MAX_PLANS:
                plans[keys] = plan
            if is_first:
                is_first = False
                has_id = "report_id" in plan or bool(options.columns.get("report_id"))
                reader = RowReader(path.name, stem_of(path), has_id, encoding)
            cells = {name: row[key] for name, key in plan.items()}
            yield reader.read(number, cells, row.get(SECTIONS_KEY))


def _iter_whole_lines(stream: TextIO) -> Iterator[tuple[int, str | None]]:
    """Yield each line's number and the line, or ``None`` in place of one that is too long to hold."""
    number = 0
    is_within = False
    for line in iter_lines(stream):
        if not is_within:
            number += 1
        is_whole = line.endswith("\n") or len(line) <= MAX_TEXT
        if is_whole and not is_within:
            yield number, line
        elif is_whole:
            yield number, None
        is_within = not is_whole
    if is_within:
        yield number, None


def _parse(reader: RowReader, number: int, line: str | None) -> dict[str, object] | RowInvalid:
    if line is None:
        return reader.invalid(number, f"is a line of more than {MAX_TEXT:,} characters")
    line = line.rstrip()
    try:
        row = json.loads(line)
    except RecursionError:
        return reader.invalid(number, "is nested too deeply")
    except ValueError as error:
        # The error holds the whole line; only its place may be told.
        place = f", from character {error.pos + 1} on" if isinstance(error, json.JSONDecodeError) else ""
        return reader.invalid(number, f"is not JSON{place} ({len(line)} characters)")
    if not isinstance(row, dict):
        return reader.invalid(number, "is JSON, but no object")
    return row


def _plan(
    reader: RowReader, number: int, keys: tuple[str, ...], columns: Mapping[str, str]
) -> dict[str, str] | RowInvalid:
    folded = {fold(key) for key in keys}
    # A key that was asked for may be left out of a row where its value is null; no other key then takes its place.
    wanted = {name: key if fold(key) in folded else "" for name, key in columns.items()}
    if any(name in SECTION_FIELDS for name in columns):
        wanted.setdefault("text", "")
    indices = plan_columns(keys, wanted)
    if not has_text(indices) and SECTIONS_KEY not in keys:
        names = columns.get("text") or ", ".join(ALIASES["text"])
        return reader.invalid(number, f"has no key for the report's text ({names}), nor for a section", "text")
    return {name: keys[index] for name, index in indices.items()}
