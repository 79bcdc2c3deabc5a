"""Data set folders for tests and benchmarks: from phantoms, and from the manifests of the unpublished test data."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from corpora.dataset.columns import FORMAT_VERSION, INFO, ROWS, rows_schema
from corpora.dataset.folder import DatasetInfo
from corpora.findings import Assertion, LabeledReport
from corpora.phantoms import Phantom, PhantomMaker
from corpora.reports import Report
from corpora.vocabulary import load_vocabulary
from corpora.weak_labels.policies import LabelPolicy, Treatment, WeakLabelPolicy
from corpora.weak_labels.region_table import load_regions
from corpora.weak_labels.regions import ChestGeometry, hint_regions
from corpora.weak_labels.shapes import Box
from corpora.weak_labels.targets import make_targets
from corpora.weak_labels.values import CODE_OF, LabelBatch
from nlp_service import Labeler

Pixels = NDArray[np.uint8]
#: What the phantoms' concepts are called in the label set chexpert14.
PHANTOM_LABELS = {
    "cardiomegaly": "Cardiomegaly",
    "consolidation": "Consolidation",
    "pleural_effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "lung_nodule": "Lung Lesion",
}


@dataclass(frozen=True)
class Row:
    image_id: str
    picture: Pixels
    split: str
    patient_id: str
    values: Mapping[str, str | None] = field(default_factory=dict)
    not_mentioned: Treatment = Treatment.ZEROS
    view: str | None = "PA"
    regions: Sequence[Mapping[str, Any]] = ()
    boxes: Sequence[Mapping[str, Any]] = ()
    mask: Pixels | None = None


def write_folder(path: Path, rows: Iterable[Row], labels: Sequence[str], *, label_set: str = "chexpert14") -> Path:
    """Write rows as a data set folder of format version 1 and return its path."""
    records = [_write_row(path, row, labels) for row in sorted(rows, key=lambda row: row.image_id)]
    splits = [str(record["split"]) for record in records]
    table = pa.Table.from_pylist(records, rows_schema(labels))
    pq.write_table(table, path / ROWS)
    info = DatasetInfo(
        format_version=FORMAT_VERSION,
        name=path.name,
        label_set=label_set,
        labels=tuple(labels),
        splits={split: splits.count(split) for split in sorted(set(splits))},
        rows=len(records),
        counts={},
        policies={},
        class_weights={},
        policy_digest="",
        model={},
        sources={},
        deidentified=False,
        key_id=None,
        image={"size": max(max(record["width"], record["height"]) for record in records), "bits": 8},
        regions=any(record["regions"] for record in records),
        recipe={},
        command=(),
        versions={},
        digests={},
    )
    (path / INFO).write_text(info.as_json(), encoding="utf-8")
    return path


def _write_row(path: Path, row: Row, labels: Sequence[str]) -> dict[str, Any]:
    folder = hashlib.sha256(row.image_id.encode()).hexdigest()[:2]
    file = f"images/{folder}/{row.image_id}.png"
    (path / file).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(row.picture).save(path / file)
    mask_file = None
    if row.mask is not None:
        mask_file = f"masks/{folder}/{row.image_id}.png"
        (path / mask_file).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(row.mask).save(path / mask_file)
    record: dict[str, Any] = {
        "image_id": row.image_id,
        "file": file,
        "width": row.picture.shape[1],
        "height": row.picture.shape[0],
        "split": row.split,
        "patient_id": row.patient_id,
        "report_id": f"r-{row.image_id}",
        "view": row.view,
        "regions": list(row.regions),
        "boxes": list(row.boxes),
        "mask_file": mask_file,
    }
    values = [row.values.get(label) for label in labels]
    codes = np.array([[CODE_OF[None if value is None else Assertion(value)] for value in values]], dtype=np.int8)
    batch = LabelBatch((row.image_id,), tuple(labels), codes, np.full(codes.shape, np.nan, dtype=np.float32))
    policy = WeakLabelPolicy(default=LabelPolicy(not_mentioned=row.not_mentioned))
    targets = make_targets(batch, policy, key=b"folders")
    for index, label in enumerate(labels):
        known = bool(targets.mask[0, index])
        record[f"label:{label}"] = values[index]
        record[f"target:{label}"] = float(targets.values[0, index]) if known else None
        record[f"mask:{label}"] = known
    return record


def phantom_rows(
    count: int, *, size: int = 64, seed: int = 0, splits: Mapping[str, float] | None = None
) -> list[tuple[Phantom, Row]]:
    """Return phantoms with what the rules read in their reports, and the regions that the reports name."""
    shares = splits or {"train": 0.7, "validation": 0.1, "test": 0.2}
    vocabulary = load_vocabulary()
    maker, table = PhantomMaker(size=size, vocabulary=vocabulary), load_regions(vocabulary)
    labeler = Labeler(reader="rules")
    ends = np.cumsum(list(shares.values()))
    made = []
    for number in range(count):
        phantom = maker.make(number, seed=seed)
        labeled = labeler.label(phantom.report)
        split = list(shares)[int(np.searchsorted(ends, (number + 0.5) / count))]
        anatomy = phantom.anatomy
        geometry = ChestGeometry.of_image(table, view="PA", right=anatomy.right_box, left=anatomy.left_box)
        hints = hint_regions(labeled.findings, geometry, table, vocabulary).hints
        row = Row(
            image_id=f"p{seed}-{number:05d}",
            picture=phantom.picture,
            split=split,
            patient_id=f"patient-{seed}-{number}",
            values=values_of(labeled, "chexpert14"),
            regions=[_region(labeled, hint) for hint in hints],
            boxes=[_box("Right Lung", anatomy.right_box), _box("Left Lung", anatomy.left_box)],
            mask=np.where(phantom.lung_mask, 255, 0).astype(np.uint8),
        )
        made.append((phantom, row))
    return made


def phantom_folder(path: Path, count: int, *, size: int = 64, seed: int = 0) -> tuple[Path, list[tuple[Phantom, Row]]]:
    made = phantom_rows(count, size=size, seed=seed)
    path.mkdir(parents=True, exist_ok=True)
    return write_folder(path, [row for _, row in made], sorted(PHANTOM_LABELS.values())), made


def values_of(labeled: LabeledReport, label_set: str) -> dict[str, str | None]:
    given = labeled.labels.get(label_set, {})
    return {name: None if label.value is None else label.value.value for name, label in given.items()}


def _region(labeled: LabeledReport, hint: Any) -> dict[str, Any]:
    finding = labeled.findings[hint.finding]
    box = hint.box
    return {
        "label": PHANTOM_LABELS.get(hint.concept_id),
        "finding": hint.concept_id,
        "assertion": finding.assertion.value,
        "laterality": hint.side,
        "place": hint.place,
        "severity": hint.severity,
        "pedigree": hint.pedigree.value,
        "box": [box.x_min, box.y_min, box.x_max, box.y_max],
        "polygon": [list(point) for point in hint.polygon],
    }


def _box(label: str, box: Box) -> dict[str, Any]:
    return {"label": label, "box": [box.x_min, box.y_min, box.x_max, box.y_max], "pedigree": "given"}


def nih_folder(
    path: Path,
    data: Path,
    reports: Mapping[str, Report] | None,
    not_mentioned: Treatment = Treatment.ZEROS_IF_NORMAL,
) -> Path:
    """Write the NIH pictures as a data set folder.

    With ``reports`` (by id) the labels are what the rules read in the paired reports, and ``not_mentioned`` is what
    becomes of their silence. Without, they are the labels of the manifest, each present or absent. Region hints stay
    off: the reports are other patients'.
    """
    labeler = Labeler(label_sets=["nih14"], reader="rules")
    names = [label.name for label in labeler.label_sets[0].labels]
    read = {key: values_of(labeler.label(report), "nih14") for key, report in (reports or {}).items()}
    rows = []
    for given in _manifest(data / "nih_cxr"):
        said = set(given["labels"].split("|"))
        values = (
            read[given["report_uid"]]
            if reports is not None
            else {name: "positive" if name.replace(" ", "_") in said or name in said else "negative" for name in names}
        )
        rows.append(
            Row(
                image_id=given["image_id"],
                picture=_grey(data / "nih_cxr" / given["file"]),
                split=given["split"],
                patient_id=given["patient_id"],
                values=values,
                not_mentioned=not_mentioned,
                view=given["view"],
            )
        )
    path.mkdir(parents=True, exist_ok=True)
    return write_folder(path, rows, names, label_set="nih14")


def covid_folder(path: Path, data: Path, *, with_truth: bool = True) -> Path:
    """Write the COVID pictures as a data set folder, with lung boxes and masks or (``with_truth`` off) without any."""
    folder = data / "covid_cxr"
    coco = json.loads((folder / "boxes.coco.json").read_text("utf-8"))
    categories = {category["id"]: category["name"] for category in coco["categories"]}
    images = {image["id"]: image for image in coco["images"]}
    boxes: dict[str, list[dict[str, Any]]] = {}
    for annotation in coco["annotations"]:
        image = images[annotation["image_id"]]
        box = Box.of_pixels(*annotation["bbox"], width=image["width"], height=image["height"])
        boxes.setdefault(Path(image["file_name"]).stem, []).append(_box(categories[annotation["category_id"]], box))
    rows = []
    for given in _manifest(folder):
        mask = folder / "masks" / f"{given['image_id']}.png"
        rows.append(
            Row(
                image_id=given["image_id"],
                picture=_grey(folder / given["file"]),
                split=given["split"],
                patient_id=given["patient_id"].rstrip("abcdefgh"),
                view=given["view"] or None,
                boxes=boxes[given["image_id"]] if with_truth else (),
                mask=_grey(mask) if with_truth and given["has_mask"] == "1" else None,
            )
        )
    path.mkdir(parents=True, exist_ok=True)
    return write_folder(path, rows, [], label_set="none")


def _manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _grey(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.uint8)
