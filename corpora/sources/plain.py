"""Text as every hospital format hands it on."""

from __future__ import annotations

import re

# They say nothing in a report, and a database may refuse NUL. Line breaks and tabs stay.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n?")


def plain_text(value: str) -> str:
    r"""Return text whose line breaks are all ``\n``, without control characters.

    >>> plain_text("Clear.\r\nNormal.\x00")
    'Clear.\nNormal.'
    """
    return _CONTROL.sub("", _LINE_END.sub("\n", value))
