"""What comes out: forms that others read, without a trace of who the patients are."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from corpora.dataset import DatasetExists, DatasetFolder, SourcesMissing, open_dataset
from corpora.dataset.export import FORMATS, export_dataset
from corpora.deidentification import IdentifierKind, Pseudonymiser
from corpora.weak_labels.chexpert_csv import LabelTableRow, read_chexpert_csv
from nlp_service.cli.app import app
from nlp_service.cli.dataset_use import ExportFormat
from nlp_service.datasets import BuildSummary, sources_of
from tests.nlp_service.datasets.conftest import Hospital, build_from
from tests.nlp_service.datasets.making import MARK, UID_ROOT, files_of

runner = CliRunner()


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every file, and of tables what is in them: they are compressed on the disk."""
    for name, data in files_of(folder).items():
        yield name, name.encode()
        yield name, data
        if name.endswith(".parquet"):
            for row in pq.read_table(folder / name).to_pylist():
                yield name, repr(row).encode()


def test_no_identifier_is_in_any_file(hospital: Hospital, built: BuildSummary, exports: Path) -> None:
    """The mark is in every id, name, accession number and file name; UIDs have a root of their own."""
    for folder in (built.output, exports):
        for name, data in contents(folder):
            assert MARK.encode() not in data, name
            assert UID_ROOT.encode() not in data, name
            assert b"Name1" not in data, name
            for date in {study.date for study in hospital.studies}:
                for form in ("%Y%m%d", "%Y-%m-%d"):
                    if len(data) < 10**6 and not name.endswith((".png", ".html", ".dcm", ".arrow", ".parquet")):
                        assert date.strftime(form).encode() not in data, name


def test_no_sentence_of_a_report_is_in_any_file(hospital: Hospital, built: BuildSummary, exports: Path) -> None:
    for folder in (built.output, exports):
        for name, data in contents(folder):
            assert b"of the day" not in data, name
            assert b"Endotracheal tube in place" not in data, name


