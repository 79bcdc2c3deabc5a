"""Connected parts of masks, in plain numpy: what serves needs no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def label_components(mask: Mask) -> tuple[NDArray[np.int32], int]:
    """Return the connected parts (4 neighbours) of a mask (height, width) as numbers from 1, and how many there are.

    Runs of each row are joined with those they touch in the row above (union-find over runs).
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]  # half open
    parent = list(range(len(rows)))

    def root(run: int) -> int:
        while parent[run] != run:
            parent[run] = parent[parent[run]]
            run = parent[run]
        return run

    first_of_row = np.searchsorted(rows, np.arange(height + 1))
    for row in range(1, height):
        above, here = first_of_row[row - 1], first_of_row[row]
        last_above, last_here = first_of_row[row], first_of_row[row + 1]
        while above < last_above and here < last_here:
            if ends[above] > starts[here] and ends[here] > starts[above]:
                a, b = root(int(above)), root(int(here))
                parent[max(a, b)] = min(a, b)
            if ends[above] < ends[here]:
                above += 1
            else:
                here += 1
    roots = np.array([root(run) for run in range(len(rows))], dtype=np.int64)
    names, numbers = np.unique(roots, return_inverse=True)
    labels = np.zeros(mask.shape, dtype=np.int32)
    for run in range(len(rows)):
        labels[rows[run], starts[run] : ends[run]] = numbers[run] + 1
    return labels, len(names)


def keep_largest(mask: Mask, count: int, *, min_share: float = 0.1) -> Mask:
    """Return the ``count`` largest parts of a mask; one below ``min_share`` of the largest is left out."""
    labels, found = label_components(mask)
    if found <= 1:
        return mask.copy()
    sizes = np.bincount(labels.ravel(), minlength=found + 1)[1:]
    order = np.argsort(-sizes, kind="stable")[:count]
    kept = [int(part) + 1 for part in order if sizes[part] >= min_share * sizes.max()]
    return np.asarray(np.isin(labels, kept))


def fill_holes(mask: Mask) -> Mask:
    """Return a mask with what it encloses; 0 that reaches the picture's edge is outside."""
    labels, _ = label_components(~mask)
    edge = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray(mask | ((labels > 0) & ~np.isin(labels, edge)))
