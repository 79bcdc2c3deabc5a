"""The batch run: files of reports in, one file of labels out, and a run that was stopped goes on where it was.

Results are kept chunk by chunk in a folder beside the output (`nlp_service.part_folder`); the output appears under its
name at the end, whole. Its bytes depend on inputs, options, model and versions alone: neither on the number of
processes, nor on whether the run was interrupted.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from corpora.sources import SOURCES
from corpora.sources.encoding import readable
from corpora.sources.text_folder import iter_files
from models.text.encoder.session import usable_processors
from nlp_service._version import __version__
from nlp_service.chunks import CHUNK_CHARACTERS, CHUNK_RECORDS, Chunk, Input, Reject, iter_chunks, plan_inputs
from nlp_service.engines import DEFAULT_ENGINE
from nlp_service.errors import OutputExists, OutputUnusable, OutputUnwritable
from nlp_service.part_folder import FORMAT_VERSION, PartFolder, writing, written_whole
from nlp_service.rows import RowForm
from nlp_service.work import ChunkLabeler, ChunkResult, Counts, WorkerPool, WorkPlan
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

    ``rejects`` holds the first few, for a run whose output is a stream and that has no reject file to show.
    """

    output: Path | None
    reject_file: Path | None
    progress: Progress
    model: ModelInfo | None = None
    was_complete: bool = False
    rejects: tuple[Reject, ...] = ()
    review_file: Path | None = None

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
    resume: bool = False,
    overwrite: bool = False,
    reject_file: str | Path | None = None,
    keep_errors: bool = False,
    engine: str = DEFAULT_ENGINE,
    model: str | Path | None = None,
    abstain: tuple[float, float] | None = None,
    review_file: str | Path | None = None,
    cache_size: int | None = None,
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
        Number of processes; without it, the cores that this process may use, at most `MAX_DEFAULT_JOBS`. A script that
        asks for more than one needs the guard ``if __name__ == "__main__":``. A short input is labeled in this process.
    resume
        Go on with the run that was interrupted; if the output is complete, do nothing.
    overwrite
        Replace an output that is there, and forget a run that was interrupted.
    engine, model
        What reads the sentences, and the encoder's model folder, as in `nlp_service.Labeler`.
    abstain
        A band of probability, such as ``(0.3, 0.7)``: a label whose probability lies in it gets no value and is listed
        in the review file, one JSON object each with report id, label and probability.
    review_file
        By default the output's name with ``.review.jsonl``, written if ``abstain`` is given.
    cache_size
        Readings of sentences that each process keeps; 0 for none. The output does not depend on it.
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
    paths = _Paths.of(output, reject_file, review_file, abstain is not None)
    if paths and not _may_write(paths, resume, overwrite):
        return RunSummary(paths.output, None, Progress(), was_complete=True)
    planned = plan_inputs([Path(path) for path in inputs], format)
    if paths:
        paths.check_against(planned)
    plan = WorkPlan(
        tuple(dict.fromkeys(label_sets)),
        tuple(Path(path) for path in vocabulary),
        suffix_of(paths.output) if paths else STREAM_SUFFIX,
        keep_errors,
        str(engine),
        Path(model) if model is not None else None,
        abstain,
        cache_size,
    )
    labeler = plan.labeler()
    run = _Run(plan, labeler, usable_cores() if jobs is None else jobs, on_progress)
    chunks = iter_chunks(planned, columns=columns, encoding=encoding, limit=limit)
    if not paths:
        assert not isinstance(output, str | Path)
        return run.to_stream(
            chunks, output, Path(reject_file) if reject_file else None, Path(review_file) if review_file else None
        )
    options = {"format": format, "columns": dict(columns or {}), "encoding": encoding, "limit": limit}
    return run.to_file(chunks, paths, _manifest(planned, plan, labeler, options), resume)


def usable_cores() -> int:
    """Return how many processes a run starts by itself."""
    return min(usable_processors(), MAX_DEFAULT_JOBS)


