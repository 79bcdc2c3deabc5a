"""radlabel's encoder against the usual BERT labeler, end to end: Open-i's 3,955 reports, CSV to Parquet, side by side.

Three columns: radlabel without its cache of sentences, radlabel with it, and BERT given the same cache (each distinct
sentence once). Every run is a process of its own; reading, loading the model and writing are in its time.

    make bench-bert
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from tests.benchmarks.load import corpus_reports, distinct_share, write_csv
from tests.benchmarks.measure import Run, machine, run_measured


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description="radlabel against a BERT-base labeler", allow_abbrev=False)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--repeats", type=int, default=3, help="runs of radlabel (default 3); BERT runs once")
    parser.add_argument("--limit", type=int, help="read so many reports only, for a quick look")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="radlabel-bench-") as name:
        folder = Path(name)
        source = folder / "openi.csv"
        n_reports = write_csv(islice(corpus_reports("openi"), options.limit), source)
        sentences, distinct = distinct_share(source)
        with_cache = [radlabel(source, folder) for _ in range(options.repeats)]
        without = [radlabel(source, folder, "--cache-size", "0") for _ in range(options.repeats)]
        bert = run_measured([sys.executable, "-m", "tests.benchmarks.bert_worker", source, folder / "bert.parquet"])
        bert_cached = run_measured(
            [sys.executable, "-m", "tests.benchmarks.bert_worker", source, folder / "bert.parquet", "--sentences"]
        )
    speed = {
        "radlabel_with_cache": n_reports / median(run.wall_s for run in with_cache),
        "radlabel_without_cache": n_reports / median(run.wall_s for run in without),
        "bert": n_reports / bert.wall_s,
        "bert_with_the_same_cache": n_reports / bert_cached.wall_s,
    }
    results = {
        "benchmark": "bert",
        "machine": machine(),
        "reports": n_reports,
        "sentences": sentences,
        "distinct_sentences": distinct,
        "reports_per_s": {name: round(value, 1) for name, value in speed.items()},
        "ratios": {
            "with_cache": round(speed["radlabel_with_cache"] / speed["bert"], 1),
            "without_cache": round(speed["radlabel_without_cache"] / speed["bert"], 1),
            "both_with_cache": round(speed["radlabel_with_cache"] / speed["bert_with_the_same_cache"], 1),
        },
        "runs": {
            "radlabel_with_cache": [run.as_json() for run in with_cache],
            "radlabel_without_cache": [run.as_json() for run in without],
            "bert": bert.as_json(),
            "bert_with_the_same_cache": bert_cached.as_json(),
        },
    }
    print(json.dumps(results, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def radlabel(source: Path, folder: Path, *options: str) -> Run:
    """Run the command as a user would, on a fresh output."""
    output = folder / "labels.parquet"
    output.unlink(missing_ok=True)
    command = Path(sys.executable).with_name("radlabel")
    return run_measured([command, "label", source, "-o", output, "--label-set", "nih14", *options])


if __name__ == "__main__":
    main()
