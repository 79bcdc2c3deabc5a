"""A model takes the place of a model, never of anything else, and the old one is there until the new one is."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from corpora.vocabulary import Vocabulary
from models.text.encoder.folder import read_manifest
from models.text.training.export import write_model
from models.text.training.model_place import FolderTaken
from models.text.training.network import ReportEncoder


class Writer:
    """Writes the untrained network as a model to train on from, which is quick."""

    def __init__(self, network: ReportEncoder, tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
        self._parts = (network, tokenizer.to_str(), vocabulary)

    def __call__(self, folder: Path, version: str) -> None:
        write_model(folder, *self._parts, [], version=version, training={}, metrics={}, card=f"card of {version}")


@pytest.fixture
def write(network: ReportEncoder, trimmed: tuple[Tokenizer, list[int]], vocabulary: Vocabulary) -> Writer:
    return Writer(network, trimmed[0], vocabulary)


def version_of(folder: Path) -> str:
    manifest = read_manifest(folder, files=("tokenizer.json",))
    assert (folder / "README.md").read_text("utf-8") == f"card of {manifest.version}"
    return manifest.version


def test_a_model_is_replaced_and_nothing_else_is_left(tmp_path: Path, write: Writer) -> None:
    write(tmp_path / "model", "1")
    write(tmp_path / "model", "2")
    assert version_of(tmp_path / "model") == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_link_stays_a_link(tmp_path: Path, write: Writer) -> None:
    write(tmp_path / "first", "1")
    (tmp_path / "model").symlink_to(tmp_path / "first")
    write(tmp_path / "model", "2")
    assert (tmp_path / "model").is_symlink()
    assert version_of(tmp_path / "first") == "2"


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path, write: Writer) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("precious", "utf-8")
    with pytest.raises(FolderTaken, match="something else than a model"):
        write(tmp_path / "notes", "1")
    assert (tmp_path / "notes" / "notes.txt").read_text("utf-8") == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_note_beside_a_model_is_not_lost(tmp_path: Path, write: Writer) -> None:
    write(tmp_path / "model", "1")
    (tmp_path / "model" / "notes.txt").write_text("precious", "utf-8")
    with pytest.raises(FolderTaken, match=r"'notes\.txt'"):
        write(tmp_path / "model", "2")
    assert version_of(tmp_path / "model") == "1"


def test_a_file_of_that_name_is_left_alone(tmp_path: Path, write: Writer) -> None:
    (tmp_path / "model").write_text("precious", "utf-8")
    with pytest.raises(FolderTaken, match="no folder"):
        write(tmp_path / "model", "1")
    assert (tmp_path / "model").read_text("utf-8") == "precious"


def test_the_old_model_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, write: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "model", "1")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if Path(target).name == "model" and "-old-" not in str(path) and Path(target).parent == tmp_path:
            raise OSError("no more")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no more"):
        write(tmp_path / "model", "2")
    assert version_of(tmp_path / "model") == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
