"""What the encoder is taught and what is read out of its numbers are two sides of one form."""

import random

import numpy as np
import pytest

from corpora.grammar import SentenceGrammar
from corpora.vocabulary import Vocabulary
from models.text.encoder.decode import Decoder
from models.text.encoder.layout import ASSERTIONS, Layout
from models.text.encoder.tokens import SentenceTokenizer
from models.text.sentence_reader import Sentence, SentenceFinding, SentenceReader, SentenceReading
from models.text.training.targets import Targets, make_targets

VALUES = ("assertion", "hedge", "laterality", "severity", "temporality")


def ideal_rows(targets: Targets, n_tokens: int, layout: Layout) -> np.ndarray:
    """Return the rows of a network that has learned its targets by heart."""
    rows = np.full((n_tokens, layout.width), -9.0, dtype=np.float32)
    heads = layout.heads
    rows[:, heads["span_start"]] = rows[:, heads["span_end"]] = 0.0
    for row, (token, end) in enumerate(zip(targets.starts, targets.ends, strict=True)):
        for name, value in zip(VALUES, targets.values[row], strict=True):
            rows[token, heads[name].start + value] = 9.0
        for i, flag in enumerate(targets.flags[row]):
            rows[token, heads["flag"].start + i] = 9.0 if flag else -9.0
        key = row % 64  # a direction of its own for each span
        rows[token, heads["span_start"].start + key] = 1.0
        rows[end, heads["span_end"].start + key] = 1.0
    for row, concept in targets.concepts:
        rows[targets.starts[row], heads["concept"].start + concept] = 9.0
    for row, place in targets.places:
        rows[targets.starts[row], heads["place"].start + place] = 9.0
    return rows


def read_back(
    reading: SentenceReading, sentence: Sentence, tokenizer: SentenceTokenizer, layout: Layout, vocabulary: Vocabulary
) -> tuple[list[SentenceFinding], list[str]]:
    ((pieces,),) = tokenizer.encode([sentence])
    targets = make_targets(pieces, reading, layout, vocabulary)
    rows = ideal_rows(targets, len(pieces.ids), layout)
    found, spoken = Decoder(layout, vocabulary).findings(rows, pieces, sentence)
    return found, [concept for concept, _ in spoken]


SENTENCES = [
    "Small left pleural effusion.",
    "Heart size and mediastinal contours are normal.",
    "No focal consolidation, pleural effusion, or pneumothorax.",
    "There is a 1.2 cm nodule in the right upper lobe, unchanged.",
    "Opacity at the left base, atelectasis versus pneumonia.",
    "Possible mild cardiomegaly.",
    "Bilateral pleural effusions, right greater than left.",
    "Evaluate for pneumonia.",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_what_the_teacher_reads_comes_back_from_ideal_numbers(
    text: str, vocabulary: Vocabulary, tokenizer: SentenceTokenizer, layout: Layout
) -> None:
    sentence = Sentence(text)
    reading = SentenceReader(vocabulary).read(sentence)
    found, spoken = read_back(reading, sentence, tokenizer, layout, vocabulary)
    keys = [(f.concept_id, f.assertion, f.laterality, f.location, f.severity, f.temporality, f.hedge) for f in found]
    expected = [
        (f.concept_id, f.assertion, f.laterality, f.location, f.severity, f.temporality, f.hedge)
        for f in reading.findings
    ]
    assert sorted(keys, key=repr) == sorted(expected, key=repr)
    assert {f.measurement for f in found} == {f.measurement for f in reading.findings}
    assert sorted(spoken) == sorted(reading.spoken_of)


def test_spans_of_the_grammar_come_back(vocabulary: Vocabulary, tokenizer: SentenceTokenizer, layout: Layout) -> None:
    rng = random.Random(7)
    grammar = SentenceGrammar(vocabulary)
    same = total = 0
    for _ in range(400):
        made = grammar.generate(rng)
        sentence = Sentence(made.text, made.heading)
        reading = SentenceReading(
            tuple(SentenceFinding(f.concept_id, f.start, f.end, f.assertion) for f in made.findings)
        )
        found, _ = read_back(reading, sentence, tokenizer, layout, vocabulary)
        given = {(f.concept_id, f.start, f.end, f.assertion) for f in made.findings}
        same += len(given & {(f.concept_id, f.start, f.end, f.assertion) for f in found})
        total += len(given)
    # What is lost begins at the same word as another finding and ends elsewhere.
    assert same / total > 0.99


def test_a_pronoun_stands_for_each_of_its_antecedents(
    vocabulary: Vocabulary, tokenizer: SentenceTokenizer, layout: Layout
) -> None:
    sentence = Sentence("They have resolved.", antecedents=("pleural_effusion", "atelectasis"))
    reading = SentenceReader(vocabulary).read(sentence)
    found, _ = read_back(reading, sentence, tokenizer, layout, vocabulary)
    assert {f.concept_id for f in found} == {"pleural_effusion", "atelectasis"}
    assert {f.assertion.value for f in found} == {"negative"}
    assert all(f.is_pronoun for f in found)


def test_probability_falls_with_doubt_about_concept_or_assertion(
    vocabulary: Vocabulary, tokenizer: SentenceTokenizer, layout: Layout
) -> None:
    sentence = Sentence("Pneumonia.")
    ((pieces,),) = tokenizer.encode([sentence])
    reading = SentenceReader(vocabulary).read(sentence)
    rows = ideal_rows(make_targets(pieces, reading, layout, vocabulary), len(pieces.ids), layout)
    decoder = Decoder(layout, vocabulary)
    (sure,), _ = decoder.findings(rows, pieces, sentence)
    assert sure.probability is not None
    assert sure.probability > 0.99
    rows[pieces.first, layout.heads["assertion"].start + ASSERTIONS.index("uncertain")] = 8.0
    (unsure,), _ = decoder.findings(rows, pieces, sentence)
    assert unsure.probability is not None
    assert 0.5 < unsure.probability < 0.8