@dataclass(frozen=True, slots=True)
class _Paths:
    """The files of a run whose output is one."""

    output: Path
    reject_file: Path
    rejects_are_named: bool
    review_file: Path | None
    part: PartFolder

    @classmethod
    def of(
        cls,
        output: str | Path | IO[bytes],
        reject_file: str | Path | None,
        review_file: str | Path | None,
        has_review: bool,
    ) -> _Paths | None:
        if not isinstance(output, str | Path):
            return None
        suffix_of(Path(output))
        # A link stays a link: what it leads to is replaced.
        target = Path(os.path.realpath(output))
        rejects = Path(reject_file) if reject_file else target.with_name(f"{target.name}.rejects.jsonl")
        review = Path(review_file) if review_file else target.with_name(f"{target.name}.review.jsonl")
        return cls(target, rejects, reject_file is not None, review if has_review else None, PartFolder.beside(target))

    def check_against(self, inputs: Iterable[Input]) -> None:
        """Raise `OutputUnusable` where a result would replace what is read."""
        taken = {os.path.realpath(source.path): source.path for source in inputs}
        files = [self.output, self.reject_file, *([self.review_file] if self.review_file else [])]
        for path in files:
            if os.path.realpath(path) in taken:
                raise OutputUnusable(f"{path}: is one of the inputs, and would be replaced")
        for path in files:
            if sum(os.path.realpath(path) == os.path.realpath(other) for other in files) > 1:
                raise OutputUnusable(f"{path}: is given for two of output, reject file and review file")


def _may_write(paths: _Paths, resume: bool, overwrite: bool) -> bool:
    """Tell whether there is anything to do; raise `OutputExists` where that would cost what is there."""
    if not paths.output.parent.is_dir():
        raise OutputUnwritable(f"{paths.output}: cannot be written: {paths.output.parent} is no folder")
    if paths.output.exists() and not paths.output.is_file():
        raise OutputUnwritable(f"{paths.output}: cannot be written: it is no regular file; `-o -` writes to stdout")
    if overwrite:
        return True
    if paths.part.is_unfinished:
        if resume:
            return True
        raise OutputExists(
            f"{paths.part.path}: an unfinished run is there; go on with --resume, or start over with --overwrite"
        )
    if paths.output.exists():
        if resume:
            paths.part.remove()
            return False
        raise OutputExists(f"{paths.output}: is there already; replace it with --overwrite, or name another output")
    if paths.rejects_are_named and paths.reject_file.exists():
        raise OutputExists(f"{paths.reject_file}: is there already; replace it with --overwrite, or name another file")
    return True


