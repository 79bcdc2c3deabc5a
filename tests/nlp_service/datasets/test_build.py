"""Building: from files to a data set in one call, the same bytes each time, whatever happens in between."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from corpora.dataset import BuildMismatch, DatasetExists, DatasetFolder, NothingToBuild, Stage, open_dataset
from corpora.dataset.check import check_dataset
from corpora.deidentification import IdentifierKind, Pseudonymiser
from corpora.weak_labels.errors import SplitLeak
from nlp_service.cli.app import app
from nlp_service.datasets import BuildSummary
from tests.nlp_service.datasets.conftest import KEY, Hospital, build_from
from tests.nlp_service.datasets.making import (
    MARK,
    Study,
    files_of,
    studies,
    write_image,
    write_images,
    write_reports,
)

runner = CliRunner()


def names(hospital: Hospital) -> dict[str, str]:
    """Return what the key calls each patient."""
    maker = Pseudonymiser.from_file(hospital.key_file)
    return {
        study.patient_id: maker.pseudonym(IdentifierKind.PATIENT_ID, study.patient_id) for study in hospital.studies
    }


def test_every_image_is_a_row_with_the_labels_of_its_report(hospital: Hospital, dataset: DatasetFolder) -> None:
    maker = Pseudonymiser.from_file(hospital.key_file)
    rows = {row["sop_instance_uid"]: row for row in dataset.iter_rows()}
    assert len(rows) == sum(study.images for study in hospital.studies) == dataset.info.rows
    for study in hospital.studies:
        row = rows[maker.uid(f"{study.uid}.1.0")]
        assert row["patient_id"] == maker.pseudonym(IdentifierKind.PATIENT_ID, study.patient_id)
        assert row["accession_number"] == maker.pseudonym(IdentifierKind.ACCESSION_NUMBER, study.accession_number)
        assert row["report_id"] == maker.pseudonym(IdentifierKind.REPORT_ID, study.report_id)
        assert row["study_instance_uid"] == maker.uid(study.uid)
        assert row["study_date"] == maker.shift_date(study.patient_id, study.date)
        assert (row["view"], row["sex"]) == ("PA" if study.number % 2 else "AP", "F" if study.patient % 2 else "M")
        if study.number % 6 == 0:
            assert (row["label:Pleural Effusion"], row["label:Pneumothorax"]) == ("positive", "negative")
            assert row["label:Edema"] is None
            assert (row["target:Edema"], row["mask:Edema"]) == (0.0, True)  # nobody mentioned it: absent, by default
        if study.number % 6 == 3:
            assert row["label:Edema"] == "uncertain"
            assert (row["target:Edema"], row["mask:Edema"]) == (None, False)
    assert [row["image_id"] for row in dataset.iter_rows()] == sorted(row["image_id"] for row in rows.values())


def test_evidence_points_into_the_report(hospital: Hospital, dataset: DatasetFolder) -> None:
    maker = Pseudonymiser.from_file(hospital.key_file)
    texts = {maker.pseudonym(IdentifierKind.REPORT_ID, study.report_id): study.text for study in hospital.studies}
    found = Counter[str]()
    for row in dataset.iter_rows(["evidence"]):
        for item in row["evidence"]:
            found[texts[item["report_id"]][item["start"] : item["end"]].lower()] += 1
    assert found["consolidation"]
    assert found["edema"]


def test_a_left_effusion_is_hinted_at_on_the_right_of_the_picture(dataset: DatasetFolder) -> None:
    hints = [hint for row in dataset.iter_rows(["regions"]) for hint in row["regions"]]
    effusions = [hint for hint in hints if hint["label"] == "Pleural Effusion"]
    assert effusions
    assert all(hint["laterality"] == "left" and hint["box"][0] >= 0.5 for hint in effusions)
    assert {hint["pedigree"] for hint in hints} == {"thorax_default"}
    assert not [hint for hint in hints if hint["assertion"] != "positive"]


def test_pictures_are_as_the_rows_say(dataset: DatasetFolder) -> None:
    for row in dataset.iter_rows(["file", "width", "height", "image_id"]):
        pixels = dataset.read_image(row["file"])
        assert pixels.shape == (row["height"], row["width"]) == (96, 79)
        assert pixels.dtype == np.uint8
        assert np.ptp(pixels) > 200
        assert row["file"] == f"images/{row['file'][7:9]}/{row['image_id']}.png"


def test_the_counts_add_up(hospital: Hospital, built: BuildSummary) -> None:
    images, reports = built.info.counts["images"], built.info.counts["reports"]
    assert images["indexed"] == images["rows"] + sum(images["excluded"].values())
    assert reports["rows"] == len(hospital.studies) == reports["used"] + sum(reports["excluded"].values())
    assert sum(built.info.splits.values()) == images["rows"]
    assert not any(built.failed.values())


def test_no_leak_and_nothing_wrong(hospital: Hospital, dataset: DatasetFolder) -> None:
    result = check_dataset(dataset, pseudonymiser=Pseudonymiser.from_file(hospital.key_file))
    assert result.is_good
    assert result.is_text_checked
    assert result.is_public_test_checked


def test_the_same_inputs_give_the_same_bytes(hospital: Hospital, built: BuildSummary, tmp_path: Path) -> None:
    again = build_from(hospital.recipe(), tmp_path / "again", processes=2)
    assert files_of(again.output) == files_of(built.output)
    assert not (tmp_path / "again.part").exists()


def test_reports_labelled_on_a_cluster_give_the_same_bytes(hospital: Hospital, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    (tmp_path / "recipe.yaml").write_text(json.dumps(hospital.recipe()), encoding="utf-8")
    command = [sys.executable, "-m", "nlp_service", "dataset", "build", str(tmp_path / "recipe.yaml"), "-o"]
    subprocess.run([*command, str(tmp_path / "here")], capture_output=True, check=True)
    cluster = ("--engine", "ray", "--workers", "1")
    subprocess.run([*command, str(tmp_path / "cluster"), *cluster], capture_output=True, check=True)
    assert files_of(tmp_path / "cluster") == files_of(tmp_path / "here")
    usage = runner.invoke(app, ["dataset", "build", str(tmp_path / "recipe.yaml"), "-o", "x", "--workers", "2"])
    assert usage.exit_code == 2
    assert "--engine ray" in usage.output


def test_the_order_of_inputs_makes_no_difference(hospital: Hospital, built: BuildSummary, tmp_path: Path) -> None:
    write_reports(tmp_path / "reversed.csv", hospital.studies[::-1])
    other = build_from(hospital.recipe(reports=str(tmp_path / "reversed.csv")), tmp_path / "other")
    assert (other.output / "rows.parquet").read_bytes() == (built.output / "rows.parquet").read_bytes()


class Stopped(Exception):
    """The build is stopped here."""


@pytest.mark.parametrize("stage", [Stage.LABELLING, Stage.LINKING, Stage.DRAWING, Stage.PLACING, Stage.CARD])
def test_a_build_that_was_stopped_goes_on_to_the_same_bytes(
    hospital: Hospital, built: BuildSummary, tmp_path: Path, stage: Stage
) -> None:
    def stop(now: Stage, done: int, total: int | None) -> None:
        # In the middle of the pictures: one chunk of 32 is drawn, and eight pictures are not.
        if now is stage and (stage is not Stage.DRAWING or done >= 32):
            raise Stopped

    output = tmp_path / "chest"
    with pytest.raises(Stopped) as caught:
        build_from(hospital.recipe(), output, on_progress=stop)
    assert "--resume" in caught.value.__notes__[-1]
    assert not output.exists()
    with pytest.raises(DatasetExists, match="--resume"):
        build_from(hospital.recipe(), output)
    with pytest.raises(BuildMismatch, match="recipe"):
        build_from(hospital.recipe(image={"size": 64}), output, resume=True)
    build_from(hospital.recipe(), output, resume=True)
    assert files_of(output) == files_of(built.output)


def test_a_killed_process_goes_on_to_the_same_bytes(make_hospital: Callable[..., Hospital], tmp_path: Path) -> None:
    hospital = make_hospital(80)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(hospital.recipe()), encoding="utf-8")
    command = [sys.executable, "-m", "nlp_service", "dataset", "build", str(recipe), "--jobs", "1", "-o"]
    whole = subprocess.run([*command, str(tmp_path / "whole")], capture_output=True, check=True)
    assert whole.stdout == b""
    output = tmp_path / "killed"
    process = subprocess.Popen([*command, str(output)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        drawn = tmp_path / "killed.part" / "drawn" / "000000.json"
        deadline = time.monotonic() + 60
        while not drawn.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert drawn.exists()
    assert not output.exists()
    subprocess.run([*command, str(output), "--resume"], capture_output=True, check=True)
    assert files_of(output) == files_of(tmp_path / "whole")


def test_new_patients_move_nobody(hospital: Hospital, dataset: DatasetFolder, tmp_path: Path) -> None:
    grown = studies(36)
    write_images(tmp_path / "dicom", grown)
    write_reports(tmp_path / "reports.csv", grown)
    more = build_from(
        hospital.recipe(images=str(tmp_path / "dicom"), reports=str(tmp_path / "reports.csv")), tmp_path / "grown"
    )
    now = {row["image_id"]: row["split"] for row in open_dataset(more.output).iter_rows()}
    before = {row["image_id"]: row["split"] for row in dataset.iter_rows()}
    assert len(now) > len(before)
    assert {name: now[name] for name in before} == before


def test_fixed_lists_and_an_earlier_data_set_are_honoured(hospital: Hospital, tmp_path: Path) -> None:
    known = names(hospital)
    patients = list(known)
    (tmp_path / "fixed.csv").write_text(
        f"id,split\n{patients[0]},test\n{known[patients[1]]},val\n{patients[2]},TRAIN\n", encoding="utf-8"
    )
    first = build_from(hospital.recipe(splits={"fixed": str(tmp_path / "fixed.csv")}), tmp_path / "first")
    where = {row["patient_id"]: row["split"] for row in open_dataset(first.output).iter_rows()}
    assert [where[known[name]] for name in patients[:3]] == ["test", "validation", "train"]
    second = build_from(
        hospital.recipe(splits={"previous": str(first.output), "key": "another", "stratify": True}),
        tmp_path / "second",
    )
    again = {row["patient_id"]: row["split"] for row in open_dataset(second.output).iter_rows()}
    assert again == where


def test_a_public_test_report_fails_the_build_or_goes_to_test(hospital: Hospital, tmp_path: Path) -> None:
    from corpora.openi_split import openi_test_ids

    study = Study(900, 9001)
    write_image(tmp_path / "dicom", study, 0)
    write_images(tmp_path / "dicom", hospital.studies[:6])
    public = {"report_id": min(openi_test_ids()), "accession_number": study.accession_number, "text": study.text}
    write_reports(tmp_path / "reports.csv", hospital.studies[:6], public)
    wanted = hospital.recipe(
        images=str(tmp_path / "dicom"),
        reports=str(tmp_path / "reports.csv"),
    )
    train = {"shares": {"train": 1.0}}
    with pytest.raises(SplitLeak, match="public_test: 1"):
        build_from({**wanted, "splits": train}, tmp_path / "chest")
    result = build_from({**wanted, "splits": {**train, "public_tests": "test"}}, tmp_path / "chest", overwrite=True)
    assert result.info.splits["test"] == 1
    assert check_dataset(open_dataset(result.output)).is_good


def test_a_text_of_two_patients_is_in_one_split(hospital: Hospital, tmp_path: Path) -> None:
    known = [Study(patient, patient * 10) for patient in range(40)]
    write_images(tmp_path / "dicom", known)
    rows = [
        {"report_id": s.report_id, "accession_number": s.accession_number, "text": "Normal chest radiograph."}
        for s in known
    ]
    write_reports(tmp_path / "reports.csv", [], *rows)
    wanted = hospital.recipe(images=str(tmp_path / "dicom"), reports=str(tmp_path / "reports.csv"))
    result = build_from(wanted, tmp_path / "chest")
    assert result.info.splits["train"] == 0  # the most protected split that has the text keeps it
    assert result.info.counts["images"]["excluded"]["split:same_text"] == 40 - result.info.rows
    together = build_from({**wanted, "splits": {"text": "together"}}, tmp_path / "together")
    assert sorted(together.info.splits.values()) == [0, 0, 40]


def test_nearly_the_same_picture_of_two_patients_is_in_one_split(hospital: Hospital, tmp_path: Path) -> None:
    known = [Study(patient, patient * 10) for patient in range(12)]
    for study in known:
        write_image(tmp_path / "dicom", study, 0, seed=5)
    write_reports(tmp_path / "reports.csv", known)
    result = build_from(
        hospital.recipe(images=str(tmp_path / "dicom"), reports=str(tmp_path / "reports.csv")), tmp_path / "chest"
    )
    assert sorted(result.info.splits.values())[:2] == [0, 0]
    assert result.info.counts["images"]["excluded"].get("split:same_picture", 0) == 12 - result.info.rows


def test_what_cannot_be_read_costs_itself(hospital: Hospital, tmp_path: Path) -> None:
    few = hospital.studies[:8]
    write_images(tmp_path / "dicom", few)
    (tmp_path / "dicom" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 40)
    write_image(tmp_path / "dicom", Study(70, 700), 0, ViewPosition="LL")
    write_image(tmp_path / "dicom", Study(71, 710), 0, BodyPartExamined="FOOT")
    write_image(tmp_path / "dicom", Study(72, 720), 0)  # nobody reported it
    blank = Study(73, 730)
    write_image(tmp_path / "dicom", blank, 0, WindowCenter=9000, WindowWidth=2)
    compressed = Study(74, 740)
    write_image(tmp_path / "dicom", compressed, 0, BitsStored=12, BitsAllocated=16, SamplesPerPixel=9)
    rows = [
        {"report_id": s.report_id, "accession_number": s.accession_number, "text": s.text}
        for s in (Study(70, 700), Study(71, 710), blank, compressed)
    ]
    no_text = {"report_id": f"{MARK}empty", "accession_number": few[0].accession_number, "text": ""}
    lonely = {"report_id": f"{MARK}lonely", "accession_number": "nowhere", "text": "Clear lungs."}
    write_reports(tmp_path / "reports.csv", few, *rows, lonely, no_text)
    (tmp_path / "recipe.yaml").write_text(
        json.dumps(hospital.recipe(images=str(tmp_path / "dicom"), reports=str(tmp_path / "reports.csv"))),
        encoding="utf-8",
    )
    ran = runner.invoke(app, ["dataset", "build", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "c"), "--json"])
    assert ran.exit_code == 1
    summary = json.loads(ran.stdout)
    assert summary["failed"]["files"] == 1
    assert summary["failed"]["pictures"] == 1
    excluded = summary["counts"]["images"]["excluded"]
    assert excluded == {
        "filter:body_part": 1,
        "filter:view_not_wanted": 1,
        "link:no_report": 1,
        "pixels:blank": 1,
        "pixels:unreadable": 1,
    }
    assert summary["rows"] == sum(study.images for study in few)
    with (tmp_path / "c" / "excluded.csv").open(encoding="utf-8", newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert Counter(row["kind"] for row in listed) == {"image": 5, "file": 1, "report": 6}
    assert MARK not in ran.output
    assert check_dataset(open_dataset(tmp_path / "c")).is_good


def test_an_addendum_overrides_what_came_before(hospital: Hospital, tmp_path: Path) -> None:
    study = Study(1, 10)
    write_image(tmp_path / "dicom", study, 0)
    base = {"accession_number": study.accession_number, "patient_id": study.patient_id}
    rows = (
        {**base, "report_id": "a", "report_status": "final", "text": "Pneumothorax. Small left pleural effusion."},
        {**base, "report_id": "b", "report_status": "addendum", "text": "No pneumothorax. Cardiomegaly."},
    )
    write_reports(tmp_path / "reports.csv", [], *rows)
    result = build_from(
        hospital.recipe(
            images=str(tmp_path / "dicom"),
            reports=str(tmp_path / "reports.csv"),
            splits={"shares": {"train": 1.0}},
            deidentify={"enabled": False},
        ),
        tmp_path / "chest",
    )
    (row,) = open_dataset(result.output).iter_rows()
    assert row["report_id"] == "a"
    values = [row[f"label:{name}"] for name in ("Pneumothorax", "Pleural Effusion", "Cardiomegaly")]
    assert values == ["negative", "positive", "positive"]
    assert {item["report_id"] for item in row["evidence"] if item["label"] == "Pneumothorax"} == {"b"}
    assert "Pneumothorax" not in {hint["label"] for hint in row["regions"]}
    assert row["patient_id"] == study.patient_id


def test_label_rows_do_in_place_of_reports(hospital: Hospital, dataset: DatasetFolder, tmp_path: Path) -> None:
    labels = tmp_path / "labels.parquet"
    made = runner.invoke(app, ["label", str(hospital.reports), "-o", str(labels), "--reader", "rules", "-j", "1"])
    assert made.exit_code == 0
    result = build_from(hospital.recipe(reports=[], labels={"rows": str(labels)}), tmp_path / "chest")
    columns = [f"label:{label}" for label in dataset.labels]
    assert open_dataset(result.output).table(columns) == dataset.table(columns)
    assert not check_dataset(open_dataset(result.output)).is_text_checked


def test_a_manifest_brings_boxes_and_masks(hospital: Hospital, tmp_path: Path) -> None:
    from PIL import Image

    from tests.nlp_service.datasets.making import picture

    study = Study(3, 33)
    Image.fromarray((picture(1) // 16).astype(np.uint8)).save(tmp_path / "one.png")
    mask = np.zeros((176, 144), np.uint8)
    mask[20:150, 10:60] = 255  # the patient's right lung
    mask[20:150, 90:130] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "one.png")
    (tmp_path / "manifest.csv").write_text(
        f"image_id,file,patient_id,accession,view\none,one.png,{study.patient_id},{study.accession_number},PA\n"
    )
    (tmp_path / "boxes.csv").write_text("image_id,label,x,y,w,h\none,Nodule,14.4,17.6,14.4,17.6\n")
    row = {"report_id": "r", "accession_number": study.accession_number, "text": "Small left pleural effusion."}
    write_reports(tmp_path / "reports.csv", [], row)
    result = build_from(
        hospital.recipe(
            images=str(tmp_path / "manifest.csv"),
            boxes=str(tmp_path / "boxes.csv"),
            masks=str(tmp_path / "masks"),
            reports=str(tmp_path / "reports.csv"),
        ),
        tmp_path / "chest",
    )
    folder = open_dataset(result.output)
    (found,) = folder.iter_rows()
    assert found["boxes"] == [{"label": "Nodule", "box": [0.1, 0.1, 0.2, 0.2], "pedigree": "given"}]
    drawn = folder.read_image(found["mask_file"])
    assert drawn.shape == (96, 79)
    assert set(np.unique(drawn)) == {0, 255}
    (hint,) = found["regions"]
    assert hint["pedigree"] == "lung_masks"
    assert hint["box"][0] == pytest.approx(90 / 144, abs=0.02)
    assert hint["box"][3] == pytest.approx(150 / 176, abs=0.02)
    assert check_dataset(folder).is_good


def test_nothing_left_is_an_error_that_counts_why(hospital: Hospital, tmp_path: Path) -> None:
    with pytest.raises(NothingToBuild, match="filter:view_not_wanted 40"):
        build_from(hospital.recipe(filter={"views": ["lateral"]}), tmp_path / "chest")
    assert not (tmp_path / "chest").exists()


def test_a_key_is_made_once_and_kept_from_others(hospital: Hospital, tmp_path: Path) -> None:
    wanted = hospital.recipe(deidentify={})
    first = build_from(wanted, tmp_path / "chest")
    assert first.made_key == tmp_path / "chest.key"
    assert first.made_key.stat().st_mode & 0o777 == 0o600
    second = build_from(wanted, tmp_path / "chest", overwrite=True)
    assert second.made_key is None
    assert second.info == first.info


def test_the_map_leads_back_and_no_further(hospital: Hospital, tmp_path: Path) -> None:
    from corpora.deidentification import PseudonymMap

    target = tmp_path / "map.csv"
    result = build_from(
        hospital.recipe(deidentify={"key_file": str(hospital.key_file), "map_file": str(target)}), tmp_path / "chest"
    )
    maker = Pseudonymiser(KEY.encode())
    originals = PseudonymMap.read(target, maker).originals()
    patients = {row["patient_id"] for row in open_dataset(result.output).iter_rows(["patient_id"])}
    assert {originals[IdentifierKind.PATIENT_ID, name] for name in patients} == {s.patient_id for s in hospital.studies}
    assert target.stat().st_mode & 0o777 == 0o600
    again = hospital.recipe(deidentify={"key_file": str(hospital.key_file), "known_map": str(target)})
    assert build_from(again, tmp_path / "again").info.rows == result.info.rows


def test_the_card_shows_the_command_without_where_things_lie(hospital: Hospital, tmp_path: Path) -> None:
    arguments = ["--reports", str(hospital.reports), "--images", str(hospital.images), "--size", "96"]
    (tmp_path / "recipe.yaml").write_text("labels: {reader: rules}\ncard: {plots: false}\n", encoding="utf-8")
    ran = runner.invoke(
        app, ["dataset", "build", str(tmp_path / "recipe.yaml"), *arguments, "-o", str(tmp_path / "chest")]
    )
    assert ran.exit_code == 0, ran.output
    card = (tmp_path / "chest" / "card.md").read_text("utf-8")
    assert "radlabel dataset build recipe.yaml --size 96 --images dicom --reports reports.csv" in card
    assert str(hospital.folder) not in (tmp_path / "chest" / "dataset.json").read_text("utf-8") + card


def test_the_index_may_be_made_before(hospital: Hospital, built: BuildSummary, tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    assert runner.invoke(app, ["images", "index", str(hospital.images), "-o", str(index)]).exit_code == 0
    result = build_from(hospital.recipe(images=str(index)), tmp_path / "chest")
    assert (result.output / "rows.parquet").read_bytes() == (built.output / "rows.parquet").read_bytes()


def test_rows_have_the_columns_of_the_documentation(dataset: DatasetFolder) -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")
    for name in pq.read_schema(dataset.path / "rows.parquet").names:
        assert f"`{name.partition(':')[0]}" in page, name


def test_options_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    def code(*arguments: str) -> Any:
        return runner.invoke(app, ["dataset", "build", *arguments, "-o", str(tmp_path / "x")]).exit_code

    assert code("--resume", "--overwrite") == 2
    assert code("--keep-identifiers", "--map-file", "m.csv") == 2
    assert code() == 2
    assert code("--images", str(tmp_path)) == 2
    assert list(tmp_path.iterdir()) == []
