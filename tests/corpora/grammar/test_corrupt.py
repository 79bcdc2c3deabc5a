import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.findings import Assertion
from corpora.grammar import GrammarFinding, SentenceGrammar, SyntheticSentence, corrupt
from corpora.grammar import corrupt as corruption
from corpora.vocabulary import load_vocabulary

_GRAMMAR = SentenceGrammar(load_vocabulary())
_SEEDS = st.integers(0, 2**32 - 1)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _is_near(before: str, after: str) -> bool:
    """Whether two phrases differ by typing errors and spelling alone: nearly the same letters, whatever their order."""
    one, two = _letters(before), _letters(after)
    lost = sum(max(one.count(c) - two.count(c), 0) for c in set(one))
    won = sum(max(two.count(c) - one.count(c), 0) for c in set(two))
    return lost + won <= 6 + one.count("the") * 3


@given(seed=_SEEDS)
def test_spans_still_cut_out_their_phrases(seed: int) -> None:
    rng = random.Random(seed)
    sentence = _GRAMMAR.generate(rng)
    noisy = corrupt(sentence, rng)
    assert len(noisy.findings) == len(sentence.findings)
    for before, after in zip(sentence.findings, noisy.findings, strict=True):
        old = sentence.text[before.start : before.end]
        new = noisy.text[after.start : after.end]
        assert _is_near(old, new), (sentence.family, old, new)
        assert new == new.strip()
        assert before == after.moved(before.start, before.end)


@given(seed=_SEEDS)
def test_the_same_seed_makes_the_same_noise(seed: int) -> None:
    sentence = _GRAMMAR.generate(random.Random(seed))
    assert corrupt(sentence, random.Random(seed)) == corrupt(sentence, random.Random(seed))


def test_each_kind_of_noise_comes_up() -> None:
    rng = random.Random(1)
    noisy = [corrupt(_GRAMMAR.generate(rng), rng).text for _ in range(2000)]
    assert any(text.isupper() for text in noisy)
    assert any(text.islower() for text in noisy)
    assert any("XXXX" in text for text in noisy)
    assert any("oedema" in text for text in noisy)
    assert any("  " in text for text in noisy)
    assert any(not text.endswith(".") for text in noisy)


def _sentence(text: str, phrase: str) -> SyntheticSentence:
    start = text.index(phrase)
    finding = GrammarFinding("pulmonary_edema", start, start + len(phrase), Assertion.POSITIVE)
    return SyntheticSentence(text, (finding,), "test")


@pytest.mark.parametrize(
    ("kind", "text", "phrase", "expected", "span"),
    [
        ("_telegraphic", "There is a mild edema in the lung.", "edema", "mild edema in lung.", "edema"),
        ("_telegraphic", "The film shows fluid in the fissure.", "fluid in the fissure",
         "film shows fluid in fissure.", "fluid in fissure"),
        ("_british", "Mild edema and tumor.", "edema", "Mild oedema and tumour.", "oedema"),
        ("_upper", "Mild edema.", "edema", "MILD EDEMA.", "EDEMA"),
        ("_lower", "CHF is seen.", "CHF", "chf is seen.", "chf"),
        ("_no_stop", "Mild edema.", "edema", "Mild edema", "edema"),
        ("_gap", "The study shows edema.", "edema", "The XXXX shows edema.", "edema"),
    ],
)  # fmt: skip
def test_one_kind_of_noise(kind: str, text: str, phrase: str, expected: str, span: str) -> None:
    import importlib

    module = importlib.import_module(corruption.__module__)
    sentence = _sentence(text, phrase)
    noisy = module._apply(sentence, getattr(module, kind)(sentence, random.Random(0)))
    assert noisy.text == expected
    finding = noisy.findings[0]
    assert noisy.text[finding.start : finding.end] == span


def test_a_gap_never_stands_inside_a_finding() -> None:
    rng = random.Random(2)
    for _ in range(3000):
        sentence = _GRAMMAR.generate(rng)
        noisy = corrupt(sentence, rng)
        for before, after in zip(sentence.findings, noisy.findings, strict=True):
            if "XXXX" not in sentence.text[before.start : before.end]:
                assert "XXXX" not in noisy.text[after.start : after.end]
