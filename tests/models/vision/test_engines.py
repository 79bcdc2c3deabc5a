"""`radlabel vision predict` on the engines: the same bytes, whoever reads the pictures and however many do."""

from __future__ import annotations

import csv
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom import dcmread
from typer.testing import CliRunner

from models.vision.batches import MAX_BATCH_BYTES, Drawn, batches
from models.vision.predict import Wanted
from models.vision.recipe import Task, parse_recipe
from models.vision.sources import Picture, Unreadable
from nlp_service.cli.app import app
from nlp_service.engines import EngineName, EngineOptions
from nlp_service.errors import WorkerMismatch
from nlp_service.vision_work import predict_on
from tests.models.vision.conftest import SIZE, TINY, Phantoms
from tests.models.vision.dicom import write_dicom
from tests.models.vision.test_restoration import SMALL

#: More than two batches, so that several workers have something to do.
COUNT = 36


@pytest.fixture(scope="module")
def models(finding_model: Path, few_phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a model for each form of answer: maps, boxes, masks, pictures."""
    from models.vision.training.train import train

    folder = tmp_path_factory.mktemp("engines")
    recipes: dict[str, dict[str, Any]] = {
        "segmentation": {"task": "segmentation", "epochs": 3, **TINY},
        "detection": {"task": "detection", "epochs": 3, **TINY},
        "denoising": {"task": "denoising", **SMALL, "epochs": 1, "steps": 5},
    }
    for name, recipe in recipes.items():
        train(few_phantoms.open(), parse_recipe(recipe), folder / name, threads=1)
    return {"classification": finding_model, **{name: folder / name for name in recipes}}


@pytest.fixture(scope="module")
def dicom(few_phantoms: Phantoms, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of DICOM files of several sizes, one of them damaged."""
    folder = tmp_path_factory.mktemp("engines") / "dicom"
    for number, (phantom, _) in enumerate(few_phantoms.made[:COUNT]):
        picture = phantom.picture if number % 5 else np.ascontiguousarray(phantom.picture[: SIZE - 4])
        write_dicom(folder / f"{number:02}.dcm", picture)
    damaged = folder / "17.dcm"
    damaged.write_bytes(damaged.read_bytes()[:-900])
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("classification", Wanted(overlays=True, dicom_sr=True)),
        ("detection", Wanted(overlays=True, dicom_sr=True, coco=True, format="jsonl")),
        ("segmentation", Wanted(overlays=True, dicom_seg=True, coco=True)),
        ("denoising", Wanted()),
    ],
)
def test_workers_give_the_bytes_of_this_process(
    task: str, wanted: Wanted, models: dict[str, Path], dicom: Path, tmp_path: Path
) -> None:
    for threads in (1, 2):
        predict_on(None, models[task], dicom, tmp_path / f"here-{threads}", wanted, threads=threads)
    done, _ = predict_on(EngineOptions(workers=2), models[task], dicom, tmp_path / "two", wanted)
    assert (done.pictures, done.rejected) == (COUNT - 1, 1)
    found = files_of(tmp_path / "two")
    assert found == files_of(tmp_path / "here-1") == files_of(tmp_path / "here-2")
    assert b"17.dcm" in found["rejects.csv"]
    assert len(found) > COUNT or task == "detection"


def test_ray_gives_the_bytes_of_the_local_engine(models: dict[str, Path], dicom: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    model, wanted = models["segmentation"], Wanted(overlays=True, dicom_seg=True, coco=True)
    predict_on(None, model, dicom, tmp_path / "here", wanted, threads=1)
    done, _ = predict_on(EngineOptions(EngineName.RAY, 2), model, dicom, tmp_path / "ray", wanted)
    assert (done.pictures, done.rejected) == (COUNT - 1, 1)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "here")


