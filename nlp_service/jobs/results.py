"""The results of a job as a file: JSON Lines as they are kept, CSV and Parquet made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO

from nlp_service.jobs.table import lines_of
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
        (writer.encode([labeled_from(json.loads(line)) for line in lines_of(chunk)]) for chunk in outputs), stream
    )
