"""Patients placed by need: the rarest label first, each to the split that lacks it most.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011) over groups of patients instead of rows: a group goes
as a whole, so a split may miss its share by the size of a group. Ties fall by a keyed hash.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corpora.weak_labels.splits import SplitRow

_ROWS = ""  # stands for "any row": it keeps the sizes of the splits in balance as well


def balanced_order(
    rows: Sequence[SplitRow],
    groups: Sequence[Sequence[str]],
    placed: Mapping[str, str],
    shares: Mapping[str, float],
    number_of: Callable[[str], float],
) -> dict[str, str]:
    """Return patient to split for ``groups`` of patients, given those who have a split already."""
    labels_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.patient_id:
            labels_of[row.patient_id].update((_ROWS, *row.labels))
    total: Counter[str] = Counter()
    for counts in labels_of.values():
        total.update(counts)
    need = {split: {label: share * count for label, count in total.items()} for split, share in shares.items()}
    for patient, split in placed.items():
        for label, count in labels_of[patient].items():
            need[split][label] -= count
    chosen: dict[str, str] = {}
    # Large groups first, as nothing can make up for them later; then those with the rarest label.
    for group in sorted(groups, key=lambda group: _rank(group, labels_of, total, number_of)):
        counts = sum((labels_of[patient] for patient in group), Counter[str]())
        rarest = min(counts, key=lambda label: (total[label], label))
        split = max(
            (name for name, share in shares.items() if share > 0),
            key=lambda name: (need[name][rarest], need[name][_ROWS], -number_of(f"{name}:{min(group)}")),
        )
        for label, count in counts.items():
            need[split][label] -= count
        chosen |= dict.fromkeys(group, split)
    return chosen


def _rank(
    group: Sequence[str],
    labels_of: Mapping[str, Counter[str]],
    total: Mapping[str, int],
    number_of: Callable[[str], float],
) -> tuple[int, int, float]:
    rarest = min(total[label] for patient in group for label in labels_of[patient])
    return -len(group) // 8, rarest, number_of(min(group))
