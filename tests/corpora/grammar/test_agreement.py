"""Grammar and rules read the same conventions: where they part, one of them is wrong, and it is seen here first."""

import random

from corpora.grammar import SentenceGrammar
from corpora.vocabulary import load_vocabulary
from models.text.sentence_reader import Sentence, SentenceReader


def test_the_rules_read_what_the_grammar_says(training: SentenceGrammar) -> None:
    reader = SentenceReader(load_vocabulary())
    rng = random.Random(1)
    agreed = total = 0
    for family in sorted(training.categories):
        for _ in range(5):
            sentence = training.generate_from(family, rng)
            read = reader.read(Sentence(sentence.text, sentence.heading)).findings
            said = {(f.concept_id, f.start, f.end, f.assertion) for f in sentence.findings}
            agreed += said == {(f.concept_id, f.start, f.end, f.assertion) for f in read}
            total += 1
    assert agreed / total >= 0.97
