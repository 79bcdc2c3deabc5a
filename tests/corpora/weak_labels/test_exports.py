"""Label tables and boxes in the forms that others read, and the filters before them."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.findings import Assertion
from corpora.weak_labels.chexpert_csv import (
    TO_NUMBER,
    LabelTableRow,
    read_chexpert_csv,
    write_chexpert_csv,
    write_xrv_csv,
)
from corpora.weak_labels.coco import AnnotatedImage, BoxAnnotation, write_coco
from corpora.weak_labels.errors import ExportInvalid
from corpora.weak_labels.filters import (
    ImageFilter,
    LeftOut,
    PixelFilter,
    filter_images,
    pixel_reason,
)
from corpora.weak_labels.regions import Pedigree, RegionHint
from corpora.weak_labels.shapes import Box
from corpora.weak_labels.views import ViewKind

LABELS = ("Edema", "Pleural Effusion")
_TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
_ROWS = st.lists(
    st.builds(
        LabelTableRow,
        path=_TEXT,
        labels=st.fixed_dictionaries({label: st.sampled_from([*Assertion, None]) for label in LABELS}),
        patient_sex=st.sampled_from(["M", "F", None]),
        patient_age_years=st.one_of(st.none(), st.integers(0, 120).map(float)),
        view=st.sampled_from(["PA", "AP", "LATERAL", None]),
        fields=st.fixed_dictionaries({"report_id": _TEXT}),
    ),
    max_size=8,
)


@given(rows=_ROWS)
def test_a_chexpert_table_comes_back_as_it_went(
    tmp_path_factory: pytest.TempPathFactory, rows: list[LabelTableRow]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "train.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        assert write_chexpert_csv(stream, rows, LABELS, fields=["report_id"]) == len(rows)
    assert list(read_chexpert_csv(path, LABELS)) == rows


def test_the_four_values_have_chexperts_numbers() -> None:
    assert [TO_NUMBER[value] for value in (Assertion.POSITIVE, Assertion.NEGATIVE, Assertion.UNCERTAIN, None)] == [
        *("1.0", "0.0", "-1.0"),
        "",
    ]


def test_a_chexpert_row_that_is_none_costs_itself_and_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("Path,Age,Edema\na.jpg,54,1\nb.jpg,54,Smith\nc.jpg\nd.jpg,old,0\ne.jpg,,-1.0\n", encoding="utf-8")
    rows = list(read_chexpert_csv(path, ["Edema"]))
    assert [isinstance(row, RowInvalid) for row in rows] == [False, True, True, True, False]
    assert "row 2" in str(rows[1])
    assert "Smith" not in str(rows[1])
    with pytest.raises(ColumnMissing, match="Mass"):
        list(read_chexpert_csv(path, ["Mass"]))
    with pytest.raises(SourceUnreadable):
        list(read_chexpert_csv(tmp_path / "none.csv", ["Edema"]))


def test_a_row_without_one_of_the_labels_is_refused() -> None:
    with pytest.raises(ExportInvalid, match="row 1 lacks the label 'Edema'"):
        write_chexpert_csv(io.StringIO(), [LabelTableRow("a", {"Pleural Effusion": None})], LABELS)
    with pytest.raises(ExportInvalid, match="no column"):
        write_xrv_csv(io.StringIO(), [LabelTableRow("a", {"Edema": None, "Mass": None})], ["Edema"])


def test_torchxrayvision_gets_its_names_and_blank_for_unknown() -> None:
    stream = io.StringIO(newline="")
    labels = {"Edema": Assertion.UNCERTAIN, "Pleural Effusion": Assertion.POSITIVE}
    write_xrv_csv(stream, [LabelTableRow("a.png", labels, "F", 61.0, "PA", "p1")], LABELS)
    stream.seek(0)
    (row,) = csv.DictReader(stream)
    assert row["Effusion"] == "1.0"
    assert row["Edema"] == ""
    assert (row["sex_male"], row["sex_female"], row["age_years"]) == ("False", "True", "61")


def images() -> list[AnnotatedImage]:
    polygon = ((0.6, 0.5), (0.9, 0.5), (0.9, 0.9))
    hint = RegionHint(
        0,
        "pleural_effusion",
        "left",
        "pleural_effusion",
        "small",
        Box(0.6, 0.5, 0.9, 0.9),
        polygon,
        Pedigree.LUNG_BOXES,
    )
    given_box = BoxAnnotation("Nodule", Box.of_pixels(10, 20, 30, 40, width=200, height=100))
    return [
        AnnotatedImage(
            "a.png", 200, 100, (BoxAnnotation.of_hint(hint, "Pleural Effusion"), given_box), {"split": "train"}
        ),
        AnnotatedImage("b.png", 64, 64),
    ]


# numpy 2 warns of how pycocotools 2.0 hands over its arrays.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_the_boxes_and_their_pedigree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    path = tmp_path / "boxes.json"
    assert write_coco(path, images(), ["Pleural Effusion", "Nodule"], info={"description": "invented"}) == (2, 2)
    coco = coco_module.COCO(str(path))
    capsys.readouterr()  # it prints as it reads
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == ["Pleural Effusion", "Nodule"]
    hint, box = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert hint["pedigree"] == "lung_boxes"
    assert (hint["side"], hint["severity"], hint["evidence"]) == ("left", "small", 0)
    assert box["pedigree"] == "given"
    assert box["bbox"] == [10, 20, 30, 40]
    assert box["area"] == 1200
    assert coco.annToMask(box).sum() == pytest.approx(1200, rel=0.05)
    assert hint["area"] == pytest.approx(60 * 40 / 2)
    # COCO's own evaluation takes it: the truth against itself is perfect.
    evaluation = pytest.importorskip("pycocotools.cocoeval").COCOeval(
        coco, coco.loadRes([{**annotation, "score": 1.0} for annotation in (hint, box)]), "bbox"
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    capsys.readouterr()
    assert evaluation.stats[0] == pytest.approx(1.0)


def test_an_unlisted_category_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ExportInvalid, match="image 1"):
        write_coco(tmp_path / "boxes.json", images(), ["Nodule"])
    assert not (tmp_path / "boxes.json").exists()


def test_a_file_without_images_is_valid(tmp_path: Path) -> None:
    assert write_coco(tmp_path / "boxes.json", [], ["Nodule"]) == (0, 0)
    assert json.loads((tmp_path / "boxes.json").read_text("utf-8"))["images"] == []


_HEADER = {
    "view": "PA",
    "patient_orientation": None,
    "modality": "CR",
    "body_part": "CHEST",
    "number_of_frames": 1,
    "rows": 512,
    "columns": 512,
    "burned_in_annotation": None,
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({}, None),
        ({"view": "LATERAL"}, LeftOut.VIEW_NOT_WANTED),
        ({"view": None}, LeftOut.VIEW_UNKNOWN),
        ({"view": None, "patient_orientation": "L\\F"}, None),
        ({"modality": "CT"}, LeftOut.MODALITY),
        ({"modality": None, "body_part": None, "rows": None}, None),
        ({"body_part": "KNEE"}, LeftOut.BODY_PART),
        ({"number_of_frames": 30}, LeftOut.MULTIPLE_FRAMES),
        ({"rows": 64}, LeftOut.TOO_SMALL),
        ({"rows": 2048}, LeftOut.SHAPE),
        ({"burned_in_annotation": True}, LeftOut.BURNED_IN_ANNOTATION),
    ],
)
def test_an_image_is_left_out_for_one_reason(change: dict[str, object], why: LeftOut | None) -> None:
    table = pa.Table.from_pylist([{**_HEADER, **change}, _HEADER])
    reasons, counts = filter_images(table, ImageFilter(keep_burned_in=False))
    assert reasons[0] == why
    assert sum(counts.values()) == 2
    assert counts[None] == 2 - (why is not None)


def test_all_views_stay_when_none_is_asked_for_and_a_missing_column_is_named() -> None:
    table = pa.Table.from_pylist([{**_HEADER, "view": "LATERAL"}, {**_HEADER, "view": None}])
    assert filter_images(table, ImageFilter(views=frozenset()))[0].tolist() == [None, None]
    lateral = ImageFilter(views=frozenset({ViewKind.LATERAL}), keep_unknown_view=True)
    assert filter_images(table, lateral)[0].tolist() == [None, None]
    with pytest.raises(ColumnMissing, match="view"):
        filter_images(table.drop_columns(["view"]), ImageFilter())


def test_pixels_that_show_nothing_are_left_out() -> None:
    ramp = np.linspace(0.01, 0.99, 10000).reshape(100, 100)
    wanted = PixelFilter()
    assert pixel_reason(ramp, wanted) is None
    assert pixel_reason(np.full((10, 10), 0.5), wanted) is LeftOut.BLANK
    assert pixel_reason(0.5 + ramp / 100, wanted) is LeftOut.LOW_CONTRAST
    assert pixel_reason(np.clip(ramp * 10 - 8, 0, 1), wanted) is LeftOut.SATURATED
