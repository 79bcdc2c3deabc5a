"""Training learns, goes on where it was stopped to the same weights, and refuses what cannot be learned from."""

import copy
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from corpora.findings import Assertion
from corpora.reports import Report
from corpora.vocabulary import Vocabulary, load_vocabulary
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import read_manifest
from models.text.study import StudyReader
from models.text.training import runs
from models.text.training.build import build_model, openi_training_reports
from models.text.training.export import write_model
from models.text.training.model_place import FolderTaken
from models.text.training.network import ReportEncoder
from models.text.training.recipe import Recipe, RecipeInvalid, load_recipe
from models.text.training.runs import Event, GivenReport, TrainingData

SICK = ("Small left pleural effusion.", "Right pleural effusion is seen.", "There are bilateral pleural effusions.")
WELL = ("The lungs are clear.", "Heart size is normal.", "No acute abnormality.")
LABEL = ("nih14", "Effusion")


def recipe(**stage: object) -> Recipe:
    values = {"name": "own", "labels": "given", "epochs": 40, "reports": 4, "evaluations": 2, **stage}
    return Recipe.model_validate(
        {"label_sets": ["nih14"], "synthetic": {"grammar": 30, "cues": 0, "substituted": 0}, "stages": [values]}
    )


def given(n: int = 12, *, is_dev: Callable[[int], bool] = lambda i: False) -> list[GivenReport]:
    return [
        GivenReport(
            Report(f"r{i}", f"FINDINGS: {(SICK if i % 2 else WELL)[i // 2 % 3]}", body_part="CHEST"),
            {LABEL: bool(i % 2)},
            is_dev(i),
        )
        for i in range(n)
    ]


def build(
    out: Path, start: Path, vocabulary: Vocabulary, used: Recipe, reports: list[GivenReport], **more: object
) -> None:
    build_model(used, vocabulary, reports, out, version="test", origin="invented", start=start, **more)  # type: ignore[arg-type]


