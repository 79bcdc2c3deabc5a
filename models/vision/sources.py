"""Pictures to be read by a model: of a data set, an image index, a DICOM folder, a manifest, a folder of pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corpora.errors import SourceUnreadable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from corpora.imaging.server import Access

_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture (height, width; 8-bit, MONOCHROME2 sense), its id and file, and its DICOM object where there is one."""

    image_id: str
    file: str
    pixels: NDArray[np.uint8]
    row: Mapping[str, Any]
    dicom: Dataset | None = None

    def __repr__(self) -> str:
        return f"Picture({self.pixels.shape[1]} x {self.pixels.shape[0]})"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture that cannot be read, and why; the reason holds nothing of its content."""

    file: str
    reason: str


def iter_pictures(
    place: Path, *, split: str | None = None, with_dicom: bool = False, access: Access | None = None
) -> Iterator[Picture | Unreadable]:
    """Yield the pictures of a place, one in memory at a time.

    Parameters
    ----------
    place
        A data set folder, an image index (Parquet, of a DICOMweb server too), a folder of DICOM files, a manifest
        (CSV), a folder of PNG and JPEG files, or one of either.
    split
        Of a data set: this split alone.
    with_dicom
        Keep the DICOM object beside the pixels, where there is one.
    access
        Who asks a DICOMweb server, where an index is of one.

    Raises
    ------
    SourceUnreadable
        There is no such place, or it holds no picture at all.
    """
    from corpora.dataset.columns import INFO

    if (place / INFO).is_file():
        yield from _of_dataset(place, split)
    elif place.suffix.lower() == ".parquet":
        yield from _of_index(place, with_dicom, access)
    elif place.is_dir() or place.suffix.lower() == ".csv":
        yield from _of_folder(place, with_dicom)
    elif place.is_file():
        yield _of_file(place, place.name)
    else:
        raise SourceUnreadable(f"{place.name}: there is no such file or folder")


def _of_dataset(place: Path, split: str | None) -> Iterator[Picture | Unreadable]:
    from corpora.dataset.folder import open_dataset

    dataset = open_dataset(place)
    for row in dataset.iter_rows(split=split):
        yield Picture(row["image_id"], row["file"], dataset.read_image(row["file"]), row)


def _of_index(index: Path, with_dicom: bool, access: Access | None = None) -> Iterator[Picture | Unreadable]:
    from corpora.imaging.index_table import iter_tables, read_info, unreadable_path
    from corpora.imaging.pictures import Pictures
    from corpora.imaging.pixels import load_image

    with Pictures(read_info(index), access=access) as pictures:
        for table in iter_tables(index):
            for row in table.to_pylist():
                try:
                    dicom = pictures.dataset(row) if with_dicom and row["source"] != "picture" else None
                    read = pictures.read(row, dtype="uint8") if dicom is None else load_image(dicom, dtype="uint8")
                except SourceUnreadable as error:
                    yield Unreadable(str(row["file"]), str(error))
                    continue
                image_id = row.get("image_id") or row.get("sop_instance_uid") or row["file"]
                yield Picture(str(image_id), str(row["file"]), read.pixels, row, dicom)
    listed = unreadable_path(index)
    if listed.is_file():
        yield from _listed(listed)


def _listed(path: Path) -> Iterator[Unreadable]:
    import csv

    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            yield Unreadable(row["file"], row["reason"])


def _of_folder(place: Path, with_dicom: bool) -> Iterator[Picture | Unreadable]:
    from corpora.imaging.dicom_folder import index_folder
    from corpora.imaging.manifest import index_manifest

    with tempfile.TemporaryDirectory() as folder:
        index = Path(folder) / "index.parquet"
        if place.is_dir():
            info = index_folder(place, index, processes=1)
            if not info.images and not info.unreadable:
                files = sorted(path for path in place.rglob("*") if path.suffix.lower() in _PICTURES)
                if not files:
                    raise SourceUnreadable(f"{place.name}: holds neither DICOM files nor PNG or JPEG pictures")
                yield from (_of_file(path, path.relative_to(place).as_posix()) for path in files)
                return
        else:
            index_manifest(place, index)
        yield from _of_index(index, with_dicom)


def _of_file(path: Path, name: str) -> Picture | Unreadable:
    from corpora.imaging.pixels import load_image

    try:
        return Picture(path.stem, name, load_image(path, dtype="uint8").pixels, {})
    except SourceUnreadable as error:
        return Unreadable(name, str(error))
