"""Templates: text with choices, options and slots, opened out at random.

``(a|b)`` is one of, ``[a]`` is there or not, ``{severity1}`` a slot of finding 1, ``{changed1:stable,new}`` one with
an argument, ``{list:study}`` an entry of a word list. A backslash takes the meaning from the sign behind it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

_SLOT = re.compile(r"([a-z]+?)(\d*)(?::([a-z0-9_,]+))?")


@dataclass(frozen=True, slots=True)
class Slot:
    """A place to be filled: what with (``name``), for which finding (``number``, 0 for none), and how."""

    name: str
    number: int = 0
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several sequences."""

    options: tuple[Sequence, ...]


Part: TypeAlias = "str | Slot | Choice"
Sequence: TypeAlias = "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    parts: Sequence

    @classmethod
    def parse(cls, text: str) -> Template:
        """Return a template read from its text.

        Raises:
            ValueError: a bracket is not closed or a slot is misspelt; the message quotes the template.
        """
        parts, end = _parse_sequence(text, 0, "")
        if end != len(text):
            raise ValueError(f"template {text!r}: unexpected {text[end]!r} at {end}")
        return cls(parts)

    def open_out(self, rng: random.Random) -> list[str | Slot]:
        """Return one of the template's readings: texts and slots in order."""
        opened: list[str | Slot] = []
        _open_out(self.parts, rng, opened)
        return opened

    def slots(self) -> Iterator[Slot]:
        """Yield every slot of every choice."""
        yield from _iter_slots(self.parts)

    @property
    def numbers(self) -> set[int]:
        """Return the numbers of the findings that the template speaks of."""
        return {slot.number for slot in self.slots() if slot.number}


def _open_out(parts: Sequence, rng: random.Random, opened: list[str | Slot]) -> None:
    for part in parts:
        if isinstance(part, Choice):
            options = part.options
            _open_out(options[int(rng.random() * len(options))], rng, opened)
        else:
            opened.append(part)


def _iter_slots(parts: Sequence) -> Iterator[Slot]:
    for part in parts:
        if isinstance(part, Slot):
            yield part
        elif isinstance(part, Choice):
            for option in part.options:
                yield from _iter_slots(option)


def _parse_sequence(text: str, start: int, until: str) -> tuple[Sequence, int]:
    """Return the parts from ``start`` to the first of the signs ``until`` (or the end), and where that is."""
    parts: list[Part] = []
    literal: list[str] = []

    def flush() -> None:
        if literal:
            parts.append("".join(literal))
            literal.clear()

    i = start
    while i < len(text):
        sign = text[i]
        if sign in until:
            break
        if sign == "\\" and i + 1 < len(text):
            literal.append(text[i + 1])
            i += 2
        elif sign == "{":
            flush()
            slot, i = _parse_slot(text, i)
            parts.append(slot)
        elif sign in "([":
            flush()
            choice, i = _parse_choice(text, i)
            parts.append(choice)
        else:
            literal.append(sign)
            i += 1
    flush()
    return tuple(parts), i


def _parse_slot(text: str, start: int) -> tuple[Slot, int]:
    end = text.find("}", start)
    match = _SLOT.fullmatch(text[start + 1 : end]) if end > 0 else None
    if match is None:
        raise ValueError(f"template {text!r}: no slot at {start}")
    name, number, argument = match.groups()
    return Slot(name, int(number or 0), argument or ""), end + 1


def _parse_choice(text: str, start: int) -> tuple[Choice, int]:
    closing = ")" if text[start] == "(" else "]"
    options: list[Sequence] = []
    i = start
    while True:
        option, i = _parse_sequence(text, i + 1, "|" + closing)
        options.append(option)
        if i >= len(text):
            raise ValueError(f"template {text!r}: the bracket at {start} is not closed")
        if text[i] == closing:
            break
    if closing == "]":
        options.append(())
    return Choice(tuple(options)), i + 1


def phrases_of(pattern: str) -> list[str]:
    """Return every phrase that a pattern of the vocabulary stands for.

    >>> phrases_of("[large] (left|right) line")
    ['large left line', 'large right line', 'left line', 'right line']
    """
    return [" ".join(text.split()) for text in _all_texts(Template.parse(pattern).parts)]


def _all_texts(parts: Sequence) -> list[str]:
    texts = [""]
    for part in parts:
        if isinstance(part, Choice):
            texts = [before + text for before in texts for option in part.options for text in _all_texts(option)]
        elif isinstance(part, str):
            texts = [before + part for before in texts]
    return texts
