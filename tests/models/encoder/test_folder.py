"""A model folder that is damaged, old or of another vocabulary is refused, with a reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from corpora.vocabulary import Vocabulary, load_vocabulary
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import CONFORMANCE, GRAPH, MANIFEST, ModelUnusable, file_digest, read_manifest
from models.text.encoder.layout import Layout
from models.text.training.export import load_network
from models.text.training.network import ReportEncoder


@pytest.fixture
def copied(untrained_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(untrained_model, tmp_path / "model"))


def edit_manifest(folder: Path, change: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    path = folder / MANIFEST
    values = json.loads(path.read_text("utf-8"))
    change(values)
    path.write_text(json.dumps(values), "utf-8")


def test_a_whole_folder_is_opened(untrained_model: Path, vocabulary: Vocabulary) -> None:
    reader = EncoderReader(untrained_model, vocabulary)
    assert reader.manifest.version == "test"
    assert len(reader.digest) == 64


def test_no_file_is_larger_than_16_megabytes(untrained_model: Path) -> None:
    assert max(path.stat().st_size for path in untrained_model.iterdir()) < 16_000_000


def test_the_folder_opens_with_auto_tokenizer(untrained_model: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(untrained_model)
    assert tokenizer.tokenize("No pleural effusion.")[:2] == ["no", "pl"]
    assert tokenizer.convert_tokens_to_ids("[IMPRESSION]") != tokenizer.unk_token_id


@pytest.mark.parametrize("name", [GRAPH, "tokenizer.json", CONFORMANCE])
def test_a_changed_file_is_refused(copied: Path, vocabulary: Vocabulary, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[:-1] + b" ")
    with pytest.raises(ModelUnusable, match=name):
        EncoderReader(copied, vocabulary)


def test_a_missing_file_is_named(copied: Path, vocabulary: Vocabulary) -> None:
    (copied / GRAPH).unlink()
    with pytest.raises(ModelUnusable, match=GRAPH):
        EncoderReader(copied, vocabulary)


def test_a_folder_without_a_manifest_is_none(tmp_path: Path, vocabulary: Vocabulary) -> None:
    with pytest.raises(ModelUnusable, match="no model folder"):
        EncoderReader(tmp_path, vocabulary)


def test_another_format_is_refused(copied: Path, vocabulary: Vocabulary) -> None:
    edit_manifest(copied, lambda values: values.update(format=2))
    with pytest.raises(ModelUnusable, match="format 2"):
        EncoderReader(copied, vocabulary)


def test_a_manifest_of_another_version_is_refused(copied: Path, vocabulary: Vocabulary) -> None:
    edit_manifest(copied, lambda values: values["layout"].update(colours=["red"]))
    with pytest.raises(ModelUnusable, match="another version"):
        EncoderReader(copied, vocabulary)


@pytest.mark.parametrize("damage", ["{", "", '{"format": 1, "name": "rad'])
def test_a_damaged_manifest_is_called_damaged(copied: Path, vocabulary: Vocabulary, damage: str) -> None:
    (copied / MANIFEST).write_text(damage, "utf-8")
    with pytest.raises(ModelUnusable, match="damaged"):
        EncoderReader(copied, vocabulary)


def test_concepts_that_the_vocabulary_lacks_are_refused(
    untrained_model: Path, copied: Path, vocabulary: Vocabulary
) -> None:
    def rename(values: dict) -> None:  # type: ignore[type-arg]
        values["layout"]["concepts"][0] = "dorsal_wombat"

    edit_manifest(copied, rename)
    with pytest.raises(ModelUnusable, match="dorsal_wombat"):
        EncoderReader(copied, vocabulary)


def test_a_model_that_reads_otherwise_than_recorded_is_not_served(copied: Path, vocabulary: Vocabulary) -> None:
    path = copied / CONFORMANCE
    cases = json.loads(path.read_text("utf-8"))
    cases[0]["findings"] = [["cardiomegaly", 0, 5, "positive"]]
    path.write_text(json.dumps(cases), "utf-8")
    edit_manifest(copied, lambda values: values["digests"].update({CONFORMANCE: file_digest(path)}))
    with pytest.raises(ModelUnusable, match="1 of the 2 sentences"):
        EncoderReader(copied, vocabulary)


def test_weights_come_back_from_half_precision(untrained_model: Path, network: ReportEncoder, layout: Layout) -> None:
    loaded = load_network(untrained_model, layout).state_dict()
    for name, value in network.state_dict().items():
        assert (loaded[name] - value).abs().max() < 2e-3 * max(float(value.abs().max()), 1.0)


def test_heads_are_taken_over_by_name(untrained_model: Path, layout: Layout, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "findings:\n  - {id: aaa_first, name: First, synonyms: [first of all]}\n"
        "label_sets:\n  - {id: ours, name: Ours, readout: coded, labels: [{name: First, concepts: [aaa_first]}]}\n",
        "utf-8",
    )
    larger = load_vocabulary((own,))
    wider = Layout.of(larger, [larger.label_set("ours"), larger.label_set("nih14")])
    before, after = load_network(untrained_model, layout), load_network(untrained_model, wider)
    old, new = before.token_head.weight, after.token_head.weight
    concept = layout.concept_index["cardiomegaly"]
    assert (new[wider.concept_index["cardiomegaly"]] == old[concept]).all()
    assert (new[wider.heads["span_end"]] == old[layout.heads["span_end"]]).all()
    label = ("nih14", "Edema")
    assert (after.label_query[wider.label_index[label]] == before.label_query[layout.label_index[label]]).all()


def test_a_manifest_lists_every_file_but_the_card(untrained_model: Path) -> None:
    names = {path.name for path in untrained_model.iterdir()}
    assert set(read_manifest(untrained_model).digests) == names - {"README.md", MANIFEST}
