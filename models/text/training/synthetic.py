"""Made-up sentences to learn from: those of the grammar, those of the teacher's cues, and real ones with a finding
exchanged.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from corpora.findings import Assertion
from corpora.grammar import GrammarFinding, SentenceGrammar, SyntheticSentence, corrupt
from corpora.grammar.holdout import held_out_synonyms
from corpora.vocabulary import Vocabulary
from corpora.vocabulary.words import fold_words
from models.text.sentence_reader import Sentence, SentenceFinding, SentenceReader, SentenceReading
from models.text.training.cue_sentences import CueSentences
from models.text.training.examples import ReadSentence, substitute
from models.text.training.recipe import Synthetic

_KEPT = ("assertion", "hedge", "laterality", "location", "severity", "temporality")


def make_synthetic(
    recipe: Synthetic, vocabulary: Vocabulary, real: Sequence[ReadSentence], *, seed: int
) -> Iterator[ReadSentence]:
    """Yield made-up sentences with their readings, the same for the same seed, in a random order.

    ``real`` are sentences of training reports as the teacher reads them.
    """
    rng = random.Random(f"{seed} synthetic")
    reader = SentenceReader(vocabulary, cache_size=0)
    grammar = SentenceGrammar(vocabulary)
    phrases = training_phrases(vocabulary)
    cue_sentences = CueSentences(vocabulary, phrases)
    kinds = (
        ["grammar"] * recipe.grammar + ["cues"] * recipe.cues + ["substituted"] * (recipe.substituted if real else 0)
    )
    rng.shuffle(kinds)
    for kind in kinds:
        made = None
        while made is None:
            if kind == "grammar":
                made = read_made_up(grammar.generate(rng), reader)
            elif kind == "cues":
                text, antecedents = cue_sentences.draw(rng)
                sentence = Sentence(text, antecedents=antecedents)
                made = sentence, reader.read(sentence)
            else:
                made = substitute(real, reader, phrases, rng)
        yield _corrupted(made, rng) if rng.random() < recipe.corrupted else made


def training_phrases(vocabulary: Vocabulary) -> dict[str, list[str]]:
    """Return the synonyms of each concept that the grammar does not hold out."""
    phrases: dict[str, list[str]] = {}
    for entry in vocabulary.findings.values():
        held_out = held_out_synonyms(entry.id, entry.synonyms)
        chosen = [phrase for phrase in entry.synonyms if tuple(fold_words(phrase)) not in held_out]
        if chosen:
            phrases[entry.id] = chosen
    return phrases


def read_made_up(made: SyntheticSentence, reader: SentenceReader) -> ReadSentence:
    """Return a sentence of the grammar with its reading.

    The teacher adds what the grammar does not say (measurement, the flags of the read-out). Where it finds other
    findings than the grammar put there, the grammar is right.
    """
    sentence = Sentence(made.text, made.heading)
    reading = reader.read(sentence)
    read = {(f.concept_id, f.start, f.end): f for f in reading.findings}
    findings = []
    for given in made.findings:
        same = read.get((given.concept_id, given.start, given.end))
        values = {name: getattr(given, name) for name in _KEPT}
        if same is not None:
            findings.append(replace(same, **values))
        else:
            organ, _ = reader.vocabulary.organ_and_location(given.concept_id, given.location)
            findings.append(SentenceFinding(given.concept_id, given.start, given.end, anatomy=organ, **values))
    if len(read) == len(findings) and all(key in read for key in ((f.concept_id, f.start, f.end) for f in findings)):
        return sentence, replace(reading, findings=tuple(findings))
    return sentence, SentenceReading(tuple(findings))


def _corrupted(item: ReadSentence, rng: random.Random) -> ReadSentence:
    """Return the sentence with noise: what it says stays."""
    sentence, reading = item
    spans: list[tuple[int, int]] = [(f.start, f.end) for f in reading.findings] + list(reading.spoken_at)
    if any(start >= end for start, end in spans):
        return item
    carried = tuple(GrammarFinding("", start, end, Assertion.POSITIVE) for start, end in spans)
    noisy = corrupt(SyntheticSentence(sentence.text, carried, "real", sentence.heading), rng)
    if len(noisy.findings) != len(spans):
        return item
    moved = [(f.start, f.end) for f in noisy.findings]
    n = len(reading.findings)
    return replace(sentence, text=noisy.text), replace(
        reading,
        findings=tuple(replace(f, start=s, end=e) for f, (s, e) in zip(reading.findings, moved[:n], strict=True)),
        spoken_at=tuple(moved[n:]),
    )
