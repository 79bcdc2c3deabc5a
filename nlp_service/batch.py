"""The batch run: files of reports in, one file of labels out, and a run that was stopped goes on where it was.

Results are kept chunk by chunk in a folder beside the output (`nlp_service.part_folder`); the output appears under its
name at the end, whole. With shards the output is a folder (`nlp_service.shards`). Its bytes depend on inputs, options,
model and versions alone: neither on the engine and the number of workers, nor on whether the run was interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from models.text.encoder.session import usable_processors
from nlp_service import chunks
from nlp_service.chunks import Chunk, Reject, iter_chunks, plan_inputs
from nlp_service.engines import EngineName, EngineOptions, open_pool
from nlp_service.outputs import FileOutput, Output, OutputPaths, reject_line
from nlp_service.part_folder import writing, written_whole
from nlp_service.readers import DEFAULT_READER, Device
from nlp_service.rows import RowForm
from nlp_service.run_manifest import make_manifest
from nlp_service.shards import ShardedOutput
from nlp_service.work import ChunkLabeler, ChunkResult, Counts, WorkPlan
from nlp_service.writers import Writer, suffix_of, writer_for

if TYPE_CHECKING:
    from nlp_service.labeler import Labeler, ModelInfo

STREAM_SUFFIX = ".jsonl"  # what a stream gets, since it has no name
MAX_DEFAULT_JOBS = 8  # each process takes some 100 MB; who has more memory and cores can ask for more
# Two processes have started and read their vocabulary when one has labeled about this many chunks.
CHUNKS_BEFORE_WORKERS = 4
MAX_SHOWN_REJECTS = 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the counts, how many of the records an earlier run had done, and the time since the start."""

    counts: Counts = field(default_factory=Counts)
    resumed: int = 0
    elapsed_s: float = 0.0

    @property
    def reports_per_s(self) -> float:
        """Return how many records this run has labeled per second."""
        return (self.counts.read - self.resumed) / self.elapsed_s if self.elapsed_s else 0.0


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did. ``reject_file`` is ``None`` if none was written, ``was_complete`` tells that nothing was to do.

    ``rejects`` holds the first few, for a run whose output is a stream and that has no reject file to show. ``remarks``
    are what workers had to say.
    """

    output: Path | None
    reject_file: Path | None
    progress: Progress
    model: ModelInfo | None = None
    was_complete: bool = False
    rejects: tuple[Reject, ...] = ()
    review_file: Path | None = None
    remarks: tuple[str, ...] = ()

    @property
    def counts(self) -> Counts:
        """Return the counts of the whole run."""
        return self.progress.counts


def label_files(
    inputs: Sequence[str | Path],
    output: str | Path | IO[bytes],
    *,
    label_sets: Sequence[str] = ("chexpert14",),
    vocabulary: Sequence[str | Path] = (),
    format: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    limit: int | None = None,
    jobs: int | None = None,
    engine: str = EngineName.LOCAL,
    ray_address: str | None = None,
    gpus_per_worker: float = 0.0,
    shard_records: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    reject_file: str | Path | None = None,
    keep_errors: bool = False,
    reader: str = DEFAULT_READER,
    model: str | Path | None = None,
    abstain: tuple[float, float] | None = None,
    review_file: str | Path | None = None,
    cache_size: int | None = None,
    cache_file: str | Path | None = None,
    device: str = Device.AUTO,
    on_progress: Callable[[Progress], None] | None = None,
) -> RunSummary:
    """Label the reports of files and folders, and return what was done.

    Records that cannot be read, repeat a report id or cannot be labeled are written to the reject file, one JSON object
    each with source, row, report id, field and reason. ``keep_errors`` gives them a row of status ``error`` as well.

    Parameters
    ----------
    output
        A file whose suffix chooses the format (`nlp_service.writers.SUFFIXES`), or a binary stream, which gets JSON
        Lines as they are ready and cannot be resumed.
    format, columns, encoding
        As in `corpora.read_reports`.
    limit
        Read at most so many records.
    jobs
        Number of workers. Without it: of the engine ``local``, the cores that this process may use, at most
        `MAX_DEFAULT_JOBS`; of ``ray``, as many as the cluster has room for. A script that asks for more than one
        process needs the guard ``if __name__ == "__main__":``. With ``local``, a short input is labeled in this
        process.
    engine, ray_address, gpus_per_worker
        Where the work is done, as in `nlp_service.engines.EngineOptions`; the output does not depend on it.
    shard_records
        Make the output a folder of shards of so many records, rounded up to whole chunks (`nlp_service.shards`).
    resume
        Go on with the run that was interrupted; if the output is complete, do nothing.
    overwrite
        Replace an output that is there, and forget a run that was interrupted.
    reader, model
        What reads the sentences, and the encoder's model folder, as in `nlp_service.Labeler`.
    abstain
        A band of probability, such as ``(0.3, 0.7)``: a label whose probability lies in it gets no value and is listed
        in the review file, one JSON object each with report id, label and probability.
    review_file
        By default the output's name with ``.review.jsonl``, written if ``abstain`` is given.
    cache_size
        Readings of sentences that each process keeps; 0 for none. The output does not depend on it.
    device
        What the encoder runs on: ``auto`` (a GPU where one can be used), ``cpu`` or ``cuda``. A probability may differ
        in its last digit between the two, so a run is resumed on the one it was begun on.
    cache_file
        Readings of frequent sentences, made by `nlp_service.cache_build`; nor does it depend on this.
    reject_file
        By default the output's name with ``.rejects.jsonl``, written only if there are rejects; a file that is named
        is always written.

    Raises
    ------
    RadlabelError
        One of the errors in `nlp_service.errors`, `corpora.SourceUnreadable`, `corpora.ColumnMissing`,
        `corpora.LabelSetUnknown` or `corpora.VocabularyInvalid`. No output appears; chunks that were finished are kept
        for ``resume``, and the exception has a note that says so.
    """
    if resume and overwrite:
        raise ValueError("resume and overwrite exclude each other: go on with a run, or start over")
    if review_file is not None and abstain is None:
        raise ValueError("a review file needs a band to abstain in")
    options = EngineOptions(EngineName(engine), _workers(engine, jobs), ray_address, gpus_per_worker)
    paths = output_folder = None
    if isinstance(output, str | Path):
        paths = OutputPaths.of(output, reject_file, review_file, abstain is not None)
        output_folder = _output(paths, shard_records)
        if not output_folder.may_write(resume=resume, overwrite=overwrite):
            return RunSummary(paths.output, None, Progress(), was_complete=True)
    planned = plan_inputs([Path(path) for path in inputs], format)
    if paths:
        paths.check_against(planned)
    plan = WorkPlan(
        tuple(dict.fromkeys(label_sets)),
        tuple(Path(path) for path in vocabulary),
        suffix_of(paths.output) if paths else STREAM_SUFFIX,
        keep_errors,
        str(reader),
        Path(model) if model is not None else None,
        abstain,
        cache_size,
        Path(cache_file) if cache_file is not None else None,
        _device(device, options),
    )
    # Where the workers are elsewhere, their GPUs are: this process reads nothing.
    labeler = (plan if options.name is EngineName.LOCAL else replace(plan, device=Device.CPU)).labeler()
    if options.name is EngineName.LOCAL:
        plan = replace(plan, device=labeler.device)
    plan = replace(plan, identity=labeler.identity)
    run = _Run(plan, labeler, options, on_progress)
    records = iter_chunks(planned, columns=columns, encoding=encoding, limit=limit)
    if paths and output_folder:
        reading = {"format": format, "columns": dict(columns or {}), "encoding": encoding, "limit": limit}
        return run.to_files(records, paths, output_folder, make_manifest(planned, plan, labeler, reading), resume)
    assert not isinstance(output, str | Path)
    return run.to_stream(
        records, output, Path(reject_file) if reject_file else None, Path(review_file) if review_file else None
    )


def _device(device: str, engine: EngineOptions) -> Device:
    """Return what workers read on; on a cluster, a GPU is used by those that were given a share of one."""
    wanted = Device(device)
    if engine.name is EngineName.RAY and wanted is Device.AUTO:
        return Device.CUDA if engine.gpus_per_worker else Device.CPU
    return wanted


def usable_cores() -> int:
    """Return how many processes a run starts by itself."""
    return min(usable_processors(), MAX_DEFAULT_JOBS)


def _workers(engine: str, jobs: int | None) -> int | None:
    """Return how many workers are wanted; a cluster is asked for its room later."""
    return usable_cores() if jobs is None and EngineName(engine) is EngineName.LOCAL else jobs


def _output(paths: OutputPaths, shard_records: int | None) -> Output:
    if shard_records is None:
        return FileOutput(paths)
    return ShardedOutput(paths, max(-(-shard_records // chunks.CHUNK_RECORDS), 1))


class _Run:
    """One run under way: labels chunks here or in processes, and counts."""

    def __init__(
        self,
        plan: WorkPlan,
        labeler: Labeler,
        engine: EngineOptions,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._plan = plan
        self._labeler = labeler
        self._engine = engine
        self._remarks: tuple[str, ...] = ()
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self._progress = Progress()
        self._writer: Writer = writer_for(plan.suffix, RowForm(labeler.label_sets, labeler.model))

    def to_files(
        self, chunks: Iterable[Chunk], paths: OutputPaths, output: Output, manifest: Mapping[str, object], resume: bool
    ) -> RunSummary:
        """Label into an output that keeps what is done."""
        output.begin(manifest, self._writer, resume=resume)
        try:
            with closing(self._label(self._unfinished(chunks, output))) as results:
                for result in results:
                    output.save(result)
                    self._count(result.counts)
            has_rejects = paths.rejects_are_named or self._progress.counts.rejected > 0
            output.finish(has_rejects)
        except BaseException as error:
            output.leave(error)
            raise
        return RunSummary(
            paths.output,
            paths.reject_file if has_rejects else None,
            self._progress,
            self._labeler.model,
            review_file=paths.review_file,
            remarks=self._remarks,
        )

    def to_stream(
        self, chunks: Iterable[Chunk], stream: IO[bytes], reject_file: Path | None, review_file: Path | None
    ) -> RunSummary:
        """Label, and write each chunk as it is ready; the rejects are written at the end."""
        shown: list[Reject] = []

        def pieces(rejects: IO[bytes] | None, review: IO[bytes] | None) -> Iterator[bytes]:
            with closing(self._label(chunks)) as results:
                for result in results:
                    yield result.piece
                    stream.flush()
                    if rejects:
                        rejects.writelines(map(reject_line, result.rejects))
                    elif len(shown) < MAX_SHOWN_REJECTS:
                        shown.extend(result.rejects[: MAX_SHOWN_REJECTS - len(shown)])
                    if review:
                        review.write(result.review.encode())
                    self._count(result.counts)

        with ExitStack() as stack:
            rejects = stack.enter_context(written_whole(reject_file)) if reject_file else None
            review = stack.enter_context(written_whole(review_file)) if review_file else None
            with writing(Path("stdout")):
                self._writer.join(pieces(rejects, review), stream)
                stream.flush()
        return RunSummary(
            None,
            reject_file,
            self._progress,
            self._labeler.model,
            rejects=tuple(shown),
            review_file=review_file,
            remarks=self._remarks,
        )

    def _label(self, chunks: Iterable[Chunk]) -> Generator[ChunkResult]:
        source = iter(chunks)
        if self._engine.name is EngineName.LOCAL:
            before_workers = CHUNKS_BEFORE_WORKERS if (self._engine.workers or 1) > 1 else None
        else:
            before_workers = 0  # only a run with nothing left to do starts no cluster
        first = [] if before_workers is None else list(islice(source, before_workers + 1))
        wants_workers = before_workers is not None and len(first) > before_workers
        source = chain(first, source)
        del first  # a generator keeps its variables, and these are thousands of reports
        if wants_workers:
            with open_pool(self._plan, self._engine) as pool:
                try:
                    yield from pool.map(source)
                finally:
                    self._remarks = tuple(dict.fromkeys((*self._labeler.remarks, *pool.remarks)))
            return
        here = ChunkLabeler(self._plan, self._labeler)
        self._remarks = here.remarks
        for chunk in source:
            yield here(chunk)

    def _unfinished(self, chunks: Iterable[Chunk], output: Output) -> Iterator[Chunk]:
        """Yield the chunks that are not done; those that are were read again all the same, for their report ids."""
        for chunk in chunks:
            counts = output.recall(chunk.index)
            if counts is None:
                yield chunk
            else:
                self._count(counts, is_resumed=True)

    def _count(self, counts: Counts, is_resumed: bool = False) -> None:
        self._progress = replace(
            self._progress,
            counts=self._progress.counts + counts,
            resumed=self._progress.resumed + (counts.read if is_resumed else 0),
            elapsed_s=time.perf_counter() - self._started,
        )
        if self._on_progress:
            self._on_progress(self._progress)
