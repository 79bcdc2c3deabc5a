import random
from collections import Counter

import pytest

from corpora.grammar import SentenceGrammar, ngram_overlap
from corpora.grammar.holdout import held_out_families, held_out_synonyms
from corpora.grammar.load import load_data
from corpora.vocabulary import load_vocabulary
from corpora.vocabulary.words import fold_words


def test_at_least_30_percent_of_families_are_held_out(training: SentenceGrammar) -> None:
    assert len(training.held_out_families) >= 0.3 * len(training.categories)


def test_at_least_15_percent_of_synonyms_are_held_out(training: SentenceGrammar) -> None:
    total = sum(len(phrases) for phrases in training.fillers.synonyms.values())
    kept = sum(len(phrases) for phrases in training.fillers.held_out.values())
    assert kept >= 0.15 * total


def test_every_category_has_families_on_both_sides(training: SentenceGrammar) -> None:
    for name, group in load_data().families.items():
        sides = Counter(family.id in training.held_out_families for family in group)
        assert sides[True], name
        assert sides[False], name


def test_no_concept_loses_its_usual_name(training: SentenceGrammar) -> None:
    for entry in load_vocabulary().findings.values():
        if entry.synonyms:
            kept = training.fillers.held_out[entry.id]
            assert fold_words(entry.synonyms[0]) not in kept
            assert len(training.fillers.synonyms[entry.id] - kept) >= min(2, len(training.fillers.synonyms[entry.id]))


def test_training_and_held_out_share_neither_family_nor_synonym(
    training: SentenceGrammar, held_out: SentenceGrammar
) -> None:
    names = {filler.text.lower() for filler in training.fillers.all if filler.is_held_out}
    rng = random.Random(1)
    for _ in range(3000):
        sentence = training.generate(rng)
        assert sentence.family not in training.held_out_families
        assert not any(sentence.text[f.start : f.end].lower() in names for f in sentence.findings)
    for _ in range(3000):
        sentence = held_out.generate(rng)
        has_synonym = any(sentence.text[f.start : f.end].lower() in names for f in sentence.findings)
        is_unobserved = not sentence.findings or "unsaid" in sentence.family
        assert sentence.family in held_out.held_out_families or has_synonym or is_unobserved


def test_both_grammars_hold_out_the_same(training: SentenceGrammar, held_out: SentenceGrammar) -> None:
    assert training.held_out_families == held_out.held_out_families
    assert training.fillers.held_out == held_out.fillers.held_out
    assert not set(training.families) & held_out.held_out_families


def test_the_choice_does_not_hang_on_the_order() -> None:
    ids = [f"family_{i}" for i in range(10)]
    kinds = {name: frozenset({"noun"}) for name in ids}
    assert held_out_families({"a": ids}, kinds) == held_out_families({"a": ids[::-1]}, kinds)
    assert len(held_out_families({"a": ids}, kinds)) == 3


def test_the_only_family_of_its_sort_stays_in_training() -> None:
    kinds = {"a": frozenset({"noun"}), "b": frozenset({"noun"}), "c": frozenset({"clause"})}
    assert held_out_families({"x": ["a", "b", "c"]}, kinds) <= {"a", "b"}


@pytest.mark.parametrize("phrases", [[], ["one"], ["one", "two"], ["mass", "masses", "Mass"]])
def test_concepts_of_few_synonyms_keep_them_all(phrases: list[str]) -> None:
    assert held_out_synonyms("concept", phrases) == frozenset()


def test_held_out_text_is_mostly_new(training: SentenceGrammar, held_out: SentenceGrammar) -> None:
    """Of the 4-grams about one in seven occurs in 10,000 training sentences, three in ten in 100,000."""
    rng = random.Random(9)
    train = [training.generate(rng).text for _ in range(10_000)]
    kept = [held_out.generate(rng).text for _ in range(2_000)]
    overlap = ngram_overlap(train, kept)
    print(f"4-gram overlap of held-out with training sentences: {overlap:.3f}")
    assert overlap < 0.25


def test_overlap_counts_distinct_ngrams() -> None:
    assert ngram_overlap(["a b c d e"], ["A B C D"]) == 1.0
    assert ngram_overlap(["a b c d"], ["e f g h", "a b c d", "a b c d"]) == 0.5
    assert ngram_overlap(["a b"], ["a b"]) == 0.0
    assert ngram_overlap(["a b"], ["a b"], n=2) == 1.0
