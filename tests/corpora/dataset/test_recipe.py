"""A recipe is checked as a whole before anything starts; what is wrong is named by its path."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from corpora.dataset import Recipe, RecipeInvalid, load_recipe, recipe_from
from corpora.weak_labels.policies import Treatment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imagess: x", "imagess: there is no such key; known are name, reports, images"),
        ("image: {sise: 5}", "image > sise: there is no such key; known are size"),
        ("image: {size: 5}", "image > size"),
        ("image: {size: large}", "image > size"),
        ("image: 512", "image:"),
        ("splits: {shares: {train: 0.5}}", "splits > shares: the shares must be 0 or more and add up to 1"),
        ("splits: {shares: {train: 0.5, holdout: 0.5}}", "splits > shares > holdout"),
        ("splits: {key: ''}", "splits > key"),
        ("splits: {text: sometimes}", "splits > text"),
        ("policy: {labels: {Edema: {uncertain: maybe}}}", "policy"),
        ("policy: {label: {}}", "policy"),
        ("labels: {abstain: [0.7, 0.3]}", "labels: abstain needs two probabilities"),
        ("labels: {reader: rules, model: folder}", "labels: the rules read without a model"),
        ("labels: {rows: a, chexpert: b}", "labels: labels come from rows or from a CheXpert CSV"),
        ("reading: {format: docx}", "reading > format: is none of"),
        ("link: {patient_date_window_days: 400}", "link > patient_date_window_days"),
        ("deidentify: {enabled: perhaps}", "deidentify > enabled"),
        ("[1, 2]", "expected a mapping"),
        ("a: b: c", "line 1: no valid YAML"),
        ("regions: {table: [1]}", "regions > table"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_path(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(path)
    assert str(caught.value).startswith("recipe.yaml")
    assert message in str(caught.value)


def test_a_value_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("image: {size: John Smith}", encoding="utf-8")
    with pytest.raises(RecipeInvalid) as caught:
        load_recipe(path)
    assert "Smith" not in str(caught.value)


def test_a_file_that_is_no_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match=r"none\.yaml: cannot be read"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9t\xe9")
    with pytest.raises(RecipeInvalid, match="UTF-8"):
        load_recipe(tmp_path / "latin.yaml")


def test_paths_are_those_of_the_recipes_folder(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "reports: [a.csv, /data/b.csv]\nimages: dicom\nsplits: {fixed: fixed.csv}\nlabels: {vocabulary: [v.yaml]}\n"
        "deidentify: {key_file: site.key}\n",
        encoding="utf-8",
    )
    recipe = load_recipe(path)
    assert recipe.reports == (tmp_path / "a.csv", Path("/data/b.csv"))
    assert recipe.images == str(tmp_path / "dicom")
    assert recipe.splits.fixed == tmp_path / "fixed.csv"
    assert recipe.labels.vocabulary == (tmp_path / "v.yaml",)
    assert recipe.deidentify.key_file == tmp_path / "site.key"
    path.write_text("images: https://pacs.example/dicom-web", encoding="utf-8")
    assert load_recipe(path).images == "https://pacs.example/dicom-web"


def test_what_an_option_says_takes_the_place_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("image: {size: 64}\nlabels: {label_set: nih14, reader: rules}\n", encoding="utf-8")
    recipe = load_recipe(path, {"labels": {"label_set": "openi"}, "name": "mine"})
    assert (recipe.image.size, recipe.labels.label_set, recipe.labels.reader, recipe.name) == (
        *(64, "openi", "rules"),
        "mine",
    )


def test_a_policy_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("labels: {Edema: {uncertain: ones}}", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text("policy: policy.yaml", encoding="utf-8")
    policy = load_recipe(tmp_path / "recipe.yaml").policy
    assert policy.of("Edema").uncertain is Treatment.ONES
    assert policy.of("Fracture").not_mentioned is Treatment.ZEROS
    with pytest.raises(RecipeInvalid, match=r"none\.yaml"):
        recipe_from({"policy": str(tmp_path / "none.yaml")}, "r")


def test_not_mentioned_is_absent_unless_the_recipe_says_otherwise() -> None:
    assert Recipe().policy.of("Edema").not_mentioned is Treatment.ZEROS
    said = recipe_from({"policy": {"default": {"uncertain": "ones"}}}, "r").policy.of("Edema")
    assert (said.uncertain, said.not_mentioned) == (Treatment.ONES, Treatment.IGNORE)


def test_what_is_written_down_does_not_tell_where_things_lie() -> None:
    recipe = recipe_from(
        {
            "reports": "/srv/jane/ris/export.csv",
            "images": "/mnt/pacs/dicom",
            "splits": {"previous": "/srv/jane/old"},
            "labels": {"vocabulary": ["/srv/jane/words.yaml"]},
        },
        "r",
    )
    used = recipe.as_used()
    assert "jane" not in str(used)
    assert (used["reports"], used["images"], used["splits"]["previous"]) == (["export.csv"], "dicom", "old")
    assert used["labels"]["vocabulary"] == ["words.yaml"]
    server = recipe_from({"images": "https://pacs.hospital.example/dicom-web"}, "r").as_used()
    assert "hospital" not in str(server)


def test_a_recipe_survives_yaml() -> None:
    recipe = Recipe()
    again = recipe_from(yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json"))), "r")
    assert again == recipe


def test_the_documentation_lists_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")
    for name, field in Recipe.model_fields.items():
        assert f"`{name}`" in page or f"{name}:" in page, name
        inner = getattr(field.annotation, "model_fields", {})
        for key in inner if name not in ("policy", "link") else ():
            assert f"`{key}`" in page, f"{name} > {key}"
