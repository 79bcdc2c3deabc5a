"""What every test may ask for: a report, the test data that cannot be published, the public corpora."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from corpora import CorpusUnavailable, Report
from corpora.fetch import default_cache_dir, open_corpus

TEST_DATA_VARIABLE = "RADLABEL_TEST_DATA"
ROOT = Path(__file__).parent.parent

# Runs in the rival's environment, not in this one.
collect_ignore = ["benchmarks/medspacy_worker.py"]

# A failure must be the same on every machine, however slow: examples follow from the test, and nothing is timed.
settings.register_profile("radlabel", deadline=None, derandomize=True, database=None)
settings.load_profile("radlabel")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of unpublished test data (docs/contributing.md says what it holds)."""
    named = os.environ.get(TEST_DATA_VARIABLE)
    if not named:
        pytest.skip(f"{TEST_DATA_VARIABLE} does not name the folder of the test data")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"{TEST_DATA_VARIABLE} names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def openi_corpus() -> Path:
    """Return the path of the fetched Open-i collection, as `read_reports` takes it."""
    return _fetched("openi")


@pytest.fixture(scope="session")
def padchest_corpus() -> Path:
    """Return the path of PadChest's fetched table, as `read_reports` takes it."""
    return _fetched("padchest")


def _fetched(name: str) -> Path:
    try:
        return open_corpus(name, default_cache_dir(os.environ))
    except CorpusUnavailable as error:
        pytest.skip(f"{error} (or: make corpus)")


@pytest.fixture
def report() -> Report:
    """Return an invented chest report with an identity of its own."""
    return Report(
        report_id="r1",
        text="INDICATION: Cough.\nFINDINGS: Small left pleural effusion. No pneumothorax.\nIMPRESSION: Small effusion.",
        accession_number="ACC0001",
    )
