"""The text of an HTML document, for reading: no markup, no scripts, lines where blocks end.

One pass from left to right, whatever the document looks like: a broken one takes no longer than a good one.
"""

from __future__ import annotations

import re
from html import unescape

_BLOCKS = frozenset(
    "address article aside blockquote br caption dd div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 "
    "header hr li main nav ol p pre section table tbody tfoot thead tr ul".split()
)
_CELLS = frozenset({"td", "th"})
_NOT_SHOWN = frozenset({"script", "style", "template", "title", "noscript", "svg", "math"})
_TAG_NAME = re.compile(r"/?([A-Za-z][A-Za-z0-9:-]*)")


def html_to_text(document: str) -> str:
    r"""Return what a browser would show of a document, as plain text.

    >>> html_to_text("<h1>Chest</h1><p>Small&nbsp;effusion,<br/>no <b>pneumothorax</b>.</p><script>x()</script>")
    'Chest\n\nSmall effusion,\nno pneumothorax.'
    """
    pieces: list[str] = []
    position = preformatted = 0
    while (opening := document.find("<", position)) >= 0:
        pieces.append(_shown(document[position:opening], preformatted > 0))
        if document.startswith("<!--", opening):
            position = _behind(document, "-->", opening)
            continue
        name = _TAG_NAME.match(document, opening + 1)
        if name is None and document[opening + 1 : opening + 2] not in ("!", "?"):
            pieces.append("<")  # "size < 5 mm", written without its entity
            position = opening + 1
            continue
        position = _behind(document, ">", opening)
        tag = name[1].lower() if name else ""
        is_end = document[opening + 1 : opening + 2] == "/"
        if tag in _NOT_SHOWN and not is_end and document[position - 2 : position] != "/>":
            position = _behind_element(document, tag, position)
        elif tag in _BLOCKS:
            pieces.append("\n")
        elif tag in _CELLS:
            pieces.append(" ")
        if tag == "pre":
            preformatted += -1 if is_end else 1
    pieces.append(_shown(document[position:], preformatted > 0))
    lines = (line.strip(" ") for line in "".join(pieces).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r" {2,}", " ", "\n".join(lines))).strip()


def _shown(text: str, is_preformatted: bool) -> str:
    if is_preformatted:
        return unescape(text).replace("\r\n", "\n").replace("\xa0", " ")
    return re.sub(r"[ \t\r\n\f]+", " ", unescape(re.sub(r"[ \t\r\n\f]+", " ", text)).replace("\xa0", " "))


def _behind(document: str, mark: str, start: int) -> int:
    """Return the place behind the next mark; the end of the document where there is none."""
    found = document.find(mark, start)
    return found + len(mark) if found >= 0 else len(document)


def _behind_element(document: str, tag: str, start: int) -> int:
    end = re.compile(rf"</{tag}\b", re.IGNORECASE).search(document, start)
    return _behind(document, ">", end.start()) if end else len(document)
