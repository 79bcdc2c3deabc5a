"""What a training learns from, as arrays: the pictures of a data set folder with their targets, hints, boxes and masks.

Pictures lie in a file that is mapped into memory, so a set may be larger than memory. Rows of the split ``test`` are
never read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpora.dataset.folder import DatasetFolder
from corpora.weak_labels.shapes import Point, rasterise
from models.vision.errors import DatasetUnfit
from models.vision.pictures import squeeze

#: A label is learned if so many training rows have each value.
MIN_OF_EACH = 2
_BATCH_SAID = 50


@dataclass(frozen=True, slots=True)
class Hint:
    """Where a report says that a label is: the label's index and a polygon in fractions of the picture."""

    label: int
    polygon: tuple[Point, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Rows:
    """Rows of a data set, ordered as in it. ``validating`` is true for those that only measure."""

    image_ids: tuple[str, ...]
    patients: tuple[str, ...]
    files: tuple[str, ...]
    table: Any
    validating: NDArray[np.bool_]

    def __repr__(self) -> str:
        return f"Rows(<{len(self.files)} rows>)"


def read_rows(dataset: DatasetFolder, columns: Sequence[str], validation: float) -> Rows:
    """Return the rows of the splits train and validation.

    Where no row is of the split validation, ``validation`` is the share of the training patients set apart, by a hash
    of their ids, so that a patient is on one side.
    """
    wanted = ["image_id", "file", "split", "patient_id", *columns]
    table = dataset.table(wanted)
    splits = np.array(table.column("split").to_pylist(), dtype=object)
    table = table.filter([bool(split in ("train", "validation")) for split in splits])
    splits = np.array(table.column("split").to_pylist(), dtype=object)
    patients = tuple(str(patient) for patient in table.column("patient_id").to_pylist())
    validating = np.asarray(splits == "validation", dtype=bool)
    if not validating.any() and validation > 0:
        validating = np.array([_share(patient) < validation for patient in patients], dtype=bool)
    if not len(splits) or validating.all():
        raise DatasetUnfit(f"{dataset.path.name}: no row is of the split train")
    return Rows(
        tuple(table.column("image_id").to_pylist()),
        patients,
        tuple(table.column("file").to_pylist()),
        table,
        validating,
    )


def _share(patient: str) -> float:
    digest = hashlib.blake2b(patient.encode("utf-8", "surrogatepass"), digest_size=8, person=b"validation").digest()
    return int.from_bytes(digest) / 2**64


def map_pictures(
    dataset: DatasetFolder,
    files: Sequence[str],
    side: int,
    path: Path,
    say: Callable[[str], None] = lambda message: None,
    *,
    stretch: float = 0.0,
) -> NDArray[np.uint8]:
    """Return pictures (rows, side, side) from a file that is made once and mapped into memory."""
    shape = (len(files), side, side)
    if path.is_file():
        mapped = np.load(path, mmap_mode="r")
        if mapped.shape == shape:
            return np.asarray(mapped)
    temporary = path.with_suffix(".tmp.npy")
    writing = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
    for index, file in enumerate(files):
        writing[index] = squeeze(dataset.read_image(file), side, stretch=stretch)
        if index % _BATCH_SAID == 0:
            say(f"reading pictures: {index:,} of {len(files):,}")
    writing.flush()
    del writing
    temporary.replace(path)
    return np.asarray(np.load(path, mmap_mode="r"))


@dataclass(frozen=True, slots=True, repr=False)
class StudyLabels:
    """Targets (rows, labels), whether they are known, and the region hints of each row."""

    labels: tuple[str, ...]
    targets: NDArray[np.float32]
    known: NDArray[np.bool_]
    hints: tuple[tuple[Hint, ...], ...]


def study_labels(rows: Rows, labels: Sequence[str] | None, all_labels: Sequence[str]) -> StudyLabels:
    """Return what the rows say of their labels; ``labels`` picks some, otherwise those with both values are learned.

    Raises
    ------
    DatasetUnfit
        A label that was asked for is not in the data set, has one value alone or is multiclass; or none is left.
    """
    names = tuple(all_labels) if labels is None else tuple(labels)
    unknown = [name for name in names if name not in all_labels]
    if unknown:
        raise DatasetUnfit(f"labels: the data set has no {', '.join(unknown)}; it has {', '.join(all_labels)}")
    targets = np.zeros((len(rows.files), len(names)), dtype=np.float32)
    known = np.zeros(targets.shape, dtype=bool)
    for index, name in enumerate(names):
        values = np.array(rows.table.column(f"target:{name}").to_pylist(), dtype=np.float64)  # None becomes NaN
        mask = np.array(rows.table.column(f"mask:{name}").to_pylist(), dtype=bool) & ~np.isnan(values)
        if (values[mask] > 1).any():
            raise DatasetUnfit(f"label {name}: multiclass targets are not learned; build the set with another policy")
        targets[:, index], known[:, index] = np.where(mask, values, 0), mask
    training = known & ~rows.validating[:, None]
    both = ((targets >= 0.5) & training).sum(0), ((targets < 0.5) & training).sum(0)
    learned = [index for index in range(len(names)) if min(both[0][index], both[1][index]) >= MIN_OF_EACH]
    if labels is not None and len(learned) < len(names):
        missing = ", ".join(name for index, name in enumerate(names) if index not in learned)
        raise DatasetUnfit(f"labels: {missing}: fewer than {MIN_OF_EACH} training rows have one of the two values")
    if not learned:
        raise DatasetUnfit(f"no label has {MIN_OF_EACH} training rows of each value")
    kept = tuple(names[index] for index in learned)
    return StudyLabels(kept, targets[:, learned], known[:, learned], _hints(rows, kept))


def _hints(rows: Rows, labels: Sequence[str]) -> tuple[tuple[Hint, ...], ...]:
    if "regions" not in rows.table.column_names:
        return ((),) * len(rows.files)
    place = {name: index for index, name in enumerate(labels)}
    found = []
    for regions in rows.table.column("regions").to_pylist():
        found.append(
            tuple(
                Hint(place[region["label"]], tuple((float(x), float(y)) for x, y in region["polygon"]))
                for region in regions or ()
                if region["assertion"] == "positive" and region["label"] in place and len(region["polygon"] or ()) >= 3
            )
        )
    return tuple(found)


def hint_masks(hints: Sequence[Hint], labels: int, side: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where a row's hints are (labels, side, side), and which labels have one (labels)."""
    inside = np.zeros((labels, side, side), dtype=bool)
    for hint in hints:
        inside[hint.label] |= rasterise(hint.polygon, side, side)
    return inside, np.asarray(inside.any((1, 2)), dtype=bool)


def boxes_of_hints(rows: Rows) -> list[list[dict[str, Any]]]:
    """Return pseudo-boxes of each row: around the regions of a finding, a side each (``Pneumothorax, left``)."""
    found = []
    for regions in rows.table.column("regions").to_pylist():
        around: dict[str, list[float]] = {}
        for region in regions or ():
            if region["assertion"] != "positive" or region["label"] is None:
                continue
            side = region["laterality"]
            name = f"{region['label']}, {side}" if side in ("right", "left") else str(region["label"])
            box, known = region["box"], around.get(name, region["box"])
            around[name] = [*map(min, box[:2], known[:2]), *map(max, box[2:], known[2:])]
        found.append([{"label": name, "box": box} for name, box in around.items()])
    return found


def given_boxes(
    column: Sequence[Sequence[dict[str, Any]] | None], labels: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.float32], NDArray[np.bool_]]:
    """Return the labels of the boxes, the boxes (rows, labels, 4; x0, y0, x1, y1 in fractions), and which are given.

    Raises
    ------
    DatasetUnfit
        No row has a box, or a row has two of one label: the detector knows one at most.
    """
    seen = sorted({str(box["label"]) for boxes in column for box in boxes or ()})
    names = tuple(seen) if labels is None else tuple(labels)
    if not seen or set(names) - set(seen):
        raise DatasetUnfit("boxes: the data set has none" if not seen else f"boxes: there are {', '.join(seen)} only")
    boxes = np.zeros((len(column), len(names), 4), dtype=np.float32)
    given = np.zeros((len(column), len(names)), dtype=bool)
    for row, found in enumerate(column):
        for box in found or ():
            if box["label"] not in names:
                continue
            label = names.index(box["label"])
            if given[row, label]:
                raise DatasetUnfit(f"boxes: a row has several of {box['label']!r}; the detector learns one at most")
            boxes[row, label], given[row, label] = box["box"], True
    return names, boxes, given
