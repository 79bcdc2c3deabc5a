"""The phrase automaton finds what its patterns stand for, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.errors import VocabularyInvalid
from models.text.patterns import PhraseAutomaton, expand

WORDS = st.sampled_from(["no", "not", "is", "seen", "acute", "effusion"])


def patterns(depth: int = 2) -> st.SearchStrategy[str]:
    """Random patterns: words, alternatives and options, nested."""
    if depth == 0:
        return WORDS
    inner = patterns(depth - 1)
    group = st.lists(inner, min_size=1, max_size=3).map("|".join)
    return st.lists(
        st.one_of(WORDS, group.map(lambda g: f"({g})"), group.map(lambda g: f"[{g}]")), min_size=1, max_size=3
    ).map(" ".join)


@given(st.lists(patterns(), min_size=1, max_size=4), st.lists(WORDS, max_size=8))
def test_automaton_finds_exactly_the_phrases_that_its_patterns_stand_for(written: list[str], words: list[str]) -> None:
    usable = [pattern for pattern in written if all(expand(pattern))]
    automaton: PhraseAutomaton[int] = PhraseAutomaton(str.split)
    for number, pattern in enumerate(usable):
        automaton.add(pattern, number)
    expected = {
        (number, start, start + len(phrase.split()))
        for number, pattern in enumerate(usable)
        for phrase in expand(pattern)
        for start in range(len(words))
        if words[start : start + len(phrase.split())] == phrase.split()
    }
    assert set(automaton.iter_matches(words)) == expected


def test_pattern_that_can_match_nothing_is_refused() -> None:
    automaton: PhraseAutomaton[str] = PhraseAutomaton(str.split)
    with pytest.raises(VocabularyInvalid, match="nothing at all"):
        automaton.add("[no] [acute]", "x")


@pytest.mark.parametrize("pattern", ["no (acute", "[no effusion"])
def test_open_bracket_is_refused(pattern: str) -> None:
    with pytest.raises(VocabularyInvalid, match="not closed"):
        list(expand(pattern))


def test_unknown_words_do_not_grow_the_automaton() -> None:
    automaton: PhraseAutomaton[str] = PhraseAutomaton(str.split)
    automaton.add("no effusion", "x")
    list(automaton.iter_matches(["no", "effusion"]))
    states = len(automaton._states)
    for number in range(1000):
        list(automaton.iter_matches([f"word{number}", "no", f"word{number}"]))
    assert len(automaton._states) == states
