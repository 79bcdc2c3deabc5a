"""What labelling costs at scale: growth of distinct sentences, a long stream, one without repeats, Ray against local.

- growth: distinct sentences and cache hits along Open-i and PadChest, and Heaps' law fitted to them;
- costs: seconds of one core for a sentence that is read, for a report whose sentences are all known, and for a report
  that the driver reads and hands over;
- stream: made-up reports that grow like Open-i, labelled by the command: memory of each worker and speed over the run;
- distinct: the same with no sentence twice, so that no cache helps: speed at the end against that at the start;
- engines: local and Ray with one worker, the same reports, by turns, all processes bound to one core;
- cache: what a cache file of the first half of Open-i's training reports saves on the second.

    make bench-scale

With its defaults it takes hours on two cores (a million reports). `--stream 20000 --distinct 2000 --engines 4000` gives
the same table in minutes.
"""

from __future__ import annotations

import argparse
import json
import pickle
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from tests.benchmarks.growth_plot import plot_growth
from tests.benchmarks.load import corpus_reports, write_csv
from tests.benchmarks.measure import machine, run_measured
from tests.benchmarks.simulate import (
    Growth,
    Heaps,
    Simulation,
    measure_growth,
    padchest_sentences,
    sentences_of,
    training_reports,
)
from tests.benchmarks.watch import Sample, run_timed, run_watched, speed_between, worker_mib_between

RADLABEL = Path(sys.executable).with_name("radlabel")
PARTS = ("growth", "costs", "stream", "distinct", "engines", "cache")
SHARD_RECORDS = 10_000
MAX_MIB_PER_WORKER = 1536
MAX_OVERHEAD = 0.25
MIN_END_OF_START = 0.9
CURVE_POINTS = 40


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run (default: all)")
    parser.add_argument("--stream", type=int, default=1_000_000, help="reports of the growing stream")
    parser.add_argument("--distinct", type=int, default=50_000, help="reports of the all-distinct stream")
    parser.add_argument("--engines", type=int, default=20_000, help="reports for Ray against local")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each engine (default 3)")
    parser.add_argument("--jobs", type=int, default=2, help="workers of the streams (default 2)")
    parser.add_argument("--folder", type=Path, help="where the data are made (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the results to this file, part by part")
    parser.add_argument("--plot", type=Path, help="draw the growth to this PNG file")
    options = parser.parse_args()
    results: dict[str, Any] = {"benchmark": "scale", "machine": machine()}
    law = measure_growth(map(sentences_of, training_reports())).fit()
    with TemporaryDirectory(prefix="radlabel-bench-", dir=options.folder) as name:
        folder = Path(name)
        parts: dict[str, Callable[[], dict[str, object]]] = {
            "growth": lambda: measure_all_growth(options.stream, law),
            "costs": lambda: measure_costs(folder),
            "stream": lambda: measure_stream(folder, options.stream, options.jobs, law),
            "distinct": lambda: measure_stream(folder, options.distinct, options.jobs, None),
            "engines": lambda: measure_engines(folder, options.engines, options.repeats),
            "cache": lambda: measure_cache_file(folder, options.repeats),
        }
        for part in options.only:
            results[part] = parts[part]()
            if part == "growth" and options.plot:
                plot_growth(results[part], options.plot)
            say(f"{part}: {json.dumps(results[part])[:400]}")
            if options.json:
                options.json.parent.mkdir(parents=True, exist_ok=True)
                options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


def measure_all_growth(simulated: int, law: Heaps) -> dict[str, object]:
    """Return the growth of both corpora, each in its own order and shuffled, and that of so many simulated reports."""
    found: dict[str, object] = {}
    for name in ("openi", "padchest"):
        reports = training_reports() if name == "openi" else list(corpus_reports(name))
        cut = sentences_of if name == "openi" else padchest_sentences
        found[name] = growth_as_json(measure_growth(map(cut, reports)))
        random.Random(0).shuffle(reports)
        found[f"{name}_shuffled"] = growth_as_json(measure_growth(map(cut, reports)))
    stream = Simulation(training_reports()).sentences(simulated, law)
    found["simulated"] = growth_as_json(measure_growth(stream, cache_sizes=(8192, 32_768, 262_144, 2_097_152)))
    return found


