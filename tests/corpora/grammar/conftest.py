import pytest

from corpora.grammar import SentenceGrammar
from corpora.vocabulary import load_vocabulary


@pytest.fixture(scope="session")
def training() -> SentenceGrammar:
    return SentenceGrammar(load_vocabulary())


@pytest.fixture(scope="session")
def held_out() -> SentenceGrammar:
    return SentenceGrammar(load_vocabulary(), held_out=True)
