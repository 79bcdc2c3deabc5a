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


def _lines(chunk: bytes) -> Iterator[bytes]:
    # Not `splitlines`: a report may hold characters that it takes for line ends.
    yield from chunk.removesuffix(b"\n").split(b"\n") if chunk else ()
