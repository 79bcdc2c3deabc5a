"""The index of a manifest: names of columns, boxes, masks, and rows that cannot be used."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from corpora.errors import ColumnMissing, RowInvalid, SourceUnreadable
from corpora.imaging.index_table import IndexInfo, read_index, read_info, unreadable_path
from corpora.imaging.manifest import index_manifest, read_boxes
from corpora.imaging.pictures import Pictures
from tests.corpora.imaging.making import MARK

HEADER = "image_id,file,patient_id,accession"


def picture(path: Path, *, shape: tuple[int, int] = (6, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, 100, dtype=np.uint8)).save(path)
    return path


def manifest(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


def listed(index: Path) -> dict[str, str]:
    with unreadable_path(index).open(encoding="utf-8", newline="") as stream:
        return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


def test_row_holds_what_the_manifest_and_the_picture_say(tmp_path: Path) -> None:
    picture(tmp_path / "pictures" / "a.png")
    header = "Image Index,FILE,Subject_ID,Accession,study_uid,date,View_Position,Gender,Age,fold,row_spacing_mm,other"
    header = header.replace("Image Index", "image_index")
    path = manifest(tmp_path, "a,pictures/a.png,P1,A1,1.2.3,20260131,ap,F,006M,train,0.2,x", header=header)
    info = index_manifest(path, tmp_path / "index.parquet")
    assert info == read_info(tmp_path / "index.parquet") == IndexInfo(root=str(tmp_path), seen=1)
    (row,) = read_index(tmp_path / "index.parquet").to_pylist()
    assert (row["image_id"], row["source"], row["file"]) == ("a", "picture", "pictures/a.png")
    assert (row["patient_id"], row["accession_number"], row["study_instance_uid"]) == ("P1", "A1", "1.2.3")
    assert (row["study_date"], row["view"], row["patient_sex"], row["split"]) == (date(2026, 1, 31), "AP", "F", "train")
    assert row["patient_age_years"] == 0.5
    assert (row["rows"], row["columns"], row["bits_stored"], row["row_spacing_mm"]) == (6, 8, 8, 0.2)


@pytest.mark.parametrize("name", ["accession", "accession_number", "AccessionNumber", "acc"])
def test_usual_names_of_columns_are_found(name: str, tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    index_manifest(manifest(tmp_path, "a,a.jpg,A1", header=f"id,path,{name}"), tmp_path / "index.parquet")
    assert read_index(tmp_path / "index.parquet")["accession_number"].to_pylist() == ["A1"]


def test_own_name_of_a_column_is_preferred_to_another(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    path = manifest(tmp_path, "no,a,a.jpg", header="id,image_id,file")
    index_manifest(path, tmp_path / "index.parquet")
    assert read_index(tmp_path / "index.parquet")["image_id"].to_pylist() == ["a"]


def test_bad_rows_are_listed_by_number_and_the_rest_is_indexed(tmp_path: Path) -> None:
    for name in ("good", "cut", "again"):
        picture(tmp_path / f"{name}.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-8])
    (tmp_path / "half.jpg").write_bytes(picture(tmp_path / "x.jpg").read_bytes()[:-2])
    (tmp_path / "text.png").write_text(f"{MARK} is no picture")
    (tmp_path / "tiff.png").write_bytes(b"II*\0" + b"\0" * 100)
    header = f"{HEADER},study_date,age,mask"
    rows = {
        "good,good.png,P,A,2026-01-31,45,": None,
        f"{MARK},nowhere.png,P,A,,,": "field file: there is no such file",
        f"{MARK}2,cut.png,P,A,,,": "field file: the picture is truncated",
        f"{MARK}3,half.jpg,P,A,,,": "field file: the picture is truncated",
        f"{MARK}4,text.png,P,A,,,": "field file: is no PNG or JPEG",
        f"{MARK}5,tiff.png,P,A,,,": "field file: is no PNG or JPEG",
        f"{MARK}6,.,P,A,,,": "field file: Is a directory",
        "good,again.png,P,A,,,": "field image_id: the same id",
        ",again.png,P,A,,,": "field image_id: is empty",
        f"{MARK}7,,P,A,,,": "field file: is empty",
        f"{MARK}8,again.png,P,A,{MARK},,": "field study_date: no date",
        f"{MARK}9,again.png,P,A,,{MARK},": "field patient_age_years: is not a number",
        f"{MARK}10,again.png,P,A,,-3,": "field patient_age_years: is not a number of 0 or more",
        f"{MARK}11,again.png,P,A,,nan,": "field patient_age_years: is not a number of 0 or more",
        f"{MARK}12,again.png,P,A,,,nowhere.png": "field mask_file: there is no such file",
        f"{MARK}13,again.png,P": "has 3 cells, the header 7",
        "again,again.png,P,A,,,": None,
    }
    index = tmp_path / "index.parquet"
    info = index_manifest(manifest(tmp_path, *rows, header=header), index)
    assert read_index(index)["image_id"].to_pylist() == ["good", "again"]
    assert (info.seen, info.images, info.unreadable) == (len(rows), 2, len(rows) - 2)
    found = listed(index)
    for number, reason in enumerate(rows.values(), start=1):
        told = [f"{where}: {said}" for where, said in found.items() if where.partition(",")[0] == f"row {number}"]
        assert len(told) == (reason is not None)
        assert reason is None or reason in told[0]
    assert MARK not in unreadable_path(index).read_text(encoding="utf-8")


def test_tables_that_are_none_are_told(tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    with pytest.raises(ColumnMissing, match="has no column file"):
        index_manifest(manifest(tmp_path, "a,b", header="image_id,label"), index)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceUnreadable, match="not UTF-8"):
        index_manifest(tmp_path / "binary.csv", index)
    with pytest.raises(SourceUnreadable, match="no such file"):
        index_manifest(tmp_path / "nowhere.csv", index)
    with pytest.raises(SourceUnreadable, match="no folder of masks"):
        index_manifest(manifest(tmp_path), index, masks=tmp_path / "nowhere")
    assert not index.exists()


def test_boxes_of_csv_and_coco_are_the_same(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("image_id,label,x,y,w,h\na,Nodule,1,2,3,4\nother,Mass,1,1,1,1\n")
    coco: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "images/a.png"}, {"id": 8, "file_name": "other.png"}],
        "categories": [{"id": 1, "name": "Nodule"}, {"id": 2, "name": "Mass"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"image_id": 8, "category_id": 2, "bbox": [1, 1, 1, 1]},
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(coco))
    assert read_boxes(tmp_path / "boxes.csv") == read_boxes(tmp_path / "boxes.json")
    index = tmp_path / "index.parquet"
    index_manifest(manifest(tmp_path, "a,a.png,P,A"), index, boxes=tmp_path / "boxes.json")
    (row,) = read_index(index).to_pylist()
    assert row["boxes"] == [{"label": "Nodule", "x": 1.0, "y": 2.0, "w": 3.0, "h": 4.0}]
    with Pictures(read_info(index)) as pictures:
        image = pictures.read(row, longest_side=16)
        assert pictures.boxes(row, image) == [("Nodule", (2.0, 4.0, 6.0, 8.0))]


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("b.csv", "image_id,label,x,y,w\n", ColumnMissing, "has no column h"),
        ("b.csv", "image_id,label,x,y,w,h\na,N,1,1,0,1\n", RowInvalid, "row 1: w and h must be more than 0"),
        (
            "b.csv",
            "image_id,label,x,y,w,h\na,N,1,1,2,2\na,N,x,1,2,2\n",
            RowInvalid,
            "row 2: x, y, w and h must be numbers",
        ),
        ("b.json", "{}", SourceUnreadable, "no COCO file"),
        ("b.json", "[", SourceUnreadable, "no COCO file"),
        ("nowhere.json", None, SourceUnreadable, "no such file"),
        ("nowhere.csv", None, SourceUnreadable, "no such file"),
    ],
)
def test_boxes_that_are_none_are_told(
    name: str, content: str | None, error: type[Exception], said: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=said):
        read_boxes(tmp_path / name)


def test_mask_that_is_broken_or_of_another_size_is_told(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "masks").mkdir()
    index = tmp_path / "index.parquet"
    for said in ("the mask has the shape", "no PNG or JPEG"):
        picture(tmp_path / "masks" / "a.png", shape=(3, 3))
        if said == "no PNG or JPEG":
            (tmp_path / "masks" / "a.png").write_bytes(b"no")
        index_manifest(manifest(tmp_path, "a,a.png,P,A"), index, masks=tmp_path / "masks")
        (row,) = read_index(index).to_pylist()
        with Pictures(read_info(index)) as pictures:
            image = pictures.read(row)
            with pytest.raises(SourceUnreadable, match=said):
                pictures.mask(row, image)


def test_covid_set_with_its_boxes_and_masks(data_folder: Path, tmp_path: Path) -> None:
    folder, index = data_folder / "covid_cxr", tmp_path / "index.parquet"
    boxes, masks = folder / "boxes.coco.json", folder / "masks"
    info = index_manifest(folder / "manifest.csv", index, boxes=boxes, masks=masks)
    rows = read_index(index).to_pylist()
    assert (info.images, info.unreadable) == (len(rows), 0) == (360, 0)
    assert sum(len(row["boxes"]) for row in rows) == 720
    assert sum(row["mask_file"] is not None for row in rows) == 199
    assert Counter(row["split"] for row in rows) == {"train": 278, "test": 82}
    assert {row["view"] for row in rows} == {"PA", "AP", "AP SUPINE", None}
    with Pictures(info) as pictures:
        for row in [row for row in rows if row["mask_file"]][::40]:
            image = pictures.read(row, longest_side=256)
            assert max(image.pixels.shape) == 256
            mask = pictures.mask(row, image)
            assert mask is not None
            assert mask.shape == image.pixels.shape
            # Masks and boxes were drawn by different people: nearly all of a mask lies in the boxes.
            inside = np.zeros_like(mask)
            for _, (x, y, w, h) in pictures.boxes(row, image):
                inside[round(y) : round(y + h), round(x) : round(x + w)] = True
            assert (mask & inside).sum() / mask.sum() > 0.9


def test_nih_set_with_its_boxes(data_folder: Path, tmp_path: Path) -> None:
    folder, index = data_folder / "nih_cxr", tmp_path / "index.parquet"
    info = index_manifest(folder / "manifest.csv", index, boxes=folder / "boxes.csv")
    rows = read_index(index).to_pylist()
    assert (info.images, info.unreadable) == (700, 0)
    assert sum(len(row["boxes"] or ()) for row in rows) == 20
    assert len({row["patient_id"] for row in rows}) == 489
