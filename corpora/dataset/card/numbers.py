"""The numbers of a card, counted over the rows batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dataset.folder import DatasetFolder
from corpora.dataset.recipe import SPLITS

VALUES = ("positive", "negative", "uncertain", "blank")
GROUPS = ("view", "sex", "age", "manufacturer")
AGE_BANDS = (0, 18, 40, 60, 80)
BINS = 20
MOST_GROUPS = 8
UNKNOWN, OTHERS = "not stated", "others"


@dataclass(slots=True)
class CardNumbers:
    """Counts of rows: ``values`` (splits, labels, values), ``together`` (labels, labels: both are positive),
    ``confidence`` (labels, bins of P(positive) from 0 to 1), ``masked`` (labels), by group rows and positives of each.
    """

    labels: tuple[str, ...]
    values: npt.NDArray[np.int64]
    together: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.int64]
    masked: npt.NDArray[np.int64]
    groups: Mapping[str, Mapping[str, tuple[int, npt.NDArray[np.int64]]]]
    patients: Mapping[str, int]
    hints: Counter[str]
    given_boxes: int
    given_masks: int
    burned_in: Counter[str]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return int(self.values[:, 0, :].sum()) if self.labels else 0

    def share(self, split: int | None, value: str) -> npt.NDArray[np.float64]:
        """Return for each label the share of rows with a value, in a split or in all; NaN where there are no rows."""
        counts = self.values.sum(axis=0) if split is None else self.values[split]
        total = counts.sum(axis=1)
        found = np.full(len(self.labels), np.nan)
        np.divide(counts[:, VALUES.index(value)], total, out=found, where=total > 0)
        return found


def count(folder: DatasetFolder) -> CardNumbers:
    """Return the numbers of a data set."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    labels = folder.labels
    values = np.zeros((len(SPLITS), len(labels), len(VALUES)), np.int64)
    together = np.zeros((len(labels), len(labels)), np.int64)
    confidence = np.zeros((len(labels), BINS), np.int64)
    masked = np.zeros(len(labels), np.int64)
    groups: dict[str, dict[str, tuple[int, npt.NDArray[np.int64]]]] = {name: {} for name in GROUPS}
    patients: dict[str, set[str]] = {split: set() for split in SPLITS}
    hints: Counter[str] = Counter()
    burned_in: Counter[str] = Counter()
    boxes = masks = 0
    wanted = [f"{kind}:{label}" for label in labels for kind in ("label", "probability", "mask")]
    wanted += ["split", "patient_id", *GROUPS, "regions", "boxes", "mask_file", "burned_in_annotation"]
    with pq.ParquetFile(folder.path / "rows.parquet") as parquet:
        for batch in parquet.iter_batches(batch_size=4096, columns=wanted):
            split = np.asarray(pc.index_in(batch.column("split"), value_set=pa.array(SPLITS)))
            codes = np.stack([_codes(batch.column(f"label:{label}")) for label in labels], axis=1)
            for place in range(len(SPLITS)):
                for value in range(len(VALUES)):
                    values[place, :, value] += (codes[split == place] == value).sum(axis=0)
            positive = (codes == 0).astype(np.int64)
            together += positive.T @ positive
            for place, label in enumerate(labels):
                masked[place] += int(pc.sum(pc.invert(batch.column(f"mask:{label}"))).as_py() or 0)
                known = pc.drop_null(batch.column(f"probability:{label}")).to_numpy(zero_copy_only=False)
                confidence[place] += np.histogram(known, bins=BINS, range=(0, 1))[0]
            for name in GROUPS:
                _add_groups(groups[name], _names(name, batch.column(name)), positive)
            for one, patient in zip(
                batch.column("split").to_pylist(), batch.column("patient_id").to_pylist(), strict=True
            ):
                patients[one].add(patient)
            for cell in batch.column("regions").to_pylist():
                hints.update(region["pedigree"] for region in cell or ())
            boxes += sum(len(cell or ()) for cell in batch.column("boxes").to_pylist())
            masks += len(pc.drop_null(batch.column("mask_file")))
            burned_in.update(
                {True: "yes", False: "no"}.get(one, "not stated")
                for one in batch.column("burned_in_annotation").to_pylist()
            )
    return CardNumbers(
        labels,
        values,
        together,
        confidence,
        masked,
        {name: _largest(found, in_order=name == "age") for name, found in groups.items()},
        {split: len(found) for split, found in patients.items()},
        hints,
        boxes,
        masks,
        burned_in,
    )


def _codes(column: Any) -> npt.NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(column, value_set=pa.array(VALUES[:3]))
    return np.asarray(pc.fill_null(found, 3), dtype=np.int64)


def _names(group: str, column: Any) -> list[str]:
    if group != "age":
        return [(value or "").strip() or UNKNOWN for value in column.to_pylist()]
    return [UNKNOWN if age is None else _band(age) for age in column.to_pylist()]


def _band(age: float) -> str:
    place = sum(age >= start for start in AGE_BANDS) - 1
    start = AGE_BANDS[max(place, 0)]
    return f"{start}+" if place == len(AGE_BANDS) - 1 else f"{start}-{AGE_BANDS[place + 1] - 1}"


def _add_groups(
    found: dict[str, tuple[int, npt.NDArray[np.int64]]], names: list[str], positive: npt.NDArray[np.int64]
) -> None:
    array = np.array(names, dtype=object)
    for name in sorted(set(names)):
        is_in = array == name
        rows, sums = found.get(name, (0, np.zeros(positive.shape[1], np.int64)))
        found[name] = (rows + int(is_in.sum()), sums + positive[is_in].sum(axis=0))


def _largest(
    found: Mapping[str, tuple[int, npt.NDArray[np.int64]]], *, in_order: bool
) -> Mapping[str, tuple[int, npt.NDArray[np.int64]]]:
    """Return the largest groups, the rest as one; ``in_order`` sorts them by name: ages go up."""
    order = sorted(found, key=lambda name: name if in_order else (-found[name][0], name))
    kept = {name: found[name] for name in order[:MOST_GROUPS]}
    rest = [found[name] for name in order[MOST_GROUPS:]]
    if rest:
        kept[OTHERS] = (sum(rows for rows, _ in rest), np.sum([sums for _, sums in rest], axis=0))
    return kept
