"""Reports from HL7 v2 files: ORU^R01 messages, one or many in a file, as an interface engine writes or sends them.

A record is one order (OBR) with its observations. Messages may have MLLP framing, batch headers between them, and any
line ends. The same report often comes several times, preliminary, final and corrected: the second one gets ``:2``
behind its id, so that none is taken for a repetition. `parse_oru` reads a single message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import IO

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.sources.encoding import encoding_of_bytes, open_binary, open_text, readable
from corpora.sources.hl7_message import AckCode, MessageInvalid, OruMessage, OruReport, ResultStatus
from corpora.sources.hl7_oru import LOCATION, LOCATIONS, parse_oru
from corpora.sources.records import ReadOptions, Record
from corpora.sources.text_folder import iter_files

__all__ = [
    "AckCode",
    "MessageInvalid",
    "OruMessage",
    "OruReport",
    "ResultStatus",
    "iter_records",
    "parse_oru",
    "recognises",
]

NAME = "hl7"
DESCRIPTION = "HL7 v2 ORU^R01 messages, one or many in a file; gzip allowed"
SUFFIXES: tuple[str, ...] = (".hl7", ".hl7.gz")

MAX_MESSAGE = 16 * 2**20  # bytes; beyond it, something is no message
_CHUNK = 2**20
_LINE_END = re.compile(rb"[\r\n\x0b\x1c]+")
_ENVELOPE = (b"FHS", b"BHS", b"BTS", b"FTS")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def recognises(head: bytes) -> bool:
    """Tell whether a file is of HL7 v2, by its first bytes."""
    head = head.removeprefix(_BYTE_ORDER_MARK).lstrip(b"\x0b\r\n \t")
    return head.startswith((b"MSH", b"FHS", b"BHS")) and not head[3:4].isalnum()


def iter_records(path: Path, options: ReadOptions) -> Iterator[Record]:
    """Yield a record per order, in the order of files, messages and segments; rows count them.

    ``columns`` map a field of a report to the place where these messages have it: ``accession_number=OBR-20``. A
    message that cannot be read costs one row, and so does a report whose order was cancelled. Of the ids seen 16 bytes
    each are kept.
    """
    _check_locations(path, options.columns)
    row = 0
    versions: dict[bytes, int] = {}
    with readable(path):
        files = iter_files(path, SUFFIXES) if path.is_dir() else iter((path,))
    for file in files:
        for message in _iter_messages(file, is_alone=file is path):
            for item in _read(path.name, row + 1, message, options):
                row += 1
                if isinstance(item, RowInvalid):
                    yield item
                    continue
                record = item.report
                key = blake2b(record.report_id.encode(), digest_size=16).digest()
                versions[key] = versions.get(key, 0) + 1
                if item.is_cancelled:
                    reason = "is of an order that was cancelled (ORC-1, OBR-25)"
                    yield RowInvalid(source=path.name, row=row, reason=reason)
                    continue
                is_new = versions[key] == 1
                yield record if is_new else replace(record, report_id=f"{record.report_id}:{versions[key]}")


def _read(source: str, row: int, message: bytes | str, options: ReadOptions) -> list[OruReport | RowInvalid]:
    if isinstance(message, str):
        return [RowInvalid(source=source, row=row, reason=message)]
    try:
        oru = parse_oru(message, encoding=options.encoding, locations=options.columns)
    except MessageInvalid as invalid:
        reason = f"{invalid.reason} (HL7 error {invalid.error_code})"
        return [RowInvalid(source=source, row=row, field=invalid.place, reason=reason)]
    return list(oru.reports)


def _iter_messages(file: Path, *, is_alone: bool) -> Iterator[bytes | str]:
    """Yield each message of a file, or why one cannot be had; of a folder, a file that breaks off costs one row."""
    try:
        with open_binary(file) as stream:
            yield from _split(_iter_lines(stream, file))
    except SourceUnreadable:
        if is_alone:
            raise
        yield "is a file that cannot be read, or is cut off"  # its name may be an accession number


def _split(lines: Iterator[bytes]) -> Iterator[bytes | str]:
    """Yield messages. One goes from MSH to MSH: framing and batch segments are not needed, and often incomplete."""
    message: list[bytes] = []
    size = 0
    is_empty = True
    for line in lines:
        is_empty = False
        is_start = line.startswith(b"MSH") and not line[3:4].isalnum()
        is_envelope = line.startswith(_ENVELOPE)
        if (is_start or is_envelope) and message:
            yield _joined(message, size)
        if is_start or is_envelope:
            message, size = [], 0
        if not is_envelope:
            size += len(line) + 1
            if size <= MAX_MESSAGE or not message:
                message.append(line)
    if message:
        yield _joined(message, size)
    elif is_empty:
        yield "is an empty file"


def _joined(message: list[bytes], size: int) -> bytes | str:
    return b"\r".join(message) if size <= MAX_MESSAGE else f"is a message of more than {MAX_MESSAGE:,} bytes"


def _iter_lines(stream: IO[bytes], file: Path) -> Iterator[bytes]:
    """Yield segments without their ends; a piece that goes on beyond `MAX_MESSAGE` comes in parts."""
    head = stream.read(4)
    stream.seek(0)
    if b"\0" in head or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        # In UTF-16 a segment end is not one byte: such a file is read as text and handed on in UTF-8.
        with open_text(file, encoding_of_bytes(head, None)) as text:
            chunks = (chunk.encode("utf-8", "replace") for chunk in iter(lambda: text.read(_CHUNK), ""))
            yield from _cut(chunks)
        return
    yield from _cut(iter(lambda: stream.read(_CHUNK), b""))


def _cut(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    is_first = True
    for chunk in chunks:
        if is_first:
            chunk = chunk.removeprefix(_BYTE_ORDER_MARK)
            is_first = False
        *whole, rest = _LINE_END.split(rest + chunk)
        yield from (line for line in whole if line)
        if len(rest) > MAX_MESSAGE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _check_locations(path: Path, columns: Mapping[str, str]) -> None:
    for name, location in columns.items():
        if name not in LOCATIONS:
            raise ColumnMissing(
                f"{path.name}: the {name} of an HL7 message has its place; only {', '.join(LOCATIONS)} can be mapped"
            )
        if not LOCATION.fullmatch(location):
            raise ColumnMissing(f"{path.name}: {name} must be mapped to a field such as OBR-18 or OBR-3.2")
