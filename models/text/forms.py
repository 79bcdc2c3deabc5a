"""Forms: what is not ticked is not said.

In a list of boxes ("[ ] pneumothorax [x] effusion") an item without a tick is blanked out before the text is read, and
so are the boxes; offsets stay as they are. A text is a form if it has two boxes at least and a tick in one: a lone
"[ ]" is more likely a gap that nobody filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_BOX = re.compile(r"\[(?P<mark>[ \t]*|[ \t]*[xX\u2713\u2714][ \t]*)\]|(?P<open>\u2610)|(?P<ticked>[\u2611\u2612])")
#: A box speaks of so many words at most, up to a full stop.
_ITEM = re.compile(r"[ \t]*(?:[^\s.;|]+[ \t]*){0,8}")


def without_unticked(text: str) -> str:
    r"""Return a text of the same length with spaces in place of boxes and of what is not ticked.

    A semicolon parts what is ticked from what stands before it.

    >>> without_unticked("[ ] Pneumothorax [x] Effusion [x] Nodule")
    '                     Effusion ;   Nodule'
    >>> without_unticked("Nodule [X]\nEdema [ ]")
    'Nodule ;  \n         '
    """
    boxes = list(_BOX.finditer(text))
    if len(boxes) < 2 or not any(map(_is_ticked, boxes)):
        return text
    blank = [(box.start(), box.end()) for box in boxes]
    for line in _lines(text, boxes):
        blank += _unticked(text, *line)
    said = list(text)
    for start, end in blank:
        said[start:end] = " " * (end - start)
    before, looked_at = "", 0
    for box in boxes:
        before = "".join(said[looked_at : box.start()]).rstrip()[-1:] or before
        looked_at = box.start()
        if _is_ticked(box) and (before.isalnum() or before == ")"):
            said[box.start()] = ";"
    return "".join(said)


def _is_ticked(box: re.Match[str]) -> bool:
    return bool(box["ticked"] or (box["mark"] or "").strip())


def _lines(text: str, boxes: list[re.Match[str]]) -> Iterator[tuple[int, int, list[re.Match[str]]]]:
    """Yield the lines that have boxes: start, end, boxes."""
    index = 0
    while index < len(boxes):
        start = text.rfind("\n", 0, boxes[index].start()) + 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        inside = [box for box in boxes[index:] if box.start() < end]
        yield start, end, inside
        index += len(inside)


def _unticked(text: str, start: int, end: int, boxes: list[re.Match[str]]) -> Iterator[tuple[int, int]]:
    """Yield what is not ticked in a line; in a line that begins with no box, boxes may stand behind their items."""
    before = text[start : boxes[0].start()].strip(" \t-*\u2022")
    if not before or before.endswith(":"):
        for box, following in zip(boxes, [*boxes[1:], None], strict=True):
            limit = end if following is None else following.start()
            item = _ITEM.match(text, box.end(), limit)
            if item is not None and not _is_ticked(box):
                yield item.span()
    elif not text[boxes[-1].end() : end].strip(" \t.;,|"):
        behind = start
        for box in boxes:
            if not _is_ticked(box):
                yield behind, box.start()
            behind = box.end()
