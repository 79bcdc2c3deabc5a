"""Masks as PNG files: given ones, and those of region hints, one for each label of a picture."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dataset.drawing import write_png
from corpora.dataset.export.target import ExportTarget
from corpora.dataset.hints import polygon_of
from corpora.weak_labels.regions import Pedigree
from corpora.weak_labels.shapes import rasterise, split_lung_mask
from corpora.weak_labels.views import lie_of

GIVEN_MASK = "given"


@dataclass(frozen=True, slots=True, repr=False)
class RowMask:
    """One mask of a picture (height, width): of a label or finding, where it comes from, and of which concepts."""

    name: str
    pedigree: str
    findings: tuple[str, ...]
    pixels: npt.NDArray[np.bool_]


def export_masks(target: ExportTarget) -> None:
    """Write ``masks/<picture>/<name>.png`` (0 and 255, of the size of the picture) and ``masks.csv``, their list."""
    with (target.folder / "masks.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["image_id", "split", "picture", "mask", "name", "pedigree", "findings", "pixels"])
        for row in target.rows():
            if target.with_images:
                target.copy(row["file"])
            given = target.dataset.read_image(row["mask_file"]) > 127 if row["mask_file"] else None
            for mask in row_masks(row, (row["height"], row["width"]), given):
                stem = PurePosixPath(row["file"]).with_suffix("").relative_to("images")
                file = f"masks/{stem}/{_file_name(mask.name)}.png"
                write_png(target.folder / file, mask.pixels.astype(np.uint8) * 255)
                findings = "|".join(mask.findings)
                size = int(mask.pixels.sum())
                writer.writerow(
                    [row["image_id"], row["split"], row["file"], file, mask.name, mask.pedigree, findings, size]
                )
                target.count("masks")


def row_masks(row: Mapping[str, Any], shape: tuple[int, int], given: npt.NDArray[np.bool_] | None) -> Iterator[RowMask]:
    """Yield the masks of a row at a size (height, width): the given one, then one for each label that has hints.

    A hint that was measured on the given lung mask is cut to its lung.
    """
    if given is not None:
        yield RowMask("given mask", GIVEN_MASK, (), given)
    cells: dict[str, list[Mapping[str, Any]]] = {}
    for cell in row["regions"] or ():
        cells.setdefault(cell["label"] or cell["finding"], []).append(cell)
    for name, found in cells.items():
        pixels = np.zeros(shape, np.bool_)
        for cell in found:
            pixels |= _raster(cell, row, shape, given)
        if pixels.any():
            findings = tuple(dict.fromkeys(cell["finding"] for cell in found))
            yield RowMask(name, found[0]["pedigree"], findings, pixels)


def _raster(
    cell: Mapping[str, Any], row: Mapping[str, Any], shape: tuple[int, int], given: npt.NDArray[np.bool_] | None
) -> npt.NDArray[np.bool_]:
    height, width = shape
    raster = rasterise(polygon_of(cell), width, height)
    if given is None or cell["pedigree"] != Pedigree.LUNG_MASKS.value or cell["laterality"] is None:
        return raster
    right, left = split_lung_mask(given, lie_of(row["patient_orientation"]))
    return raster & (right if cell["laterality"] == "right" else left)


def _file_name(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name).lower()
