"""The index of a folder: what it holds, and what a second scan does with files that are new, changed or gone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydicom import dcmread

from corpora.errors import SourceUnreadable
from corpora.imaging import dicom_file, dicom_folder, index_table
from corpora.imaging.dicom_folder import ScanProgress, index_folder
from corpora.imaging.index_table import SCHEMA, IndexInfo, read_index, read_info, unreadable_path
from tests.corpora.imaging.making import make_dataset, write


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for study in range(4):
        for image in range(3):
            write(folder / f"study {study}" / f"{image}.dcm", make_dataset(uid=f"1.2.{study}.{image}"))
    return folder


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files whose headers are read, as it happens."""
    names: list[str] = []
    real = dicom_file.read_file_header

    def noted(path: str | Path, file: str, *stamp: int) -> dict[str, Any]:
        names.append(file)
        return real(path, file, *stamp)

    monkeypatch.setattr(dicom_file, "read_file_header", noted)
    return names


def files_of(index: Path) -> list[str]:
    return [str(file) for file in read_index(index)["file"].to_pylist()]


def test_row_holds_what_the_header_says(tmp_path: Path) -> None:
    made = make_dataset(
        uid="1.2.3",
        PatientSex="F",
        Manufacturer="Größe & Co",
        BodyPartExamined="CHEST",
        PixelSpacing=["0.2", "0.1"],
        PatientOrientation=["L", "F"],
        ImageLaterality="U",
        BurnedInAnnotation="NO",
        StudyTime="101112",
    )
    write(tmp_path / "tree" / "sub" / "x", made)
    info = index_folder(tmp_path / "tree", tmp_path / "index.parquet")
    assert info == IndexInfo(root=str(tmp_path / "tree"), seen=1)
    (row,) = read_index(tmp_path / "index.parquet").to_pylist()
    assert row["image_id"] == row["sop_instance_uid"] == "1.2.3"
    assert (row["source"], row["file"]) == ("dicom", "sub/x")
    assert (row["patient_id"], row["accession_number"]) == (made.PatientID, made.AccessionNumber)
    assert (row["study_date"], row["study_time"]) == (date(2026, 1, 31), "101112")
    assert (row["view"], row["laterality"], row["patient_orientation"]) == ("PA", "U", "L\\F")
    assert (row["rows"], row["columns"], row["bits_stored"]) == (16, 24, 8)
    assert (row["row_spacing_mm"], row["column_spacing_mm"]) == (0.2, 0.1)
    assert (row["patient_sex"], row["patient_age_years"]) == ("F", 45.0)
    assert (row["manufacturer"], row["burned_in_annotation"]) == ("Größe & Co", False)
    assert row["transfer_syntax_uid"] == "1.2.840.10008.1.2.1"
    assert row["size_bytes"] == (tmp_path / "tree" / "sub" / "x").stat().st_size
    assert (row["boxes"], row["mask_file"], row["split"]) == (None, None, None)


def test_index_is_in_the_schema_that_the_documentation_gives(tree: Path, tmp_path: Path, repository: Path) -> None:
    index_folder(tree, tmp_path / "index.parquet")
    assert pq.read_schema(tmp_path / "index.parquet").remove_metadata() == SCHEMA
    page = (repository / "docs" / "images.md").read_text(encoding="utf-8")
    assert [name for name in SCHEMA.names if f"`{name}`" not in page] == []


