"""The rule teacher: a report in, its findings out."""

from __future__ import annotations

from hashlib import blake2b
from importlib import resources

from corpora.reports import Report
from corpora.vocabulary import Vocabulary
from models.text.report_reader import Reading, ReportReader, read_at_once
from models.text.sentence_reader import CACHE_SIZE, SentenceReader

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
        parts = [self.vocabulary.digest, VERSION]
        for resource in sorted(resources.files(__package__).iterdir(), key=lambda r: r.name):
            if resource.name.endswith(".py"):
                parts.append(blake2b(resource.read_bytes()).hexdigest())
        parts += [
            blake2b(r.read_bytes()).hexdigest()
            for r in sorted(resources.files(__package__).joinpath("data").iterdir(), key=lambda r: r.name)
            if r.is_file()
        ]
        return blake2b("\n".join(parts).encode(), digest_size=32).hexdigest()

    def read(self, report: Report) -> Reading:
        """Return what a report says. A report without any text gets ``no_text``, other texts ``not_applicable``."""
        return read_at_once(self._reports.steps(report), self.sentences.read)
