"""The pixels, boxes and masks of rows of an image index, wherever the images lie: a folder, a server, a manifest.

>>> from corpora.imaging.index_table import read_index, read_info
>>> def pixels_of(index: Path) -> None:
...     with Pictures(read_info(index)) as pictures:
...         for row in read_index(index).to_pylist():
...             image = pictures.read(row, longest_side=512)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.dataset import Dataset

from corpora.errors import SourceUnreadable
from corpora.imaging.extras import need
from corpora.imaging.index_table import ImageSource, IndexInfo
from corpora.imaging.pixels import ImagePixels, PixelType, load_image
from corpora.imaging.placement import BoxSides
from corpora.imaging.server import Access, DicomWebServer, Retries

Row = Mapping[str, Any]  # a row of the image index: source, file and sop_instance_uid; mask_file and boxes where used


class Pictures:
    """Reads what belongs to rows of one index; keeps one connection where they lie on a server.

    Parameters
    ----------
    info
        The index's metadata, of `read_info`: its root says where the files are. ``dataclasses.replace(info, root=...)``
        reads a folder that has moved.
    access, retries
        Who asks a server, and how often; of no use to files.
    """

    def __init__(self, info: IndexInfo, *, access: Access | None = None, retries: Retries | None = None) -> None:
        self._root = info.root
        self._access, self._retries = access, retries
        self._server: DicomWebServer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to a server, if there is one; the next read opens another."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def read(
        self,
        row: Row,
        *,
        dtype: PixelType = "float32",
        longest_side: int | None = None,
        frame: int | None = None,
        upright: bool = False,
    ) -> ImagePixels:
        """Return the pixels of a row; view, laterality and the rest are the row's where the file has no header.

        The options and the errors are those of `load_image`; `SourceUnreadable` too if a server does not give the
        image.
        """
        is_on_server = row["source"] == ImageSource.DICOMWEB
        return load_image(
            self._instance(row) if is_on_server else self._path(row["file"]),
            dtype=dtype,
            longest_side=longest_side,
            frame=frame,
            upright=upright,
            like=row,
        )

    def dataset(self, row: Row) -> Dataset:
        """Return a row's whole DICOM object, pixels included, as `corpora.deidentification` wants it.

        Raises `SourceUnreadable` if it cannot be had, or is another than when it was indexed, and for a picture file,
        which has none.
        """
        file = self._path(row["file"])
        name = file.name
        if row["source"] == ImageSource.DICOMWEB:
            dataset, name = self._instance(row), "the answer of the server"
        elif row["source"] == ImageSource.PICTURE:
            raise SourceUnreadable(f"{name}: is no DICOM file")
        else:
            try:
                dataset = dcmread(file, force=True)
            except OSError as error:
                raise SourceUnreadable(f"{name}: {error.strerror or 'cannot be read'}") from None
            except Exception as error:  # whatever a damaged byte leads to
                raise SourceUnreadable(f"{name}: cannot be parsed ({type(error).__name__})") from None
        with config.disable_value_validation():  # which would quote a UID that is none
            found = dataset.get("SOPInstanceUID")
        if row.get("sop_instance_uid") not in (None, found):
            raise SourceUnreadable(f"{name}: holds another image than when it was indexed")
        return dataset

    def _instance(self, row: Row) -> Dataset:
        if self._server is None:
            self._server = DicomWebServer(self._root, self._access, self._retries)
        return self._server.instance(row["file"])

    def boxes(self, row: Row, image: ImagePixels) -> list[tuple[str, BoxSides]]:
        """Return label and sides of a row's boxes, in pixels of ``image``, which `read` gave for it."""
        boxes = row.get("boxes") or ()
        return [(box["label"], image.placement.box(*(box[side] for side in "xywh"))) for box in boxes]

    def mask(self, row: Row, image: ImagePixels) -> NDArray[np.bool_] | None:
        """Return a row's mask (rows, columns of ``image``), True where it is more than half white; None if it has none.

        Raises `SourceUnreadable` if the file is no picture, or not of the size of its image.
        """
        if not row.get("mask_file"):
            return None
        file = self._path(row["mask_file"])
        image_module = need("PIL.Image", "pillow", "reading masks")
        try:
            with image_module.open(file, formats=("PNG", "JPEG")) as opened:
                white = np.asarray(opened.convert("L")) > 127
        except OSError as error:
            raise SourceUnreadable(f"{file.name}: {error.strerror or 'is no PNG or JPEG that can be read'}") from None
        except Exception as error:
            raise SourceUnreadable(f"{file.name}: cannot be decoded ({type(error).__name__})") from None
        try:
            return image.placement.mask(white)
        except ValueError as error:
            raise SourceUnreadable(f"{file.name}: {error}") from None

    def _path(self, file: str) -> Path:
        return Path(self._root, file)
