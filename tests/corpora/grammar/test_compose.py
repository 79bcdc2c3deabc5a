import random

from hypothesis import given
from hypothesis import strategies as st

from corpora.findings import Assertion
from corpora.grammar import SentenceGrammar
from corpora.reports import SectionKind
from corpora.vocabulary import load_vocabulary

_GRAMMAR = SentenceGrammar(load_vocabulary())


@given(seed=st.integers(0, 2**32 - 1))
def test_a_report_holds_its_sentences_where_it_says(seed: int) -> None:
    made = _GRAMMAR.report(random.Random(seed))
    text = made.report.text
    kinds = [section.kind for section in made.report.sections]
    assert SectionKind.FINDINGS in kinds
    for placed in made.sentences:
        assert text[placed.start : placed.start + len(placed.sentence.text)] == placed.sentence.text
        section = next(s for s in made.report.sections if s.kind is placed.section)
        assert section.start <= placed.start < section.end
        if placed.sentence.heading:
            assert text[: placed.start].endswith(f"{placed.sentence.heading}: ")
        for inside, outside in zip(placed.sentence.findings, placed.findings, strict=True):
            assert text[outside.start : outside.end] == placed.sentence.text[inside.start : inside.end]


@given(seed=st.integers(0, 2**32 - 1))
def test_a_report_does_not_contradict_itself(seed: int) -> None:
    made = _GRAMMAR.report(random.Random(seed))
    said: dict[str, set[Assertion]] = {}
    for placed in made.sentences:
        for finding in placed.findings:
            said.setdefault(finding.concept_id, set()).add(finding.assertion)
    assert all(len(assertions) == 1 for assertions in said.values())


def test_the_same_seed_makes_the_same_report() -> None:
    assert _GRAMMAR.report(random.Random(1)) == _GRAMMAR.report(random.Random(1))


def test_held_out_reports_are_made_of_held_out_sentences(held_out: SentenceGrammar) -> None:
    rng = random.Random(2)
    assert all(placed.sentence.is_held_out for _ in range(20) for placed in held_out.report(rng).sentences)
