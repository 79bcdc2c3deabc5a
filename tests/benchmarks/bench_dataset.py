"""Builds data sets of different size from invented radiographs and reports: time and memory, and that they grow alike.

`python -m tests.benchmarks.bench_dataset --images 2000 --images 20000` runs `radlabel dataset build` on each as a
process of its own, checks the result with `radlabel dataset check`, and writes one JSON file.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measure import machine, run_measured

TEXTS = (
    "Small left pleural effusion.",
    "Right upper lobe consolidation, pneumonia.",
    "The lungs are clear.",
    "Cardiomegaly and edema.",
)
SHAPE = (512, 416)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, action="append", help="size of a data set; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the numbers go")
    arguments = parser.parse_args()
    sizes = arguments.images or [1_000, 10_000]
    with tempfile.TemporaryDirectory(prefix="radlabel-bench-") as folder:
        runs = {size: measure(Path(folder) / str(size), size) for size in sizes}
    first, last = runs[sizes[0]], runs[sizes[-1]]
    numbers: dict[str, Any] = {
        "machine": machine(),
        "runs": {str(size): run for size, run in runs.items()},
        "wall_ratio": round(last["build"]["wall_s"] / first["build"]["wall_s"], 2),
        "cpu_ratio": round(last["build"]["cpu_s"] / first["build"]["cpu_s"], 2),
    }
    print(json.dumps(numbers, indent=2))
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")


def measure(folder: Path, images: int) -> dict[str, Any]:
    """Return what building and checking a data set of so many images took."""
    write_hospital(folder, images)
    radlabel: list[str | Path] = [sys.executable, "-m", "nlp_service", "dataset"]
    inputs: list[str | Path] = ["--reports", folder / "reports.csv", "--images", folder / "manifest.csv"]
    build = run_measured([*radlabel, "build", *inputs, "-o", folder / "chest", "--size", "256"])
    check = run_measured([*radlabel, "check", folder / "chest"])
    info = json.loads((folder / "chest" / "dataset.json").read_text(encoding="utf-8"))
    assert info["rows"] == images, info["counts"]
    print(f"{images:,} images: {build.wall_s:.1f} s, {build.peak_mib:.0f} MiB", file=sys.stderr, flush=True)
    return {
        "build": build.as_json(),
        "check": check.as_json(),
        "images_per_s": round(images / build.wall_s, 1),
        "splits": info["splits"],
    }


def write_hospital(folder: Path, images: int) -> None:
    """Write pictures that no two of are alike, with a report for each and two for each patient."""
    from PIL import Image

    (folder / "pictures").mkdir(parents=True)
    random = np.random.default_rng(0)
    with (
        (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as manifest,
        (folder / "reports.csv").open("w", encoding="utf-8", newline="") as reports,
    ):
        of_images, of_reports = csv.writer(manifest), csv.writer(reports)
        of_images.writerow(["image_id", "file", "patient_id", "accession_number", "view"])
        of_reports.writerow(["report_id", "accession_number", "text"])
        for number in range(images):
            coarse = Image.fromarray(random.integers(0, 255, (20, 16), dtype=np.uint8))
            file = f"pictures/{number}.png"
            coarse.resize(SHAPE[::-1], Image.Resampling.BICUBIC).save(folder / file, compress_level=1)
            of_images.writerow([f"i{number}", file, f"P{number // 2}", f"A{number}", "PA"])
            of_reports.writerow([f"r{number}", f"A{number}", f"FINDINGS: {TEXTS[number % 4]} Case {number}."])


if __name__ == "__main__":
    main()
