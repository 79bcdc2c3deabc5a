"""The last pass of a build: rows in the order of their names, and the list of what is not among them."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from corpora.dataset.columns import EXCLUDED, EXCLUDED_COLUMNS, ROWS, ROWS_PER_GROUP, rows_schema
from corpora.dataset.drawing import Drawn
from corpora.dataset.hints import Hinter, box_cells, mask_in
from corpora.dataset.plan import Candidate, Excluded
from corpora.findings import Assertion
from corpora.weak_labels.hierarchy import Hierarchy
from corpora.weak_labels.policies import WeakLabelPolicy
from corpora.weak_labels.targets import ClassCounts, make_targets
from corpora.weak_labels.values import NEGATIVE, POSITIVE, UNCERTAIN, LabelBatch

_VALUES = {
    NEGATIVE: Assertion.NEGATIVE.value,
    POSITIVE: Assertion.POSITIVE.value,
    UNCERTAIN: Assertion.UNCERTAIN.value,
}


@dataclass(slots=True)
class RowsWriter:
    """Writes ``rows.parquet``; used as a context. Memory holds one row group."""

    folder: Path
    labels: tuple[str, ...]
    policy: WeakLabelPolicy
    policy_digest: str
    hierarchy: Hierarchy
    key: bytes
    hinter: Hinter
    counts: ClassCounts = field(init=False)
    written: int = field(default=0, init=False)
    with_regions: int = field(default=0, init=False)
    _waiting: list[tuple[Candidate, dict[str, Any]]] = field(default_factory=list, init=False)
    _stack: ExitStack = field(default_factory=ExitStack, init=False)
    _parquet: Any = field(default=None, init=False)

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        self.counts = ClassCounts(self.labels)
        self._parquet = self._stack.enter_context(
            pq.ParquetWriter(self.folder / ROWS, rows_schema(self.labels), compression="zstd")
        )
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._flush()
        self._stack.close()

    def add(self, candidate: Candidate, drawn: Drawn, split: str) -> None:
        """Add the row of an image."""
        mask_file = candidate.mask_file if drawn.has_mask else None
        needs_mask = mask_file is not None and self.hinter.options.enabled and self.hinter.options.lung_masks
        regions = self.hinter.regions(candidate, mask_in(self.folder, mask_file) if needs_mask else None)
        self.with_regions += bool(regions)
        row = {
            **candidate.row,
            "file": candidate.file,
            "width": drawn.width,
            "height": drawn.height,
            "row_spacing": drawn.row_spacing,
            "column_spacing": drawn.column_spacing,
            "split": split,
            "regions": regions,
            "boxes": box_cells(candidate.header),
            "mask_file": mask_file,
            "picture_digest": drawn.picture_digest,
            "source_digest": drawn.source_digest,
            "policy": self.policy_digest,
        }
        self._waiting.append((candidate, row))
        if len(self._waiting) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting and self.written:
            return
        batch = LabelBatch(
            tuple(candidate.report_id for candidate, _ in self._waiting),
            self.labels,
            np.array([c.labels.codes for c, _ in self._waiting], np.int8).reshape(-1, len(self.labels)),
            np.array([c.labels.expected for c, _ in self._waiting], np.float32).reshape(-1, len(self.labels)),
        )
        targets = make_targets(batch, self.policy, key=self.key, hierarchy=self.hierarchy)
        self.counts.add(targets)
        for index, (candidate, row) in enumerate(self._waiting):
            for place, label in enumerate(self.labels):
                positive = candidate.labels.positive[place]
                known = bool(targets.mask[index, place])
                row[f"label:{label}"] = _VALUES.get(candidate.labels.codes[place])
                row[f"probability:{label}"] = None if math.isnan(positive) else positive
                row[f"target:{label}"] = float(targets.values[index, place]) if known else None
                row[f"mask:{label}"] = known
        table = pa.Table.from_pylist([row for _, row in self._waiting], schema=rows_schema(self.labels))
        self._parquet.write_table(table, row_group_size=ROWS_PER_GROUP)
        self.written += len(self._waiting)
        self._waiting = []


@dataclass(slots=True)
class ExcludedWriter:
    """Writes ``excluded.csv`` and counts why; used as a context."""

    folder: Path
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    _stack: ExitStack = field(default_factory=ExitStack)
    _writer: Any = None

    def __enter__(self) -> Self:
        stream = self._stack.enter_context((self.folder / EXCLUDED).open("w", encoding="utf-8", newline=""))
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(EXCLUDED_COLUMNS)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, one: Excluded) -> None:
        """Add something that is in no row."""
        self.counts[one.kind, one.stage, one.reason] += 1
        self._writer.writerow([getattr(one, name) for name in EXCLUDED_COLUMNS])

    def of_kind(self, kind: str) -> dict[str, int]:
        """Return reason to number, for images or for reports."""
        found: Counter[str] = Counter()
        for (what, stage, reason), number in self.counts.items():
            if what == kind:
                found[f"{stage}:{reason}"] += number
        return dict(sorted(found.items()))


def iter_csv(path: Path) -> Iterator[Mapping[str, str]]:
    """Yield the rows of a CSV file with a header, if it is there."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as stream:
            yield from csv.DictReader(stream)


def policy_phrases(policy: WeakLabelPolicy, labels: Sequence[str]) -> dict[str, str]:
    """Return for each label what becomes of uncertain and not mentioned, in words."""
    from corpora.weak_labels.targets import describe_policy

    return {label: describe_policy(policy.of(label)) for label in labels}
