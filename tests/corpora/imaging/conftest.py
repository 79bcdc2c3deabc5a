"""Fixtures of the image tests."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def test_data() -> Path:
    folder = os.environ.get("RADLABEL_TEST_DATA")
    if not folder:
        pytest.skip("RADLABEL_TEST_DATA is not set")
    return Path(folder)


@pytest.fixture(scope="session")
def make_dicom(test_data: Path) -> Any:
    path = test_data.parent / "tools" / "make_dicom.py"
    if not path.is_file():
        pytest.skip("make_dicom.py is not beside the test data")
    spec = importlib.util.spec_from_file_location("make_dicom", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def covid_dicom(make_dicom: Any, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("covid")
    make_dicom.convert(test_data / "covid_cxr" / "manifest.csv", folder, bits=12, monochrome1_every=3)
    return folder