def growth_as_json(growth: Growth) -> dict[str, object]:
    """Return the law, the curve at some of its points, and hit rates at the end."""
    law = growth.fit()
    n = growth.sentences[-1]
    step = max(len(growth.sentences) // CURVE_POINTS, 1)
    return {
        "reports": growth.reports[-1],
        "sentences": n,
        "distinct": growth.distinct[-1],
        "heaps": asdict(law),
        "hit_rate": {
            "unbounded": round(1 - growth.distinct[-1] / n, 4),
            **{str(size): round(hits[-1] / n, 4) for size, hits in growth.hits.items()},
        },
        "curve": list(zip(growth.sentences[::step], growth.distinct[::step], strict=True)),
        "expected_distinct": {
            str(reports): round(law.expected(reports * n / growth.reports[-1]))
            for reports in (1_000_000, 50_000_000, 1_000_000_000)
        },
    }


def measure_costs(folder: Path) -> dict[str, object]:
    """Return what the parts of the work cost, in processor seconds, so that a busy machine does not change them."""
    from nlp_service.chunks import iter_chunks, plan_inputs
    from nlp_service.labeler import Labeler
    from nlp_service.rows import RowForm
    from nlp_service.writers import writer_for

    reports = training_reports()
    source = folder / "costs.csv"
    write_csv(reports, source)
    labeler = Labeler(threads=1)
    seconds = []
    for _ in range(2):
        started = time.process_time()
        rows = list(labeler.label_many(reports))
        seconds.append(time.process_time() - started)
        if len(seconds) == 1:
            misses = labeler.cache_counts[1]
    writer = writer_for(".parquet", RowForm(labeler.label_sets, labeler.model))
    started = time.process_time()
    for low in range(0, len(rows), 500):
        writer.encode(rows[low : low + 500])
    writing = time.process_time() - started
    started = time.process_time()
    for chunk in iter_chunks(plan_inputs([source], None)):
        pickle.loads(pickle.dumps(chunk))
    driver = time.process_time() - started
    return {
        "reports": len(reports),
        "sentences_per_report": round(sum(labeler.cache_counts) / 2 / len(reports), 2),
        "ms_per_new_sentence": round(1000 * (seconds[0] - seconds[1]) / misses, 3),
        "ms_per_known_report": round(1000 * seconds[1] / len(reports), 3),
        "ms_per_written_report": round(1000 * writing / len(reports), 3),
        "ms_per_report_in_driver": round(1000 * driver / len(reports), 3),
    }


def measure_stream(folder: Path, count: int, jobs: int, law: Heaps | None) -> dict[str, object]:
    """Label a stream of simulated reports with the command, and return how it went from the start to the end."""
    source, output = folder / "stream.csv", folder / "labels.parquet"
    simulation = Simulation(training_reports())
    write_csv(simulation.growing(count, law) if law else simulation.all_distinct(count), source)
    again = Simulation(training_reports())  # of the same seed, and so of the same sentences
    growth = measure_growth(again.sentences(count, law)) if law else None
    command: list[str | Path] = [
        RADLABEL,
        "label",
        source,
        "-o",
        output,
        "--shard-records",
        str(SHARD_RECORDS),
        "--overwrite",
        "--json",
    ]
    summary, samples = run_watched([*command, "--jobs", str(jobs)])
    source.unlink()
    return {"jobs": jobs, **stream_as_json(summary, samples), "growth": growth and growth_as_json(growth)}


def stream_as_json(summary: dict[str, object], samples: list[Sample]) -> dict[str, object]:
    """Return speed and memory of a run, by fifths of its records."""
    fifths = [(low / 5, (low + 1) / 5) for low in range(5)]
    speeds = [speed_between(samples, low, high) for low, high in fifths]
    memory = [worker_mib_between(samples, low, high) for low, high in fifths]
    return {
        "reports": summary["read"],
        "reports_per_s": summary["reports_per_s"],
        "elapsed_s": summary["elapsed_s"],
        "reports_per_s_by_fifth": [round(speed, 1) for speed in speeds],
        "end_of_start": round(speeds[-1] / speeds[0], 3) if speeds[0] else None,
        "worker_mib_by_fifth": [round(size, 1) for size in memory],
        "driver_mib": round(max(sample.driver_mib for sample in samples), 1),
        "bars": {"worker_mib": MAX_MIB_PER_WORKER, "end_of_start_of_all_distinct": MIN_END_OF_START},
        "samples": [asdict(sample) for sample in samples[:: max(len(samples) // CURVE_POINTS, 1)]],
    }


def measure_engines(folder: Path, count: int, repeats: int) -> dict[str, object]:
    """Return what Ray costs over the local engine with one worker, by turns, all of their processes on one core.

    Wall time is what a user waits; processor time does not change with what else the machine does.
    """
    source, one = folder / "engines.csv", folder / "one.csv"
    n_reports = write_csv(islice(corpus_reports("padchest"), count), source)
    write_csv(islice(corpus_reports("padchest"), 1), one)
    times: dict[tuple[str, Path], list[tuple[float, float]]] = defaultdict(list)
    outputs = {}
    for _ in range(repeats):
        for engine in ("local", "ray"):
            for reports in (one, source):
                output = folder / f"{engine}.jsonl"
                output.unlink(missing_ok=True)
                command: list[str | Path] = ["taskset", "--cpu-list", "0", RADLABEL, "label", reports, "-o", output]
                times[engine, reports].append(run_timed([*command, "--jobs", "1", "--engine", engine]))
            outputs[engine] = output.read_bytes()
    found: dict[str, object] = {
        "reports": n_reports,
        "same_bytes": outputs["local"] == outputs["ray"],
        "bar": MAX_OVERHEAD,
    }
    for kind, name in enumerate(("wall", "cpu")):
        start = {engine: median(t[kind] for t in times[engine, one]) for engine in outputs}
        whole = {engine: median(t[kind] for t in times[engine, source]) for engine in outputs}
        found[name] = {
            "start_s": {engine: round(seconds, 2) for engine, seconds in start.items()},
            "whole_s": {engine: round(seconds, 2) for engine, seconds in whole.items()},
            "runs_s": {engine: [round(t[kind], 2) for t in times[engine, source]] for engine in outputs},
            "overhead_with_start": round(whole["ray"] / whole["local"] - 1, 3),
            "overhead_after_start": round((whole["ray"] - start["ray"]) / (whole["local"] - start["local"]) - 1, 3),
        }
    return found


def measure_cache_file(folder: Path, repeats: int) -> dict[str, object]:
    """Build a cache file from one half of Open-i's training reports, and label the other with it and without."""
    reports = training_reports()
    random.Random(0).shuffle(reports)
    half = len(reports) // 2
    first, second, cache = folder / "first.csv", folder / "second.csv", folder / "frequent.cache"
    write_csv(reports[:half], first)
    write_csv(reports[half:], second)
    built = run_measured([RADLABEL, "cache", "build", first, "-o", cache, "--min-reports", "2"])
    walls: dict[str, list[float]] = {"without": [], "with": []}
    outputs = {}
    for _ in range(repeats):
        for kind in walls:
            output = folder / f"{kind}.jsonl"
            output.unlink(missing_ok=True)
            options: list[str | Path] = ["--cache", cache] if kind == "with" else []
            walls[kind].append(run_measured([RADLABEL, "label", second, "-o", output, "--jobs", "1", *options]).wall_s)
            outputs[kind] = output.read_bytes()
    return {
        "reports_built_from": half,
        "reports_labelled": len(reports) - half,
        "build_s": round(built.wall_s, 1),
        "bytes": cache.stat().st_size,
        "same_bytes": outputs["with"] == outputs["without"],
        "wall_s": {kind: [round(second, 2) for second in times] for kind, times in walls.items()},
        "saved": round(1 - median(walls["with"]) / median(walls["without"]), 3),
    }


def say(message: str) -> None:
    """Tell how far the benchmark is."""
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
