"""From a row of an index to what it stands for: a whole object, pixels, what the manifest says of a picture."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpora.errors import SourceUnreadable
from corpora.imaging.dicom_folder import index_folder
from corpora.imaging.index_table import IndexInfo, read_index, read_info
from corpora.imaging.manifest import index_manifest
from corpora.imaging.pictures import Pictures
from corpora.imaging.pixels import load_image
from tests.corpora.imaging.making import make_dataset, write
from tests.corpora.imaging.test_manifest import manifest, picture


def row_and_info(index: Path) -> tuple[dict[str, Any], IndexInfo]:
    (row,) = read_index(index).to_pylist()
    return row, read_info(index)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write(tmp_path / "tree" / "x.dcm", make_dataset(uid="1.2.3", PatientOrientation="R\\F"))
    index_folder(tmp_path / "tree", tmp_path / "index.parquet")
    return tmp_path / "index.parquet"


def test_row_of_a_folder_gives_its_object_and_pixels(index: Path, tmp_path: Path) -> None:
    row, info = row_and_info(index)
    with Pictures(info) as pictures:
        assert pictures.dataset(row).SOPInstanceUID == "1.2.3"
        image = pictures.read(row, upright=True, longest_side=12, dtype="uint8")
        assert pictures.mask(row, image) is None
        assert pictures.boxes(row, image) == []
    expected = load_image(tmp_path / "tree" / "x.dcm", upright=True, longest_side=12, dtype="uint8")
    assert np.array_equal(image.pixels, expected.pixels)
    assert (image.placement.is_mirrored, image.patient_orientation, image.view) == (True, "L\\F", "PA")


def test_folder_that_has_moved_is_read_with_another_root(index: Path, tmp_path: Path) -> None:
    row, info = row_and_info(index)
    shutil.move(tmp_path / "tree", tmp_path / "moved")
    with Pictures(info) as pictures:
        with pytest.raises(SourceUnreadable, match=r"x\.dcm: No such file"):
            pictures.read(row)
        with pytest.raises(SourceUnreadable, match=r"x\.dcm: No such file"):
            pictures.dataset(row)
    with Pictures(replace(info, root=str(tmp_path / "moved"))) as pictures:
        assert pictures.read(row).pixels.shape == (16, 24)


def test_file_that_broke_since_it_was_indexed_is_told(index: Path, tmp_path: Path) -> None:
    row, info = row_and_info(index)
    (tmp_path / "tree" / "x.dcm").write_bytes(b"\0" * 128 + b"DICM" + bytes(range(256)) * 4)
    with Pictures(info) as pictures:
        for read in (pictures.read, pictures.dataset):
            with pytest.raises(SourceUnreadable, match=r"x\.dcm"):
                read(row)
        write(tmp_path / "tree" / "x.dcm", make_dataset(uid="1.2.4"))
        for read in (pictures.read, pictures.dataset):
            with pytest.raises(SourceUnreadable, match=r"x\.dcm: holds another image than when it was indexed"):
                read(row)


def test_picture_is_what_the_manifest_says(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", shape=(8, 16))
    header = "image_id,file,view,laterality,row_spacing_mm,column_spacing_mm"
    index_manifest(manifest(tmp_path, "a,a.png,pa,L,0.5,0.25", header=header), tmp_path / "index.parquet")
    row, info = row_and_info(tmp_path / "index.parquet")
    with Pictures(info) as pictures:
        image = pictures.read(row, longest_side=32)
        assert (image.view, image.laterality) == ("PA", "L")
        assert (image.row_spacing_mm, image.column_spacing_mm) == (0.25, 0.125)
        with pytest.raises(SourceUnreadable, match="is no DICOM file"):
            pictures.dataset(row)
