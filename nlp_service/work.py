"""The work on one chunk: the one function that labels a batch of records, whichever engine calls it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from corpora.findings import LabeledReport, Status
from nlp_service.chunks import Chunk, Reject
from nlp_service.readers import DEFAULT_READER
from nlp_service.rows import RowForm, review_lines
from nlp_service.writers import writer_for

if TYPE_CHECKING:
    from nlp_service.labeler import Labeler


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records read: ``read`` is the sum of the others."""

    ok: int = 0
    no_text: int = 0
    not_applicable: int = 0
    rejected: int = 0

    @property
    def read(self) -> int:
        """Return how many records there were."""
        return self.ok + self.no_text + self.not_applicable + self.rejected

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Counts)))


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """All that a process needs to know to label chunks: the `nlp_service.engines.Work` of a run.

    ``identity`` is that of the labeler of the run (`Labeler.identity`); it is set when that one is loaded.
    """

    label_sets: tuple[str, ...]
    vocabulary: tuple[Path, ...]
    suffix: str
    keep_errors: bool
    reader: str = DEFAULT_READER
    model: Path | None = None
    abstain: tuple[float, float] | None = None
    cache_size: int | None = None
    cache_file: Path | None = None
    device: str = "auto"
    identity: str = ""

    def start(self) -> ChunkLabeler:
        """Return the worker of a process: one of several, so that it takes one thread."""
        return ChunkLabeler(self, self.labeler(threads=1))

    def labeler(self, *, threads: int | None = None) -> Labeler:
        """Return the labeler of the run; workers that share a machine take one thread each."""
        from nlp_service.labeler import Labeler

        return Labeler(
            label_sets=self.label_sets,
            vocabulary=self.vocabulary,
            reader=self.reader,
            model=self.model,
            abstain=self.abstain,
            threads=threads,
            cache_size=self.cache_size,
            cache_file=self.cache_file,
            device=self.device,
        )


@dataclass(frozen=True, slots=True, repr=False)
class ChunkResult:
    """A chunk labeled: its rows as a piece of the output, its rejects, the counts, and the lines of the review file."""

    index: int
    piece: bytes
    rejects: tuple[Reject, ...]
    counts: Counts
    review: str = ""


class ChunkLabeler:
    """Labels chunks in this process: the `nlp_service.engines.Worker` of a run."""

    def __init__(self, plan: WorkPlan, labeler: Labeler) -> None:
        self._labeler = labeler
        self._writer = writer_for(plan.suffix, RowForm(self._labeler.label_sets, self._labeler.model))
        self._keep_errors = plan.keep_errors

    @property
    def identity(self) -> str:
        """Return what the rows depend on besides the plan."""
        return self._labeler.identity

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what a user should know of this process."""
        return self._labeler.remarks

    def __call__(self, chunk: Chunk) -> ChunkResult:
        """Return the rows of a chunk in the order of its records."""
        labeled = self._labeler.label_many(item[1] for item in chunk.items if not isinstance(item, Reject))
        rows: list[LabeledReport] = []
        rejects: list[Reject] = []
        numbers = dict.fromkeys(Status, 0)
        for item in chunk.items:
            if isinstance(item, Reject):
                reject = item
                row = LabeledReport(item.report_id or "", Status.ERROR, item.accession_number, reason=item.reason)
            else:
                row = next(labeled)
                reject = Reject(item[0], row.reason or "could not be labeled", report_id=row.report_id)
            numbers[row.status] += 1
            if row.status is Status.ERROR:
                rejects.append(reject)
            if row.status is not Status.ERROR or self._keep_errors:
                rows.append(row)
        counts = Counts(
            numbers[Status.OK], numbers[Status.NO_TEXT], numbers[Status.NOT_APPLICABLE], numbers[Status.ERROR]
        )
        review = "".join(line for row in rows for line in review_lines(row))
        return ChunkResult(chunk.index, self._writer.encode(rows), tuple(rejects), counts, review)