def test_a_handful_of_reports_is_learned_by_heart_and_read_after_loading(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    reports = given(16, is_dev=lambda i: i >= 12)
    build(tmp_path / "model", untrained_model, vocabulary, recipe(), reports)
    reader = EncoderReader(tmp_path / "model", vocabulary)
    study_reader = StudyReader(vocabulary, [vocabulary.label_set("nih14")], reader.readout)
    for item in reports:
        label = study_reader.labels(reader.read(item.report))["nih14"]["Effusion"]
        assert (label.value is Assertion.POSITIVE) == item.labels[LABEL]
        assert label.probability is not None
    assert (tmp_path / "model.run" / "curves.png").stat().st_size > 1000
    assert read_manifest(tmp_path / "model").training["data"]["reports"] == 12


class Stopped(Exception):
    """What stands for a kill in the middle of an epoch."""


def test_a_stopped_run_ends_with_the_weights_of_one_that_was_not(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "CHECKPOINT_STEPS", 4)
    used = recipe(epochs=7, synthetic=3, evaluations=8)
    reports = given(12, is_dev=lambda i: i >= 8)
    build(tmp_path / "whole", untrained_model, vocabulary, used, reports)

    def stop(event: Event) -> None:
        if event.step and event.step.step == 11:
            raise Stopped

    with pytest.raises(Stopped):
        build(tmp_path / "broken", untrained_model, vocabulary, used, reports, on_event=stop)
    assert not (tmp_path / "broken").exists()
    steps = []
    build(
        tmp_path / "broken",
        untrained_model,
        vocabulary,
        used,
        reports,
        on_event=lambda event: steps.append(event.step.step) if event.step else None,
    )
    assert steps[0] == 9  # behind the checkpoint at step 8
    whole, broken = (torch.load(tmp_path / f"{name}.run" / "own.pt", weights_only=True) for name in ("whole", "broken"))
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    metrics = [(tmp_path / f"{name}.run" / "metrics.jsonl").read_text("utf-8") for name in ("whole", "broken")]
    assert metrics[0] == metrics[1]  # the steps that were done twice are there once
    assert (tmp_path / "whole" / "model.onnx").read_bytes() == (tmp_path / "broken" / "model.onnx").read_bytes()


def with_text(reports: list[GivenReport], text: str) -> list[GivenReport]:
    """Return the reports with another text wherever that of the first one is: as many distinct sentences as before."""
    old = reports[0].report.text
    return [
        replace(item, report=replace(item.report, text=text)) if item.report.text == old else item for item in reports
    ]


def with_labels(reports: list[GivenReport], labels: Mapping[int, Mapping[tuple[str, str], bool]]) -> list[GivenReport]:
    """Return the reports with more labels for some, by their number."""
    return [replace(item, labels={**item.labels, **labels.get(i, {})}) for i, item in enumerate(reports)]


EDEMA = ("nih14", "Edema")


def begun() -> list[GivenReport]:
    """Return reports of which two have a second label."""
    return with_labels(given(), {1: {EDEMA: True}, 2: {EDEMA: False}})


@pytest.fixture(scope="module")
def run_of_reports(
    tmp_path_factory: pytest.TempPathFactory, untrained_model: Path, vocabulary: Vocabulary
) -> Callable[[Path], Path]:
    """Return what copies a finished run into a folder, for another to find there."""
    folder = tmp_path_factory.mktemp("run")
    build(folder / "model", untrained_model, vocabulary, recipe(epochs=1), begun())
    return lambda out: shutil.copytree(folder / "model.run", out / "model.run")


@pytest.mark.parametrize(
    ("epochs", "change", "reason"),
    [
        (2, lambda reports: reports, "of another recipe"),
        (1, lambda reports: with_text(reports, "FINDINGS: Old rib fracture."), "other reports or labels"),
        (1, lambda reports: with_labels(reports, {4: {EDEMA: False}}), "other reports or labels"),
        (1, lambda reports: with_labels(reports, {0: {LABEL: True}}), "other reports or labels"),
    ],
    ids=["recipe", "text", "known", "label"],
)
def test_a_run_goes_on_with_what_it_began_with(
    tmp_path: Path,
    untrained_model: Path,
    vocabulary: Vocabulary,
    run_of_reports: Callable[[Path], Path],
    epochs: int,
    change: Callable[[list[GivenReport]], list[GivenReport]],
    reason: str,
) -> None:
    run_of_reports(tmp_path)
    with pytest.raises(TrainingData, match=reason):
        build(tmp_path / "model", untrained_model, vocabulary, recipe(epochs=epochs), change(begun()))
    assert not (tmp_path / "model").exists()


def test_reports_that_the_rules_label_are_part_of_a_run(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    used = recipe(epochs=1, labels="teacher")
    unlabelled = [GivenReport(item.report, {}, False) for item in given()]
    build(tmp_path / "model", untrained_model, vocabulary, used, unlabelled)
    with pytest.raises(TrainingData, match="other reports or labels"):
        build(
            tmp_path / "model",
            untrained_model,
            vocabulary,
            used,
            with_text(unlabelled, "FINDINGS: Old rib fracture."),
        )


def test_a_run_does_not_go_on_from_another_base(
    tmp_path: Path,
    untrained_model: Path,
    vocabulary: Vocabulary,
    network: ReportEncoder,
    run_of_reports: Callable[[Path], Path],
) -> None:
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.label_bias.add_(1)
    write_model(
        tmp_path / "other",
        other,
        (untrained_model / "tokenizer.json").read_text("utf-8"),
        vocabulary,
        read_manifest(untrained_model).calibration,
        version="test",
        training={},
        metrics={},
        card="card",
    )
    run_of_reports(tmp_path)
    with pytest.raises(TrainingData, match="from another base"):
        build(tmp_path / "model", tmp_path / "other", vocabulary, recipe(epochs=1), begun())


def test_the_card_names_the_base(tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary) -> None:
    build(tmp_path / "model", untrained_model, vocabulary, recipe(epochs=1), given())
    assert f"`untrained`, version test, digest {read_manifest(untrained_model).digest[:16]}" in (
        tmp_path / "model" / "README.md"
    ).read_text("utf-8")


def test_a_folder_that_is_no_model_is_refused_before_training(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("precious", "utf-8")
    with pytest.raises(FolderTaken, match="something else than a model"):
        build(tmp_path / "model", untrained_model, vocabulary, recipe(), given())
    assert (tmp_path / "model" / "notes.txt").read_text("utf-8") == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_one_class_alone_teaches_nothing(tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary) -> None:
    sick = [item for item in given() if item.labels[LABEL]]
    with pytest.raises(TrainingData, match="one value in all reports"):
        build(tmp_path / "model", untrained_model, vocabulary, recipe(), sick)
    assert list(tmp_path.iterdir()) == []


def test_a_label_with_one_value_is_named_and_left_to_the_base(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    said: list[str] = []
    reports = with_labels(given(16, is_dev=lambda i: i >= 12), {i: {EDEMA: True} for i in range(16)})
    build(tmp_path / "model", untrained_model, vocabulary, recipe(epochs=1), reports, say=said.append)
    assert "warning: Edema is present in all reports to learn from: left as the base reads it" in said
    assert [message for message in said if "warning" in message and "Edema" not in message] == []
    made, base = read_manifest(tmp_path / "model"), read_manifest(untrained_model)
    assert [row["label"] for row in made.metrics["development"]["labels"]] == ["Effusion"]
    edema = base.layout.label_index[EDEMA]
    assert made.calibration[edema].threshold == base.calibration[edema].threshold
    assert made.calibration[edema].offset == base.calibration[edema].offset


def test_a_new_label_with_one_value_is_named_and_learned_as_that(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "label_sets:\n  - {id: ours, name: Ours, readout: coded, labels: ["
        "{name: Fluid, concepts: [pleural_effusion]}, {name: Air, concepts: [pneumothorax]}]}\n",
        "utf-8",
    )
    reports = [
        replace(item, labels={("ours", "Fluid"): item.labels[LABEL], ("ours", "Air"): False}) for item in given(16)
    ]
    used = recipe(epochs=30).model_copy(update={"label_sets": ("nih14", "ours")})
    said: list[str] = []
    build(tmp_path / "model", untrained_model, load_vocabulary((own,)), used, reports, say=said.append)
    assert "warning: Air is absent in all reports to learn from: new to the base, so learned as always this" in said
    reader = EncoderReader(tmp_path / "model", load_vocabulary((own,)))
    study_reader = StudyReader(reader.vocabulary, [reader.vocabulary.label_set("ours")], reader.readout)
    for item in reports:
        assert study_reader.labels(reader.read(item.report))["ours"]["Air"].value is not Assertion.POSITIVE


def test_reports_without_a_sentence_teach_nothing(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    empty = [GivenReport(Report(f"r{i}", "INDICATION: cough."), {LABEL: bool(i)}, False) for i in range(2)]
    with pytest.raises(TrainingData, match="no report to learn from"):
        build(tmp_path / "model", untrained_model, vocabulary, recipe(), empty)


def test_labels_that_are_not_known_are_left_out_of_the_loss(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    """A missing label is not a zero: only reports with a label train it, and the others do not pull it down."""
    reports = [*given(8), *(GivenReport(item.report, {}, False) for item in given(8))]
    build(tmp_path / "model", untrained_model, vocabulary, recipe(epochs=30), reports)
    reader = EncoderReader(tmp_path / "model", vocabulary)
    study_reader = StudyReader(vocabulary, [vocabulary.label_set("nih14")], reader.readout)
    chance = study_reader.labels(reader.read(reports[1].report))["nih14"]["Effusion"].probability
    assert chance is not None
    assert chance["positive"] > 0.9


def test_development_reports_without_a_known_label_are_not_scored(
    tmp_path: Path, untrained_model: Path, vocabulary: Vocabulary
) -> None:
    """Blank is not no: what a development report leaves open counts neither for nor against the model."""
    blank = [GivenReport(Report(f"b{i}", f"FINDINGS: {SICK[i % 3]}"), {}, True) for i in range(4)]
    build(tmp_path / "model", untrained_model, vocabulary, recipe(epochs=1), [*given(8), *blank])
    assert read_manifest(tmp_path / "model").metrics == {}
    half = [*given(12, is_dev=lambda i: i >= 8), *blank]
    build(tmp_path / "half", untrained_model, vocabulary, recipe(epochs=1), half)
    (label,) = read_manifest(tmp_path / "half").metrics["development"]["labels"]
    assert label["label"] == "Effusion"
    assert label["positives"] == 2
    assert label["cells"] <= 4


def test_held_out_reports_never_come_near_training(vocabulary: Vocabulary) -> None:
    from corpora.openi_split import is_dev, openi_test_ids

    reports = [Report(f"CXR{i}", "FINDINGS: Clear.") for i in range(1, 400)]
    made = openi_training_reports(reports, {"CXR1": ["normal"]}, vocabulary, ["nih14"])
    ids = {item.report.report_id for item in made}
    assert not ids & openi_test_ids()
    assert len(ids) + len({r.report_id for r in reports} & openi_test_ids()) == len(reports)
    assert all(item.is_dev == is_dev(item.report.report_id) for item in made)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("stages: []\ncolour: red\n", "colour"),
        ("stages: [{name: a, labels: given, epochs: -1}]\n", r"stages\.0\.epochs"),
        ("stages: [", "valid YAML"),
    ],
)
def test_a_recipe_that_breaks_a_rule_names_the_key(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(RecipeInvalid, match=reason):
        load_recipe(path)
