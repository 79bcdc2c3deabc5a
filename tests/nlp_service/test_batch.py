"""The batch run: the same bytes however it came about, and nothing lost where it was stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora import Report, SourceUnreadable
from nlp_service import batch, chunks
from nlp_service.batch import Progress, RunSummary, label_files, usable_cores
from nlp_service.chunks import Chunk, Input, Reject, iter_chunks
from nlp_service.engines.local_pool import LocalPool
from nlp_service.errors import OutputExists, OutputUnusable, OutputUnwritable, ResumeMismatch, WorkerDied
from nlp_service.work import Counts, WorkPlan
from tests.nlp_service.invented import SMALL_CHUNKS, environment, invented_rows, write_csv

SUFFIXES = (".csv", ".jsonl", ".parquet", ".csv.gz")
PLAN = WorkPlan(("chexpert14",), (), ".jsonl", False, reader="rules")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs that do not ask for more stay in this process: starting others takes longer than the tests' reports."""
    monkeypatch.setattr(batch, "usable_cores", lambda: 1)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Return 200 reports, with two rows that fail."""
    rows: list[tuple[str, ...]] = [*invented_rows(200)]
    rows[33] = rows[12]
    rows[150] = ("too", "few")
    return write_csv(tmp_path / "reports.csv", rows)


class Stopped(BaseException):
    """What stops a run in the middle, as Ctrl-C does."""


def stop_after(records: int) -> Any:
    def look(progress: Progress) -> None:
        if progress.counts.read >= records:
            raise Stopped

    return look


def files_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_resumed_run_has_the_bytes_of_an_uninterrupted_one(tmp_path: Path, reports: Path, suffix: str) -> None:
    whole, resumed = tmp_path / f"whole{suffix}", tmp_path / f"resumed{suffix}"
    first = label_files([reports], whole)
    assert first.counts == Counts(ok=161, no_text=20, not_applicable=17, rejected=2)
    with pytest.raises(Stopped) as stopped:
        label_files([reports], resumed, on_progress=stop_after(100))
    assert "go on with --resume" in stopped.value.__notes__[0]
    assert not resumed.exists()
    second = label_files([reports], resumed, resume=True)
    assert resumed.read_bytes() == whole.read_bytes()
    assert second.counts == first.counts
    assert second.progress.resumed == 100
    rejects = [tmp_path / f"{output.name}.rejects.jsonl" for output in (whole, resumed)]
    assert rejects[0].read_bytes() == rejects[1].read_bytes()
    assert files_in(tmp_path) == sorted(["reports.csv", whole.name, resumed.name, *(path.name for path in rejects)])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, reports: Path, suffix: str) -> None:
    outputs = []
    for jobs in (1, 3):
        outputs.append(tmp_path / f"{jobs}{suffix}")
        label_files([reports], outputs[-1], jobs=jobs)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_run_is_resumed_to_the_same_bytes(tmp_path: Path, suffix: str, jobs: int) -> None:
    reports = write_csv(tmp_path / "reports.csv", [*invented_rows(600), ("r5", "ACC", "again")])
    whole, killed = tmp_path / f"whole{suffix}", tmp_path / f"killed{suffix}"
    label_files([reports], whole)
    part = tmp_path / f"{killed.name}.part"
    script = tmp_path / "run.py"
    script.write_text(SMALL_CHUNKS, encoding="utf-8")
    command = [sys.executable, *map(str, (script, "label", reports, "-o", killed, "--jobs", jobs))]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL, start_new_session=True)
    wanted = random.randrange(1, 20)
    deadline = time.monotonic() + 60
    while len(list(part.glob("chunk-??????"))) < wanted:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not killed.exists()
    wait_until_gone(process.pid)
    summary = label_files([reports], killed, resume=True, jobs=jobs)
    assert summary.progress.resumed >= wanted * 20
    assert killed.read_bytes() == whole.read_bytes()
    assert not part.exists()


def wait_until_gone(group: int) -> None:
    """Wait for the end of all processes that the killed one had started; none may outlive it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail("a worker has outlived the run that was killed")


