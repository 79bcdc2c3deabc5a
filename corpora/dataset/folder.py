"""A data set folder, read: what it says of itself, its rows, its pictures."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dataset.columns import FORMAT_VERSION, IMAGES, INFO, MASKS, ROWS, rows_schema
from corpora.dataset.errors import DatasetInvalid
from corpora.imaging.extras import need

_BLOCK = 2**20
# What a data set that others made may name: nothing above its folders, and no hidden file.
_PICTURE = re.compile(rf"({IMAGES}|{MASKS})/[0-9a-f]{{2}}/[^./\\\0][^/\\\0]*\.png")


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What ``dataset.json`` says. ``splits`` is the number of rows of each split, in the order of protection."""

    format_version: int
    name: str
    label_set: str
    labels: tuple[str, ...]
    splits: Mapping[str, int]
    rows: int
    counts: Mapping[str, Any]
    policies: Mapping[str, str]
    class_weights: Mapping[str, float]
    policy_digest: str
    model: Mapping[str, str]
    sources: Mapping[str, Any]
    deidentified: bool
    key_id: str | None
    image: Mapping[str, int]
    regions: bool
    recipe: Mapping[str, Any]
    command: tuple[str, ...]
    versions: Mapping[str, str]
    digests: Mapping[str, str]

    def as_json(self) -> str:
        """Return the content of ``dataset.json``."""
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def of_json(cls, text: str, where: str) -> DatasetInfo:
        """Return what a ``dataset.json`` says; raise `DatasetInvalid` where it is none."""
        try:
            raw = json.loads(text)
            version = raw["format_version"]
        except (ValueError, KeyError, TypeError):
            raise DatasetInvalid(f"{where}: is no {INFO} of a data set") from None
        if version != FORMAT_VERSION:
            raise DatasetInvalid(
                f"{where}: the data set has format version {version}, this radlabel reads {FORMAT_VERSION}"
            )
        names = [field.name for field in fields(cls)]
        if missing := sorted(set(names) - set(raw)):
            raise DatasetInvalid(f"{where}: lacks {', '.join(missing)}")
        values: dict[str, Any] = {
            name: tuple(raw[name]) if isinstance(raw[name], list) else raw[name] for name in names
        }
        return cls(**values)


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """A data set on the disk; made by `open_dataset`."""

    path: Path
    info: DatasetInfo

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of the labels in their order."""
        return self.info.labels

    @property
    def digest(self) -> str:
        """Return the SHA-256 over ``dataset.json`` and ``rows.parquet``."""
        digest = hashlib.sha256()
        for name in (INFO, ROWS):
            digest.update(bytes.fromhex(file_digest(self.path / name)))
        return digest.hexdigest()

    def table(self, columns: Sequence[str] | None = None, split: str | None = None) -> Any:
        """Return the rows as a pyarrow table, in the order of ``image_id``: some columns, one split."""
        import pyarrow.parquet as pq

        filters = None if split is None else [("split", "==", split)]
        return pq.read_table(self.path / ROWS, columns=None if columns is None else list(columns), filters=filters)

    def iter_rows(self, columns: Sequence[str] | None = None, split: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows one by one; memory holds one row group."""
        import pyarrow.parquet as pq

        wanted = None if columns is None else list(dict.fromkeys([*columns, "split"]))
        with pq.ParquetFile(self.path / ROWS) as parquet:
            for batch in parquet.iter_batches(batch_size=1024, columns=wanted):
                for row in batch.to_pylist():
                    if split is None or row["split"] == split:
                        yield row

    def path_of(self, file: str) -> Path:
        """Return where a picture or mask lies; raise `DatasetInvalid` for a file that is none of the data set's."""
        path = self.path / file
        if not _PICTURE.fullmatch(file) or not path.resolve().is_relative_to(self.path.resolve()):
            raise DatasetInvalid("a row names a file outside of the data set, or that is no picture of it")
        return path

    def read_image(self, file: str) -> npt.NDArray[np.uint8]:
        """Return a picture or mask (height, width) by its ``file``.

        Raises
        ------
        DatasetInvalid
            The file is not there, lies elsewhere, or is no 8-bit greyscale picture.
        """
        image_module = need("PIL.Image", "pillow", "reading the pictures of a data set")
        path = self.path_of(file)
        try:
            with image_module.open(path, formats=("PNG",)) as image:
                if image.mode != "L":
                    raise DatasetInvalid("a picture of the data set is not 8-bit greyscale")
                return np.asarray(image, dtype=np.uint8)
        except OSError as error:
            raise DatasetInvalid(
                f"a picture of the data set cannot be read ({error.strerror or type(error).__name__})"
            ) from None


def open_dataset(path: Path) -> DatasetFolder:
    """Return the data set in a folder.

    Raises
    ------
    DatasetInvalid
        The folder is no data set, of another version, or its rows lack a column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        text = (path / INFO).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise DatasetInvalid(f"{path.name}: is no data set: it has no {INFO} that can be read") from None
    info = DatasetInfo.of_json(text, path.name)
    try:
        schema = pq.read_schema(path / ROWS)
    except (pa.ArrowException, OSError):
        raise DatasetInvalid(f"{path.name}: its {ROWS} cannot be read") from None
    missing = [field.name for field in rows_schema(info.labels) if field.name not in schema.names]
    if missing:
        raise DatasetInvalid(f"{path.name}: its {ROWS} lacks the columns {', '.join(missing)}")
    return DatasetFolder(path, info)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
