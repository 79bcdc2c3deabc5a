r"""The text of HL7 v2: delimiters, escape sequences (chapter 2, 2.7 in v2.5.1) and character sets (table 0211)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from corpora.sources.plain import plain_text

# The longest run of blank lines or spaces that one sequence may ask for: "\.sp9999\" is nine characters of input.
_MAX_REPEAT = 20

# Table 0211. Senders that say 8859/1 often mean Windows' superset of it; an empty field or ASCII tells too little to
# refuse a message over, so there the bytes decide (`corpora.sources.encoding`).
CHARACTER_SETS: Mapping[str, str | None] = MappingProxyType(
    {
        "": None,
        "ASCII": None,
        "8859/1": "cp1252",
        **{f"8859/{part}": f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 9, 15)},
        **dict.fromkeys(("UNICODE", "UNICODE UTF-8", "UTF-8", "UTF8", "ISO IR192"), "utf-8"),
        "UNICODE UTF-16": "utf-16",
        "UNICODE UTF-32": "utf-32",
        "GB 18030-2000": "gb18030",
        "BIG-5": "big5hkscs",
        "KS X 1001": "euc_kr",
        "ISO IR14": "shift_jis",
        **dict.fromkeys(("ISO IR87", "ISO IR159"), "iso2022_jp_2"),
    }
)


@dataclass(frozen=True, slots=True)
class Delimiters:
    """The characters that cut a message, as its header names them (MSH-1 and MSH-2)."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = "#"

    @property
    def encoding_characters(self) -> str:
        """Return MSH-2, without the truncation character that only v2.7 and later have."""
        return self.component + self.repetition + self.escape + self.subcomponent


@lru_cache(maxsize=64)
def _sequences(escape: str) -> re.Pattern[str]:
    mark = re.escape(escape)
    # Only what the standard names is a sequence. A lone backslash in a report ("and\or") is text, and stays.
    return re.compile(
        rf"{mark}(?:(?P<delimiter>[FSTREP])|(?P<highlight>[HN])|[Xx](?P<hex>(?:[0-9A-Fa-f]{{2}})+)"
        r"|\.(?P<format>(?i:br|sp|in|ti|fi|nf|sk|ce)) ?\+?-?(?P<count>\d{0,4})"
        rf"|[CM](?:[0-9A-Fa-f]{{2}}){{2,3}}|Z[^{mark}]{{0,40}}){mark}"
    )


def unescape(value: str, delimiters: Delimiters = Delimiters(), encoding: str = "utf-8") -> str:
    r"""Return a value with its escape sequences replaced.

    Delimiters come back, ``\.br\``, ``\.sp\`` and ``\.ce\`` are line breaks, ``\Xdd\`` are bytes in ``encoding``;
    highlighting, indentation, switches of character set and local sequences are left out. What only looks like a
    sequence stays. Every line break is ``\n``.

    >>> unescape(r"CT \T\ MR\.br\\H\Stable\N\ 5 \X6D6D\ and\or")
    'CT & MR\nStable 5 mm and\\or'
    """

    def replace(match: re.Match[str]) -> str:
        if match["delimiter"]:
            return _delimiter(match["delimiter"].upper(), delimiters)
        if match["hex"]:
            return _decode_hex(bytes.fromhex(match["hex"]), encoding)
        if match["format"]:
            name = match["format"].lower()
            count = min(int(match["count"] or 1), _MAX_REPEAT)
            return {"br": "\n", "ce": "\n", "sp": "\n" * count, "sk": " " * count}.get(name, "")
        return ""

    if delimiters.escape in value:
        value = _sequences(delimiters.escape).sub(replace, value)
    return plain_text(value)


def escape(text: str, delimiters: Delimiters = Delimiters()) -> str:
    r"""Return text as the value of a field; what `unescape` makes of it is the text, without control characters.

    >>> escape("R&D | 5^2\nnext")
    'R\\T\\D \\F\\ 5\\S\\2\\.br\\next'
    """
    mark = delimiters.escape
    names = {
        **{delimiters.field: "F", delimiters.component: "S", delimiters.repetition: "R"},
        **{delimiters.escape: "E", delimiters.subcomponent: "T", "\n": ".br"},
    }
    return "".join(f"{mark}{names[c]}{mark}" if c in names else c for c in plain_text(text))


def _delimiter(name: str, delimiters: Delimiters) -> str:
    return {
        **{"F": delimiters.field, "S": delimiters.component, "T": delimiters.subcomponent},
        **{"R": delimiters.repetition, "E": delimiters.escape, "P": delimiters.truncation},
    }[name]


def _decode_hex(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeError:
        # A byte of a single-byte set within a message that is UTF-8 by now: the interface engine did not look inside.
        return data.decode("cp1252", errors="replace")
