"""The results of a job as a file: JSON Lines as they are kept, CSV and Parquet made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO

from nlp_service.rows import RowForm, labeled_from
from nlp_service.writers import writer_for

MEDIA_TYPES = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


def write_results(outputs: Iterable[bytes], form: RowForm, format: str, stream: IO[bytes]) -> None:
    """Write the results of a job in one of `MEDIA_TYPES`, chunk by chunk: the same bytes as the batch command's."""
    writer = writer_for(f".{format}", form)
    if format == "jsonl":
        writer.join(outputs, stream)
        return
    writer.join(
        (writer.encode([labeled_from(json.loads(line)) for line in _lines(chunk)]) for chunk in outputs), stream
    )


def page_of(outputs: Iterable[bytes], first: int, number: int) -> list[dict[str, object]]:
    """Return ``number`` rows from the ``first`` on."""
    rows: list[dict[str, object]] = []
    skipped = 0
    for chunk in outputs:
        lines = list(_lines(chunk))
        if skipped + len(lines) <= first:
            skipped += len(lines)
            continue
        for line in lines[max(first - skipped, 0) :]:
            rows.append(json.loads(line))
            if len(rows) == number:
                return rows
        skipped += len(lines)
    return rows


def _lines(chunk: bytes) -> Iterator[bytes]:
    # Not `splitlines`: a report may hold characters that it takes for line ends.
    yield from chunk.removesuffix(b"\n").split(b"\n") if chunk else ()
