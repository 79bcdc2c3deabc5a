"""One reader for all tests of this folder: compiling it takes a tenth of a second, reading depends on nothing else."""

import pytest

from corpora.vocabulary import Vocabulary, load_vocabulary
from models.text.teacher import RuleTeacher


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return load_vocabulary()


@pytest.fixture(scope="session")
def teacher(vocabulary: Vocabulary) -> RuleTeacher:
    return RuleTeacher(vocabulary)
