"""Sections cut into sentences, with the sub-heading that each stands under."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from corpora.reports import Section, SectionKind


@dataclass(frozen=True, slots=True, repr=False)
class SentenceSpan:
    """A sentence: half-open character offsets into the report, its section, and the words of its sub-heading."""

    start: int
    end: int
    section: SectionKind
    heading: str


# A full stop ends a sentence unless it stands in a number, after an initial or in one of these.
_ABBREVIATED = frozenset(
    (
        "dr mr mrs ms prof vs approx e.g i.e etc ca cf fig st resp incl excl min max dept ext int lat ant post sup inf"
    ).split()
)
_END = re.compile(
    r"(?<![\s.])[.!?]{1,2}(?=[\s\"')\]]|$)"
    r"|(?<=\s)[.!?](?=\s+[A-Z\d]|\s*$)"  # " ." after a gap; a leader of dots is none
    r"|(?<=\w)[.!?](?=[A-Z][a-z])|(?<=[a-z]{3})\.(?=[A-Z])"  # no space after the stop
    r"|\s(?=[b-h]\)\s)"  # "a) one b) two"
    r"|;(?=\s)"
)
_LIST_MARK = re.compile(r"[ \t]*(?:\(?\d{1,2}[.):]|[-•*·–—>]+|\(?[a-z]\))[ \t]+")
_INLINE_LIST_MARK = re.compile(r"(?<=[.;:])[ \t]+\(?\d{1,2}[.)][ \t]*(?=[A-Z])")
_SUBHEADING = re.compile(
    r"[ \t]*(?P<name>[A-Za-z][A-Za-z0-9 ,/&()'-]{1,60}?)[ \t]*(?::|[ \t][-–—](?=[ \t]))[ \t]*(?=\S|$)"
)
_TABLE_CELL = re.compile(r"[ \t]*\|[ \t]*|\t+")
_MAX_HEADING_WORDS = 7
# The longest sentence of Open-i's training reports has 42 words. A long word counts for several.
_MAX_TOKENS = 120
_TOKEN = re.compile(r"\w{1,64}|[^\w\s]")


def split_sentences(text: str, section: Section) -> Iterator[SentenceSpan]:
    """Yield the sentences of a section in order.

    Lines that are wrapped in the middle of a sentence are joined; list items, table rows and blank lines are borders.
    A sub-heading ("Lungs:", "HEART AND MEDIASTINUM -") is no sentence of its own: it is carried by those that follow
    it, up to the next sub-heading or blank line.
    """
    heading = ""
    for block_start, block_end, is_new_paragraph in _blocks(text, section.start, section.end):
        if is_new_paragraph:
            heading = ""
        found = _SUBHEADING.match(text, block_start, block_end)
        start = block_start
        if found and _is_subheading(found.group("name"), text[found.end() : block_end]):
            heading = found.group("name")
            start = found.end()
        for sentence_start, sentence_end in _sentences(text, start, block_end):
            inner = _SUBHEADING.match(text, sentence_start, sentence_end)
            if (
                inner
                and sentence_start != start
                and _is_subheading(inner.group("name"), text[inner.end() : sentence_end])
            ):
                heading = inner.group("name")
                sentence_start = inner.end()
            sentence_start, sentence_end = _strip(text, sentence_start, sentence_end)
            for piece_start, piece_end in _bounded(text, sentence_start, sentence_end):
                if any(c.isalnum() for c in text[piece_start:piece_end]):
                    yield SentenceSpan(piece_start, piece_end, section.kind, heading)


def _bounded(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a sentence whole, or one that is none by its length in pieces, cut behind a comma where there is one.

    What is said of a finding depends on every other word of its sentence: without a bound, a text of a few pages
    without a full stop would take minutes.
    """
    ends = [match.end() for match in _TOKEN.finditer(text, start, end)]
    first = 0
    while len(ends) - first > _MAX_TOKENS:
        last = first + _MAX_TOKENS
        comma = next((i for i in range(last, first + _MAX_TOKENS // 2, -1) if text[ends[i - 1] - 1] in ",;:"), last)
        yield _strip(text, start, ends[comma - 1])
        first, start = comma, ends[comma - 1]
    if start < end:
        yield _strip(text, start, end)


def _is_subheading(name: str, rest: str) -> bool:
    return len(name.split()) <= _MAX_HEADING_WORDS and not name.lower().startswith(("there ", "the following"))


def _strip(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _blocks(text: str, start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, begins a paragraph) of the pieces that no sentence crosses: list items, rows, paragraphs."""
    lines = list(_lines(text, start, end))
    widest = max((line_end - line_start for line_start, line_end in lines), default=0)
    block_start: int | None = None
    last_start = block_end = start
    paragraph = True
    pending_paragraph = True
    for line_start, line_end in lines:
        line = text[line_start:line_end]
        if not line.strip():
            if block_start is not None:
                yield block_start, block_end, paragraph
                block_start = None
            pending_paragraph = True
            continue
        mark = _LIST_MARK.match(text, line_start, line_end)
        content_start = mark.end() if mark else line_start
        if block_start is not None and (
            mark or _is_border(text, last_start, block_end, content_start, line_end, widest)
        ):
            yield block_start, block_end, paragraph
            block_start = None
            pending_paragraph = False
        last_start = line_start
        if block_start is None:
            block_start = last_start = content_start
            paragraph = pending_paragraph
            pending_paragraph = False
        block_end = line_end
    if block_start is not None:
        yield block_start, block_end, paragraph


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        newline = text.find("\n", start, end)
        stop = end if newline < 0 else newline
        yield start, stop
        start = stop + 1


def _is_border(text: str, last_start: int, last_end: int, line_start: int, line_end: int, widest: int) -> bool:
    """Whether a line break is a border: the line before is complete, or too short to have been wrapped."""
    before = text[last_start:last_end].rstrip()
    after = text[line_start:line_end].lstrip()
    if before.endswith((".", "!", "?", ";", ":")):
        return not before.endswith(":")
    if _TABLE_CELL.search(after) or _TABLE_CELL.search(before):
        return True
    if (found := _SUBHEADING.match(after)) and _is_subheading(found.group("name"), ""):
        return True
    begins_new = after[0].isupper() or after[0].isdigit()
    # A line wrapped by width is about as long as the widest; a short one was ended on purpose.
    return begins_new and len(before.strip()) < max(40, 0.7 * widest)


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    position = start
    mark = _INLINE_LIST_MARK
    for match in _END.finditer(text, start, end):
        stop = match.end()
        if stop <= position or _is_abbreviation(text, position, match.start(), stop, end):
            continue
        yield position, stop
        position = stop
        if following := mark.match(text, position, end):
            position = following.end()
        else:
            item = _LIST_MARK.match(text, position, end)
            if item and item.group().strip()[0].isalnum():
                position = item.end()
    if position < end:
        yield position, end


def _is_abbreviation(text: str, start: int, dot: int, stop: int, end: int) -> bool:
    if text[dot] != ".":
        return False
    word = re.split(r"[\s(]", text[start:dot])[-1].lower()
    if word in _ABBREVIATED or (len(word) == 1 and word.isalpha() and text[dot - 1].isupper()):
        return True
    # "No. 3", "approx. 5", and a list number that opens the sentence: "1. Small effusion."
    rest = text[stop : min(stop + 3, end)].lstrip()
    if word == "no" and rest[:1].isdigit():
        return True
    return word.isdigit() and not text[start:dot].strip().removesuffix(word).strip()
