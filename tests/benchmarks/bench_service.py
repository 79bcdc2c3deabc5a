"""The service under load, against the labeler alone on the same reports in the same run.

- single: 32 connections, one distinct report a request, labels stored and audited, cold cache; and the latency at 70 %
  of the rate that this came to, requests arriving at random times;
- batches: 100 reports a request;
- memory: of the server after 5,000 and after 100,000 requests with distinct texts;
- workers: a job by one and by two worker processes on one PostgreSQL queue.

    make bench-service
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from corpora import Report
from models.text.sections import split_sections
from models.text.sentences import split_sentences
from nlp_service import Labeler
from nlp_service.settings import ServiceSettings
from tests.benchmarks.http_load import closed_loop, open_loop
from tests.benchmarks.load import corpus_reports
from tests.benchmarks.measure import MIB, machine, memory_of_tree
from tests.nlp_service.processes import Served, postgres_programs, postgres_server, upgrade_database

CONNECTIONS = 32
BATCH = 100
BATCH_CONNECTIONS = 4
ENCODER = {"RADLABEL_READER": "encoder"}


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description="the service under load", allow_abbrev=False)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--reports", type=int, default=3000, help="reports of the speed runs (default 3,000)")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each speed (default 3)")
    parser.add_argument("--few", type=int, default=5_000, help="requests before memory is first taken")
    parser.add_argument("--many", type=int, default=100_000, help="requests before it is taken again; 0 for none")
    options = parser.parse_args()
    reports = distinct_reports(options.reports)
    results: dict[str, object] = {
        "benchmark": "service",
        "machine": machine(),
        "speed": [],
        "workers": None,
        "memory": None,
    }
    runs = [measure_speed(reports) for _ in range(options.repeats)]
    results["speed"] = runs
    results["medians"] = {
        name: round(median(float(str(run[name])) for run in runs), 3)
        for name in ("single_over_label_many", "batches_over_label_many", "p99_over_p50_at_70_percent")
    }
    results["workers"] = measure_workers(reports)
    if options.many:
        results["memory"] = measure_memory(options.few, options.many)
    print(json.dumps(results, indent=2))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


def distinct_reports(number: int) -> list[Report]:
    """Return reports of Open-i, no two with the same text."""
    by_text = {report.text: report for report in corpus_reports("openi") if report.text.strip()}
    reports = list(by_text.values())
    random.Random(1).shuffle(reports)
    return [replace(report, sections=()) for report in reports[:number]]


def recombined_reports(number: int) -> Iterator[Report]:
    """Yield reports of five to nine sentences of Open-i in a random order, no two with the same text."""
    sentences = sorted(
        {
            report.text[span.start : span.end]
            for report in corpus_reports("openi")
            for section in split_sections(report)
            for span in split_sentences(report.text, section)
        }
    )
    rng = random.Random(2)
    for i in range(number):
        body = " ".join(rng.choices(sentences, k=rng.randint(5, 9)))
        yield Report(f"r{i}", f"FINDINGS: {body} {i}.", accession_number=f"a{i}")


def measure_speed(reports: Sequence[Report]) -> dict[str, object]:
    """Measure the labeler alone, then the service, each from a cold cache."""
    labeler = Labeler(cache_size=ServiceSettings().cache_size)
    started = time.perf_counter()
    for _ in labeler.label_many(reports):
        pass
    alone = len(reports) / (time.perf_counter() - started)
    del labeler
    with served() as (port, _):
        single = asyncio.run(closed_loop(port, [body_of([report]) for report in reports], CONNECTIONS))
    rate = len(reports) / single.wall_s
    with served() as (port, _):
        steady = asyncio.run(
            open_loop(port, [body_of([report]) for report in reports], 4 * CONNECTIONS, rate=0.7 * rate)
        )
    with served() as (port, _):
        bodies = [body_of(reports[i : i + BATCH]) for i in range(0, len(reports), BATCH)]
        batches = asyncio.run(closed_loop(port, bodies, BATCH_CONNECTIONS))
    p99 = steady.as_json(len(reports))
    return {
        "label_many_reports_per_s": round(alone, 1),
        "single": single.as_json(len(reports)),
        "single_over_label_many": round(rate / alone, 3),
        "at_70_percent": p99,
        "p99_over_p50_at_70_percent": p99["p99_over_p50"],
        "batches": batches.as_json(len(reports)),
        "batches_over_label_many": round(len(reports) / batches.wall_s / alone, 3),
    }


def measure_memory(few: int, many: int) -> dict[str, object]:
    """Measure the memory of the server after few and after many requests."""
    with served() as (port, pid):
        reports = recombined_reports(many)
        taken: dict[int, float] = {}
        done = 0
        for target in (few, many):
            while done < target:
                step = min(1000, target - done)
                asyncio.run(closed_loop(port, [body_of([next(reports)]) for _ in range(step)], CONNECTIONS))
                done += step
            taken[target] = memory_of_tree(pid) / MIB
    return {
        "requests": list(taken),
        "mib": [round(value, 1) for value in taken.values()],
        "growth": round(taken[many] / taken[few] - 1, 4),
    }


def measure_workers(reports: Sequence[Report]) -> dict[str, object] | None:
    """Measure a job by one and by two worker processes of one thread each, on one PostgreSQL queue."""
    if postgres_programs() is None:
        return None
    speeds = {number: _speed_of_workers(reports, number) for number in (1, 2)}
    return {
        "reports": len(reports),
        "reports_per_s": {str(number): round(speed, 1) for number, speed in speeds.items()},
        "two_over_one": round(speeds[2] / speeds[1], 3),
    }


def _speed_of_workers(reports: Sequence[Report], number: int) -> float:
    with postgres_server() as url, TemporaryDirectory(prefix="radlabel-bench-") as folder, ExitStack() as running:
        settings = {**ENCODER, "RADLABEL_DATABASE_URL": url}
        upgrade_database(settings)
        path = Path(folder) / "reports.jsonl"
        with path.open("w", encoding="utf-8") as stream:
            for report in reports:
                stream.write(json.dumps({"report_id": report.report_id, "text": report.text}) + "\n")
        service = Served(Path(folder), environment={**settings, "RADLABEL_JOB_WORKERS": "0"})
        service.start()
        running.callback(service.stop)
        for i in range(number):
            place = Path(folder) / f"worker-{i}"
            place.mkdir()
            worker = Served(place, "jobs", "work", "--name", place.name, "--threads", "1", environment=settings)
            worker.start(wait=False)
            running.callback(worker.stop)
            worker.wait_for_event("ready")
        started = time.perf_counter()
        job = service.upload(path)
        while service.get(f"/v1/jobs/{job}")["state"] not in ("done", "failed"):
            time.sleep(0.1)
        return len(reports) / (time.perf_counter() - started)


def body_of(reports: Sequence[Report]) -> bytes:
    """Return the body of a request that has labels stored."""
    items = [
        {"report_id": r.report_id, "text": r.text, "accession_number": r.accession_number or r.report_id}
        for r in reports
    ]
    return json.dumps({"reports": items, "store": True}).encode()


@contextmanager
def served() -> Iterator[tuple[int, int]]:
    """Run a service of its own, with a new store; give its port and process id once it is ready."""
    with TemporaryDirectory(prefix="radlabel-bench-") as folder:
        service = Served(Path(folder), environment=ENCODER)
        service.start()
        try:
            assert service.process is not None
            yield service.port, service.process.pid
        finally:
            service.stop()


if __name__ == "__main__":
    main()
