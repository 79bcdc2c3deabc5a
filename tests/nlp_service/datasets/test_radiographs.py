"""Real radiographs and case notes (docs/contributing.md says whence): folder, server and manifest alike."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from corpora.dataset import DatasetFolder, open_dataset
from corpora.dataset.check import check_dataset
from corpora.imaging.server import Access
from corpora.weak_labels.shapes import Box
from tests.corpora.imaging.orthanc import PASSWORD, USER, Orthanc, needs_orthanc
from tests.nlp_service.datasets.conftest import KEY, build_from
from tests.nlp_service.datasets.making import files_of

FULL = bool(os.environ.get("RADLABEL_FULL"))


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "site.key"
    path.write_text(KEY)
    return path


def covid_recipe(data_folder: Path, images: str, key_file: Path) -> dict[str, object]:
    return {
        "reports": str(data_folder / "covid_cxr" / "reports.csv"),
        "images": images,
        "filter": {"keep_unknown_view": True},
        "image": {"size": 256},
        "deidentify": {"key_file": str(key_file)},
        "card": {"plots": False},
    }


@pytest.fixture(scope="module")
def covid(
    data_folder: Path, radiographs: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> DatasetFolder:
    output = tmp_path_factory.mktemp("covid") / "covid"
    summary = build_from(covid_recipe(data_folder, str(radiographs), key_file), output, processes=2)
    assert not any(summary.failed.values())
    return open_dataset(output)


def test_the_encoder_labels_and_every_count_adds_up(covid: DatasetFolder, data_folder: Path) -> None:
    with (data_folder / "covid_cxr" / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        noted = {row["accession"] for row in csv.DictReader(stream) if row["clinical_notes"]}
    with (data_folder / "covid_cxr" / "reports.csv").open(encoding="utf-8", newline="") as stream:
        reported = sum(1 for _ in csv.DictReader(stream))
    assert len(noted) == reported
    images, reports = covid.info.counts["images"], covid.info.counts["reports"]
    assert covid.info.model["name"] == "radlabel-encoder"
    assert reports["rows"] == reported == reports["used"] + sum(reports["excluded"].values())
    assert images["indexed"] == images["rows"] + sum(images["excluded"].values())
    assert images["excluded"]["link:no_report"] >= 24  # the other set has no reports here
    assert check_dataset(covid).is_good


@needs_orthanc
def test_a_data_set_over_dicomweb_is_that_of_the_folder(
    covid: DatasetFolder, pacs: Orthanc, data_folder: Path, key_file: Path, tmp_path: Path
) -> None:
    recipe = covid_recipe(data_folder, pacs.url, key_file)
    build_from(recipe, tmp_path / "covid", access=Access(USER, PASSWORD))
    mine, other = files_of(covid.path), files_of(tmp_path / "covid")
    assert mine.keys() == other.keys()
    # What differs is what the account of linking and the card say of the index itself.
    said = {"dataset.json", "link_report.json", "card.md", "card.html"}
    assert {name for name in mine if mine[name] != other[name]} <= said
    assert open_dataset(tmp_path / "covid").info.sources["pixels"] == covid.info.sources["pixels"]
    assert PASSWORD.encode() not in b"".join(other.values())
    assert b"127.0.0.1" not in other["dataset.json"] + other["card.md"]


def test_given_lungs_are_where_the_hints_are(data_folder: Path, key_file: Path, tmp_path: Path) -> None:
    source = data_folder / "covid_cxr"
    limit = 400 if FULL else 40
    with (source / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["clinical_notes"]][:limit]
    with (tmp_path / "manifest.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ("image_id", "file", "patient_id", "accession", "view", "split"))
        writer.writeheader()
        for row in rows:
            kept = {name: row[name] for name in ("image_id", "patient_id", "accession", "view", "split")}
            writer.writerow({**kept, "file": str(source / row["file"])})
    recipe = covid_recipe(data_folder, str(tmp_path / "manifest.csv"), key_file)
    more = {
        "boxes": str(source / "boxes.coco.json"),
        "masks": str(source / "masks"),
        "splits": {"from_index": True},
        "deidentify": {"enabled": False},
    }
    summary = build_from({**recipe, **more}, tmp_path / "covid", processes=2)
    folder = open_dataset(summary.output)
    assert check_dataset(folder).is_good
    given = {row["image_id"]: row for row in rows}
    with_mask = hints = 0
    for row in folder.iter_rows():
        assert row["split"] == given[row["image_id"]]["split"]
        sides = {cell["label"]: Box(*cell["box"]) for cell in row["boxes"]}
        assert set(sides) == {"Right Lung", "Left Lung"}
        # The patient's right is on the left of the picture.
        assert sides["Right Lung"].x_min < sides["Left Lung"].x_min
        with_mask += row["mask_file"] is not None
        for hint in row["regions"]:
            assert hint["pedigree"] == "lung_boxes"
            if hint["laterality"]:
                lung = sides[f"{hint['laterality'].title()} Lung"]
                assert Box(*hint["box"]).overlap(lung) > 0
                assert hint["box"][0] >= lung.x_min - 1e-5
                assert hint["box"][2] <= lung.x_max + 1e-5
                hints += 1
    assert with_mask
    assert hints
    assert json.loads((summary.output / "dataset.json").read_text("utf-8"))["deidentified"] is False
