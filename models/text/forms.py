"""Forms: what is not ticked is not said.

In a list of boxes ("[ ] pneumothorax [x] effusion") an item without a tick is blanked out before the text is read, and
so are the boxes; of answers ("Pneumothorax [ ] yes [x] no") the one that is ticked stays. Offsets stay as they are. A
text is a form if it has two boxes at least and a tick in one: a lone "[ ]" is more likely a gap that nobody filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_BOX = re.compile(r"\[(?P<mark>[ \t]{0,3}|[ \t]?[xX\u2713\u2714][ \t]?)\]|(?P<open>\u2610)|(?P<ticked>[\u2611\u2612])")
_ANSWER = r"(?:yes|no|y|n|present|absent|positive|negative|none)"
_AFFIRMING = frozenset({"yes", "y", "present", "positive"})
_IS_ANSWER = re.compile(rf"[ \t]*{_ANSWER}[ \t]*[.,;|/]?[ \t]*", re.IGNORECASE)
_ENDS_IN_ANSWER = re.compile(rf"(?<![\w-]){_ANSWER}(?=[ \t]*$)", re.IGNORECASE)
#: What may stand before the first item of a line: bullets, numbers, letters, the edge of a table.
_BULLET = re.compile(r"[ \t]*(?:(?:[-*\u2022|]+|\(?(?:\d{1,3}|[A-Za-z])[.)])[ \t]*)*")
#: An item alone on its line goes to the end of the sentence; among others, and before its box, it is short.
_SENTENCE = re.compile(r"[ \t|]*[^\n.|]*(?:\.(?!\s|$)[^\n.|]*)*")
_SHORT = re.compile(r"[ \t|]*(?:[^\s.;|]+[ \t]*){0,8}")
_SHORT_BEFORE = re.compile(r"(?:^|(?<=[.;:?|,]))[ \t]*(?P<item>(?:[^\s.;:?|,]+[ \t]*){1,5})$")

Span = tuple[int, int]


def without_unticked(text: str) -> str:
    r"""Return a text of the same length with spaces in place of boxes and of what is not ticked.

    A semicolon parts what is ticked from what stands before it, a colon an answer from what it answers.

    >>> without_unticked("[ ] Pneumothorax [x] Effusion [x] Nodule")
    '                     Effusion ;   Nodule'
    >>> without_unticked("Nodule [X]\nEdema [ ]")
    'Nodule    \n         '
    >>> without_unticked("Pneumothorax [ ] Yes [x] No")
    'Pneumothorax         :   No'
    """
    boxes = list(_BOX.finditer(text))
    if len(boxes) < 2 or not any(map(_is_ticked, boxes)):
        return text
    said = list(text)
    for box in boxes:
        said[box.start() : box.end()] = " " * len(box[0])
    for start, end, inside in _lines(text, boxes):
        for at, sign in _line(text, start, end, inside):
            if isinstance(at, int):
                said[at] = sign
            else:
                said[at[0] : at[1]] = " " * (at[1] - at[0])
    return "".join(said)


def _is_ticked(box: re.Match[str]) -> bool:
    return bool(box["ticked"] or (box["mark"] or "").strip())


def _lines(text: str, boxes: Sequence[re.Match[str]]) -> Iterator[tuple[int, int, list[re.Match[str]]]]:
    """Yield the lines that have boxes: start, end, boxes."""
    index = 0
    while index < len(boxes):
        start = text.rfind("\n", 0, boxes[index].start()) + 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        inside = []
        while index < len(boxes) and boxes[index].start() < end:
            inside.append(boxes[index])
            index += 1
        yield start, end, inside


def _line(text: str, start: int, end: int, boxes: list[re.Match[str]]) -> Iterator[tuple[Span | int, str]]:
    """Yield what a line becomes: places to blank out, and signs to set."""
    bullet = _BULLET.match(text, start, boxes[0].start())
    stem = text[bullet.end() if bullet else start : boxes[0].start()].rstrip()
    nexts = [*(box.start() for box in boxes[1:]), end]
    after = [(box.end(), following) for box, following in zip(boxes, nexts, strict=True)]
    items = [text[first:last] for first, last in after]
    if stem and all(_IS_ANSWER.fullmatch(item) for item in items):
        for box, place in zip(boxes, after, strict=True):
            if not _is_ticked(box) or _is_told_by_stem(stem, text[slice(*place)]):
                yield place, ""
            elif not stem.endswith((":", "?")):
                yield box.start(), ":"
    elif not stem or stem.endswith((":", "?")):
        yield from _in_front(text, end, boxes, after)
    elif not items[-1].strip(" \t.;,|"):
        yield from _behind(text, bullet.end() if bullet else start, boxes)


def _is_told_by_stem(stem: str, answer: str) -> bool:
    """Whether what stands before an answer says the same: "Pneumothorax", for "Pneumothorax [x] yes"."""
    return not stem.endswith((":", "?")) and answer.strip(" \t.,;|/").lower() in _AFFIRMING


def _in_front(
    text: str, end: int, boxes: Sequence[re.Match[str]], after: Sequence[Span]
) -> Iterator[tuple[Span | int, str]]:
    """Yield what is not ticked in a line whose boxes stand before their items."""
    is_said = False
    for box, (first, last) in zip(boxes, after, strict=True):
        if not text[first:last].strip() and last == end:  # the item stands on the next line
            following = text.find("\n", end + 1)
            last = len(text) if following < 0 else following
            first = min(end + 1, last)
            if _BOX.search(text, first, last):
                continue
        if _is_ticked(box):
            if is_said or _goes_on(text, box.start()):
                yield box.start(), ";"
            is_said = True
            continue
        item = (_SENTENCE if len(boxes) == 1 else _SHORT).match(text, first, last)
        if item is not None:
            yield item.span(), ""


def _goes_on(text: str, place: int) -> bool:
    """Whether the line of a place goes on from a line above it that ends no sentence."""
    above = text[max(0, place - 200) : place].rstrip(" \t\n-*\u2022|")
    return bool(above) and "\n" in text[max(0, place - 200) : place] and above[-1] not in ".:;?!"


def _behind(text: str, start: int, boxes: Sequence[re.Match[str]]) -> Iterator[tuple[Span | int, str]]:
    """Yield what is not ticked in a line whose boxes stand behind their items."""
    stem = ""
    for box in boxes:
        item = text[start : box.start()]
        answer = _ENDS_IN_ANSWER.search(item)
        if answer is not None:
            stem = item[: answer.start()].rstrip() or stem
            if not _is_ticked(box) or _is_told_by_stem(stem, answer[0]):
                yield (start + answer.start(), start + answer.end()), ""
            elif not stem.endswith((":", "?")) and item[answer.start() - 1 : answer.start()].isspace():
                yield start + answer.start() - 1, ":"
        elif not _is_ticked(box):
            short = _SHORT_BEFORE.search(item)
            if short is not None:
                yield (start + short.start("item"), start + short.end("item")), ""
        elif text[box.end() : box.end() + 1].strip(" \t\n") or box is not boxes[-1]:
            yield box.start(), ";"
        start = box.end()
