"""Linking a million invented studies: wall time, memory of the whole process, and how both grow.

    python -m tests.benchmarks.bench_link --json build/bench-link.json

Each size is made first (not measured): reports with their keys, two image headers a study, and label rows as
`radlabel label` writes them. Then ``radlabel link --labels`` runs as a process of its own. One study in twenty has an
accession number that another patient has too, one report in thirty has no study and one study in thirty no report.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nlp_service.rows import STATUSES, VALUES
from tests.benchmarks.measure import machine, run_measured

BATCH = 50_000
MAX_RATIO = 12.0
MAX_MIB = 2048.0
LABELS = tuple(
    "Atelectasis Cardiomegaly Consolidation Edema Effusion Fracture Lesion Opacity Pneumonia Pneumothorax".split()
)


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where the data are made (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="where the numbers go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        sizes = {count: measure(Path(folder), count) for count in sorted(arguments.studies)}
    small, large = min(sizes), max(sizes)
    ratio = float(sizes[large]["wall_s"]) / float(sizes[small]["wall_s"])
    result = {
        "machine": machine(),
        "sizes": {str(count): numbers for count, numbers in sizes.items()},
        "ratio_of_sizes": large / small,
        "ratio_of_times": round(ratio, 2),
        "bars": {"ratio_of_times": MAX_RATIO * large / small / 10, "peak_mib": MAX_MIB},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(text + "\n", encoding="utf-8")


def measure(folder: Path, studies: int) -> dict[str, float]:
    """Make a world of so many studies, link it, and return the numbers."""
    reports, index, labels = (folder / f"{name}-{studies}.parquet" for name in ("reports", "index", "labels"))
    write_world(reports, index, labels, studies)
    output = folder / f"linked-{studies}"
    command: list[str | Path] = [sys.executable, "-m", "nlp_service", "link", "--reports", reports, "--images", index]
    run = run_measured([*command, "--labels", labels, "-o", output, "--json"])
    totals = json.loads((output / "link_report.json").read_text(encoding="utf-8"))["totals"]
    for path in (reports, index, labels):
        path.unlink()
    print(f"{studies:,} studies: {run.wall_s:.1f} s, {run.peak_mib:.0f} MiB", file=sys.stderr, flush=True)
    return {
        **run.as_json(),
        "studies_per_s": round(studies / run.wall_s, 1),
        **{name: totals[name] for name in ("report_rows", "image_rows", "linked_pairs", "label_rows_joined")},
    }


def write_world(reports: Path, index: Path, labels: Path, studies: int) -> None:
    """Write the three tables, a batch of studies at a time."""
    category = pa.dictionary(pa.int8(), pa.string())
    with Writers(reports, index, labels) as write:
        for first in range(0, studies, BATCH):
            row = np.arange(first, min(first + BATCH, studies))
            # Every twentieth takes the number of the study ten before it, whose patient is another one.
            number = np.where(row % 20 == 19, row - 10, row)
            accession = pa.array([f"AC{value:09d}" for value in number])
            patient = pa.array([f"P{value:08d}" for value in row])
            report_id = pa.array([f"R{value}" for value in row])
            uid = [f"1.2.826.0.1.3680043.{value}" for value in row]
            has_report, has_study = pa.array(row % 30 != 3), pa.array(row % 30 != 7)
            day = pa.array((18_000 + row % 1_000).astype("int32"), pa.date32())
            table = pa.table(
                {
                    "report_id": report_id,
                    "accession_number": accession,
                    "patient_id": patient,
                    "study_date": day,
                    "text": pa.array(["FINDINGS: Lungs are clear. IMPRESSION: Normal chest."] * len(row)),
                }
            )
            write("reports", table.filter(has_report))
            for image in (1, 2):
                image_id = pa.array([f"{value}.1.{image}" for value in uid])
                table = pa.table(
                    {
                        "image_id": image_id,
                        "file": pa.array([f"{value % 1000}/{value}-{image}.dcm" for value in row]),
                        "patient_id": patient,
                        "accession_number": accession,
                        "accession_number_issuer": pa.nulls(len(row), pa.string()),
                        "study_instance_uid": pa.array(uid),
                        "series_instance_uid": pa.array([f"{value}.1" for value in uid]),
                        "sop_instance_uid": image_id,
                        "study_date": day,
                        "modality": pa.array(["DX"] * len(row)),
                    }
                )
                write("index", table.filter(has_study))
            codes = pa.array((row % len(VALUES)).astype("int8"))
            values = pa.DictionaryArray.from_arrays(codes, pa.array(VALUES))
            status = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(row), "int8")), pa.array(STATUSES))
            findings = [
                [{"text": "opacity", "start": 10, "end": 17, "section": "findings", "assertion": "positive"}] * 3
            ] * len(row)
            table = pa.table(
                {
                    "report_id": report_id,
                    "accession_number": accession,
                    "status": status.cast(category),
                    **{f"chexpert14:{label}": values for label in LABELS},
                    "model_name": pa.array(["bench"] * len(row)).cast(category),
                    "findings": findings,
                }
            )
            write("labels", table.filter(has_report))


class Writers:
    """Three Parquet files that are written side by side."""

    def __init__(self, reports: Path, index: Path, labels: Path) -> None:
        self._paths = {"reports": reports, "index": index, "labels": labels}
        self._writers: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Writers:
        return self

    def __call__(self, name: str, table: pa.Table) -> None:
        if name not in self._writers:
            self._writers[name] = pq.ParquetWriter(self._paths[name], table.schema, compression="zstd")
        self._writers[name].write_table(table)

    def __exit__(self, *_: object) -> None:
        for writer in self._writers.values():
            writer.close()


if __name__ == "__main__":
    main()
