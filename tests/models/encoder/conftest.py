"""A network that has learned nothing, small and quick to make: enough for all that does not depend on what it says."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from corpora.vocabulary import Vocabulary
from models.text.encoder.folder import TOKENIZER
from models.text.encoder.layout import Layout
from models.text.encoder.readout import LabelCalibration
from models.text.encoder.tokens import SentenceTokenizer, trimmed_tokenizer
from models.text.sentence_reader import Sentence
from models.text.training.export import write_model
from models.text.training.network import ReportEncoder, base_network, bundled_base


@pytest.fixture(scope="session")
def layout(vocabulary: Vocabulary) -> Layout:
    return Layout.of(vocabulary, [vocabulary.label_set("nih14")])


@pytest.fixture(scope="session")
def trimmed(vocabulary: Vocabulary) -> tuple[Tokenizer, list[int]]:
    texts = [phrase for entry in vocabulary.findings.values() for phrase in entry.synonyms]
    return trimmed_tokenizer(Tokenizer.from_file(str(bundled_base() / TOKENIZER)), texts, 6000)


@pytest.fixture(scope="session")
def tokenizer(trimmed: tuple[Tokenizer, list[int]], vocabulary: Vocabulary) -> SentenceTokenizer:
    return SentenceTokenizer(trimmed[0], {entry.id: entry.name for entry in vocabulary.findings.values()})


@pytest.fixture(scope="session")
def network(trimmed: tuple[Tokenizer, list[int]], layout: Layout) -> ReportEncoder:
    network = base_network(bundled_base(), trimmed[1], layout, 1, seed=3).eval()
    with torch.no_grad():  # so that some sentences hold findings, and labels differ
        network.token_head.bias[layout.heads["concept"]] = -2.0
        network.label_value.mul_(20)
    return network


@pytest.fixture(scope="session")
def untrained_model(
    tmp_path_factory: pytest.TempPathFactory,
    network: ReportEncoder,
    trimmed: tuple[Tokenizer, list[int]],
    layout: Layout,
    vocabulary: Vocabulary,
) -> Path:
    """Return the folder of a model with the network above."""
    folder = tmp_path_factory.mktemp("models") / "untrained"
    write_model(
        folder,
        network,
        trimmed[0].to_str(),
        vocabulary,
        [LabelCalibration(label_set=n.label_set, label=n.label, bias=-3.0) for n in layout.labels],
        version="test",
        training={},
        metrics={},
        card="card",
        conformance=[Sentence("Small left pleural effusion."), Sentence("The lungs are clear.")],
    )
    return folder
