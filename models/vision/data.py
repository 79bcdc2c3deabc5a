"""The data set folder as training reads it: rows in a Parquet file, pictures beside it.

The folder is what ``radlabel dataset build`` writes: ``dataset.json``, ``rows.parquet``, ``images/`` and, where given,
``masks/``. Training sees it through these few calls alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.errors import RadlabelError
from corpora.imaging.extras import need

FORMAT_VERSION = 1
INFO, ROWS = "dataset.json", "rows.parquet"


class DatasetInvalid(RadlabelError, ValueError):
    """A folder is no data set, or one of another version."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What ``dataset.json`` says."""

    name: str
    label_set: str
    labels: tuple[str, ...]
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """An opened data set folder."""

    path: Path
    info: DatasetInfo

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the labels, in order."""
        return self.info.labels

    @property
    def digest(self) -> str:
        """Return the SHA-256 over ``dataset.json`` and ``rows.parquet``."""
        digest = hashlib.sha256()
        for name in (INFO, ROWS):
            with (self.path / name).open("rb") as file:
                while block := file.read(2**20):
                    digest.update(block)
        return digest.hexdigest()

    def table(self, columns: Sequence[str] | None = None, split: str | None = None) -> Any:
        """Return rows as a pyarrow table, of one split or of all."""
        import pyarrow.parquet as pq

        filters = None if split is None else [("split", "=", split)]
        return pq.read_table(
            self.path / ROWS, columns=None if columns is None else list(columns), filters=filters, partitioning=None
        )

    def read_image(self, file: str) -> NDArray[np.uint8]:
        """Return the pixels (height, width) of a picture or mask of the folder."""
        image_module = need("PIL.Image", "pillow", "reading the pictures of a data set")
        try:
            with image_module.open(self.path / file) as image:
                return np.asarray(image.convert("L"), dtype=np.uint8)
        except OSError as error:
            raise DatasetInvalid(f"{self.path.name}: a picture cannot be read ({type(error).__name__})") from error


def open_dataset(path: Path) -> DatasetFolder:
    """Return a data set folder; raises `DatasetInvalid` if it is none, or of another version."""
    try:
        values = json.loads((path / INFO).read_text("utf-8"))
    except FileNotFoundError:
        raise DatasetInvalid(f"{path.name} is no data set folder: it has no {INFO}") from None
    except (OSError, ValueError) as error:
        raise DatasetInvalid(f"{path.name}: {INFO} cannot be read ({type(error).__name__})") from error
    if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
        raise DatasetInvalid(f"{path.name}: {INFO} is not of format version {FORMAT_VERSION}")
    if not (path / ROWS).is_file():
        raise DatasetInvalid(f"{path.name} has no {ROWS}")
    info = DatasetInfo(
        str(values.get("name", path.name)), str(values.get("label_set", "")), tuple(values.get("labels", ())), values
    )
    return DatasetFolder(path, info)
