"""The labeler: a report in, study labels and findings with evidence out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corpora.findings import LabeledReport, Status
from corpora.reports import Report
from corpora.vocabulary import load_vocabulary
from corpora.vocabulary.schema import LabelSet
from models.text.study import StudyReader
from models.text.teacher import NAME, VERSION, RuleTeacher

DEFAULT_LABEL_SETS = ("chexpert14",)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which reader made a row: ``digest`` changes with anything its answers depend on."""

    name: str
    version: str
    digest: str


class Labeler:
    """Reads radiology reports and labels their studies.

    ``label_sets`` are ids of the vocabulary's label sets (``chexpert14``, ``nih14``, ``openi``, or a user's own);
    ``vocabulary`` are YAML files that add findings and label sets. An instance serves one thread and streams: its
    memory does not grow with the number of reports.

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
        self, *, label_sets: Sequence[str] = DEFAULT_LABEL_SETS, vocabulary: Sequence[Path] = (), engine: str = "rules"
    ) -> None:
        if engine != "rules":
            raise ValueError(f"engine must be 'rules', not {engine!r}")
        loaded = load_vocabulary(tuple(vocabulary))
        self.label_sets: tuple[LabelSet, ...] = tuple(loaded.label_set(name) for name in dict.fromkeys(label_sets))
        self._teacher = RuleTeacher(loaded)
        self._study_reader = StudyReader(loaded, self.label_sets)
        self.model = ModelInfo(NAME, VERSION, self._teacher.digest)

    def label(self, report: Report) -> LabeledReport:
        """Return the labels and findings of one report."""
        reading = self._teacher.read(report)
        if reading.status is not Status.OK:
            return LabeledReport(report.report_id, reading.status, report.accession_number)
        return LabeledReport(
            report_id=report.report_id,
            status=Status.OK,
            accession_number=report.accession_number,
            labels=self._study_reader.labels(reading),
            findings=tuple(item.finding for item in reading.findings),
        )

    def label_many(self, reports: Iterable[Report]) -> Iterator[LabeledReport]:
        """Yield the labels of each report in order, as they are ready.

        A report that cannot be read gets status ``error`` with the kind of the fault; the reports after it are
        unaffected.
        """
        for report in reports:
            try:
                yield self.label(report)
            except Exception as error:  # one bad report costs one report; the message could quote it and stays out
                reason = f"the reader failed with {type(error).__name__}"
                yield LabeledReport(report.report_id, Status.ERROR, report.accession_number, reason=reason)
