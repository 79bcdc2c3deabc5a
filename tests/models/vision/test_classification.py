"""Findings from study labels and region hints: what is learned, and that a model is the same wherever it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora.dataset.folder import open_dataset
from models.vision.errors import DatasetUnfit, RunMismatch, VisionModelInvalid
from models.vision.evaluate import evaluate
from models.vision.folder import GRAPH, WEIGHTS, read_manifest
from models.vision.pictures import squeeze, to_input
from models.vision.recipe import Classification
from models.vision.runtime import VisionModel
from models.vision.training.loop import Progress
from models.vision.training.network import make_network
from models.vision.training.train import run_folder, train
from tests.models.vision.conftest import SIZE, Phantoms, recipe
from tests.models.vision.folders import PHANTOM_LABELS, write_folder

TOLERANCE = 1e-4  # of logits, between torch and onnxruntime


def test_maps_light_up_where_the_report_says(loaded: VisionModel, phantoms: Phantoms) -> None:
    facts = evaluate(loaded, phantoms.open(), "test", resamples=20)
    assert facts["hints"]["findings"] > 40
    assert facts["hints"]["side"] >= 0.98
    assert facts["hints"]["region"] >= 0.9


def test_findings_are_told_apart(loaded: VisionModel, phantoms: Phantoms) -> None:
    facts = evaluate(loaded, phantoms.open(), "test", resamples=20)
    assert facts["rows"] == sum(row.split == "test" for _, row in phantoms.made)
    assert {label["label"] for label in facts["labels"]} == set(PHANTOM_LABELS.values())
    assert facts["mean_AUROC"] > 0.85
    for label in facts["labels"]:
        assert label["AUROC"]["low"] <= label["AUROC"]["value"] <= label["AUROC"]["high"]


def test_graph_gives_what_the_network_gives(finding_model: Path, phantoms: Phantoms) -> None:
    from safetensors.torch import load_file

    manifest = read_manifest(finding_model)
    assert isinstance(manifest.recipe, Classification)
    network = make_network(manifest.recipe, len(manifest.labels), pretrained=False)
    network.load_state_dict(load_file(finding_model / WEIGHTS))
    network.eval()
    pictures = to_input(np.stack([squeeze(phantom.picture, SIZE) for phantom, _ in phantoms.made[:5]]))
    with torch.inference_mode():
        expected = network(torch.from_numpy(pictures))
    for found, wanted in zip(VisionModel(finding_model, threads=1).run(pictures), expected, strict=True):
        np.testing.assert_allclose(found, wanted.numpy(), atol=TOLERANCE)


def test_batch_mates_change_nothing(loaded: VisionModel, phantoms: Phantoms) -> None:
    pictures = [phantom.picture for phantom, _ in phantoms.made[:20]]
    together = loaded.classify(pictures)
    for index in (0, 7, 19):
        alone = loaded.classify([pictures[index]])
        np.testing.assert_allclose(alone.logits[0], together.logits[index], atol=1e-5)
        np.testing.assert_allclose(alone.maps[0], together.maps[index], atol=1e-5)


def test_mirror_image_has_mirrored_maps(loaded: VisionModel, phantoms: Phantoms) -> None:
    picture = phantoms.made[3][0].picture
    scores = loaded.classify([picture, np.ascontiguousarray(picture[:, ::-1])])
    np.testing.assert_allclose(scores.logits[0], scores.logits[1], atol=1e-4)
    np.testing.assert_allclose(scores.maps[0], scores.maps[1][..., ::-1], atol=1e-4)


def test_stopped_run_goes_on_to_the_same_weights(few_phantoms: Phantoms, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.epoch == 2 and progress.measures is None:
            raise Stopped

    short = recipe(epochs=3)
    train(few_phantoms.open(), short, tmp_path / "whole", threads=1)
    with pytest.raises(Stopped):
        train(few_phantoms.open(), short, tmp_path / "parts", on_progress=stop, threads=1)
    assert not (tmp_path / "parts").exists()
    train(few_phantoms.open(), short, tmp_path / "parts", threads=1)
    whole, parts = (read_manifest(tmp_path / name).digests for name in ("whole", "parts"))
    assert whole[WEIGHTS] == parts[WEIGHTS]
    assert whole[GRAPH] == parts[GRAPH]


def test_run_of_another_recipe_is_refused(few_phantoms: Phantoms, tmp_path: Path) -> None:
    out = tmp_path / "model"
    train(few_phantoms.open(), recipe(epochs=1), out, threads=1)
    with pytest.raises(RunMismatch, match="exists"):
        train(few_phantoms.open(), recipe(epochs=1), out, threads=1)
    out.rename(tmp_path / "elsewhere")
    assert run_folder(out).is_dir()
    with pytest.raises(RunMismatch, match="another recipe"):
        train(few_phantoms.open(), recipe(epochs=2), out, threads=1)


def test_test_rows_are_never_read(few_phantoms: Phantoms, tmp_path: Path) -> None:
    """Pictures of the split test are taken away: training does not notice."""
    rows = [row for _, row in few_phantoms.made]
    folder = tmp_path / "data"
    folder.mkdir()
    write_folder(folder, rows, sorted(PHANTOM_LABELS.values()))
    for row in open_dataset(folder).table(split="test").to_pylist():
        (folder / row["file"]).unlink()
    manifest = train(open_dataset(folder), recipe(epochs=1), tmp_path / "model", threads=1).manifest
    assert manifest.trained_on["counts"]["rows"] == sum(row.split == "train" for row in rows)


def test_label_without_both_values_is_refused_when_asked_for(few_phantoms: Phantoms, tmp_path: Path) -> None:
    from dataclasses import replace

    rows = [replace(row, values={**row.values, "Cardiomegaly": "negative"}) for _, row in few_phantoms.made]
    folder = tmp_path / "data"
    folder.mkdir()
    write_folder(folder, rows, sorted(PHANTOM_LABELS.values()))
    with pytest.raises(DatasetUnfit, match="Cardiomegaly"):
        train(open_dataset(folder), recipe(labels=["Cardiomegaly"]), tmp_path / "model", threads=1)
    assert (
        "Cardiomegaly" not in train(open_dataset(folder), recipe(epochs=1), tmp_path / "m", threads=1).manifest.labels
    )


def test_damaged_model_is_refused(finding_model: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(finding_model, folder)
    (folder / GRAPH).write_bytes((folder / GRAPH).read_bytes()[:-1] + b"x")
    with pytest.raises(VisionModelInvalid, match=r"model\.onnx"):
        VisionModel(folder)
    with pytest.raises(VisionModelInvalid, match="no model of images"):
        VisionModel(tmp_path)


def test_model_folder_describes_itself(finding_model: Path, phantoms: Phantoms) -> None:
    manifest = read_manifest(finding_model, files=(GRAPH, WEIGHTS, "metrics.json"))
    assert manifest.trained_on["dataset"]["digest"] == phantoms.open().digest
    assert (finding_model / "curves.png").read_bytes().startswith(b"\x89PNG")
    card = (finding_model / "README.md").read_text("utf-8")
    assert "Not a medical device" in card
    assert "Pleural Effusion" in card


def test_reading_images_needs_no_torch(finding_model: Path, phantoms: Phantoms, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from models.vision.predict import Wanted, predict\n"
        "from models.vision.runtime import VisionModel\n"
        f"model = VisionModel(Path({str(finding_model)!r}), threads=1)\n"
        f"predict(model, Path({str(phantoms.folder)!r}), Path({str(tmp_path / 'out')!r}), Wanted(split='validation'))\n"
        "sys.exit(len({'torch', 'transformers'} & sys.modules.keys()))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    lines = (tmp_path / "out" / "predictions.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + sum(row.split == "validation" for _, row in phantoms.made)
