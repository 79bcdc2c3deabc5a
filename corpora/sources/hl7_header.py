"""The header of an HL7 v2 message (MSH): what has to be known before anything else can be read, or answered."""

from __future__ import annotations

import re
from dataclasses import dataclass

from corpora.sources.encoding import UNDECODABLE, decode, encoding_of_bytes
from corpora.sources.hl7_message import MessageInvalid
from corpora.sources.hl7_text import CHARACTER_SETS, Delimiters, unescape

FRAMING = b"\x0b\x1c\r\n \t"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"M\x00", b"\x00M", b"\x00\x00\x00M")
_LINE_END = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True, repr=False)
class MessageHeader:
    """MSH, as far as it decides how to read a message and how to answer it; a field that is not there is empty."""

    delimiters: Delimiters
    encoding: str | None  # what Python calls the character set; ``None`` if MSH-18 names none that is read
    character_set: str  # MSH-18 as it was sent
    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    message_type: str
    trigger: str
    control_id: str
    processing_id: str
    version: str

    def __repr__(self) -> str:
        return f"MessageHeader({self.message_type}^{self.trigger}, version {self.version})"


def read_header(message: bytes, encoding: str | None = None) -> MessageHeader:
    """Return the header of a message; ``encoding`` overrules its MSH-18.

    Only the form is checked, so that a message can be answered that cannot be read; that is `check_header`'s to say.

    Raises
    ------
    MessageInvalid
        There is no MSH segment, or its delimiters are not usable.
    """
    data = narrowed(message)
    line = _LINE_END.split(data, maxsplit=1)[0]
    # Everything up to the first delimiter is ASCII in all the character sets of table 0211.
    plain = line.decode("latin-1")
    delimiters = _delimiters(plain)
    values = plain.split(delimiters.field)
    character_set = values[17].partition(delimiters.component)[0] if len(values) > 17 else ""
    if is_wide(message):
        encoding = "utf-8"  # as `narrowed` made it
    elif encoding is None:
        encoding = _encoding(character_set, delimiters, data)
    decoded = decode(line, encoding or "latin-1").split(delimiters.field)

    def value(field: int, component: int = 1) -> str:
        # MSH-1 is the delimiter itself, so field n is the (n-1)th piece.
        whole = decoded[field - 1] if len(decoded) >= field else ""
        parts = whole.partition(delimiters.repetition)[0].split(delimiters.component)
        part = parts[component - 1] if len(parts) >= component else ""
        if UNDECODABLE in part:
            return ""
        return "".join(unescape(part, delimiters, encoding or "latin-1").split("\n")).strip()

    return MessageHeader(
        delimiters=delimiters,
        encoding=encoding,
        character_set=character_set if character_set.isascii() else "",
        sending_application=value(3),
        sending_facility=value(4),
        receiving_application=value(5),
        receiving_facility=value(6),
        message_type=value(9),
        trigger=value(9, 2),
        control_id=value(10),
        processing_id=value(11),
        version=value(12),
    )


def check_header(header: MessageHeader) -> None:
    """Raise `MessageInvalid` unless the message is an ORU^R01 of version 2 that can be acknowledged."""
    if not header.message_type:
        raise MessageInvalid("is missing", segment="MSH", field=9, error_code=101)
    if header.message_type != "ORU":
        raise MessageInvalid("only ORU messages are read", segment="MSH", field=9, error_code=200)
    if header.trigger and header.trigger != "R01":
        raise MessageInvalid("of ORU messages, only event R01 is read", segment="MSH", field=9, error_code=201)
    if not header.control_id:
        raise MessageInvalid("is missing", segment="MSH", field=10, error_code=101)
    if header.processing_id and header.processing_id not in ("P", "T", "D"):
        raise MessageInvalid("is none of P, T and D", segment="MSH", field=11, error_code=202)
    if header.encoding is None:
        raise MessageInvalid("is no character set of table 0211 that is read", segment="MSH", field=18, error_code=103)
    if header.version and not header.version.startswith("2."):
        raise MessageInvalid("only version 2 is read", segment="MSH", field=12, error_code=203)


def narrowed(message: bytes) -> bytes:
    """Return a message without framing around it, in UTF-8 if it came in UTF-16 or UTF-32.

    Raises `MessageInvalid` where it is neither.
    """
    data = message.lstrip(FRAMING)
    if data.startswith(_WIDE):
        decoded = decode(message.strip(b"\x0b\x1c"), encoding_of_bytes(data, None))
        if UNDECODABLE in decoded:
            raise MessageInvalid("is no text of its character set", segment="MSH", field=18, error_code=102)
        return decoded.lstrip("\ufeff\x0b\r\n \t").encode()
    return data.removeprefix(_BYTE_ORDER_MARK).rstrip(FRAMING)


def is_wide(message: bytes) -> bool:
    """Tell whether a message comes in UTF-16 or UTF-32."""
    return message.lstrip(FRAMING).startswith(_WIDE)


def _delimiters(line: str) -> Delimiters:
    if not line.startswith("MSH"):
        raise MessageInvalid("the message does not begin with this segment", segment="MSH", error_code=100)
    field = line[3:4]
    if not field or field.isalnum() or field.isspace():
        raise MessageInvalid("is no delimiter", segment="MSH", field=1, error_code=102)
    named = line[4:].partition(field)[0]
    # A field that is cut short leaves the usual characters in their places.
    characters = named + (Delimiters().encoding_characters + "#")[len(named) :]
    if len(named) > 5 or len({field, *characters[:4]}) < 5 or any(c.isalnum() or c.isspace() for c in characters):
        raise MessageInvalid("must hold four different delimiters", segment="MSH", field=2, error_code=102)
    return Delimiters(field, *characters[:5])


def _encoding(character_set: str, delimiters: Delimiters, data: bytes) -> str | None:
    # The first repetition is the default set, others are switched to: with ISO 2022 one codec reads them all.
    names = [name.strip().upper() for name in character_set.split(delimiters.repetition)]
    if any(name not in CHARACTER_SETS for name in names):
        return None
    codecs = [CHARACTER_SETS[name] for name in names]
    if "iso2022_jp_2" in codecs:
        return "iso2022_jp_2"
    if codecs[0] in ("utf-16", "utf-32"):
        return "utf-8"  # it is not: `is_wide` would have known
    return codecs[0] or encoding_of_bytes(data, None)