def test_unchanged_tree_is_not_read_again_and_its_index_left_alone(
    tree: Path, tmp_path: Path, read_files: list[str]
) -> None:
    index = tmp_path / "index.parquet"
    first = index_folder(tree, index)
    assert len(read_files) == 12
    before = index.stat()
    read_files.clear()
    seen: list[ScanProgress] = []
    assert index_folder(tree, index, on_progress=seen.append) == first
    assert read_files == []
    assert seen[-1] == ScanProgress(seen=12, images=12, unchanged=12)
    assert (index.stat().st_ino, index.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_only_new_and_changed_files_are_read_and_gone_ones_leave(
    tree: Path, tmp_path: Path, read_files: list[str]
) -> None:
    index = tmp_path / "index.parquet"
    index_folder(tree, index)
    read_files.clear()
    (tree / "study 0" / "0.dcm").unlink()
    write(tree / "study 1" / "1.dcm", make_dataset(uid="1.2.1.1", PatientSex="O"))
    write(tree / "study 2" / "00 new.dcm", make_dataset(uid="1.2.2.9"))
    write(tree / "study 9" / "0.dcm", make_dataset(uid="1.2.9.0"))
    info = index_folder(tree, index)
    assert read_files == ["study 1/1.dcm", "study 2/00 new.dcm", "study 9/0.dcm"]
    assert info.images == 13
    index_folder(tree, tmp_path / "fresh.parquet")
    assert index.read_bytes() == (tmp_path / "fresh.parquet").read_bytes()
    sexes = dict(zip(files_of(index), read_index(index)["patient_sex"].to_pylist(), strict=True))
    assert sexes["study 1/1.dcm"] == "O"


@pytest.mark.parametrize("seed", range(12))
def test_tree_that_changes_at_random_is_indexed_as_if_it_were_new(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Pieces as small as can be, so that every border between them is met.
    monkeypatch.setattr(index_table, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(dicom_folder, "FILES_PER_CHUNK", 2)
    chance = random.Random(seed)
    tree, index, fresh = tmp_path / "tree", tmp_path / "index.parquet", tmp_path / "fresh.parquet"
    names = [f"{folder}{number}.dcm" for folder in ("", "a/", "a b/", "c/d/") for number in range(5)]
    tree.mkdir()
    for step in range(5):
        for name in chance.sample(names, chance.choice((0, 1, 3, len(names)))):
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            match chance.choice(("gone", "broken", "other", "image", "image", "image")):
                case "gone":
                    path.unlink(missing_ok=True)
                case "broken":
                    path.write_bytes(b"\0" * chance.randrange(1, 200))
                case "other":
                    path.with_suffix(".txt").write_text("notes " * 40)
                case _:
                    write(path, make_dataset(uid=f"1.2.{step}.{names.index(name)}", StudyTime=f"{step:06d}"))
        info = index_folder(tree, index, processes=1)
        assert info == index_folder(tree, fresh, processes=1, refresh=False) == read_info(index)
        assert index.read_bytes() == fresh.read_bytes()
        assert unreadable_path(index).read_bytes() == unreadable_path(fresh).read_bytes()


def test_file_that_breaks_leaves_and_one_that_is_mended_comes_back(tree: Path, tmp_path: Path) -> None:
    index, victim = tmp_path / "index.parquet", tree / "study 3" / "2.dcm"
    index_folder(tree, index)
    whole = victim.read_bytes()
    victim.write_bytes(whole[:300])
    assert index_folder(tree, index).unreadable == 1
    assert "study 3/2.dcm" in unreadable_path(index).read_text(encoding="utf-8")
    assert "study 3/2.dcm" not in files_of(index)
    assert index_folder(tree, index).unreadable == 1
    victim.write_bytes(whole)
    assert index_folder(tree, index).unreadable == 0
    assert "study 3/2.dcm" in files_of(index)
    assert unreadable_path(index).read_text(encoding="utf-8").splitlines() == ["file,reason"]


def test_full_scan_reads_everything_again(tree: Path, tmp_path: Path, read_files: list[str]) -> None:
    index_folder(tree, tmp_path / "index.parquet")
    read_files.clear()
    index_folder(tree, tmp_path / "index.parquet", refresh=False)
    assert len(read_files) == 12


def test_index_of_another_root_is_no_source_of_rows(tree: Path, tmp_path: Path, read_files: list[str]) -> None:
    index_folder(tree, tmp_path / "index.parquet")
    read_files.clear()
    copy = shutil.copytree(tree, tmp_path / "copy")
    assert index_folder(copy, tmp_path / "index.parquet").root == str(copy)
    assert len(read_files) == 12


def test_number_of_processes_does_not_change_a_byte(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "study 1" / "broken.dcm").write_bytes(b"\0" * 200)
    (tree / "study 2" / "notes.txt").write_text("no image, and longer than a preamble " * 5)
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    index_folder(tree, one, processes=1)
    monkeypatch.setattr(dicom_folder, "FILES_WORTH_A_PROCESS", 1)
    monkeypatch.setattr(dicom_folder, "FILES_PER_CHUNK", 2)
    info = index_folder(tree, two, processes=2)
    assert (info.images, info.not_images, info.unreadable) == (12, 1, 1)
    assert one.read_bytes() == two.read_bytes()
    assert unreadable_path(one).read_bytes() == unreadable_path(two).read_bytes()
    # A few changes among many files that stay, in pieces as small as can be.
    write(tree / "study 2" / "1.dcm", make_dataset(uid="1.2.2.1", PatientSex="M"))
    for index, processes in ((one, 1), (two, 2)):
        index_folder(tree, index, processes=processes)
    assert one.read_bytes() == two.read_bytes()
    assert read_index(one)["patient_sex"].to_pylist().count("M") == 1


def test_order_is_that_of_the_parts_of_names(tmp_path: Path) -> None:
    for number, name in enumerate(("a.dcm", "a/z.dcm", "a b/x.dcm", "b.dcm", "a-1.dcm")):
        write(tmp_path / "tree" / name, make_dataset(uid=f"1.2.{number}"))
    index = tmp_path / "index.parquet"
    index_folder(tmp_path / "tree", index)
    assert files_of(index) == ["a/z.dcm", "a b/x.dcm", "a-1.dcm", "a.dcm", "b.dcm"]
    assert index_folder(tmp_path / "tree", index).images == 5


def test_links_are_followed_and_lead_to_no_loop(tree: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "x.dcm", make_dataset(uid="1.2.77"))
    (tree / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tree / "one.dcm").symlink_to(tmp_path / "elsewhere" / "x.dcm")
    (tmp_path / "elsewhere" / "back").symlink_to(tree, target_is_directory=True)
    (tree / "study 0" / "here").symlink_to(tree / "study 0", target_is_directory=True)
    info = index_folder(tree, tmp_path / "index.parquet")
    assert info.images == 14
    listed = unreadable_path(tmp_path / "index.parquet").read_text(encoding="utf-8")
    assert [line.partition(",")[0] for line in listed.splitlines()[1:]] == ["linked/back", "study 0/here"]


def test_index_inside_the_tree_is_not_seen_by_its_next_scan(tree: Path) -> None:
    assert index_folder(tree, tree / "index.parquet").seen == 12
    assert index_folder(tree, tree / "index.parquet").seen == 12


def test_what_is_no_index_is_not_overwritten(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.parquet").write_bytes(b"years of work")
    with pytest.raises(SourceUnreadable, match="cannot be read as Parquet"):
        index_folder(tree, tmp_path / "thesis.parquet")
    pq.write_table(pq.read_table(_index(tree, tmp_path)).replace_schema_metadata(), tmp_path / "other.parquet")
    with pytest.raises(SourceUnreadable, match="is not an image index"):
        index_folder(tree, tmp_path / "other.parquet")
    with pytest.raises(SourceUnreadable, match="is no folder"):
        index_folder(tree / "study 0" / "0.dcm", tmp_path / "index.parquet")


def _index(tree: Path, tmp_path: Path) -> Path:
    index_folder(tree, tmp_path / "index.parquet")
    return tmp_path / "index.parquet"


def test_empty_folder_gives_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    index_folder(tmp_path / "tree", tmp_path / "index.parquet")
    assert read_index(tmp_path / "index.parquet").num_rows == 0
    assert read_index(tmp_path / "index.parquet", ["file"]).column_names == ["file"]
    assert read_info(tmp_path / "index.parquet").images == 0


def test_stopped_scan_leaves_what_was_there(tree: Path, tmp_path: Path) -> None:
    index = _index(tree, tmp_path)
    before = index.read_bytes()
    os.mkfifo(tree / "aaa.dcm")  # listed, not opened
    write(tree / "zz.dcm", make_dataset())

    def stop(_: ScanProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_folder(tree, index, processes=1, on_progress=stop)
    assert index.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_scan_ended_by_a_signal_tidies_up(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    first = write(tree / "0.dcm", make_dataset())
    for number in range(1, 30_000):
        os.link(first, tree / f"{number}.dcm")
    output = tmp_path / "out" / "index.parquet"
    output.parent.mkdir()
    command = [sys.executable, "-m", "nlp_service", "images", "index", str(tree), "-o", str(output), "--processes", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 60
            while not any(output.parent.iterdir()) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[0] == "error: stopped by SIGTERM"
    assert list(output.parent.iterdir()) == []


def test_index_agrees_with_pydicom_on_real_radiographs(radiographs: Path, tmp_path: Path) -> None:
    index_folder(radiographs, tmp_path / "index.parquet")
    rows = read_index(tmp_path / "index.parquet").to_pylist()
    assert len(rows) >= 48
    for row in rows:
        header = dcmread(radiographs / row["file"], stop_before_pixels=True)
        assert row["accession_number"] == header.AccessionNumber
        assert row["patient_id"] == header.PatientID
        assert row["sop_instance_uid"] == header.SOPInstanceUID
        assert row["study_date"].strftime("%Y%m%d") == header.StudyDate
        assert (row["rows"], row["columns"]) == (header.Rows, header.Columns)
        assert row["photometric_interpretation"] == header.PhotometricInterpretation
