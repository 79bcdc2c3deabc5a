"""Label tables beside the pictures: CheXpert's CSV, torchxrayvision's CSV, and COCO with the boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corpora.dataset.export.target import ORIGIN, ExportTarget, origin_fields
from corpora.dataset.hints import polygon_of
from corpora.findings import Assertion
from corpora.weak_labels.chexpert_csv import LabelTableRow, write_chexpert_csv, write_xrv_csv
from corpora.weak_labels.coco import AnnotatedImage, BoxAnnotation, write_coco
from corpora.weak_labels.shapes import Box

#: CheXpert calls its validation split valid.
_CHEXPERT_NAMES = {"train": "train.csv", "validation": "valid.csv", "test": "test.csv"}


def export_chexpert(target: ExportTarget) -> None:
    """Write ``train.csv``, ``valid.csv`` and ``test.csv`` in CheXpert's form: 1, 0, -1 and blank."""
    for split in target.splits:
        with (target.folder / _CHEXPERT_NAMES[split]).open("w", encoding="utf-8", newline="") as stream:
            write_chexpert_csv(
                stream, _label_rows(target, split), target.dataset.labels, fields=("patient_id", *ORIGIN)
            )


def export_xrv(target: ExportTarget) -> None:
    """Write ``labels.csv`` in torchxrayvision's form, its column ``split`` telling the splits."""
    with (target.folder / "labels.csv").open("w", encoding="utf-8", newline="") as stream:
        write_xrv_csv(stream, _label_rows(target, None), target.dataset.labels, fields=ORIGIN)


def _label_rows(target: ExportTarget, split: str | None) -> Iterator[LabelTableRow]:
    for row in target.rows(split):
        if target.with_images:
            target.copy(row["file"])
        values = {label: row[f"label:{label}"] for label in target.dataset.labels}
        yield LabelTableRow(
            path=row["file"],
            labels={label: Assertion(value) if value else None for label, value in values.items()},
            patient_sex=row["sex"],
            patient_age_years=row["age"],
            view=row["view"],
            patient_id=row["patient_id"],
            fields={**origin_fields(row), "patient_id": row["patient_id"]},
        )


def export_coco(target: ExportTarget) -> None:
    """Write ``annotations/<split>.json``: given boxes and region hints, each with its pedigree.

    Categories are the labels, then what else boxes are of.
    """
    annotations = target.folder / "annotations"
    annotations.mkdir()
    others: dict[str, None] = {}
    for row in target.dataset.iter_rows(["regions", "boxes"]):
        for cell in (*(row["boxes"] or ()), *(row["regions"] or ())):
            name = cell["label"] or cell["finding"]
            if name not in target.dataset.labels:
                others[name] = None
    categories = [*target.dataset.labels, *sorted(others)]
    info = {
        "description": target.dataset.info.name,
        "version": target.dataset.info.versions["radlabel"],
        "dataset_sha256": target.dataset.digest,
    }
    for split in target.splits:
        images, boxes = write_coco(annotations / f"{split}.json", _annotated(target, split), categories, info=info)
        target.count("images", images)
        target.count("boxes", boxes)


def _annotated(target: ExportTarget, split: str) -> Iterator[AnnotatedImage]:
    for row in target.rows(split):
        if target.with_images:
            target.copy(row["file"])
        given = [BoxAnnotation(cell["label"], Box(*cell["box"]), cell["pedigree"]) for cell in row["boxes"] or ()]
        hints = [_hint(cell) for cell in row["regions"] or ()]
        extra = {name: value or None for name, value in {**origin_fields(row), "patient_id": row["patient_id"]}.items()}
        yield AnnotatedImage(row["file"], row["width"], row["height"], tuple(given + hints), extra)


def _hint(cell: Mapping[str, Any]) -> BoxAnnotation:
    extra = {
        "side": cell["laterality"],
        "place": cell["place"],
        "severity": cell["severity"],
        "finding": cell["finding"],
        "assertion": cell["assertion"],
    }
    name = cell["label"] or cell["finding"]
    return BoxAnnotation(name, Box(*cell["box"]), cell["pedigree"], tuple(polygon_of(cell)), extra)
