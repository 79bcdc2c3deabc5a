"""How `radlabel vision normalise` sets real films right that were turned and inverted on purpose: training films only.

RADLABEL_TEST_DATA=... python -m tests.benchmarks.bench_vision --only positions --json build/bench-vision.json
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.vision.normalise import normalise

#: Lies upside down in the training pictures themselves: seen by eye.
UPSIDE_DOWN = frozenset({"00003490_011"})


def training_films(data: Path, name: str) -> Iterator[NDArray[np.uint8]]:
    """Yield the training pictures of ``covid_cxr`` or ``nih_cxr`` that are known to be upright."""
    with (data / name / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["split"] == "train" and row["image_id"] not in UPSIDE_DOWN:
                with Image.open(data / name / row["file"]) as image:
                    yield np.asarray(image.convert("L"), dtype=np.uint8)


def copy_of(film: NDArray[np.uint8], degrees: int, *, inverted: bool) -> NDArray[np.uint8]:
    """Return a film turned clockwise and, where wanted, inverted."""
    turned = np.rot90(film, -degrees // 90)
    return np.ascontiguousarray(255 - turned if inverted else turned)


def measure_positions(data: Path) -> dict[str, Any]:
    """Return, for every set, turn and polarity: how many came out right, turned wrongly, inverted wrongly, doubted."""
    found: dict[str, Any] = {}
    for name in ("covid_cxr", "nih_cxr"):
        counts: dict[str, dict[str, int]] = {}
        for film in training_films(data, name):
            for inverted in (False, True):
                for degrees in (0, 90, 180, 270):
                    got = normalise(copy_of(film, degrees, inverted=inverted))
                    key = f"{degrees} degrees{', inverted' if inverted else ''}"
                    row = counts.setdefault(
                        key, dict.fromkeys(("films", "right", "turned wrongly", "inverted wrongly", "doubted"), 0)
                    )
                    row["films"] += 1
                    row["right"] += got.rotated == degrees and got.is_inverted == inverted
                    row["turned wrongly"] += got.rotated not in (0, degrees)
                    row["inverted wrongly"] += got.is_inverted != inverted
                    row["doubted"] += "maybe_rotated" in got.flags
        found[name] = counts
    return found
