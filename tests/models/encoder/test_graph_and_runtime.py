"""The graph that serves gives what the network gives, and a sentence's reading depends on nothing beside it."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from corpora.grammar import SentenceGrammar
from corpora.vocabulary import Vocabulary
from models.text.encoder.folder import GRAPH, TOKENIZER
from models.text.encoder.layout import Layout
from models.text.encoder.readout import combine
from models.text.encoder.runtime import EncoderSentenceReader
from models.text.encoder.session import OnnxNetwork
from models.text.encoder.tokens import MAX_TOKENS, SentenceTokenizer
from models.text.sentence_reader import Sentence, SentenceReading
from models.text.training.export import network_graph
from models.text.training.network import ReportEncoder


@pytest.fixture(scope="module")
def sentences(vocabulary: Vocabulary) -> list[Sentence]:
    rng = random.Random(11)
    grammar = SentenceGrammar(vocabulary)
    made = [grammar.generate(rng) for _ in range(120)]
    return [Sentence(m.text, m.heading, (), rng.choice(("findings", "impression"))) for m in made]


def reader_of(
    folder: Path,
    vocabulary: Vocabulary,
    layout: Layout,
    *,
    threads: int = 1,
    budget: int = 512,
    cache_size: int = 0,
    rules_check: bool = False,
) -> EncoderSentenceReader:
    return EncoderSentenceReader(
        OnnxNetwork(folder / GRAPH, threads=threads),
        layout,
        SentenceTokenizer.load(folder / TOKENIZER, vocabulary),
        vocabulary,
        cache_size=cache_size,
        token_budget=budget,
        rules_check=rules_check,
    )


def torch_outputs(network: ReportEncoder, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        tensor = torch.from_numpy(ids)
        (words,) = network.embed([tensor])
        states, scores = network(words, torch.ones_like(tensor))
        rows = network.token_head(states)
    return rows.numpy(), scores.numpy()


def test_fp32_graph_equals_the_network(
    network: ReportEncoder, tokenizer: SentenceTokenizer, sentences: list[Sentence]
) -> None:
    session = OnnxNetwork(network_graph(network, "float32"), threads=1)
    for (pieces,) in tokenizer.encode(sentences[:40]):
        ids = pieces.ids[np.newaxis].astype(np.int64)
        for expected, found in zip(torch_outputs(network, ids), session.run(ids), strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-4)


def test_padding_in_training_changes_nothing(network: ReportEncoder, tokenizer: SentenceTokenizer) -> None:
    (short,), (long,) = tokenizer.encode([Sentence("Clear."), Sentence("No pleural effusion or pneumothorax is seen.")])
    ids = torch.zeros(2, len(long.ids), dtype=torch.int64)
    ids[0, : len(short.ids)] = torch.from_numpy(short.ids.astype(np.int64))
    ids[1] = torch.from_numpy(long.ids.astype(np.int64))
    mask = torch.zeros_like(ids)
    mask[0, : len(short.ids)] = 1
    mask[1] = 1
    with torch.no_grad():
        scores = network(network.embed([ids])[0], mask)[1].numpy()
    alone = torch_outputs(network, short.ids[np.newaxis].astype(np.int64))[1]
    np.testing.assert_allclose(scores[:1], alone, atol=1e-4)


def numbers(reading: SentenceReading) -> np.ndarray:
    assert reading.scores is not None
    return np.concatenate([reading.scores.ravel(), [f.probability or 0 for f in reading.findings]])


@pytest.mark.parametrize("budget", [8, 4096])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_reading_depends_on_no_neighbour_and_no_thread(
    untrained_model: Path,
    vocabulary: Vocabulary,
    layout: Layout,
    sentences: list[Sentence],
    threads: int,
    budget: int,
) -> None:
    alone = reader_of(untrained_model, vocabulary, layout)
    together = reader_of(untrained_model, vocabulary, layout, threads=threads, budget=budget)
    mixed = [*sentences, Sentence("Clear. " * 30), Sentence("No.")]
    for sentence, reading in zip(mixed, together.read_many(mixed), strict=True):
        expected = alone.read(sentence)
        assert reading.findings == expected.findings
        np.testing.assert_array_equal(numbers(reading), numbers(expected))


def test_int8_stays_close_to_fp32(
    network: ReportEncoder, tokenizer: SentenceTokenizer, sentences: list[Sentence]
) -> None:
    whole = OnnxNetwork(network_graph(network, "float32"), threads=1)
    small = OnnxNetwork(network_graph(network, "int8"), threads=1)
    for (pieces,) in tokenizer.encode(sentences[:20]):
        ids = pieces.ids[np.newaxis].astype(np.int64)
        a, b = whole.run(ids)[0].ravel(), small.run(ids)[0].ravel()
        assert float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) > 0.999


def test_report_logits_are_those_of_attention_over_all_tokens(
    network: ReportEncoder, tokenizer: SentenceTokenizer, sentences: list[Sentence]
) -> None:
    """Two floats a label and sentence carry all that a softmax over the whole report needs."""
    pieces = [windows[0] for windows in tokenizer.encode(sentences[:6])]
    scores, values, parts = [], [], []
    with torch.no_grad():
        for item in pieces:
            ids = torch.from_numpy(item.ids[np.newaxis].astype(np.int64))
            states, score = network(network.embed([ids])[0], torch.ones_like(ids))
            parts.append(score)
            scores.append((states @ network.label_query.T * 4.0)[0])
            values.append((states @ network.label_value.T)[0])
        attention = torch.softmax(torch.cat(scores), dim=0)
        whole = (attention * torch.cat(values)).sum(dim=0) + network.label_bias
        summed = network.combine(torch.cat(parts), torch.zeros(len(pieces), dtype=torch.int64), 1)[0]
    np.testing.assert_allclose(summed.numpy(), whole.numpy(), atol=1e-4)
    served, _ = combine([part[0].numpy() for part in parts], len(network.layout.labels))
    np.testing.assert_allclose(served + network.label_bias.detach().numpy(), whole.numpy(), atol=1e-4)


def test_the_cache_gives_the_same_reading_and_stays_bounded(
    untrained_model: Path, vocabulary: Vocabulary, layout: Layout, sentences: list[Sentence]
) -> None:
    reader = reader_of(untrained_model, vocabulary, layout, cache_size=50)
    first = reader.read_many([*sentences, *sentences])
    assert reader.misses == len(set(sentences))
    again = reader.read(sentences[-1])
    assert again is first[-1]
    assert len(reader._cache) == 50
    assert not any(word in repr(list(reader._cache)) for word in ("effusion", "pneumonia", "lungs"))


def test_a_section_that_holds_no_evidence_is_not_encoded(
    untrained_model: Path, vocabulary: Vocabulary, layout: Layout
) -> None:
    reader = reader_of(untrained_model, vocabulary, layout)
    reading = reader.read(Sentence("Pleural effusion.", section="indication"))
    assert reading.findings == ()
    assert reading.scores is None
    assert reading.chest > 0


def test_a_sentence_of_a_thousand_words_is_read_to_its_end(
    untrained_model: Path, vocabulary: Vocabulary, layout: Layout
) -> None:
    reader = reader_of(untrained_model, vocabulary, layout)
    text = "and ".join(["effusion "] * 1000)
    windows = SentenceTokenizer.load(untrained_model / TOKENIZER, vocabulary).encode([Sentence(text)])[0]
    assert all(len(pieces.ids) <= MAX_TOKENS for pieces in windows)
    assert int(windows[-1].ends[-1]) == len(text.rstrip())
    assert reader.read(Sentence(text)).scores is not None


def test_the_rules_read_what_the_encoder_passed_over(
    untrained_model: Path, vocabulary: Vocabulary, layout: Layout
) -> None:
    """The network has learned nothing; the vocabulary knows the words all the same."""
    reader = reader_of(untrained_model, vocabulary, layout, rules_check=True)
    (finding,) = reader.read(Sentence("No PTX.")).findings
    assert (finding.concept_id, finding.assertion, finding.probability) == ("pneumothorax", "negative", None)
    assert [f.assertion for f in reader.read(Sentence("None.", "Pleural effusion")).findings] == ["negative"]
    assert reader.doubted == 2
    alone = reader.read_alone([Sentence("No PTX.")])[0]
    assert all(f.probability is not None for f in alone.findings)


def test_what_a_user_adds_to_the_vocabulary_is_read_by_the_rules(
    untrained_model: Path, layout: Layout, tmp_path: Path
) -> None:
    from corpora.vocabulary import load_vocabulary

    own = tmp_path / "own.yaml"
    own.write_text("findings:\n  - {id: dorsal_wombat, name: Dorsal wombat, synonyms: [dorsal wombat]}\n", "utf-8")
    reader = reader_of(untrained_model, load_vocabulary((own,)), layout)
    assert "dorsal_wombat" in {f.concept_id for f in reader.read(Sentence("No dorsal wombat.")).findings}
