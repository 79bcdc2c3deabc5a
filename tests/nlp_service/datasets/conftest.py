"""A hospital on disk, its data set, and the exports: built once a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from corpora.dataset import DatasetFolder, open_dataset, recipe_from
from corpora.dataset.export import FORMATS, export_dataset
from nlp_service.datasets import BuildOptions, BuildSummary, build, sources_of
from tests.corpora.imaging.conftest import make_dicom, pacs, radiographs
from tests.nlp_service.datasets.making import Study, studies, write_images, write_reports

# Their fixtures: real radiographs as DICOM files, and a PACS that holds them.
__all__ = ["make_dicom", "pacs", "radiographs"]

KEY = "an invented key of thirty-two bytes"


@dataclass(frozen=True)
class Hospital:
    """Where an invented hospital lies."""

    folder: Path
    studies: tuple[Study, ...]

    @property
    def images(self) -> Path:
        return self.folder / "dicom"

    @property
    def reports(self) -> Path:
        return self.folder / "reports.csv"

    @property
    def key_file(self) -> Path:
        return self.folder / "site.key"

    def recipe(self, **changes: Any) -> dict[str, Any]:
        """Return a recipe in plain data: labels by rules, small pictures."""
        return {
            "reports": str(self.reports),
            "images": str(self.images),
            "labels": {"reader": "rules"},
            "image": {"size": 96},
            "card": {"plots": False},
            "splits": {"shares": {"train": 0.5, "validation": 0.25, "test": 0.25}},
            "deidentify": {"key_file": str(self.key_file)},
            **changes,
        }


@pytest.fixture(scope="session")
def make_hospital(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Hospital]:
    def make(patients: int) -> Hospital:
        folder = tmp_path_factory.mktemp("hospital")
        known = studies(patients)
        hospital = Hospital(folder, tuple(known))
        write_images(hospital.images, known)
        write_reports(hospital.reports, known)
        hospital.key_file.write_text(KEY)
        return hospital

    return make


@pytest.fixture(scope="session")
def hospital(make_hospital: Callable[..., Hospital]) -> Hospital:
    """Return 24 patients with 40 images."""
    return make_hospital(24)


@pytest.fixture(scope="session")
def built(hospital: Hospital, tmp_path_factory: pytest.TempPathFactory) -> BuildSummary:
    """Return what building the hospital's data set gave."""
    return build_from(hospital.recipe(), tmp_path_factory.mktemp("built") / "chest")


@pytest.fixture(scope="session")
def dataset(built: BuildSummary) -> DatasetFolder:
    return open_dataset(built.output)


@pytest.fixture(scope="session")
def exports(hospital: Hospital, dataset: DatasetFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an export in every form."""
    folder = tmp_path_factory.mktemp("exports")
    sources = sources_of(str(hospital.images), dataset, hospital.key_file, folder)
    for name in FORMATS:
        export_dataset(dataset, folder / name, name, sources=sources)
    (folder / "index.parquet").unlink()
    (folder / "index.parquet.unreadable.csv").unlink()
    return folder


def build_from(recipe: dict[str, Any], output: Path, **options: Any) -> BuildSummary:
    return build(recipe_from(recipe, "recipe.yaml"), output, BuildOptions(**options))
