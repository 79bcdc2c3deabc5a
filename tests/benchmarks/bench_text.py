"""Speed, start, memory and cache of `radlabel label`, from the files a user has to the files a user gets.

- speed: Open-i's reports, CSV to Parquet, as a process of its own; reports/s with and without the start, and how many
  sentences are distinct, on which speed depends because readings are cached;
- start: the command on a file of one report;
- cache: how often a sentence had been read before, in the order of the corpus;
- memory: peak of the process tree on 4,000 and on all 107,783 reports of PadChest (Spanish texts, taken as load:
  nothing is said about their labels).

    make bench-text
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from corpora import Report
from corpora.vocabulary import load_vocabulary
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import shipped_model
from models.text.teacher import RuleTeacher
from nlp_service.chunks import iter_chunks, plan_inputs
from nlp_service.labeler import WINDOW
from tests.benchmarks.load import corpus_reports, distinct_share, write_csv
from tests.benchmarks.measure import MIB, Run, machine, run_measured

FEW, MANY = 4_000, 107_783


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description="speed, memory and cache of the labeler", allow_abbrev=False)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each speed (default 3)")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2], help="numbers of processes (default 1 2)")
    parser.add_argument(
        "--reader", default="encoder", choices=["encoder", "rules"], help="what reads (default encoder)"
    )
    parser.add_argument("--many", type=int, default=MANY, help=f"reports of the memory run (default {MANY:,})")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="radlabel-bench-") as folder:
        results = {
            "benchmark": "text",
            "reader": options.reader,
            "machine": machine(),
            "speed": measure_speed(Path(folder), options.repeats, options.jobs, options.reader),
            "cache": measure_cache(options.reader),
            "memory": measure_memory(Path(folder), options.jobs, options.many, options.reader),
        }
    print(json.dumps(results, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def label(source: Path, output: Path, jobs: int, reader: str) -> Run:
    """Run the command as a user would, on a fresh output."""
    output.unlink(missing_ok=True)
    radlabel = Path(sys.executable).with_name("radlabel")
    return run_measured([radlabel, "label", source, "-o", output, "--jobs", str(jobs), "--reader", reader])


def measure_speed(folder: Path, repeats: int, jobs: list[int], reader: str) -> dict[str, object]:
    """Return reports/s on Open-i, CSV to Parquet."""
    source, one, output = folder / "openi.csv", folder / "one.csv", folder / "labels.parquet"
    n_reports = write_csv(corpus_reports("openi"), source)
    write_csv(islice(corpus_reports("openi"), 1), one)
    sentences, distinct = distinct_share(source)
    start = median(label(one, output, 1, reader).wall_s for _ in range(repeats))
    speed: dict[str, object] = {
        "reports": n_reports,
        "sentences": sentences,
        "distinct_sentences": distinct,
        "start_s": round(start, 2),
    }
    for n in jobs:
        runs = [label(source, output, n, reader) for _ in range(repeats)]
        wall = median(run.wall_s for run in runs)
        speed[f"jobs_{n}"] = {
            "reports_per_s": round(n_reports / wall, 1),
            "reports_per_s_after_start": round(n_reports / (wall - start), 1),
            "runs": [run.as_json() for run in runs],
        }
        say(f"{n} processes: {n_reports / wall:.0f} reports/s")
    return speed


def measure_cache(kind: str) -> dict[str, object]:
    """Return how many sentences of Open-i were answered by the cache, and what that saves."""
    reports = list(corpus_reports("openi"))
    reader: RuleTeacher | EncoderReader
    reader = RuleTeacher(load_vocabulary()) if kind == "rules" else EncoderReader(shipped_model(), load_vocabulary())
    first = _time(reader, reports)
    cache = reader.sentences
    hits, misses = cache.hits, cache.misses
    again = _time(reader, reports)
    return {
        "hit_rate": round(hits / (hits + misses), 3),
        "first_pass_s": round(first, 2),
        "second_pass_s": round(again, 2),
        "second_pass_hit_rate": round((cache.hits - hits) / (cache.hits + cache.misses - hits - misses), 3),
    }


def _time(reader: RuleTeacher | EncoderReader, reports: list[Report]) -> float:
    started = time.perf_counter()
    for first in range(0, len(reports), WINDOW):
        reader.read_many(reports[first : first + WINDOW])
    return time.perf_counter() - started


def measure_memory(folder: Path, jobs: list[int], many: int, reader: str) -> dict[str, object]:
    """Return the peak memory on few and on many reports, and by how much it grew."""
    sizes = {}
    for count in (FEW, many):
        source = folder / f"padchest-{count}.csv"
        sizes[count] = (source, write_csv(islice(corpus_reports("padchest"), count), source))
    digests_mib = measure_ids(sizes[many][0]) / MIB
    memory: dict[str, object] = {"report_id_digests_mib": round(digests_mib, 1)}
    for n in jobs:
        few, lots = (label(source, folder / "labels.parquet", n, reader) for source, _ in sizes.values())
        memory[f"jobs_{n}"] = {
            f"peak_mib_{sizes[FEW][1]}": round(few.peak_mib, 1),
            f"peak_mib_{sizes[many][1]}": round(lots.peak_mib, 1),
            "growth": round(lots.peak_mib / few.peak_mib - 1, 3),
            "growth_apart_from_digests": round((lots.peak_mib - digests_mib) / few.peak_mib - 1, 3),
            "reports_per_s": round(sizes[many][1] / lots.wall_s, 1),
        }
        say(f"{n} processes: {few.peak_mib:.0f} MiB for {FEW:,} reports, {lots.peak_mib:.0f} MiB for {many:,}")
    return memory


def measure_ids(source: Path) -> int:
    """Return the bytes by which the digests grow, by which repeated report ids are found, from few reports to all."""
    count, at_few, at_end = 0, 0, 0
    tracemalloc.start()
    for chunk in iter_chunks(plan_inputs([source], None)):
        count += len(chunk.items)
        # The last chunk comes when the ids are no longer needed: the largest value is that of the one before.
        at_end = max(at_end, tracemalloc.get_traced_memory()[0])
        if count <= FEW:
            at_few = at_end
    tracemalloc.stop()
    return at_end - at_few


def say(message: str) -> None:
    """Tell how far the benchmark is."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
