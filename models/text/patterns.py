"""Phrase patterns and the automaton that finds thousands of them in one pass over a sentence's tokens.

A pattern is a phrase with alternatives ``(a|b)`` and options ``[a]``, nested as needed. The cue patterns stand for
about 180,000 phrases: listed one by one (as a phrase matcher wants them) they would take seconds to load, and a token
matcher that tries every pattern at every token is slower than the rest of the reading. So the patterns become one
non-deterministic automaton over folded words, whose deterministic states are made when first needed (Thompson 1968;
the lazy form as in Cox, "Regular Expression Matching Can Be Simple And Fast", 2007).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from corpora.errors import VocabularyInvalid

Payload = TypeVar("Payload", bound=Hashable)


def expand(pattern: str) -> Iterator[str]:
    """Yield every phrase that a pattern stands for (for tests and for showing; matching never lists them).

    >>> list(expand("(is|are) not [well] seen"))
    ['is not well seen', 'is not seen', 'are not well seen', 'are not seen']

    Raises:
        VocabularyInvalid: a bracket is not closed.
    """
    opening = _first_bracket(pattern)
    if opening is None:
        yield " ".join(pattern.split())
        return
    closing = _matching_bracket(pattern, opening)
    for choice in _choices(pattern, opening, closing):
        yield from expand(f"{pattern[:opening]}{choice}{pattern[closing + 1 :]}")


def draw(pattern: str, rng: random.Random) -> str:
    """Return one of the phrases that a pattern stands for, at random; an option is taken half of the time.

    >>> draw("(is|are) not [well] seen", random.Random(2))
    'is not seen'
    """
    opening = _first_bracket(pattern)
    if opening is None:
        return " ".join(pattern.split())
    closing = _matching_bracket(pattern, opening)
    choices = _choices(pattern, opening, closing)
    if pattern[opening] == "[" and rng.random() < 0.5:
        choices = [""]
    return draw(f"{pattern[:opening]}{rng.choice(choices)}{pattern[closing + 1 :]}", rng)


def _first_bracket(pattern: str) -> int | None:
    return next((i for i, character in enumerate(pattern) if character in "(["), None)


def _matching_bracket(pattern: str, opening: int) -> int:
    depth = 0
    for i in range(opening, len(pattern)):
        depth += (pattern[i] in "([") - (pattern[i] in ")]")
        if depth == 0:
            return i
    raise VocabularyInvalid(f"phrase pattern {pattern!r}: a bracket is not closed")


def _choices(pattern: str, opening: int, closing: int) -> list[str]:
    body = pattern[opening + 1 : closing]
    choices, depth, last = [], 0, 0
    for i, character in enumerate(body):
        depth += (character in "([") - (character in ")]")
        if character == "|" and depth == 0:
            choices.append(body[last:i])
            last = i + 1
    choices.append(body[last:])
    return [*choices, ""] if pattern[opening] == "[" else choices


@dataclass(slots=True)
class _Node:
    """A state of the non-deterministic automaton."""

    on_word: dict[str, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)  # moves that need no word


@dataclass(slots=True)
class _State(Generic[Payload]):
    """A state of the deterministic automaton: a set of nodes, with its moves as far as they were needed."""

    nodes: frozenset[int]
    payloads: tuple[Payload, ...]
    moves: dict[str, _State[Payload] | None] = field(default_factory=dict)


class PhraseAutomaton(Generic[Payload]):
    """Finds all occurrences of all patterns in a sequence of folded words.

    ``split`` turns a phrase into the folded words that the text will be cut into as well.

    >>> automaton = PhraseAutomaton(str.split)
    >>> automaton.add("no [acute] (effusion|edema)", "negated")
    >>> list(automaton.iter_matches("there is no edema".split()))
    [('negated', 2, 4)]
    """

    def __init__(self, split: Callable[[str], Sequence[str]]) -> None:
        self._split = split
        self._nodes: list[_Node] = [_Node()]
        self._final: dict[int, list[Payload]] = {}
        self._states: dict[frozenset[int], _State[Payload]] = {}
        self._start: _State[Payload] | None = None
        self.words: set[str] = set()

    def add(self, pattern: str, payload: Payload) -> None:
        """Add a pattern; its matches will carry ``payload``. A pattern that can match nothing is an error."""
        end = self._thread(pattern, 0)
        if end in self._reachable({0}):
            raise VocabularyInvalid(f"phrase pattern {pattern!r}: it can match nothing at all")
        self._final.setdefault(end, []).append(payload)

    def add_words(self, words: Sequence[str], payload: Payload) -> None:
        """Add a phrase that is already cut into folded words."""
        self._final.setdefault(self._thread_folded(words, 0), []).append(payload)

    def _new_node(self) -> int:
        self._nodes.append(_Node())
        return len(self._nodes) - 1

    def _thread(self, pattern: str, start: int) -> int:
        """Lay a pattern out from a node; return the node it ends in."""
        opening = _first_bracket(pattern)
        if opening is None:
            return self._thread_words(pattern, start)
        closing = _matching_bracket(pattern, opening)
        before = self._thread_words(pattern[:opening], start)
        ends = {self._thread(choice, before) for choice in _choices(pattern, opening, closing)}
        join = self._new_node()
        for end in sorted(ends):
            self._nodes[end].free.append(join)
        return self._thread(pattern[closing + 1 :], join)

    def _thread_words(self, phrase: str, node: int) -> int:
        return self._thread_folded(self._split(phrase), node)

    def _thread_folded(self, words: Sequence[str], node: int) -> int:
        for word in words:
            self.words.add(word)
            # Phrases share their beginnings: a trie keeps the sets of nodes, and so the states, small.
            following = self._nodes[node].on_word.get(word)
            if following is None:
                following = self._nodes[node].on_word[word] = self._new_node()
            node = following
        return node

    def _reachable(self, nodes: set[int]) -> set[int]:
        """Return ``nodes`` with all that can be reached from them without a word."""
        stack = list(nodes)
        while stack:
            for free in self._nodes[stack.pop()].free:
                if free not in nodes:
                    nodes.add(free)
                    stack.append(free)
        return nodes

    def _state(self, nodes: set[int]) -> _State[Payload]:
        key = frozenset(self._reachable(nodes))
        state = self._states.get(key)
        if state is None:
            payloads = tuple(dict.fromkeys(p for node in sorted(key) for p in self._final.get(node, ())))
            state = self._states[key] = _State(key, payloads)
        return state

    def iter_matches(self, words: Sequence[str]) -> Iterator[tuple[Payload, int, int]]:
        """Yield (payload, start, end) of every match, ``end`` exclusive; overlapping matches are all given."""
        if self._start is None:
            self._start = self._state({0})
        for start in range(len(words)):
            state = self._start
            for position in range(start, len(words)):
                word = words[position]
                following = state.moves[word] if word in state.moves else self._move(state, word)
                if following is None:
                    break
                state = following
                for payload in state.payloads:
                    yield payload, start, position + 1

    def _move(self, state: _State[Payload], word: str) -> _State[Payload] | None:
        targets = {self._nodes[node].on_word[word] for node in state.nodes if word in self._nodes[node].on_word}
        following = self._state(targets) if targets else None
        # Words that no pattern knows are not remembered, or the memory would grow with the text.
        if word in self.words:
            state.moves[word] = following
        return following
