"""The labeler: a report in, study labels and findings with evidence out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from corpora.findings import LabeledReport, Status
from corpora.reports import Report
from corpora.vocabulary import load_vocabulary
from corpora.vocabulary.schema import LabelSet
from models.text.abstain import abstain_within
from models.text.encoder.engine import EncoderReader
from models.text.encoder.folder import shipped_model
from models.text.encoder.readout import StudyReadout
from models.text.encoder.runtime import CACHE_SIZE as ENCODER_CACHE
from models.text.report_reader import Reading
from models.text.sentence_reader import CACHE_SIZE as RULES_CACHE
from models.text.sentence_reader import Sentence, SentenceReading
from models.text.study import StudyReader
from models.text.teacher import NAME, VERSION, RuleTeacher
from nlp_service._version import __version__
from nlp_service.readers import DEFAULT_READER, Device, ReaderKind

DEFAULT_LABEL_SETS = ("chexpert14",)
# Reports whose sentences are read together: enough for full batches, few enough for a short wait.
WINDOW = 256


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which reader made a row: ``digest`` changes with anything its answers depend on."""

    name: str
    version: str
    digest: str


class Labeler:
    """Reads radiology reports and labels their studies.

    ``label_sets`` are ids of the vocabulary's label sets (``chexpert14``, ``nih14``, ``openi``, or a user's own);
    ``vocabulary`` are YAML files that add findings and label sets. ``reader`` reads the sentences: the encoder, from
    the model folder ``model`` (by default the one that comes with the package), or the rules; with ``rules_check`` they
    read the sentences that the encoder is not sure of. ``abstain`` is a band of probability, such as ``(0.3, 0.7)``: a
    label whose probability lies in it gets no value. ``threads`` are those of the encoder, ``cache_size`` is how many
    readings of sentences are kept (0 for none), ``cache_file`` has readings of frequent ones (`radlabel cache build`).
    ``device`` is what the encoder runs on: ``auto`` for a GPU where one can be used, ``cpu`` or ``cuda``.
    An instance serves one thread and streams: its memory does not grow with the number of reports.

    >>> from corpora import Report
    >>> labeled = Labeler().label(Report("r1", "Small left pleural effusion. No pneumothorax."))
    >>> labeled.labels["chexpert14"]["Pleural Effusion"].value.value
    'positive'
    >>> finding = labeled.findings[0]
    >>> finding.concept_id, finding.laterality, finding.severity
    ('pleural_effusion', 'left', 'small')

    Raises:
        LabelSetUnknown: a label set that neither the package nor ``vocabulary`` defines.
        VocabularyInvalid: a file of ``vocabulary`` breaks a rule.
    """

    def __init__(
        self,
        *,
        label_sets: Sequence[str] = DEFAULT_LABEL_SETS,
        vocabulary: Sequence[Path] = (),
        reader: ReaderKind | str = DEFAULT_READER,
        model: Path | None = None,
        abstain: tuple[float, float] | None = None,
        threads: int | None = None,
        cache_size: int | None = None,
        rules_check: bool = True,
        cache_file: Path | None = None,
        device: Device | str = Device.AUTO,
    ) -> None:
        reader = ReaderKind(reader)
        if model is not None and reader is ReaderKind.RULES:
            raise ValueError("the rules read without a model")
        if cache_file is not None and reader is ReaderKind.RULES:
            raise ValueError("the rules read without a cache file")
        if abstain is not None and not 0 <= abstain[0] < abstain[1] <= 1:
            raise ValueError("abstain must be two probabilities, the lower one first")
        loaded = load_vocabulary(tuple(vocabulary))
        self.vocabulary = loaded
        self.label_sets: tuple[LabelSet, ...] = tuple(loaded.label_set(name) for name in dict.fromkeys(label_sets))
        self._reader: RuleTeacher | EncoderReader
        self._readout: StudyReadout | None = None
        self.device = Device.CPU  # what the encoder runs on
        self.remarks: tuple[str, ...] = ()  # what a user should know, such as a GPU that was asked for and is not there
        if reader is ReaderKind.RULES:
            self._reader = RuleTeacher(loaded, cache_size=RULES_CACHE if cache_size is None else cache_size)
            self.model = ModelInfo(NAME, VERSION, self._reader.digest)
        else:
            self._reader = EncoderReader(
                model or shipped_model(),
                loaded,
                threads=threads,
                cache_size=ENCODER_CACHE if cache_size is None else cache_size,
                rules_check=rules_check,
                cache_file=cache_file,
                device=Device(device).value,
            )
            self._readout = self._reader.readout
            self.device = Device(self._reader.network.device)
            self.remarks = tuple(filter(None, [self._reader.network.remark]))
            manifest = self._reader.manifest
            self.model = ModelInfo(manifest.name, manifest.version, self._reader.digest)
        self._study_reader = StudyReader(loaded, self.label_sets, self._readout)
        self._abstain = abstain

    def for_label_sets(self, label_sets: Sequence[str]) -> Labeler:
        """Return a labeler for other label sets that shares this one's reader, cache and thread.

        Raises:
            LabelSetUnknown: a label set that nobody defined.
        """
        sibling = copy.copy(self)
        sibling.label_sets = tuple(self.vocabulary.label_set(name) for name in dict.fromkeys(label_sets))
        sibling._study_reader = StudyReader(self.vocabulary, sibling.label_sets, self._readout)
        return sibling

    @property
    def identity(self) -> str:
        """Return a digest of all that the labels depend on: the same in every process that gives the same labels."""
        return blake2b(f"{__version__}\n{self.model.digest}".encode(), digest_size=32).hexdigest()

    @property
    def cache_counts(self) -> tuple[int, int]:
        """Return how often the reading of a sentence was found in the cache, and how often it was not."""
        sentences = self._reader.sentences
        return sentences.hits, sentences.misses

    def label(self, report: Report) -> LabeledReport:
        """Return the labels and findings of one report."""
        return self._labeled(report, self._reader.read(report))

    def read_sentences(self, sentences: Sequence[Sentence]) -> Sequence[SentenceReading]:
        """Return the readings of sentences that stand alone, without a report around them."""
        return self._reader.read_sentences(sentences)

    def _labeled(self, report: Report, reading: Reading) -> LabeledReport:
        if reading.status is not Status.OK:
            return LabeledReport(report.report_id, reading.status, report.accession_number)
        labels = self._study_reader.labels(reading)
        return LabeledReport(
            report_id=report.report_id,
            status=Status.OK,
            accession_number=report.accession_number,
            labels=abstain_within(labels, self._abstain) if self._abstain else labels,
            findings=tuple(item.finding for item in reading.findings),
        )

    def label_many(self, reports: Iterable[Report]) -> Iterator[LabeledReport]:
        """Yield the labels of each report in order, as they are ready.

        A report that cannot be read gets status ``error`` with the kind of the fault; the reports after it are
        unaffected.
        """
        waiting = iter(reports)
        while window := list(islice(waiting, WINDOW)):
            for report, reading in zip(window, self._reader.read_many(window), strict=True):
                try:
                    if isinstance(reading, Exception):
                        raise reading
                    yield self._labeled(report, reading)
                except Exception as error:  # one bad report costs one report; the message could quote it: it stays out
                    reason = f"the reader failed with {type(error).__name__}"
                    yield LabeledReport(report.report_id, Status.ERROR, report.accession_number, reason=reason)
