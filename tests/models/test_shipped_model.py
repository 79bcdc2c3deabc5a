"""The model that comes with radlabel: whole, small enough, and as good in eight bits as in full precision."""

import random

import numpy as np
import pytest

from corpora import Report, read_reports
from corpora.grammar import SentenceGrammar
from corpora.semantics import load_cases
from corpora.vocabulary import Vocabulary
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import GRAPH, TOKENIZER, read_manifest, shipped_model
from models.text.encoder.runtime import EncoderSentenceReader
from models.text.encoder.session import OnnxNetwork
from models.text.encoder.tokens import SentenceTokenizer
from models.text.evaluate import score_semantics
from models.text.grammar_scores import score_grammar
from models.text.report_reader import ReportReader, read_together
from models.text.sentence_reader import Sentence
from models.text.study import StudyReader
from nlp_service import Labeler
from tests.conftest import ROOT

LABEL_SETS = ("chexpert14", "nih14", "openi")
# What a shipped model must reach (docs/model.md has what it does).
GRAMMAR_FLOOR, ASSERTION_FLOOR = 0.95, 0.97
CELL_FLOOR, CASE_FLOOR, CATEGORY_FLOOR = 0.96, 0.93, 0.85


@pytest.fixture(scope="module")
def reader(vocabulary: Vocabulary) -> EncoderReader:
    return EncoderReader(shipped_model(), vocabulary, threads=1)


def sample(vocabulary: Vocabulary) -> list[Report]:
    """Return a fixed sample: the demo's invented reports, and made-up ones of held-out families."""
    grammar = SentenceGrammar(vocabulary, held_out=True)
    rng = random.Random(2)
    demo = list(read_reports(ROOT / "nlp_service" / "examples" / "reports.csv"))
    return demo + [grammar.report(rng).report for _ in range(60)]


def test_every_file_is_as_the_manifest_says_and_small(vocabulary: Vocabulary) -> None:
    for folder in (shipped_model(), shipped_model().with_name("teacher_stage")):
        manifest = read_manifest(folder, files=())
        read_manifest(folder, files=sorted(manifest.digests))
        sizes = [path.stat().st_size for path in folder.iterdir()]
        assert max(sizes) < 16_000_000
        assert sum(sizes) < 45_000_000
        assert manifest.vocabulary_digest == vocabulary.digest


def test_the_card_states_data_licence_seed_and_limits() -> None:
    card = (shipped_model() / "README.md").read_text("utf-8")
    for word in ("Open-i", "CC BY-NC-ND", "Apache-2.0", "seed", "Not a medical device", "Limits", "Calibration error"):
        assert word in card


def test_eight_bits_change_next_to_no_label(vocabulary: Vocabulary, reader: EncoderReader) -> None:
    from models.text.training.export import load_network, network_graph

    layout = reader.manifest.layout
    network = load_network(shipped_model(), layout)
    whole = EncoderSentenceReader(
        OnnxNetwork(network_graph(network, "float32"), threads=1),
        layout,
        SentenceTokenizer.load(shipped_model() / TOKENIZER, vocabulary),
        vocabulary,
    )
    reports = sample(vocabulary)
    study_reader = StudyReader(vocabulary, [vocabulary.label_set(name) for name in LABEL_SETS], reader.readout)
    steps = ReportReader(vocabulary)
    found = []
    for read_many in (reader.sentences.read_many, whole.read_many):
        values = []
        for reading in read_together([steps.steps(report) for report in reports], read_many):
            assert not isinstance(reading, Exception)
            labels = study_reader.labels(reading)
            values += [labels[name][label].value for name in LABEL_SETS for label in labels[name]]
        found.append(values)
    same = [a == b for a, b in zip(*found, strict=True)]
    assert len(same) > 9000
    assert sum(same) / len(same) >= 0.998


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sentence_has_the_same_probabilities_in_any_company(
    vocabulary: Vocabulary, reader: EncoderReader, threads: int
) -> None:
    rng = random.Random(5)
    grammar = SentenceGrammar(vocabulary)
    made = [grammar.generate(rng) for _ in range(150)]
    mixed = [Sentence(m.text, m.heading, (), "findings") for m in made] + [Sentence("Clear. " * 25)]
    together = EncoderSentenceReader(
        OnnxNetwork(shipped_model() / GRAPH, threads=threads),
        reader.manifest.layout,
        SentenceTokenizer.load(shipped_model() / TOKENIZER, vocabulary),
        vocabulary,
        cache_size=0,
    )
    for sentence, reading in zip(mixed, together.read_many(mixed), strict=True):
        alone = reader.read_sentences([sentence])[0]
        assert [f.probability for f in reading.findings] == [f.probability for f in alone.findings]
        assert reading.scores is not None
        assert alone.scores is not None
        np.testing.assert_array_equal(reading.scores, alone.scores)


def test_sentences_of_held_out_families_are_read(vocabulary: Vocabulary, reader: EncoderReader) -> None:
    rng = random.Random(0)
    grammar = SentenceGrammar(vocabulary, held_out=True)
    scores = score_grammar([grammar.generate(rng) for _ in range(1500)], reader.read_sentences)
    assert scores.span_f1 is not None
    assert scores.assertion_accuracy is not None
    assert scores.span_f1 >= GRAMMAR_FLOOR
    assert scores.assertion_accuracy >= ASSERTION_FLOOR


def test_the_semantics_table_is_read(vocabulary: Vocabulary) -> None:
    scores = score_semantics(load_cases(), Labeler(threads=1).label, vocabulary)
    assert scores.overall.cell_accuracy is not None
    assert scores.overall.cell_accuracy >= CELL_FLOOR
    assert scores.overall.case_accuracy >= CASE_FLOOR
    assert min(category.case_accuracy for category in scores.categories) >= CATEGORY_FLOOR


def test_a_finding_of_the_demo_is_read_with_all_that_is_said_of_it() -> None:
    labeled = Labeler(label_sets=LABEL_SETS).label(
        Report("r", "There is a small left pleural effusion, unchanged. No pneumothorax.")
    )
    effusion = next(f for f in labeled.findings if f.concept_id == "pleural_effusion")
    assert (effusion.assertion, effusion.laterality, effusion.severity) == ("positive", "left", "small")
    assert effusion.temporality == "stable"
    assert effusion.probability is not None
    assert effusion.probability > 0.8
    label = labeled.labels["nih14"]["Effusion"]
    assert label.value == "positive"
    assert label.evidence == (labeled.findings.index(effusion),)
