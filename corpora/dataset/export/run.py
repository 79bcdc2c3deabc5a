"""An export: a new folder, which appears whole or not at all, with a note of what it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from corpora.dataset.errors import DatasetExists
from corpora.dataset.export.dicom import export_dicom
from corpora.dataset.export.huggingface import export_arrow, export_parquet
from corpora.dataset.export.masks import export_masks
from corpora.dataset.export.segmentations import export_segmentations
from corpora.dataset.export.tables import export_chexpert, export_coco, export_xrv
from corpora.dataset.export.target import ExportTarget, Sources
from corpora.dataset.folder import DatasetFolder
from corpora.dataset.work_folder import new_folder

NOTE = "export.json"


@dataclass(frozen=True, slots=True)
class Format:
    """One form: who writes it, what it is, and whether it is made from the DICOM objects themselves."""

    write: Callable[[ExportTarget], None]
    about: str
    needs_sources: bool = False


FORMATS: Mapping[str, Format] = {
    "hf": Format(export_arrow, "Hugging Face datasets: load_from_disk, or load_dataset, without a network"),
    "parquet": Format(export_parquet, "Parquet files with the pictures within"),
    "chexpert": Format(export_chexpert, "CheXpert's CSV: 1, 0, -1 and blank"),
    "xrv": Format(export_xrv, "CSV for torchxrayvision"),
    "coco": Format(export_coco, "COCO: boxes given and hinted, with their pedigree"),
    "masks": Format(export_masks, "mask PNGs"),
    "seg": Format(export_segmentations, "DICOM SEG; needs the DICOM sources", needs_sources=True),
    "dicom": Format(export_dicom, "de-identified DICOM files; needs the DICOM sources", needs_sources=True),
}


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export wrote: rows of the data set, and counts of what came of them."""

    output: Path
    format: str
    rows: int
    counts: Mapping[str, int]


def export_dataset(
    dataset: DatasetFolder,
    output: Path,
    format: str,
    *,
    with_images: bool = True,
    sources: Sources | None = None,
    overwrite: bool = False,
    on_row: Callable[[int], None] = lambda number: None,
) -> ExportSummary:
    """Write a data set to the folder ``output`` in one of `FORMATS`.

    Parameters
    ----------
    with_images
        Copy the pictures beside label tables, COCO and masks; without them paths are those of the data set.
    sources
        Where the DICOM objects are, for ``seg`` and ``dicom``.

    Raises
    ------
    DatasetExists, DatasetUnwritable
        The folder is there (and is no export that may be replaced), or cannot be written.
    SourcesMissing
        The format is made from DICOM objects, and they are not there.
    DatasetInvalid
        A picture cannot be read.
    """
    chosen = FORMATS[format]
    if overwrite and output.is_dir() and any(output.iterdir()) and not (output / NOTE).is_file():
        raise DatasetExists(f"{output}: holds something else than an export; remove it first")
    with new_folder(output, overwrite=overwrite) as folder:
        target = ExportTarget(dataset, folder, with_images, sources, on_row)
        chosen.write(target)
        counts = dict(sorted(target.counts.items()))
        note = {
            "format": format,
            "dataset": dataset.info.name,
            "dataset_sha256": dataset.digest,
            "deidentified": dataset.info.deidentified,
            "rows": dataset.info.rows,
            "counts": counts,
            "versions": dict(dataset.info.versions),
        }
        (folder / NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return ExportSummary(output, format, dataset.info.rows, counts)
