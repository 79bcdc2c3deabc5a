"""Fixtures of the image tests: real radiographs as DICOM files, and a real PACS that holds them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.corpora.imaging.orthanc import Orthanc

FULL = bool(os.environ.get("RADLABEL_FULL"))
IMAGES_OF_A_SET = None if FULL else 24


@pytest.fixture(scope="session")
def make_dicom(data_folder: Path) -> Any:
    """Return the module that writes DICOM files from a manifest; it lies beside the test data."""
    path = data_folder.parent / "tools" / "make_dicom.py"
    if not path.is_file():
        pytest.skip("make_dicom.py is not beside the test data")
    spec = importlib.util.spec_from_file_location("make_dicom", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def radiographs(make_dicom: Any, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with both sets as DICOM: 12 and 8 bits, every third or fourth as MONOCHROME1."""
    folder = tmp_path_factory.mktemp("radiographs")
    for name, bits, every in (("covid_cxr", 12, 3), ("nih_cxr", 8, 4)):
        manifest = data_folder / name / "manifest.csv"
        make_dicom.convert(manifest, folder / name, bits=bits, monochrome1_every=every, limit=IMAGES_OF_A_SET)
    return folder


@pytest.fixture(scope="session")
def pacs(radiographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Give a running Orthanc that holds the radiographs."""
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as orthanc:
        orthanc.send(radiographs)
        yield orthanc
