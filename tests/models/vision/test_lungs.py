"""Lung masks and boxes: learned from masks, from none, from boxes; and what agrees with what."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpora.dataset.folder import open_dataset
from models.vision.boxes import boxes_of_map, decode_boxes
from models.vision.components import fill_holes, keep_largest, label_components
from models.vision.errors import DatasetUnfit
from models.vision.evaluate import evaluate
from models.vision.masks import clean_mask, lung_boxes
from models.vision.overlap import box_average_precision, box_iou, dice, hausdorff_95, intersection_over_box, mask_iou
from models.vision.predict import Wanted, predict
from models.vision.recipe import parse_recipe
from models.vision.runtime import VisionModel
from models.vision.training.classical import classical_lungs
from models.vision.training.lung_shape import LungShape, lungs_by_shape
from models.vision.training.train import train
from tests.models.vision.conftest import SIZE, TINY, Phantoms
from tests.models.vision.folders import write_folder

MASKS = st.integers(0, 2**24 - 1).map(
    lambda bits: np.array([bits >> i & 1 for i in range(24)], dtype=bool).reshape(4, 6)
)


@given(MASKS)
def test_components_are_connected_and_apart(mask: NDArray[np.bool_]) -> None:
    from scipy import ndimage

    labels, count = label_components(mask)
    expected, number = ndimage.label(mask)
    assert count == number
    assert (labels > 0).tolist() == mask.tolist()
    # the same parts, whatever their numbers
    assert len({(int(a), int(b)) for a, b in zip(labels[mask], expected[mask], strict=True)}) == count
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@given(MASKS, MASKS)
def test_overlaps_are_symmetric_and_agree(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> None:
    assert dice(first, second) == dice(second, first)
    iou = mask_iou(first, second)
    assert dice(first, second) == pytest.approx(2 * iou / (1 + iou))
    assert dice(first, first) == 1
    if first.any() and second.any():
        assert hausdorff_95(first, second) == hausdorff_95(second, first)
        assert hausdorff_95(first, first) == 0


def test_moved_mask_is_as_far_as_it_was_moved() -> None:
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:20, 10:20] = True
    assert hausdorff_95(mask, np.roll(mask, 5, axis=1)) == 5


def test_boxes_overlap_as_computed_by_hand() -> None:
    assert box_iou((0, 0, 1, 1), (0.5, 0, 1.5, 1)) == pytest.approx(1 / 3)
    assert intersection_over_box((0, 0, 1, 1), (0.5, 0, 1.5, 1)) == 0.5
    assert box_iou((0, 0, 1, 1), (1, 1, 2, 2)) == 0


def test_average_precision_counts_a_box_once() -> None:
    truth = [(0, (0.0, 0.0, 1.0, 1.0)), (1, (0.0, 0.0, 1.0, 1.0))]
    exact = (0.0, 0.0, 1.0, 1.0)
    assert box_average_precision([(0, exact, 0.9), (1, exact, 0.8)], truth, 0.5) == 1
    assert box_average_precision([(0, exact, 0.9), (0, exact, 0.8)], truth, 0.5) == 0.5
    assert box_average_precision([(1, (2.0, 2.0, 3.0, 3.0), 0.9), (0, exact, 0.8)], truth, 0.5) == 0.25
    assert box_average_precision([], truth, 0.5) == 0


def test_cleaned_mask_has_two_parts_and_no_hole() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[2:18, 2:12] = mask[2:18, 18:28] = True
    mask[8:10, 5:7] = False
    mask[0, 15] = True
    cleaned = clean_mask(mask)
    assert label_components(cleaned)[1] == 2
    assert cleaned[8, 5]
    assert not cleaned[0, 15]
    boxes = lung_boxes(cleaned)
    assert boxes["Right Lung"].x_max < boxes["Left Lung"].x_min  # the patient's right is on the left of the picture
    assert keep_largest(mask, 1).sum() < mask.sum()


def test_centre_and_distances_give_the_box() -> None:
    centres, sides = np.full((1, 8, 8), -9, dtype=np.float32), np.zeros((1, 4, 8, 8), dtype=np.float32)
    centres[0, 4, 4] = 5
    sides[0, :, 4, 4] = 0.25
    [(label, box, score)] = decode_boxes(centres, sides, ["Lung"])
    assert (label, score > 0.9) == ("Lung", True)
    assert box == pytest.approx((0.3125, 0.3125, 0.8125, 0.8125))
    assert decode_boxes(centres - 20, sides, ["Lung"]) == []


def test_bright_part_of_a_map_is_a_box_within_the_lungs() -> None:
    plane = np.full((8, 8), 0.1, dtype=np.float32)
    plane[2:4, 5:7], plane[7, 0] = 0.9, 0.95
    within = np.zeros((64, 64), dtype=bool)
    within[:48] = True
    [(_, (x0, y0, x1, y1), score)] = boxes_of_map(plane, "Pneumonia", share=0.5, within=within)
    assert score == pytest.approx(0.9, abs=0.02)
    assert box_iou((x0, y0, x1, y1), (5 / 8, 2 / 8, 7 / 8, 4 / 8)) > 0.6


def test_masks_are_learned(lung_model: Path, few_phantoms: Phantoms) -> None:
    facts = evaluate(VisionModel(lung_model, threads=1), few_phantoms.open(), "test")
    assert facts["masks"]["Dice"]["mean"] > 0.9
    assert facts["boxes"]["mAP@0.5"] > 0.95


def test_masks_come_out_as_png_coco_and_rows(lung_model: Path, few_phantoms: Phantoms, tmp_path: Path) -> None:
    from PIL import Image

    out = tmp_path / "out"
    done = predict(
        VisionModel(lung_model, threads=1),
        few_phantoms.folder,
        out,
        Wanted(overlays=True, coco=True, format="jsonl", split="test"),
    )
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert len(rows) == done.pictures > 0
    assert {box["label"] for row in rows for box in row["boxes"]} == {"Right Lung", "Left Lung"}
    coco = json.loads((out / "annotations.coco.json").read_text("utf-8"))
    assert len(coco["annotations"]) == sum(len(row["boxes"]) for row in rows)
    first = rows[0]["image_id"]
    mask = np.asarray(Image.open(out / "masks" / f"{first}.Right_Lung.png"))
    assert mask.shape == (SIZE, SIZE)
    assert set(np.unique(mask)) == {0, 255}
    assert (out / "overlays" / f"{first}.boxes.png").is_file()


def test_segmentation_of_a_dicom_image_names_its_source(
    lung_model: Path, few_phantoms: Phantoms, tmp_path: Path
) -> None:
    from pydicom import dcmread

    from tests.models.vision.dicom import write_dicom

    picture = few_phantoms.made[0][0].picture
    source = write_dicom(tmp_path / "dicom" / "a.dcm", picture)
    out = tmp_path / "out"
    done = predict(VisionModel(lung_model, threads=1), source.parent, out, Wanted(dicom_seg=True))
    assert (done.pictures, done.rejected) == (1, 0)
    [file] = (out / "seg").glob("*.dcm")
    written, read = dcmread(file), dcmread(source)
    assert written.StudyInstanceUID == read.StudyInstanceUID
    assert [item.SegmentLabel for item in written.SegmentSequence] == ["Right Lung", "Left Lung"]
    referenced = written.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    assert referenced == read.SOPInstanceUID
    [mask] = VisionModel(lung_model, threads=1).segment([picture])
    assert int(written.pixel_array.astype(bool).sum()) == int(mask.sum())


def test_without_masks_the_classical_start_is_learned_and_bettered(few_phantoms: Phantoms, tmp_path: Path) -> None:
    from dataclasses import replace

    folder = tmp_path / "bare"
    folder.mkdir()
    write_folder(folder, [replace(row, mask=None, boxes=()) for _, row in few_phantoms.made[:36]], [], label_set="none")
    recipe = parse_recipe({"task": "segmentation", "supervision": "none", "rounds": 2, "epochs": 12, **TINY})
    trained = train(open_dataset(folder), recipe, tmp_path / "model", threads=1)
    assert trained.manifest.trained_on["counts"]["rows"] > 12
    facts = evaluate(VisionModel(tmp_path / "model", threads=1), few_phantoms.open(), "test")
    assert facts["masks"]["Dice"]["mean"] > 0.8
    with pytest.raises(DatasetUnfit, match="masks"):
        train(open_dataset(folder), parse_recipe({"task": "segmentation", **TINY}), tmp_path / "m", threads=1)


def test_classical_start_finds_no_lungs_where_there_are_none() -> None:
    assert classical_lungs(np.full((64, 64), 128, dtype=np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    assert classical_lungs(noise) is None


CHESTS = st.builds(
    LungShape,
    middle=st.floats(0.45, 0.55),
    inner=st.floats(0.04, 0.08),
    right=st.floats(0.32, 0.42),
    left=st.floats(0.32, 0.42),
    top=st.floats(0.08, 0.2),
    right_bottom=st.floats(0.65, 0.85),
    left_bottom=st.floats(0.65, 0.85),
    right_dome=st.floats(0.05, 0.2),
    left_dome=st.floats(0.02, 0.15),
)


def drawn(shape: LungShape) -> NDArray[np.uint8]:
    return np.where(shape.mask(256), 70, 190).astype(np.uint8)


def by_shape(picture: NDArray[np.uint8], fields: NDArray[np.float32]) -> NDArray[np.bool_]:
    mask = lungs_by_shape(picture, fields)
    assert mask is not None
    return mask


@given(CHESTS)
@settings(max_examples=8, deadline=None)
def test_the_shape_of_lungs_is_found_around_dark_fields(shape: LungShape) -> None:
    found = by_shape(drawn(shape), shape.mask(256).astype(np.float32))
    assert dice(found, shape.whole().mask(256)) > 0.95


def test_the_shape_draws_what_hides_of_a_lung() -> None:
    shape = LungShape(0.5, 0.06, 0.38, 0.38, 0.12, 0.76, 0.78, 0.13, 0.08)
    fields = shape.mask(256).astype(np.float32)
    fields[140:, 128:] = 0  # an effusion, below the middle of the left lung
    picture = drawn(shape)
    picture[140:, 128:] = 190
    seen = dice(fields > 0, shape.whole().mask(256))
    assert dice(by_shape(picture, fields), shape.whole().mask(256)) > seen + 0.05
    fields[:, 128:] = 0  # all of it
    picture[:, 128:] = 190
    assert dice(by_shape(picture, fields), shape.whole().mask(256)) > 0.9


def test_a_picture_without_dark_fields_has_no_shape_and_low_ones_have_that_of_a_chest() -> None:
    picture, fields = np.full((64, 64), 90, dtype=np.uint8), np.zeros((64, 64), dtype=np.float32)
    assert lungs_by_shape(picture, fields) is None
    fields[20:28, 8:26] = fields[20:28, 38:56] = 1  # an eighth of the height: all else is hidden
    mask = lungs_by_shape(picture, fields)
    assert mask is not None
    rows = np.flatnonzero(mask.any(1))
    assert len(rows) >= 0.19 * 64
    assert rows[0] <= 20
    assert mask[:, :32].any()
    assert mask[:, 32:].any()


def test_boxes_are_learned_with_their_sides(few_phantoms: Phantoms, tmp_path: Path) -> None:
    recipe = parse_recipe({"task": "detection", "epochs": 20, **TINY})
    train(few_phantoms.open(), recipe, tmp_path / "model", threads=1)
    facts = evaluate(VisionModel(tmp_path / "model", threads=1), few_phantoms.open(), "test")
    assert facts["boxes"]["mAP@0.5"] > 0.95
    with pytest.raises(DatasetUnfit, match="Left Lung, Right Lung only"):
        train(few_phantoms.open(), recipe.model_copy(update={"labels": ("Heart",)}), tmp_path / "m", threads=1)
