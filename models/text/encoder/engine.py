"""The encoder as an engine for whole reports: a model folder opened, checked and ready to read."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from models.text.digest import code_digest
from models.text.encoder.cache_file import CacheFile
from models.text.encoder.folder import CONFORMANCE, GRAPH, TOKENIZER, ModelUnusable, read_manifest
from models.text.encoder.readout import StudyReadout
from models.text.encoder.runtime import CACHE_SIZE, TOKEN_BUDGET, EncoderSentenceReader
from models.text.encoder.session import OnnxNetwork
from models.text.encoder.tokens import SentenceTokenizer
from models.text.report_reader import Reading, ReportReader, Steps, read_at_once, read_together
from models.text.sentence_reader import Sentence, SentenceReading

# A GPU wants batches that a processor's caches would not hold, and word pieces that are there when it is free.
GPU_TOKEN_BUDGET = 16_384
GPU_AHEAD = 1024


class EncoderReader:
    """Reads reports with the encoder of a model folder. One instance serves one thread.

    Raises:
        ModelUnusable: the folder is missing or damaged, names concepts that the vocabulary lacks, or does not read the
            sentences of its conformance test as it did when it was made.
        CacheUnusable: ``cache_file`` is damaged, or was built with another model.
    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        *,
        cache_size: int = CACHE_SIZE,
        threads: int | None = None,
        rules_check: bool = True,
        cache_file: Path | None = None,
        device: str = "auto",
    ) -> None:
        self.vocabulary = vocabulary
        self.manifest = read_manifest(folder)
        layout = self.manifest.layout
        unknown = [c for c in layout.concepts if c not in vocabulary.findings]
        unknown += [p for p in layout.places if p not in vocabulary.anatomy]
        if unknown:
            raise ModelUnusable(
                f"{folder}: the model reads {len(unknown)} concepts that the vocabulary does not define, such as "
                f"{unknown[0]!r}: give the vocabulary files that it was trained with"
            )
        if cache_file is not None and not rules_check:
            raise ValueError("a cache file holds readings that the rules have checked")
        self.store = None if cache_file is None else CacheFile(cache_file, self.digest)
        self.readout = StudyReadout(layout, self.manifest.calibration)
        self.network = OnnxNetwork(folder / GRAPH, threads=threads, device=device)
        on_gpu = self.network.device == "cuda"
        self.sentences = EncoderSentenceReader(
            self.network,
            layout,
            SentenceTokenizer.load(folder / TOKENIZER, vocabulary),
            vocabulary,
            cache_size=cache_size,
            rules_check=rules_check,
            store=self.store,
            token_budget=GPU_TOKEN_BUDGET if on_gpu else TOKEN_BUDGET,
            ahead=GPU_AHEAD if on_gpu else None,
        )
        self._reports = ReportReader(vocabulary)
        check_conformance(folder, self.sentences.read_alone, frozenset(layout.concepts))

    @property
    def digest(self) -> str:
        """Return the digest of all that the readings depend on: model, vocabulary, and the code around them."""
        return code_digest(
            self.vocabulary.digest, self.manifest.digest, packages=("models.text", "models.text.encoder")
        )

    def steps(self, report: Report) -> Steps:
        """Return what asks for the sentences of a report and gives its reading (`models.text.report_reader`)."""
        return self._reports.steps(report)

    def read(self, report: Report) -> Reading:
        """Return what a report says."""
        return read_at_once(self._reports.steps(report), self.sentences.read)

    def read_sentences(self, sentences: Sequence[Sentence]) -> list[SentenceReading]:
        """Return the readings of sentences that stand alone."""
        return self.sentences.read_many(sentences)

    def read_many(self, reports: Sequence[Report]) -> list[Reading | Exception]:
        """Return what each of several reports says, or the exception that reading it raised."""
        return read_together([self._reports.steps(report) for report in reports], self.sentences.read_many)


ReadMany = Callable[[Sequence[Sentence]], Sequence[SentenceReading]]


def summarize(reading: SentenceReading, concepts: Collection[str]) -> list[list[object]]:
    """Return what the conformance test compares: concept, span and assertion of the findings among ``concepts``."""
    return [[f.concept_id, f.start, f.end, f.assertion.value] for f in reading.findings if f.concept_id in concepts]


def check_conformance(folder: Path, read_many: ReadMany, concepts: Collection[str]) -> None:
    """Raise `ModelUnusable` unless the invented sentences of the model's conformance test are read as recorded."""
    try:
        cases = json.loads((folder / CONFORMANCE).read_text("utf-8"))
        sentences = [Sentence(c["text"], c["heading"], tuple(c["antecedents"]), c["section"]) for c in cases]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnusable(f"{folder / CONFORMANCE} cannot be read ({type(error).__name__})") from error
    readings = read_many(sentences)
    wrong = sum(summarize(r, concepts) != c["findings"] for r, c in zip(readings, cases, strict=True))
    if wrong:
        raise ModelUnusable(
            f"{folder}: {wrong} of the {len(cases)} sentences of the conformance test are not read as when the model "
            "was made: do not use it on this machine, and report the processor and the version of onnxruntime"
        )
