"""Outputs in shards: one table to other programs, whole shards kept when a run is stopped."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpora import SourceUnreadable
from nlp_service import batch, chunks
from nlp_service.batch import Progress, label_files
from nlp_service.errors import OutputExists, OutputUnwritable, ResumeMismatch
from tests.nlp_service.invented import SMALL_CHUNKS, environment, invented_rows, write_csv

KILLS = 20 if os.environ.get("RADLABEL_FULL") == "1" else 3
RULES: dict[str, Any] = {"reader": "rules", "jobs": 1}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    monkeypatch.setattr(batch, "usable_cores", lambda: 1)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """Return 250 reports, with two rows that fail."""
    rows: list[tuple[str, ...]] = [*invented_rows(250)]
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


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a run's folder that depend on what was asked, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl.gz"])
def test_shards_together_hold_the_rows_of_the_one_file(tmp_path: Path, reports: Path, suffix: str) -> None:
    whole, folder = tmp_path / f"whole{suffix}", tmp_path / f"shards{suffix}"
    one = label_files([reports], whole, **RULES)
    many = label_files([reports], folder, shard_records=60, **RULES)
    assert many.counts == one.counts
    shards = sorted(path.name for path in folder.glob("shard-*"))
    assert shards == [f"shard-{index:06d}{suffix}" for index in range(5)]
    rejects = [tmp_path / f"{path.name}.rejects.jsonl" for path in (whole, folder)]
    assert rejects[0].read_bytes() == rejects[1].read_bytes()
    if suffix == ".parquet":
        assert pq.read_table(folder).equals(pq.read_table(whole))


def test_manifest_lists_inputs_model_options_and_shards(tmp_path: Path, reports: Path) -> None:
    folder = tmp_path / "labels.parquet"
    summary = label_files([reports], folder, shard_records=100, limit=240, **RULES)
    manifest = json.loads((folder / "_radlabel" / "manifest.json").read_text())
    assert [source["name"] for source in manifest["inputs"]] == ["reports.csv"]
    assert summary.model is not None
    assert manifest["model"]["digest"] == summary.model.digest
    assert manifest["options"]["limit"] == 240
    assert [shard["name"] for shard in manifest["shards"]] == [f"shard-00000{index}.parquet" for index in range(3)]
    assert [sum(shard[kind] for kind in manifest["counts"]) for shard in manifest["shards"]] == [100, 100, 40]
    assert all(len(shard["digest"]) == 64 for shard in manifest["shards"])


def test_finished_shards_are_kept_and_not_made_again(tmp_path: Path, reports: Path) -> None:
    whole, stopped = tmp_path / "whole" / "labels.jsonl", tmp_path / "stopped" / "labels.jsonl"
    for path in (whole, stopped):
        path.parent.mkdir()
    label_files([reports], whole, shard_records=60, **RULES)
    with pytest.raises(Stopped) as error:
        label_files([reports], stopped, shard_records=60, on_progress=stop_after(140), **RULES)
    assert "the shards that are done are kept" in error.value.__notes__[0]
    first = stopped / "shard-000000.jsonl"
    before = first.stat()
    summary = label_files([reports], stopped, shard_records=60, resume=True, **RULES)
    assert summary.progress.resumed == 120
    assert first.stat().st_ino == before.st_ino
    assert contents(stopped) == contents(whole)
    assert label_files([reports], stopped, shard_records=60, resume=True, **RULES).was_complete


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "description"])
def test_damaged_shard_is_found_and_made_again(tmp_path: Path, reports: Path, damage: str) -> None:
    folder = tmp_path / "labels.parquet"
    label_files([reports], folder, shard_records=60, **RULES)
    before = contents(folder)
    shard = folder / "shard-000002.parquet"
    if damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-7])
    elif damage == "changed":
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    elif damage == "gone":
        shard.unlink()
    else:
        (folder / "_radlabel" / "shard-000002.json").write_text("{")
    summary = label_files([reports], folder, shard_records=60, resume=True, **RULES)
    assert summary.progress.resumed == 190
    assert contents(folder) == before


def test_corrupt_input_shard_is_named_and_the_output_is_as_it_was(tmp_path: Path) -> None:
    import pyarrow as pa

    folder = tmp_path / "reports"
    folder.mkdir()
    rows = invented_rows(80)
    for index in range(2):
        part = rows[40 * index : 40 * index + 40]
        table = pa.table({"report_id": [row[0] for row in part], "text": [row[2] for row in part]})
        pq.write_table(table, folder / f"part-{index}.parquet")
    broken = folder / "part-1.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    output = tmp_path / "labels.parquet"
    with pytest.raises(SourceUnreadable, match=r"part-1\.parquet"):
        label_files([folder], output, shard_records=20, **RULES)
    assert not list(tmp_path.rglob("*.tmp"))
    if output.exists():  # what the first shard gave is kept for a run that is resumed
        assert "shards" not in json.loads((output / "_radlabel" / "manifest.json").read_text())


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ("inputs", r"inputs \(reports.csv\)"),
        ("options", r"options \(label_sets\)"),
        ("model", r"model \(name, version, digest\)|model \(digest\)"),
        ("shards", "shards of chunks"),
    ],
)
def test_resume_refuses_what_has_changed_by_name(tmp_path: Path, reports: Path, changed: str, named: str) -> None:
    folder = tmp_path / "labels.csv"
    options = dict(RULES)
    with pytest.raises(Stopped):
        label_files([reports], folder, shard_records=60, on_progress=stop_after(140), **options)
    records = 60
    if changed == "inputs":
        reports.write_bytes(reports.read_bytes() + b"new,NEW,No effusion.\r\n")
    elif changed == "options":
        options["label_sets"] = ["nih14"]
    elif changed == "model":
        own = tmp_path / "own.yaml"
        own.write_text("findings: [{id: own_sign, name: Own sign, synonyms: [sign of our own]}]\n", encoding="utf-8")
        options["vocabulary"] = [own]
    else:
        records = 100
    before = contents(folder)
    with pytest.raises(ResumeMismatch, match=f"other {named}; .* --overwrite"):
        label_files([reports], folder, shard_records=records, resume=True, **options)
    assert contents(folder) == before
    assert label_files([reports], folder, shard_records=records, overwrite=True, **options).progress.resumed == 0


def test_folder_that_is_there_is_neither_mixed_nor_replaced_unasked(tmp_path: Path, reports: Path) -> None:
    folder = tmp_path / "labels.csv"
    with pytest.raises(Stopped):
        label_files([reports], folder, shard_records=60, on_progress=stop_after(140), **RULES)
    with pytest.raises(OutputExists, match="unfinished run is there; go on with --resume"):
        label_files([reports], folder, shard_records=60, **RULES)
    label_files([reports], folder, shard_records=60, overwrite=True, **RULES)
    with pytest.raises(OutputExists, match="is there already, or start over with --overwrite"):
        label_files([reports], folder, shard_records=60, **RULES)
    # Fewer, larger shards leave none of the smaller ones behind.
    label_files([reports], folder, shard_records=200, overwrite=True, **RULES)
    assert len(list(folder.glob("shard-*"))) == 2
    assert len(list((folder / "_radlabel").glob("shard-*"))) == 2


def test_files_of_others_are_left_alone(tmp_path: Path, reports: Path) -> None:
    folder = tmp_path / "labels.csv"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputExists, match="folder with files of others"):
            label_files([reports], folder, shard_records=60, overwrite=overwrite, **RULES)
    (tmp_path / "file.csv").write_text("mine")
    with pytest.raises(OutputUnwritable, match="wants the name of a folder"):
        label_files([reports], tmp_path / "file.csv", shard_records=60, overwrite=True, **RULES)
    assert (folder / "notes.txt").read_text() == (tmp_path / "file.csv").read_text() == "mine"


def test_input_without_reports_gives_one_empty_table(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "reports.csv", [])
    label_files([source], tmp_path / "labels.parquet", shard_records=60, **RULES)
    assert pq.read_table(tmp_path / "labels.parquet").num_rows == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks")
def test_two_runs_do_not_write_one_folder(tmp_path: Path, reports: Path) -> None:
    folder = tmp_path / "labels.csv"
    tried = []

    def second(progress: Progress) -> None:
        if progress.counts.read == 100:
            choices: list[dict[str, Any]] = [{"resume": True}, {"overwrite": True}]
            for again in choices:
                with pytest.raises(OutputExists, match="another run is writing here"):
                    label_files([reports], folder, shard_records=60, **again, **RULES)
                tried.append(again)

    assert label_files([reports], folder, shard_records=60, on_progress=second, **RULES).counts.read == 250
    assert len(tried) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks")
def test_run_that_was_killed_again_and_again_ends_with_the_same_bytes(tmp_path: Path) -> None:
    reports = write_csv(tmp_path / "reports.csv", [*invented_rows(1500), ("r5", "ACC", "again")])
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    label_files([reports], whole, shard_records=40, **RULES)
    script = tmp_path / "run.py"
    script.write_text(SMALL_CHUNKS, encoding="utf-8")
    options = ["--reader", "rules", "--jobs", "1", "--shard-records", "40", "--resume"]
    command = [sys.executable, *map(str, (script, "label", reports, "-o", killed, *options))]
    choose = random.Random(7)
    seen: dict[str, int] = {}
    for _ in range(KILLS):
        process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        wanted = len(seen) + 1
        deadline = time.monotonic() + 120
        while len(list(killed.glob("_radlabel/shard-*.json"))) < wanted and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(choose.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = {
            path.stem: (killed / f"{path.stem}.parquet").stat().st_ino for path in killed.glob("_radlabel/shard-*.json")
        }
        assert seen.items() <= now.items(), "a shard was made twice"
        seen = now
    label_files([reports], killed, shard_records=40, resume=True, **RULES)
    for name, inode in seen.items():
        assert (killed / f"{name}.parquet").stat().st_ino == inode, "a shard was made twice"
    assert contents(killed) == contents(whole)
