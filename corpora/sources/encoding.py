"""Bytes to text: compressed or not, in whatever encoding, so that a bad byte costs one row and never the file."""

from __future__ import annotations

import codecs
import gzip
import io
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO, cast

from corpora.errors import RadlabelError, SourceUnreadable
from corpora.sources.records import MAX_TEXT

# Stands for bytes that cannot be decoded. Half a surrogate pair is in no valid text, so `RowReader` can tell it from
# everything a report may hold (U+FFFD, the usual mark, is found in reports that were damaged earlier and are readable).
UNDECODABLE = "\udcff"
_MARK = "radlabel-mark-undecodable"


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return UNDECODABLE, error.end
    raise error


codecs.register_error(_MARK, _mark_undecodable)

_BOMS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What hospital systems export where it is not Unicode; charset-normalizer chooses among them by script and language.
_CANDIDATES = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "iso8859_2", "iso8859_15", "koi8_r", "mac_roman"),
    *("shift_jis", "euc_jp", "gb18030", "big5hkscs", "euc_kr"),
)
_WITHIN_WORDS = "\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}\N{ACUTE ACCENT}\N{MIDDLE DOT}"
_CHUNK = 2**20
_SAMPLE = 65_536  # bytes of lines with something beyond ASCII: those alone say anything about an encoding
_BINARY_SHARE = 0.2  # NUL bytes: text in UTF-16 has up to a half of them, other text hardly any


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the operating system or a decompressor says of ``path`` into `SourceUnreadable`."""
    try:
        yield
    except RadlabelError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceUnreadable(f"{path}: the compressed file is cut off or damaged") from error
    except OSError as error:
        raise SourceUnreadable(f"{path}: {error.strerror or 'cannot be read'}") from error


@contextmanager
def open_binary(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed if it is gzip, whatever its name says."""
    with readable(path), path.open("rb") as plain:
        is_gzip = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        if not is_gzip:
            yield plain
            return
        with gzip.GzipFile(fileobj=plain) as unpacked:
            yield cast("IO[bytes]", unpacked)


@contextmanager
def open_text(path: Path, encoding: str, newline: str = "") -> Iterator[TextIO]:
    """Open a file as text; bytes that ``encoding`` does not know become `UNDECODABLE`."""
    with (
        open_binary(path) as binary,
        io.TextIOWrapper(binary, encoding=encoding, errors=_MARK, newline=newline) as text,
    ):
        try:
            yield text
        except UnicodeError:
            # Only codecs that give up as a whole get here: UTF-16 without its mark.
            reason = f"is not {encoding} text; leave --encoding out to have it detected"
            raise SourceUnreadable(f"{path}: {reason}") from None


def decode(data: bytes, encoding: str) -> str:
    """Return ``data`` as text, with `UNDECODABLE` where ``encoding`` does not know the bytes."""
    try:
        return data.decode(encoding, errors=_MARK)
    except UnicodeError:
        return UNDECODABLE


def encoding_of(path: Path, encoding: str | None) -> str:
    """Return the encoding to read a file with: the one that was asked for, or the one detected.

    Detection goes by the byte order mark, then by whether the whole file is UTF-8 (or is but for a few bytes, which
    cost their rows), then by what single-byte and East Asian encodings would make of it.
    """
    if encoding is not None:
        with open_binary(path) as stream:
            return _checked(encoding, stream.read(4))
    with open_binary(path) as stream:
        return _detect(stream)


def encoding_of_bytes(data: bytes, encoding: str | None) -> str:
    """Return the encoding to read ``data`` with, as `encoding_of` does for a file."""
    return _checked(encoding, data[:4]) if encoding is not None else _detect(io.BytesIO(data))


def _checked(encoding: str, head: bytes) -> str:
    try:
        name = codecs.lookup(encoding).name
        "a".encode(name)  # some codecs (hex, rot13) are none of text
    except (LookupError, ValueError):
        raise SourceUnreadable(f"unknown encoding {encoding!r}; use a name such as utf-8, cp1252 or utf-16") from None
    # An explicit "utf-8" or "utf-16-le" says nothing about a mark, which must not end up in the first column's name.
    for mark, marked in _BOMS:
        if head.startswith(mark) and name.startswith(marked.removesuffix("-sig")):
            return marked
    return name


def _detect(stream: IO[bytes]) -> str:
    head = stream.read(_CHUNK)
    for mark, marked in _BOMS:
        if head.startswith(mark):
            return marked
    if head.count(0) > _BINARY_SHARE * len(head):
        # Half of each ASCII character in UTF-16 is NUL: the second half if the low byte comes first.
        return "utf-16-le" if head[1::2].count(0) >= head[0::2].count(0) else "utf-16-be"
    decoder = codecs.getincrementaldecoder("utf-8")(errors=_MARK)
    good = bad = 0
    sample = bytearray()
    chunk = head
    while True:
        if not chunk.isascii() or not chunk:
            text = decoder.decode(chunk, final=not chunk)
            marks = text.count(UNDECODABLE)
            bad += marks
            good += len(text) - len(text.encode("ascii", "ignore")) - marks
            if len(sample) < _SAMPLE:
                lines = (line for line in chunk.splitlines(keepends=True) if not line.isascii())
                for line in lines:
                    sample += line[: _SAMPLE - len(sample)]
        elif decoder.getstate()[0]:
            bad += decoder.decode(chunk).count(UNDECODABLE)  # the chunk before ended within a character
        if not chunk:
            break
        chunk = stream.read(_CHUNK)
    # Accented letters of a single-byte encoding hardly ever form a valid UTF-8 sequence.
    return "utf-8" if not bad or good > bad else _guess(bytes(sample))


def _guess(sample: bytes) -> str:
    """Return the encoding, other than Unicode's, that a sample of lines is likeliest in."""
    for western in ("cp1252", "mac_roman"):
        # Asked first, because charset-normalizer takes Spanish and German lines for Central European ones (3.5).
        if _reads_western(decode(sample, western)):
            return western
    from charset_normalizer import from_bytes

    best = from_bytes(sample, cp_isolation=list(_CANDIDATES), enable_fallback=False).best()
    return best.encoding if best else "cp1252"


def _reads_western(text: str) -> bool:
    """Tell whether letters and signs beyond ASCII stand where they do in Western European languages.

    In the wrong encoding they stand within words as signs ("p³uca", "patol—gico"), in rows ("Ëåãêèå"), or are letters
    that these languages lack ("beze zmìn, bøišní").
    """
    odd = beyond = 0
    for index, character in enumerate(text):
        if character.isascii():
            continue
        beyond += 1
        before, after = text[index - 1 : index], text[index + 1 : index + 2]
        is_within = before.isalpha() and after.isalpha()
        if character == UNDECODABLE or character in "šŠžŽýÝŸþÞ" or unicodedata.category(character) in ("Cc", "Cn"):
            odd += 1
        elif character.isalpha():
            odd += is_within and not before.isascii() and not after.isascii()
        elif character not in _WITHIN_WORDS:
            odd += is_within
    return odd <= 0.1 * beyond


def iter_lines(stream: TextIO) -> Iterator[str]:
    """Yield lines with their ends; one that goes on beyond `MAX_TEXT` comes in pieces, so that memory has a bound."""
    return iter(lambda: stream.readline(MAX_TEXT + 1), "")
