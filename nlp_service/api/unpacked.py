"""What an upload comes to when it is unpacked, told before anything is kept of it.

Goes by the first bytes, as the readers do: what a file is called says nothing of what is in it.
"""

from __future__ import annotations

import gzip
import zlib
from typing import IO

from nlp_service.api.problems import Problem

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"  # at the end, where Parquet keeps its metadata; readers do not look at the beginning
_BLOCK = 2**20


def check_unpacked(stream: IO[bytes], limit: int) -> None:
    """Raise a problem where a file unpacks to more than ``limit`` bytes; leave it at its beginning.

    What is damaged is the reader's to refuse. Of Parquet this is what its metadata says; values that a dictionary holds
    once for many rows are counted when the rows are read (`nlp_service.chunks.within`).
    """
    stream.seek(0)
    head = stream.read(len(_GZIP))
    size = stream.seek(0, 2)
    if head == _GZIP:
        stream.seek(0)
        size = _size_of_gzip(stream, limit)
    elif size > len(_PARQUET):
        stream.seek(size - len(_PARQUET))
        if stream.read() == _PARQUET:
            size = max(size, _size_of_parquet(stream))
    stream.seek(0)
    if size > limit:
        raise Problem(413, "unpacks-too-large", "The file unpacks to too much", f"The limit is {limit:,} bytes.")


def _size_of_gzip(stream: IO[bytes], limit: int) -> int:
    """Return how much is in a gzip file, as Python's own reader sees it, or the first number beyond the limit."""
    size = 0
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            while size <= limit and (block := unpacked.read(_BLOCK)):
                size += len(block)
    except (EOFError, OSError, zlib.error):
        pass
    return size


def _size_of_parquet(stream: IO[bytes]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream.seek(0)
    try:
        metadata = pq.read_metadata(pa.PythonFile(stream, mode="r"))
        groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
        return sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
    except (pa.ArrowException, OSError):
        return 0
