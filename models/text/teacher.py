"""The rule teacher: a report in, its findings out."""

from __future__ import annotations

from collections.abc import Sequence

from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from models.text.digest import code_digest
from models.text.report_reader import Reading, ReportReader, read_at_once
from models.text.sentence_reader import CACHE_SIZE, Sentence, SentenceReader, SentenceReading

NAME = "radlabel-rules"
VERSION = "1"


class RuleTeacher:
    """Reads reports by rules over a vocabulary (`models.text.sentence_reader`).

    One instance serves one thread; readings depend on the report and the vocabulary alone.
    """

    def __init__(self, vocabulary: Vocabulary, *, cache_size: int = CACHE_SIZE) -> None:
        self.vocabulary = vocabulary
        self.sentences = SentenceReader(vocabulary, cache_size=cache_size)
        self._reports = ReportReader(vocabulary)

    @property
    def digest(self) -> str:
        """Return the SHA-256-sized digest of all that the readings depend on: the vocabulary, the cues and the
        rules.
        """
        return code_digest(self.vocabulary.digest, VERSION)

    def read(self, report: Report) -> Reading:
        """Return what a report says. A report without any text gets ``no_text``, other texts ``not_applicable``."""
        return read_at_once(self._reports.steps(report), self.sentences.read)

    def read_sentences(self, sentences: Sequence[Sentence]) -> list[SentenceReading]:
        """Return the readings of sentences that stand alone."""
        return [self.sentences.read(sentence) for sentence in sentences]

    def read_many(self, reports: Sequence[Report]) -> list[Reading | Exception]:
        """Return what each of several reports says, or the exception that reading it raised."""
        readings: list[Reading | Exception] = []
        for report in reports:
            try:
                readings.append(self.read(report))
            except Exception as error:  # handed to the caller, in the report's place
                readings.append(error)
        return readings
