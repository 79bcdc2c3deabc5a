"""What is known of places on a picture: boxes given with it, and region hints from the findings of its report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dataset.plan import Candidate
from corpora.dataset.recipe import Regions
from corpora.vocabulary.load import Vocabulary
from corpora.vocabulary.schema import LabelSet
from corpora.weak_labels.coco import GIVEN
from corpora.weak_labels.errors import RegionsInvalid
from corpora.weak_labels.region_table import RegionTable, load_regions
from corpora.weak_labels.regions import ChestGeometry, RegionHint, hint_regions
from corpora.weak_labels.shapes import Box
from corpora.weak_labels.values import POSITIVE, UNCERTAIN

_DIGITS = 6  # of a fraction: a thousandth of a pixel of the largest picture


@dataclass(frozen=True, slots=True)
class Hinter:
    """Makes the cells ``boxes`` and ``regions`` of rows."""

    options: Regions
    table: RegionTable
    vocabulary: Vocabulary
    label_set: LabelSet

    @classmethod
    def of(cls, options: Regions, vocabulary: Vocabulary, label_set: LabelSet) -> Hinter:
        """Return one with the packaged table of regions, or the recipe's."""
        return cls(options, load_regions(vocabulary, options.table), vocabulary, label_set)

    def label_of(self, concept_id: str) -> str | None:
        """Return the label that a concept counts for: the one that names it, or its nearest ancestor; else ``None``."""
        known = concept_id in self.vocabulary.findings
        chain = (concept_id, *(self.vocabulary.ancestors(concept_id) if known else ()))
        for place, concept in enumerate(chain):
            for entry in self.label_set.labels:
                if concept in entry.concepts and not set(entry.exclude) & set(chain[: place + 1]):
                    return entry.name
        return None

    def regions(self, candidate: Candidate, lung_mask: npt.NDArray[np.bool_] | None) -> list[dict[str, Any]]:
        """Return the hints of a candidate. A finding whose label came out as something else gives none."""
        findings = [finding for _, finding in candidate.findings]
        if not self.options.enabled or not findings:
            return []
        wanted = {POSITIVE, UNCERTAIN} if self.options.include_uncertain else {POSITIVE}
        codes = dict(zip((entry.name for entry in self.label_set.labels), candidate.labels.codes, strict=True))
        hints = hint_regions(
            findings,
            self.geometry(candidate.header, lung_mask),
            self.table,
            self.vocabulary,
            include_uncertain=self.options.include_uncertain,
            include_lateral=self.options.include_lateral,
        )
        cells = []
        for hint in hints.hints:
            label = self.label_of(hint.concept_id)
            if label is None or codes[label] in wanted:
                cells.append(_region_cell(hint, label, findings[hint.finding].assertion.value))
        return list({str(cell): cell for cell in cells}.values())  # a finding said twice is one hint

    def geometry(self, header: Mapping[str, Any], lung_mask: npt.NDArray[np.bool_] | None) -> ChestGeometry:
        """Return where the lungs are: by boxes that name them, by a mask, or as in the default thorax."""
        lungs: dict[str, Box] = {}
        for label, box in given_boxes(header):
            words = set(re.findall(r"[a-z]+", label.lower()))
            side = next((side for side in ("right", "left") if side in words), None)
            if side and words & {"lung", "lungs"}:
                lungs.setdefault(side, box)
        return ChestGeometry.of_image(
            self.table,
            view=header["view"],
            patient_orientation=header["patient_orientation"],
            laterality=header["laterality"],
            right=lungs.get("right"),
            left=lungs.get("left"),
            lung_mask=lung_mask if self.options.lung_masks else None,
        )


def given_boxes(header: Mapping[str, Any]) -> list[tuple[str, Box]]:
    """Return label and box of the boxes in a row of the index; one that lies outside of the image is none."""
    found = []
    rows, columns = header["rows"], header["columns"]
    for box in header["boxes"] or ():
        try:
            cut = Box.of_pixels(*(box[side] for side in "xywh"), width=columns, height=rows)
        except (RegionsInvalid, TypeError, ZeroDivisionError):
            continue
        found.append((box["label"], cut))
    return found


def box_cells(header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the cell ``boxes`` of a row."""
    return [{"label": label, "box": _sides(box), "pedigree": GIVEN} for label, box in given_boxes(header)]


def _region_cell(hint: RegionHint, label: str | None, assertion: str) -> dict[str, Any]:
    return {
        "label": label,
        "finding": hint.concept_id,
        "assertion": assertion,
        "laterality": hint.side,
        "place": hint.place,
        "severity": hint.severity,
        "pedigree": hint.pedigree.value,
        "box": _sides(hint.box),
        "polygon": [[round(u, _DIGITS), round(v, _DIGITS)] for u, v in hint.polygon],
    }


def _sides(box: Box) -> list[float]:
    return [round(side, _DIGITS) for side in (box.x_min, box.y_min, box.x_max, box.y_max)]


def mask_in(folder: Path, file: str | None) -> npt.NDArray[np.bool_] | None:
    """Return a mask of a data set that is being made."""
    if file is None:
        return None
    from PIL import Image

    with Image.open(folder / file) as image:
        return np.asarray(image) > 127


def polygon_of(cell: Mapping[str, Any]) -> Sequence[tuple[float, float]]:
    """Return the polygon of a cell of ``regions``, or the corners of its box."""
    if cell["polygon"]:
        return [(u, v) for u, v in cell["polygon"]]
    x_min, y_min, x_max, y_max = cell["box"]
    return [(x_min, y_min), (x_max, y_min), (x_max, y_max), (x_min, y_max)]