class _Run:
    """One run under way: labels chunks here or in processes, and counts."""

    def __init__(
        self, plan: WorkPlan, labeler: Labeler, jobs: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self._plan = plan
        self._labeler = labeler
        self._jobs = jobs
        self._on_progress = on_progress
        self._started = time.perf_counter()
        self._progress = Progress()
        self._writer: Writer = writer_for(plan.suffix, RowForm(labeler.label_sets, labeler.model))

    def to_file(self, chunks: Iterable[Chunk], paths: _Paths, manifest: Mapping[str, Any], resume: bool) -> RunSummary:
        """Label into the part folder, then put the output together."""
        part = paths.part
        part.begin(manifest, resume=resume)
        try:
            with closing(self._label(self._unfinished(chunks, part))) as results:
                for result in results:
                    part.save(result)
                    self._count(result.counts)
            rejects_written = self._finish(paths)
        except BaseException as error:
            self._leave(part, error)
            raise
        part.remove()
        return RunSummary(
            paths.output,
            paths.reject_file if rejects_written else None,
            self._progress,
            self._labeler.model,
            review_file=paths.review_file,
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
                        rejects.writelines(map(_reject_line, result.rejects))
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
        )

    def _label(self, chunks: Iterable[Chunk]) -> Generator[ChunkResult]:
        source = iter(chunks)
        first = list(islice(source, CHUNKS_BEFORE_WORKERS + 1)) if self._jobs > 1 else []
        is_long = len(first) > CHUNKS_BEFORE_WORKERS
        source = chain(first, source)
        del first  # a generator keeps its variables, and these are thousands of reports
        if is_long:
            with WorkerPool(self._plan, self._jobs) as pool:
                yield from pool.label_all(source)
            return
        here = ChunkLabeler(self._plan, self._labeler)
        for chunk in source:
            yield here.label(chunk)

    def _unfinished(self, chunks: Iterable[Chunk], part: PartFolder) -> Iterator[Chunk]:
        """Yield the chunks that are not done; those that are were read again all the same, for their report ids."""
        done = part.finished()
        for chunk in chunks:
            result = part.load(chunk.index) if chunk.index in done else None
            if result is None:
                yield chunk
            else:
                self._count(result.counts, is_resumed=True)

    def _count(self, counts: Counts, is_resumed: bool = False) -> None:
        self._progress = replace(
            self._progress,
            counts=self._progress.counts + counts,
            resumed=self._progress.resumed + (counts.read if is_resumed else 0),
            elapsed_s=time.perf_counter() - self._started,
        )
        if self._on_progress:
            self._on_progress(self._progress)

    def _finish(self, paths: _Paths) -> bool:
        """Write output and reject file, and tell whether there is one of the latter."""
        part = paths.part
        indices = sorted(part.finished())
        has_rejects = paths.rejects_are_named or self._progress.counts.rejected > 0
        # Rejects and review get their names first: where the output is, all is.
        with ExitStack() as stack:
            stream = stack.enter_context(written_whole(paths.output))
            rejects = stack.enter_context(written_whole(paths.reject_file)) if has_rejects else None
            review = stack.enter_context(written_whole(paths.review_file)) if paths.review_file else None

            def pieces() -> Iterator[bytes]:
                for index in indices:
                    result = part.reload(index)
                    if rejects:
                        rejects.writelines(map(_reject_line, result.rejects))
                    if review:
                        review.write(result.review.encode())
                    yield result.piece

            self._writer.join(pieces(), stream)
        if not has_rejects:
            with writing(paths.reject_file):
                paths.reject_file.unlink(missing_ok=True)  # of the output that was replaced
        return has_rejects

    def _leave(self, part: PartFolder, error: BaseException) -> None:
        """Say what is kept of a run that ends early, or tidy up if there is nothing to keep."""
        if part.finished():
            part.close()
            error.add_note(f"what was done so far is kept in {part.path}; go on with --resume")
        else:
            with suppress(OutputUnwritable):
                part.remove()


def _reject_line(reject: Reject) -> bytes:
    return (json.dumps(reject.as_json(), ensure_ascii=False) + "\n").encode()


def _manifest(
    inputs: Iterable[Input], plan: WorkPlan, labeler: Labeler, options: Mapping[str, object]
) -> dict[str, Any]:
    """Return all that the bytes of the output depend on, as JSON has it."""
    model = labeler.model
    return {
        "format_version": FORMAT_VERSION,
        "inputs": [_fingerprint(source) for source in inputs],
        "options": {
            **options,
            "label_sets": list(plan.label_sets),
            "suffix": plan.suffix,
            "keep_errors": plan.keep_errors,
            "abstain": None if plan.abstain is None else list(plan.abstain),
        },
        "model": {"name": model.name, "version": model.version, "digest": model.digest},
        "versions": {"radlabel": __version__} | ({"pyarrow": version("pyarrow")} if plan.suffix == ".parquet" else {}),
        "chunks": {"records": CHUNK_RECORDS, "characters": CHUNK_CHARACTERS},
    }


def _fingerprint(source: Input) -> dict[str, object]:
    """Return name, size and digest of an input; names within a folder go into the digest alone, as they may be ids."""
    digest = blake2b(digest_size=32)
    if not source.path.is_dir():
        with readable(source.path):
            size = _digest_file(source.path, digest)
        return {"name": source.name, "files": 1, "bytes": size, "digest": digest.hexdigest()}
    count = size = 0
    for file in iter_files(source.path, SOURCES[source.format].SUFFIXES):
        count += 1
        digest.update(f"{file.relative_to(source.path)}\0".encode("utf-8", "surrogateescape"))
        with suppress(OSError):  # a file that cannot be read costs its row, not the run
            file_size = _digest_file(file, digest)
            digest.update(f"\0{file_size}\0".encode())
            size += file_size
    return {"name": source.name, "files": count, "bytes": size, "digest": digest.hexdigest()}


def _digest_file(file: Path, digest: Any) -> int:
    size = 0
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
            size += len(block)
    return size
