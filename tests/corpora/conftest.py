"""Fixtures of the data tests: the public corpora, where they were fetched."""

import os
from pathlib import Path

import pytest

from corpora import CorpusUnavailable
from corpora.fetch import default_cache_dir, open_corpus


@pytest.fixture(scope="session")
def openi_corpus() -> Path:
    """Return the path of the fetched Open-i collection."""
    return _fetched("openi")


@pytest.fixture(scope="session")
def padchest_corpus() -> Path:
    """Return the path of PadChest's fetched table."""
    return _fetched("padchest")


def _fetched(name: str) -> Path:
    try:
        return open_corpus(name, default_cache_dir(os.environ))
    except CorpusUnavailable as error:
        pytest.skip(str(error))