def test_hugging_face_reads_the_folder_both_ways(dataset: DatasetFolder, exports: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    loaded = datasets.load_from_disk(str(exports / "hf"))
    fetched = datasets.load_dataset(str(exports / "hf"), cache_dir=str(tmp_path))
    parquet = datasets.load_dataset(str(exports / "parquet"), cache_dir=str(tmp_path))
    for split, number in dataset.info.splits.items():
        if not number:
            continue
        rows = list(dataset.iter_rows(split=split))
        for found in (loaded[split], fetched[split], parquet[split]):
            assert found.num_rows == number
            first = found[0]
            assert (np.asarray(first["image"]) == dataset.read_image(rows[0]["file"])).all()
            assert found.features["label:Edema"].names == ["negative", "positive", "uncertain", "not mentioned"]
            for row, said in zip(rows, found, strict=True):
                said_value = found.features["label:Edema"].int2str(said["label:Edema"])
                assert said_value == (row["label:Edema"] or "not mentioned")
                assert (said["report_id"], said["target:Edema"]) == (row["report_id"], row["target:Edema"])
                assert said["evidence"] == row["evidence"]


def test_every_row_of_a_table_says_where_it_comes_from(exports: Path) -> None:
    with (exports / "xrv" / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = ("report_id", "accession_number", "study_instance_uid", "series_instance_uid", "sop_instance_uid")
    for row in rows:
        assert all(row[name] for name in (*names, "policy", "model_digest", "source_digest", "split"))
        assert (exports / "xrv" / row["filename"]).is_file()
    assert "Effusion" in rows[0]


def test_chexpert_comes_back_as_it_went(dataset: DatasetFolder, exports: Path, tmp_path: Path) -> None:
    tables = {"train": "train.csv", "validation": "valid.csv", "test": "test.csv"}
    known = {row["image_id"]: row for row in dataset.iter_rows()}
    seen = 0
    for split, name in tables.items():
        if not dataset.info.splits[split]:
            continue
        for row in read_chexpert_csv(exports / "chexpert" / name, dataset.labels):
            assert isinstance(row, LabelTableRow)
            mine = known[row.fields["image_id"]]
            assert row.fields["split"] == mine["split"] == split
            assert {label: value and value.value for label, value in row.labels.items()} == {
                label: mine[f"label:{label}"] for label in dataset.labels
            }
            seen += 1
    assert seen == dataset.info.rows
    result = build_from(
        {
            "images": str(exports / "chexpert"),
            "labels": {"chexpert": str(exports / "chexpert" / "train.csv")},
            "image": {"size": 96},
            "deidentify": {"enabled": False},
            "splits": {"from_index": True},
            "filter": {"min_side": 64},
            "card": {"plots": False},
        },
        tmp_path / "back",
    )
    columns = ["image_id", "split", "patient_id", "report_id", "sex", "age", "picture_digest"]
    columns += [f"{kind}:{label}" for kind in ("label", "target", "mask") for label in dataset.labels]
    assert open_dataset(result.output).table(columns) == dataset.table(columns, "train").select(columns)


# pycocotools 2.0.11 was written before numpy 2.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_what_pycocotools_reads(
    dataset: DatasetFolder, exports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco_module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    boxes = 0
    for split, number in dataset.info.splits.items():
        if not number:
            continue
        coco = coco_module.COCO(str(exports / "coco" / "annotations" / f"{split}.json"))
        assert len(coco.imgs) == number
        by_name = {row["file"]: row for row in dataset.iter_rows(split=split)}
        for image in coco.imgs.values():
            row = by_name[image["file_name"]]
            assert (image["width"], image["height"]) == (row["width"], row["height"])
            mine = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
            assert len(mine) == len(row["regions"])
            for annotation, hint in zip(mine, row["regions"], strict=True):
                assert coco.cats[annotation["category_id"]]["name"] == (hint["label"] or hint["finding"])
                assert annotation["pedigree"] == hint["pedigree"] == "thorax_default"
                x, y, w, h = annotation["bbox"]
                assert 0 <= x < x + w <= row["width"] + 0.01
                assert 0 <= y < y + h <= row["height"] + 0.01
                assert coco.annToMask(annotation).sum() == pytest.approx(annotation["area"], rel=0.1)
            boxes += len(mine)
    assert boxes == sum(len(row["regions"]) for row in dataset.iter_rows(["regions"])) > 0
    capsys.readouterr()  # the library prints how long it took


def test_masks_lie_where_the_hints_are(dataset: DatasetFolder, exports: Path) -> None:
    from PIL import Image

    rows = {row["image_id"]: row for row in dataset.iter_rows()}
    with (exports / "masks" / "masks.csv").open(encoding="utf-8", newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert listed
    for line in listed:
        with Image.open(exports / "masks" / line["mask"]) as image:
            mask = np.asarray(image)
        row = rows[line["image_id"]]
        assert mask.shape == (row["height"], row["width"])
        assert set(np.unique(mask)) <= {0, 255}
        boxes = [hint["box"] for hint in row["regions"] if (hint["label"] or hint["finding"]) == line["name"]]
        ys, xs = np.nonzero(mask)
        assert xs.min() >= min(box[0] for box in boxes) * row["width"] - 1
        assert ys.max() <= max(box[3] for box in boxes) * row["height"] + 1


def test_segmentations_are_read_back_and_refer_to_the_deidentified_image(
    hospital: Hospital, dataset: DatasetFolder, exports: Path
) -> None:
    import highdicom as hd

    rows = {row["image_id"]: row for row in dataset.iter_rows()}
    with (exports / "seg" / "seg.csv").open(encoding="utf-8", newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert listed
    for line in listed:
        row = rows[line["image_id"]]
        seg = hd.seg.segread(exports / "seg" / line["file"])
        ((study, series, instance),) = seg.get_source_image_uids()
        names = ("study_instance_uid", "series_instance_uid", "sop_instance_uid")
        assert (study, series, instance) == tuple(row[name] for name in names)
        assert seg.PatientID == row["patient_id"]
        assert seg.AccessionNumber == row["accession_number"]
        assert [seg.get_segment_description(n).segment_label for n in seg.segment_numbers] == line["segments"].split(
            "|"
        )
        pixels = seg.get_pixels_by_source_instance([instance])
        assert pixels.shape == (1, 176, 144, len(seg.segment_numbers))
        assert (pixels.sum(axis=(0, 1, 2)) > 0).all()


@pytest.mark.skipif(shutil.which("dcmdump") is None, reason="DCMTK is not installed")
def test_dcmtk_reads_what_is_written(exports: Path) -> None:
    for folder in ("seg", "dicom"):
        files = sorted((exports / folder).rglob("*.dcm"))
        assert files
        ran = subprocess.run(["dcmdump", "-q", *map(str, files)], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert MARK not in ran.stdout


def test_dicom_copies_keep_the_links_and_the_pixels(hospital: Hospital, dataset: DatasetFolder, exports: Path) -> None:
    maker = Pseudonymiser.from_file(hospital.key_file)
    rows = {row["image_id"]: row for row in dataset.iter_rows()}
    with (exports / "dicom" / "dicom.csv").open(encoding="utf-8", newline="") as stream:
        listed = {row["image_id"]: row for row in csv.DictReader(stream)}
    assert listed.keys() == rows.keys()
    for name, line in listed.items():
        found, row = dcmread(exports / "dicom" / line["file"]), rows[name]
        assert found.PatientID == row["patient_id"]
        assert found.AccessionNumber == row["accession_number"]
        assert (found.StudyInstanceUID, found.SOPInstanceUID) == (row["study_instance_uid"], name)
        assert found.StudyDate == row["study_date"].strftime("%Y%m%d")
        assert line["needs_review"] == "yes"  # the header does not say whether text is burned in
    study = hospital.studies[0]
    original = dcmread(next((hospital.images / study.accession_number).iterdir()))
    copy = dcmread(exports / "dicom" / listed[maker.uid(str(original.SOPInstanceUID))]["file"])
    assert copy.PixelData == original.PixelData
    assert copy.PatientID == maker.pseudonym(IdentifierKind.PATIENT_ID, study.patient_id)


def test_exports_are_the_same_twice(hospital: Hospital, dataset: DatasetFolder, exports: Path, tmp_path: Path) -> None:
    sources = sources_of(str(hospital.images), dataset, hospital.key_file, tmp_path)
    for name in FORMATS:
        export_dataset(dataset, tmp_path / name, name, sources=sources)
        assert files_of(tmp_path / name) == files_of(exports / name), name


def test_an_export_replaces_an_export_alone(dataset: DatasetFolder, tmp_path: Path) -> None:
    target = tmp_path / "out"
    export_dataset(dataset, target, "coco", with_images=False)
    with pytest.raises(DatasetExists, match="--overwrite"):
        export_dataset(dataset, target, "xrv")
    export_dataset(dataset, target, "xrv", overwrite=True, with_images=False)
    assert sorted(path.name for path in target.iterdir()) == ["export.json", "labels.csv"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    with pytest.raises(DatasetExists, match="something else"):
        export_dataset(dataset, tmp_path / "mine", "xrv", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"


def test_what_is_made_from_dicom_says_what_it_lacks(hospital: Hospital, dataset: DatasetFolder, tmp_path: Path) -> None:
    with pytest.raises(SourcesMissing, match="--images"):
        export_dataset(dataset, tmp_path / "out", "seg")
    (tmp_path / "empty").mkdir()
    sources = sources_of(str(tmp_path / "empty"), dataset, hospital.key_file, tmp_path)
    with pytest.raises(SourcesMissing, match="none of them"):
        export_dataset(dataset, tmp_path / "out", "dicom", sources=sources)
    (tmp_path / "other.key").write_text("another key of thirty-two bytes..")
    sources = sources_of(str(hospital.images), dataset, tmp_path / "other.key", tmp_path)
    with pytest.raises(SourcesMissing, match="not the one"):
        export_dataset(dataset, tmp_path / "out", "seg", sources=sources)
    assert not (tmp_path / "out").exists()


def test_the_command_exports(hospital: Hospital, built: BuildSummary, tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return runner.invoke(app, ["dataset", "export", str(built.output), *arguments])

    ran = run("--format", "coco", "-o", str(tmp_path / "coco"), "--without-images", "--json")
    assert ran.exit_code == 0, ran.output
    summary = json.loads(ran.stdout)
    assert (summary["format"], summary["rows"]) == ("coco", built.info.rows)
    assert not (tmp_path / "coco" / "images").exists()
    images = ["--images", str(hospital.images), "--key-file", str(hospital.key_file)]
    ran = run("--format", "seg", "-o", str(tmp_path / "seg"), *images)
    assert ran.exit_code == 0, ran.output
    assert "segmentations" in ran.stderr
    ran = run("--format", "dicom", "-o", str(tmp_path / "dicom"))
    assert ran.exit_code == 2
    assert "--images" in ran.stderr


def test_the_command_knows_every_form() -> None:
    assert [one.value for one in ExportFormat] == list(FORMATS)


def test_arrow_files_hold_one_schema(exports: Path) -> None:
    schemas = []
    for path in sorted((exports / "hf").rglob("*.arrow")):
        with pa.memory_map(str(path)) as stream:
            schemas.append(pa.ipc.open_stream(stream).schema.remove_metadata())
    assert schemas
    assert all(schema == schemas[0] for schema in schemas)
