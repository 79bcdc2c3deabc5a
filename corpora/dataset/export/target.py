"""What every export works with: the data set, the folder that it writes, and how far it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora.dataset.folder import DatasetFolder
from corpora.dataset.recipe import SPLITS
from corpora.deidentification import Pseudonymiser
from corpora.imaging.index_table import IndexInfo
from corpora.imaging.server import Access


@dataclass(frozen=True, slots=True)
class Sources:
    """The images that a data set was built from, for exports that need the DICOM objects themselves."""

    index: Path
    info: IndexInfo
    pseudonymiser: Pseudonymiser | None
    access: Access | None = None


@dataclass(slots=True)
class ExportTarget:
    """One export under way."""

    dataset: DatasetFolder
    folder: Path
    with_images: bool = True
    sources: Sources | None = None
    on_row: Callable[[int], None] = lambda number: None
    counts: dict[str, int] = field(default_factory=dict)
    _done: int = 0

    @property
    def splits(self) -> list[str]:
        """Return the splits that have rows."""
        return [split for split in SPLITS if self.dataset.info.splits.get(split)]

    def rows(self, split: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the rows of a split, or of all, and tell how far the export is."""
        for row in self.dataset.iter_rows(split=split):
            yield row
            self._done += 1
            if self._done % 16 == 0 or self._done == self.dataset.info.rows:
                self.on_row(self._done)

    def count(self, what: str, number: int = 1) -> None:
        """Count something for the summary."""
        self.counts[what] = self.counts.get(what, 0) + number

    def image_bytes(self, file: str) -> bytes:
        """Return the file of a picture or mask of the data set."""
        return (self.dataset.path / file).read_bytes()

    def copy(self, file: str) -> None:
        """Copy a picture to the same place below the export."""
        target = self.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.dataset.path / file, target)
        self.count("pictures")


def origin_fields(row: Mapping[str, Any]) -> dict[str, str]:
    """Return where a row comes from, as text: the further columns of the label tables."""
    names = ("image_id", "split", "report_id", "accession_number", "study_instance_uid", "series_instance_uid")
    found = {name: row[name] or "" for name in names}
    found["sop_instance_uid"] = row["sop_instance_uid"] or ""
    for name in ("policy", "model_digest", "source_digest"):
        found[name] = row[name] or ""
    return found


ORIGIN = (
    *("image_id", "split", "report_id", "accession_number", "study_instance_uid", "series_instance_uid"),
    *("sop_instance_uid", "policy", "model_digest", "source_digest"),
)
