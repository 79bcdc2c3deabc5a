"""What the encoder learns from: real sentences as the teacher reads them, reports with labels, made-up sentences."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from corpora.findings import Assertion
from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from models.text.encoder.layout import Layout
from models.text.encoder.tokens import Pieces, SentenceTokenizer
from models.text.report_reader import SILENT, Reading, ReportReader
from models.text.sentence_reader import Sentence, SentenceReader, SentenceReading
from models.text.study import StudyReader
from models.text.training.targets import Targets, make_targets

_SILENT = frozenset(kind.value for kind in SILENT)
ReadSentence = tuple[Sentence, SentenceReading]


@dataclass(frozen=True, slots=True, repr=False)
class SentenceExample:
    """A sentence as pieces, with what the encoder should say of it."""

    pieces: Pieces
    targets: Targets


@dataclass(frozen=True, slots=True, repr=False)
class ReportExample:
    """A report: the indices of its sentences among the `SentenceExample`s, and its labels.

    ``labels`` (labels,) are zeros and ones as human codes or the teacher give them, ``known`` (labels,) says which of
    them are known: what is not known is left out of the loss, which is not the same as a zero.
    """

    report_id: str
    sentences: npt.NDArray[np.int32]
    labels: npt.NDArray[np.float32]
    known: npt.NDArray[np.float32]


class ExampleMaker:
    """Turns sentences and readings into examples; equal windows of pieces are made once."""

    def __init__(self, vocabulary: Vocabulary, layout: Layout, tokenizer: SentenceTokenizer) -> None:
        self._vocabulary = vocabulary
        self._layout = layout
        self._tokenizer = tokenizer
        self._seen: dict[bytes, int] = {}
        self.examples: list[SentenceExample] = []

    def add(self, items: Sequence[ReadSentence]) -> list[list[int]]:
        """Return the indices of the examples that each sentence becomes (its windows)."""
        added: list[list[int]] = []
        encoded = self._tokenizer.encode([sentence for sentence, _ in items])
        for (_, reading), windows in zip(items, encoded, strict=True):
            indices = []
            for pieces in windows:
                key = pieces.ids.tobytes()
                index = self._seen.get(key)
                if index is None:
                    index = self._seen[key] = len(self.examples)
                    self.examples.append(
                        SentenceExample(pieces, make_targets(pieces, reading, self._layout, self._vocabulary))
                    )
                indices.append(index)
            added.append(indices)
        return added


@dataclass(frozen=True, slots=True, repr=False)
class TaughtReport:
    """A report as the teacher reads it: its sentences that can hold findings, and what comes of the whole."""

    report: Report
    sentences: tuple[ReadSentence, ...]
    reading: Reading


def teach(reports: Iterable[Report], vocabulary: Vocabulary) -> Iterator[TaughtReport]:
    """Yield every report as the rule teacher reads it."""
    sentence_reader = SentenceReader(vocabulary)
    report_reader = ReportReader(vocabulary)
    for report in reports:
        seen: list[ReadSentence] = []

        def read(sentence: Sentence, seen: list[ReadSentence] = seen) -> SentenceReading:
            reading = sentence_reader.read(sentence)
            if sentence.section not in _SILENT:
                seen.append((sentence, reading))
            return reading

        reading = _drive(report_reader, report, read)
        yield TaughtReport(report, tuple(seen), reading)


def _drive(reader: ReportReader, report: Report, read: Callable[[Sentence], SentenceReading]) -> Reading:
    from models.text.report_reader import read_at_once

    return read_at_once(reader.steps(report), read)


def labels_of_teacher(taught: TaughtReport, study_reader: StudyReader, layout: Layout) -> npt.NDArray[np.float32]:
    """Return what the teacher would code, in the order of the layout's labels."""
    labels = study_reader.labels(taught.reading)
    values = np.zeros(len(layout.labels), dtype=np.float32)
    for name, i in layout.label_index.items():
        label_set, label = name
        values[i] = labels[label_set][label].value is Assertion.POSITIVE
    return values


def labels_of_codes(codes: Mapping[str, Iterable[str]], layout: Layout) -> npt.NDArray[np.float32]:
    """Return labels by label set as zeros and ones in the order of the layout's labels."""
    values = np.zeros(len(layout.labels), dtype=np.float32)
    for label_set, labels in codes.items():
        for label in labels:
            values[layout.label_index[label_set, label]] = 1.0
    return values


def digest_of(sentences: Sequence[SentenceExample], reports: Sequence[Sequence[ReportExample]]) -> str:
    """Return a digest of everything that is learned from reports: their sentences and what the teacher reads in them,
    and group by group which sentences and labels each report has.

    Made-up sentences are left out: they follow from these, the recipe and the vocabulary.
    """
    digest = hashlib.sha256()

    def add(array: npt.NDArray[np.generic]) -> None:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())

    for sentence in sentences:
        add(sentence.pieces.ids)
        targets = sentence.targets
        for array in (targets.starts, targets.ends, targets.values, targets.flags, targets.concepts, targets.places):
            add(array)
    for group in reports:
        digest.update(f"{len(group)}\n".encode())
        for report in group:
            digest.update(json.dumps(report.report_id).encode())
            add(report.sentences)
            add(report.labels)
            add(report.known)
    return digest.hexdigest()


def substitute(
    sentences: Sequence[ReadSentence], reader: SentenceReader, phrases: Mapping[str, Sequence[str]], rng: random.Random
) -> ReadSentence | None:
    """Return a real sentence with one of its findings said in another phrase or replaced by another finding.

    ``phrases`` are the phrases of each concept that may be used. The new sentence is read by the teacher; it is kept
    if the teacher finds the new concept in the place of the old one, asserted in the same way, and as much as before
    around it. So real contexts are learned together with findings that the corpus never has in them.
    """
    sentence, reading = rng.choice(sentences)
    named = [f for f in reading.findings if not f.is_pronoun and f.concept_id in phrases]
    if not named:
        return None
    finding = rng.choice(named)
    vocabulary = reader.vocabulary
    anatomy = vocabulary.findings[finding.concept_id].anatomy
    if rng.random() < 0.4:
        concept = finding.concept_id
    else:
        same = (
            [c for c in phrases if vocabulary.findings[c].anatomy == anatomy] if rng.random() < 0.7 else list(phrases)
        )
        concept = rng.choice(same or list(phrases))
    phrase = rng.choice(phrases[concept])
    text = sentence.text[: finding.start] + phrase + sentence.text[finding.end :]
    if finding.start == 0:
        text = text[0].upper() + text[1:]
    changed = replace(sentence, text=text)
    if sentence.antecedents and rng.random() < 0.7:
        changed = replace(changed, antecedents=tuple(rng.sample(list(phrases), len(sentence.antecedents))))
    again = reader.read(changed)
    new = [f for f in again.findings if f.start == finding.start and f.end == finding.start + len(phrase)]
    if len(new) != 1 or new[0].assertion is not finding.assertion or len(again.findings) != len(reading.findings):
        return None
    return changed, again