@pytest.mark.parametrize(
    ("changed", "named"),
    [("inputs", r"inputs \(reports.csv\)"), ("options", r"options \(label_sets\)"), ("model", r"model \(digest\)")],
)
def test_resume_refuses_what_has_changed(tmp_path: Path, reports: Path, changed: str, named: str) -> None:
    output = tmp_path / "labels.csv"
    with pytest.raises(Stopped):
        label_files([reports], output, on_progress=stop_after(40))
    options: dict[str, Any] = {}
    if changed == "inputs":
        reports.write_bytes(reports.read_bytes() + b"new,NEW,No effusion.\r\n")
    elif changed == "options":
        options["label_sets"] = ["nih14"]
    else:
        own = tmp_path / "own.yaml"
        own.write_text("findings: [{id: own_sign, name: Own sign, synonyms: [sign of our own]}]\n", encoding="utf-8")
        options["vocabulary"] = [own]
    with pytest.raises(ResumeMismatch, match=f"other {named}; .* --overwrite"):
        label_files([reports], output, resume=True, **options)
    assert (tmp_path / "labels.csv.part").is_dir()
    assert label_files([reports], output, overwrite=True, **options).progress.resumed == 0


def test_unfinished_run_is_neither_forgotten_nor_mixed(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.csv"
    with pytest.raises(Stopped):
        label_files([reports], output, on_progress=stop_after(40))
    with pytest.raises(OutputExists, match=r"--resume.*--overwrite"):
        label_files([reports], output)
    assert label_files([reports], output, overwrite=True).progress.resumed == 0


def test_complete_output_is_not_made_again(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.csv"
    label_files([reports], output)
    before = output.stat().st_mtime_ns
    assert label_files([reports], output, resume=True).was_complete
    assert output.stat().st_mtime_ns == before
    with pytest.raises(OutputExists, match="--overwrite"):
        label_files([reports], output)
    assert label_files([reports], output, overwrite=True).counts.read == 200


def test_run_stopped_while_tidying_up_counts_as_complete(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.csv"
    label_files([reports], output)
    part = tmp_path / "labels.csv.part"
    part.mkdir()
    (part / "chunk-000003").write_bytes(b"{}\n")
    assert label_files([reports], output, resume=True).was_complete
    assert not part.exists()


def test_damaged_chunk_is_labeled_again(tmp_path: Path, reports: Path) -> None:
    whole, resumed = tmp_path / "whole.jsonl", tmp_path / "resumed.jsonl"
    label_files([reports], whole)
    with pytest.raises(Stopped):
        label_files([reports], resumed, on_progress=stop_after(60))
    chunk = tmp_path / "resumed.jsonl.part" / "chunk-000001"
    chunk.write_bytes(chunk.read_bytes()[:-10])
    assert label_files([reports], resumed, resume=True).progress.resumed == 40
    assert resumed.read_bytes() == whole.read_bytes()


def test_files_of_others_in_the_part_folder_are_left_alone(tmp_path: Path, reports: Path) -> None:
    part = tmp_path / "labels.csv.part"
    part.mkdir()
    (part / "notes.txt").write_text("mine")
    label_files([reports], tmp_path / "labels.csv")
    assert files_in(part) == ["notes.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks")
def test_two_runs_do_not_write_one_output(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.csv"

    def second(progress: Progress) -> None:
        if progress.counts.read == 40:
            with pytest.raises(OutputExists, match="another run is writing here"):
                label_files([reports], output, resume=True)

    assert label_files([reports], output, on_progress=second).counts.read == 200


def test_failed_run_leaves_the_output_that_was_there(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.csv"
    output.write_text("of yesterday")
    with pytest.raises(Stopped):
        label_files([reports], output, overwrite=True, on_progress=stop_after(20))
    assert output.read_text() == "of yesterday"
    label_files([reports], output, resume=True)
    assert output.read_text() != "of yesterday"


def test_nothing_is_left_where_nothing_was_done(tmp_path: Path) -> None:
    source = tmp_path / "reports.csv"
    source.write_text("")
    with pytest.raises(SourceUnreadable):
        label_files([source], tmp_path / "labels.csv")
    assert files_in(tmp_path) == ["reports.csv"]


def test_reject_file_is_written_if_there_are_rejects_or_it_was_named(tmp_path: Path, reports: Path) -> None:
    output, named = tmp_path / "labels.csv", tmp_path / "failed.jsonl"
    assert label_files([reports], output).reject_file == tmp_path / "labels.csv.rejects.jsonl"
    assert label_files([reports], output, limit=20, overwrite=True).reject_file is None
    assert not (tmp_path / "labels.csv.rejects.jsonl").exists(), "of the output that was replaced"
    assert label_files([reports], output, limit=20, overwrite=True, reject_file=named).reject_file == named
    assert named.read_bytes() == b""
    with pytest.raises(OutputExists, match=r"failed\.jsonl: is there already"):
        label_files([reports], tmp_path / "other.csv", reject_file=named)


def test_rejects_say_where_and_why(tmp_path: Path, reports: Path) -> None:
    output = tmp_path / "labels.jsonl"
    label_files([reports], output, keep_errors=True)
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl.rejects.jsonl").read_text().splitlines()]
    assert lines == [
        {
            "source": "reports.csv",
            "row": 34,
            "report_id": "r12",
            "field": "report_id",
            "reason": "has the report id of row 13, which was taken",
        },
        {
            "source": "reports.csv",
            "row": 151,
            "report_id": None,
            "field": None,
            "reason": "has 2 cells where the header has 3",
        },
    ]
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 200
    kept = [
        (index, row["report_id"], row["accession_number"]) for index, row in enumerate(rows) if row["status"] == "error"
    ]
    assert kept == [(33, "r12", "ACC000012"), (150, None, None)]


def test_every_id_and_accession_number_is_passed_through_in_order(tmp_path: Path) -> None:
    rows = invented_rows(95)
    output = tmp_path / "labels.parquet"
    label_files([write_csv(tmp_path / "reports.csv", rows)], output)
    table = pq.read_table(output, columns=["report_id", "accession_number"]).to_pylist()
    assert [(row["report_id"], row["accession_number"]) for row in table] == [row[:2] for row in rows]


def test_duplicates_are_found_across_files_of_one_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_csv(tmp_path / name / "reports.csv", invented_rows(3))
    summary = label_files([tmp_path / "a", tmp_path / "b" / "reports.csv"], tmp_path / "labels.csv")
    assert summary.counts.rejected == 3
    first = json.loads((tmp_path / "labels.csv.rejects.jsonl").read_text().splitlines()[0])
    assert first["source"] == str(tmp_path / "b" / "reports.csv")
    assert first["reason"] == f"has the report id of row 1 of {tmp_path / 'a' / 'reports.csv'}, which was taken"


def test_row_numbers_count_by_file_in_a_folder_of_tables(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    folder.mkdir()
    write_csv(folder / "1.csv", invented_rows(3))
    write_csv(folder / "2.csv", [("x", "", "Clear."), ("r1", "", "Clear.")])
    label_files([folder], tmp_path / "labels.csv")
    reject = json.loads((tmp_path / "labels.csv.rejects.jsonl").read_text())
    assert (reject["source"], reject["row"]) == ("2.csv", 2)
    assert reject["reason"] == "has the report id of row 2 of 1.csv, which was taken"


def test_output_must_be_none_of_the_inputs(tmp_path: Path, reports: Path) -> None:
    before = reports.read_bytes()
    with pytest.raises(OutputUnusable, match="is one of the inputs"):
        label_files([reports], reports, overwrite=True)
    with pytest.raises(OutputUnusable, match="is one of the inputs"):
        label_files([reports], tmp_path / "labels.csv", reject_file=reports, overwrite=True)
    with pytest.raises(OutputUnusable, match="two of output, reject file and review file"):
        label_files([reports], tmp_path / "labels.csv", reject_file=tmp_path / "labels.csv")
    assert reports.read_bytes() == before


def test_link_stays_a_link(tmp_path: Path, reports: Path) -> None:
    (tmp_path / "results").mkdir()
    link = tmp_path / "labels.csv"
    link.symlink_to(tmp_path / "results" / "labels.csv")
    label_files([reports], link)
    assert link.is_symlink()
    assert (tmp_path / "results" / "labels.csv").is_file()


def test_limit_reads_no_further(tmp_path: Path, reports: Path) -> None:
    assert label_files([reports], tmp_path / "labels.csv", limit=33).counts.read == 33
    assert label_files([reports], tmp_path / "none.csv", limit=0).counts.read == 0


def test_progress_grows_to_the_summary(tmp_path: Path, reports: Path) -> None:
    seen: list[Progress] = []
    summary: RunSummary = label_files([reports], tmp_path / "labels.csv", on_progress=seen.append, jobs=2)
    counts = [progress.counts.read for progress in seen]
    assert counts == sorted(counts)
    assert seen[-1] == summary.progress
    assert summary.progress.reports_per_s > 0


def test_worker_that_dies_is_an_error_and_the_run_can_be_resumed(
    tmp_path: Path, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools: list[LocalPool[Any, Any]] = []
    begin = LocalPool.__enter__

    def remember(pool: LocalPool[Any, Any]) -> LocalPool[Any, Any]:
        pools.append(pool)
        return begin(pool)

    def kill_a_worker(progress: Progress) -> None:
        if progress.counts.read == 60:
            for process in pools[0].processes:
                os.kill(process, signal.SIGKILL)

    monkeypatch.setattr(LocalPool, "__enter__", remember)
    output = tmp_path / "labels.csv"
    with pytest.raises(WorkerDied, match="SIGKILL; the system may have run out of memory") as died:
        label_files([reports], output, jobs=2, on_progress=kill_a_worker)
    assert "--resume" in died.value.__notes__[0]
    assert label_files([reports], output, resume=True).counts.read == 200


def test_fault_in_a_worker_names_kind_and_place_alone() -> None:
    with LocalPool(WorkPlan(("chexpert14",), (), ".unknown", False), 1) as pool, pytest.raises(WorkerDied) as failed:
        list(pool.map([Chunk(0, ())]))
    assert str(failed.value).startswith("a worker process failed with KeyError in nlp_service.writers, line ")


def test_results_of_processes_come_in_order() -> None:
    def sized(index: int) -> Chunk:
        # The first of each three has most to do.
        text = "Small left pleural effusion. " * (300 if index % 3 == 0 else 1)
        return Chunk(index, ((chunks.Origin("a", index), Report(f"r{index}", text)),))

    with LocalPool(replace(PLAN, identity=PLAN.labeler().identity), 3) as pool:
        assert [result.index for result in pool.map(map(sized, range(20)))] == list(range(20))


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 60), max_size=30),
    records=st.integers(1, 10),
    characters=st.integers(1, 100),
)
def test_chunks_hold_every_record_once_and_are_bounded(sizes: list[int], records: int, characters: int) -> None:
    found = [Report(f"r{number}", "x" * size) for number, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_RECORDS", records)
        patch.setattr(chunks, "CHUNK_CHARACTERS", characters)
        patch.setattr(chunks, "iter_records", lambda *_, **__: iter(found))
        cut = list(iter_chunks([Input(Path("a.csv"), "a.csv", "csv")]))
    assert [chunk.index for chunk in cut] == list(range(len(cut)))
    assert [item[1] for chunk in cut for item in chunk.items if not isinstance(item, Reject)] == found
    for chunk in cut:
        lengths = [len(item[1].text) for item in chunk.items if not isinstance(item, Reject)]
        assert len(lengths) <= records
        assert sum(lengths[:-1]) < characters


@settings(max_examples=30)
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5) | st.sampled_from([1024, 2048, 4096]), max_size=3000))
def test_table_of_places_is_a_dictionary(digests: list[int]) -> None:
    table, expected = chunks._Places(), dict[int, int]()
    for place, digest in enumerate(digests, start=1):
        assert table.setdefault(digest, place) == expected.setdefault(digest or 1, place)


def test_parquet_is_written_in_row_groups(tmp_path: Path, reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nlp_service.writers.ROW_GROUP_ROWS", 50)
    label_files([reports], tmp_path / "labels.parquet")
    metadata = pq.ParquetFile(tmp_path / "labels.parquet").metadata
    groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert groups == [59, 60, 59, 20]


def test_cores_bound_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert usable_cores() == batch.MAX_DEFAULT_JOBS


def test_folder_of_the_output_must_exist(tmp_path: Path, reports: Path) -> None:
    with pytest.raises(OutputUnwritable, match="is no folder"):
        label_files([reports], tmp_path / "missing" / "labels.csv")
