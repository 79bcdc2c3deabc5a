"""What a model says of an image as a DICOM structured report, read back by DCMTK and by highdicom."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from models.vision.predict import Wanted, predict
from models.vision.runtime import VisionModel
from models.vision.training.train import train
from tests.models.vision.conftest import SIZE, TINY, Phantoms
from tests.models.vision.dicom import write_dicom

pytest.importorskip("highdicom")


def made(model: Path, folder: Path, phantoms: Phantoms) -> tuple[Any, Any, Path, Path]:
    """Return the image, the structured report of it, and where report and predictions are."""
    source = write_dicom(folder / "dicom" / "a.dcm", phantoms.made[0][0].picture, accession_number="A-7")
    out = folder / "out"
    done = predict(VisionModel(model, threads=1), source.parent, out, Wanted(dicom_sr=True))
    assert (done.pictures, done.rejected) == (1, 0)
    [file] = (out / "sr").glob("*.dcm")
    return dcmread(source), dcmread(file), file, out


def dumped(file: Path) -> str:
    if shutil.which("dsrdump") is None:
        pytest.skip("DCMTK is not installed")
    dump = subprocess.run(["dsrdump", str(file)], capture_output=True, text=True, check=False)
    assert dump.returncode == 0, dump.stderr
    assert "E:" not in dump.stderr
    return dump.stdout


def test_scores_are_certainties_of_findings_in_the_image(
    finding_model: Path, few_phantoms: Phantoms, tmp_path: Path
) -> None:
    from highdicom.sr import ComprehensiveSR

    image, report, file, out = made(finding_model, tmp_path, few_phantoms)
    assert (report.StudyInstanceUID, report.AccessionNumber) == (image.StudyInstanceUID, "A-7")
    assert (report.CompletionFlag, report.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        [row] = csv.DictReader(stream)
    about = json.loads((out / "model.json").read_text("utf-8"))
    content: Any = ComprehensiveSR.from_dataset(report).content
    groups = content.get_image_measurement_groups()
    assert [group.finding_type.meaning for group in groups] == about["labels"]
    for group in groups:
        label = group.finding_type.meaning
        [certainty] = group.get_measurements()
        assert certainty.name.value == "111012"
        assert float(certainty.value) == pytest.approx(100 * float(row[label]))
        is_present = float(row[label]) >= about["thresholds"][label]
        assert group.get_qualitative_evaluations()[0].value.meaning == ("Present" if is_present else "Absent")
        [seen] = group.source_images
        assert seen.referenced_sop_instance_uid == image.SOPInstanceUID
    assert "Certainty of Finding" in dumped(file)


def test_boxes_are_regions_of_the_image(few_phantoms: Phantoms, tmp_path: Path) -> None:
    from highdicom.sr import ComprehensiveSR

    from models.vision.recipe import parse_recipe

    recipe = parse_recipe({"task": "detection", "epochs": 20, **TINY})
    train(few_phantoms.open(), recipe, tmp_path / "model", threads=1)
    image, report, file, out = made(tmp_path / "model", tmp_path, few_phantoms)
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        [row] = csv.DictReader(stream)
    boxes = json.loads(row["boxes"])
    content: Any = ComprehensiveSR.from_dataset(report).content
    groups = content.get_planar_roi_measurement_groups()
    assert len(groups) == len(boxes) > 0
    for group, box in zip(groups, boxes, strict=True):
        assert group.finding_type.meaning == box["label"]
        corners = group.roi.value
        x0, y0, x1, y1 = (side * SIZE for side in box["box"])
        assert corners.min(0) == pytest.approx([x0, y0], abs=0.01)
        assert corners.max(0) == pytest.approx([x1, y1], abs=0.01)
        assert (corners[0] == corners[-1]).all()
    assert '"Image Region")=(POLYLINE,' in dumped(file)
    [series] = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedSOPSequence] == [image.SOPInstanceUID]
