"""Pictures to be read by a model: of a data set, an image index, a DICOM folder, a manifest, a folder of pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from corpora.dataset.errors import DatasetInvalid
from corpora.errors import SourceUnreadable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from corpora.dataset.folder import DatasetFolder
    from corpora.imaging.index_table import IndexInfo
    from corpora.imaging.pictures import Pictures
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


class Listed(Protocol):
    """A picture that was found and not read yet: small, and it travels to whoever reads it.

    It knows where the file lies by an absolute path, so that another process or a machine with the same files can read.
    """

    @property
    def file(self) -> str:
        """Return the name of the file as rows and rejects have it."""
        ...

    def read(self) -> Picture | Unreadable:
        """Return the picture."""
        ...


Source = Listed | Picture | Unreadable


def read(source: Source) -> Picture | Unreadable:
    """Return the picture of a place's list, which may have been read before."""
    return source if isinstance(source, Picture | Unreadable) else source.read()


def iter_pictures(
    place: Path, *, split: str | None = None, with_dicom: bool = False, access: Access | None = None
) -> Iterator[Picture | Unreadable]:
    """Yield the pictures of a place, one in memory at a time. Parameters and errors are those of `list_pictures`."""
    yield from map(read, list_pictures(place, split=split, with_dicom=with_dicom, access=access))


def list_pictures(
    place: Path, *, split: str | None = None, with_dicom: bool = False, access: Access | None = None
) -> Generator[Source]:
    """Yield the pictures of a place, not read yet; those of a DICOMweb server are read here, where its password is.

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
        yield _AtPath(place.absolute(), place.name)
    else:
        raise SourceUnreadable(f"{place.name}: there is no such file or folder")


@dataclass(frozen=True, slots=True, repr=False)
class _InDataset:
    dataset: DatasetFolder
    row: Mapping[str, Any]

    @property
    def file(self) -> str:
        return str(self.row["file"])

    def read(self) -> Picture | Unreadable:
        try:
            return Picture(self.row["image_id"], self.file, self.dataset.read_image(self.file), self.row)
        except DatasetInvalid as error:
            return Unreadable(self.file, str(error))


def _of_dataset(place: Path, split: str | None) -> Iterator[Source]:
    from corpora.dataset.folder import open_dataset

    dataset = open_dataset(place.absolute())
    for row in dataset.iter_rows(split=split):
        yield _InDataset(dataset, row)


@dataclass(frozen=True, slots=True, repr=False)
class _InIndex:
    info: IndexInfo
    row: Mapping[str, Any]
    with_dicom: bool

    @property
    def file(self) -> str:
        return str(self.row["file"])

    def read(self) -> Picture | Unreadable:
        from corpora.imaging.pictures import Pictures

        with Pictures(self.info) as pictures:
            return _read_row(pictures, self.row, self.with_dicom)


def _read_row(pictures: Pictures, row: Mapping[str, Any], with_dicom: bool) -> Picture | Unreadable:
    from corpora.imaging.pixels import load_image

    try:
        dicom = pictures.dataset(row) if with_dicom and row["source"] != "picture" else None
        found = pictures.read(row, dtype="uint8") if dicom is None else load_image(dicom, dtype="uint8")
    except SourceUnreadable as error:
        return Unreadable(str(row["file"]), str(error))
    image_id = row.get("image_id") or row.get("sop_instance_uid") or row["file"]
    return Picture(str(image_id), str(row["file"]), found.pixels, row, dicom)


def _of_index(index: Path, with_dicom: bool, access: Access | None = None) -> Iterator[Source]:
    from corpora.imaging.index_table import ImageSource, iter_tables, read_info, unreadable_path
    from corpora.imaging.pictures import Pictures

    info = read_info(index)
    with Pictures(info, access=access) as pictures:
        for table in iter_tables(index):
            for row in table.to_pylist():
                if row["source"] == ImageSource.DICOMWEB:
                    yield _read_row(pictures, row, with_dicom)
                else:
                    yield _InIndex(info, row, with_dicom)
    listed = unreadable_path(index)
    if listed.is_file():
        yield from _listed(listed)


def _listed(path: Path) -> Iterator[Unreadable]:
    import csv

    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            yield Unreadable(row["file"], row["reason"])


def _of_folder(place: Path, with_dicom: bool) -> Iterator[Source]:
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
                yield from (_AtPath(path.absolute(), path.relative_to(place).as_posix()) for path in files)
                return
        else:
            index_manifest(place, index)
        yield from _of_index(index, with_dicom)


@dataclass(frozen=True, slots=True)
class _AtPath:
    path: Path
    file: str

    def read(self) -> Picture | Unreadable:
        from corpora.imaging.pixels import load_image

        try:
            return Picture(self.path.stem, self.file, load_image(self.path, dtype="uint8").pixels, {})
        except SourceUnreadable as error:
            return Unreadable(self.file, str(error))