def test_pictures_of_a_data_set_are_read_by_workers_and_damaged_ones_are_rejects(
    few_phantoms: Phantoms, finding_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(few_phantoms.folder, tmp_path / "set")
    broken = sorted((tmp_path / "set" / "images").rglob("*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:200])
    monkeypatch.chdir(tmp_path)
    for name, engine in (("here", None), ("two", EngineOptions(workers=2))):
        done, _ = predict_on(engine, finding_model, Path("set"), tmp_path / name, Wanted())
        assert (done.pictures, done.rejected) == (len(few_phantoms.made) - 1, 1)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "here")


@given(st.lists(st.integers(0, 3), max_size=60), st.sampled_from([*Task]), st.booleans())
def test_batches_hold_every_picture_once_and_are_bounded(sizes: list[int], task: Task, overlays: bool) -> None:
    """Sizes in steps of 12 MiB, of pictures that a server gave; 0 is a file that was not read yet."""
    step = np.zeros((4 * 3 * 2**20,), dtype=np.uint8)
    sources = [
        Unreadable(str(number), "")
        if not size
        else Picture("", str(number), np.broadcast_to(step, (size, step.size)), {})
        for number, size in enumerate(sizes)
    ]
    found = list(batches(sources, task, Drawn(overlays=overlays)))
    assert [source.file for batch in found for source in batch] == [source.file for source in sources]
    for batch in found:
        assert 1 <= len(batch) <= 16
        assert sum(source.pixels.nbytes for source in batch[:-1] if isinstance(source, Picture)) < MAX_BATCH_BYTES


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in ("vision", "predict", *arguments)])
    return result.exit_code, " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "spark"), "'spark' is neither local nor ray"),
        (("--ray-address", "head:6379"), "these are for --engine ray"),
        (("--engine", "ray", "--ray-address", "ADDRESS"), "no Ray cluster answers there ("),
        (("--engine", "ray", "--ray-address", "head"), "an address of Ray is HOST:PORT"),
    ],
)
def test_engine_that_cannot_be_had_is_one_line(
    options: tuple[str, ...], message: str, finding_model: Path, dicom: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = [address if word == "ADDRESS" else word for word in options]
        code, err = run(dicom, "--model", finding_model, "--out", tmp_path / "out", *words)
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_command_has_the_engines(finding_model: Path, dicom: Path, tmp_path: Path) -> None:
    for name, options in (("here", ("--threads", "1")), ("two", ("--engine", "local", "--workers", "2"))):
        code, err = run(dicom, "--model", finding_model, "--out", tmp_path / name, "--format", "jsonl", *options)
        assert code == 1, err  # one picture is damaged
    assert files_of(tmp_path / "two") == files_of(tmp_path / "here")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a path that means something to one process alone")
def test_pictures_that_workers_do_not_have_are_an_error(
    finding_model: Path, few_phantoms: Phantoms, tmp_path: Path
) -> None:
    """A worker whose machine lacks the files must not make rejects of them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (phantom, _) in enumerate(few_phantoms.made[:3]):
        Image.fromarray(phantom.picture).save(folder / f"{number}.png")
    opened = os.open(folder, os.O_RDONLY)
    mine = Path(f"/proc/self/fd/{opened}")  # no path of another process
    try:
        assert predict_on(None, finding_model, mine, tmp_path / "here", Wanted())[0].pictures == 3
        with pytest.raises(
            WorkerMismatch, match=r"0\.png: a worker cannot read .*a file system that all machines share"
        ):
            predict_on(EngineOptions(workers=2), finding_model, mine, tmp_path / "out", Wanted())
    finally:
        os.close(opened)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "pictures"]


def test_image_that_can_have_no_segmentation_is_listed_and_loses_nothing_else(
    models: dict[str, Path], few_phantoms: Phantoms, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        source = write_dicom(tmp_path / "dicom" / f"{name}.dcm", few_phantoms.made[0][0].picture)
    dataset = dcmread(source)
    del dataset.PatientID
    dataset.save_as(source)
    for name, engine in (("here", None), ("worker", EngineOptions(workers=1))):
        out = tmp_path / name
        wanted = Wanted(dicom_seg=True, dicom_sr=True)
        done, _ = predict_on(engine, models["segmentation"], source.parent, out, wanted)
        assert (done.pictures, done.rejected) == (2, 1)
        assert len(list((out / "seg").iterdir())) == 1
        assert len(list((out / "sr").iterdir())) == 2  # a structured report needs no patient
        with (out / "rejects.csv").open(encoding="utf-8", newline="") as stream:
            [reject] = csv.DictReader(stream)
        assert reject["file"] == "b.dcm"
        assert "is its header complete" in reject["reason"]
    assert files_of(tmp_path / "worker") == files_of(tmp_path / "here")
