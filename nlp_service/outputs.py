"""Where a run's rows go: one file, put together at the end, or a folder of shards (`nlp_service.shards`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from nlp_service.chunks import Input, Reject
from nlp_service.errors import OutputExists, OutputUnusable, OutputUnwritable
from nlp_service.part_folder import PartFolder, check_replaceable, writing, written_whole
from nlp_service.run_manifest import Manifest
from nlp_service.work import ChunkResult, Counts
from nlp_service.writers import Writer, suffix_of


@dataclass(frozen=True, slots=True)
class OutputPaths:
    """The files of a run whose output is no stream."""

    output: Path
    reject_file: Path
    rejects_are_named: bool
    review_file: Path | None

    @classmethod
    def of(
        cls, output: str | Path, reject_file: str | Path | None, review_file: str | Path | None, has_review: bool
    ) -> OutputPaths:
        """Return the files that belong to an output; raise `OutputUnusable` if its suffix names no format."""
        suffix_of(Path(output))
        # A link stays a link: what it leads to is replaced.
        target = Path(os.path.realpath(output))
        rejects = Path(reject_file) if reject_file else target.with_name(f"{target.name}.rejects.jsonl")
        review = Path(review_file) if review_file else target.with_name(f"{target.name}.review.jsonl")
        return cls(target, rejects, reject_file is not None, review if has_review else None)

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

    def check_folder(self) -> None:
        """Raise `OutputUnwritable` where there is no folder to write to, or what is beside the output is no file."""
        if not self.output.parent.is_dir():
            raise OutputUnwritable(f"{self.output}: cannot be written: {self.output.parent} is no folder")
        for path in (self.reject_file, self.review_file):
            if path:
                check_replaceable(path)

    def check_named_rejects(self) -> None:
        """Raise `OutputExists` where a reject file that was named would be replaced."""
        if self.rejects_are_named and self.reject_file.exists():
            raise OutputExists(
                f"{self.reject_file}: is there already; replace it with --overwrite, or name another file"
            )


class Output(Protocol):
    """Keeps what a run has done, so that a run which was stopped goes on behind it."""

    def may_write(self, *, resume: bool, overwrite: bool) -> bool:
        """Tell whether there is anything to do; raise `OutputExists` where that would cost what is there."""

    def begin(self, manifest: Manifest, writer: Writer, *, resume: bool) -> None:
        """Make place and keep others out; raise `ResumeMismatch` if the run to resume is another one."""

    def recall(self, index: int) -> Counts | None:
        """Return the counts of a chunk that an earlier run has done, ``None`` if it is to do."""

    def save(self, result: ChunkResult) -> None:
        """Keep a chunk; they come in order."""

    def finish(self, has_rejects: bool) -> None:
        """Have everything under its name."""

    def leave(self, error: BaseException) -> None:
        """Say in a note what is kept of a run that ends early, or tidy up if that is nothing."""


class FileOutput:
    """One file, which appears when it is whole; its chunks are kept in a folder beside it until then."""

    def __init__(self, paths: OutputPaths) -> None:
        self._paths = paths
        self._part = PartFolder.beside(paths.output)
        self._finished: set[int] = set()

    def may_write(self, *, resume: bool, overwrite: bool) -> bool:
        """As `Output` says."""
        paths, part = self._paths, self._part
        paths.check_folder()
        if paths.output.exists() and not paths.output.is_file():
            raise OutputUnwritable(f"{paths.output}: cannot be written: it is no regular file; `-o -` writes to stdout")
        if overwrite:
            return True
        if part.is_unfinished:
            if resume:
                return True
            raise OutputExists(
                f"{part.path}: an unfinished run is there; go on with --resume, or start over with --overwrite"
            )
        if paths.output.exists():
            if resume:
                part.remove()
                return False
            raise OutputExists(f"{paths.output}: is there already; replace it with --overwrite, or name another output")
        paths.check_named_rejects()
        return True

    def begin(self, manifest: Manifest, writer: Writer, *, resume: bool) -> None:
        """As `Output` says."""
        self._writer = writer
        self._part.begin(manifest, resume=resume)
        self._finished = self._part.finished()

    def recall(self, index: int) -> Counts | None:
        """As `Output` says; a chunk whose file is damaged is to do."""
        result = self._part.load(index) if index in self._finished else None
        return None if result is None else result.counts

    def save(self, result: ChunkResult) -> None:
        """As `Output` says."""
        self._part.save(result)

    def finish(self, has_rejects: bool) -> None:
        """Put the output together, and remove the chunks."""
        part = self._part
        # Rejects and review get their names first: where the output is, all is.
        with written_whole(self._paths.output) as stream, side_files(self._paths, has_rejects) as side:

            def pieces() -> Iterator[bytes]:
                for index in sorted(part.finished()):
                    result = part.reload(index)
                    side.write(result.rejects, result.review)
                    yield result.piece

            self._writer.join(pieces(), stream)
        remove_old_rejects(self._paths, has_rejects)
        part.remove()

    def leave(self, error: BaseException) -> None:
        """As `Output` says."""
        if self._part.finished():
            self._part.close()
            error.add_note(f"what was done so far is kept in {self._part.path}; go on with --resume")
        else:
            with suppress(OutputUnwritable):
                self._part.remove()


class side_files:  # noqa: N801 - a context manager, read as a verb
    """The reject file and the review file of a run, written whole."""

    def __init__(self, paths: OutputPaths, has_rejects: bool) -> None:
        self._paths = paths
        self._has_rejects = has_rejects
        self._stack = ExitStack()
        self._rejects: IO[bytes] | None = None
        self._review: IO[bytes] | None = None

    def __enter__(self) -> side_files:
        with self._stack:
            if self._has_rejects:
                self._rejects = self._stack.enter_context(written_whole(self._paths.reject_file))
            if self._paths.review_file:
                self._review = self._stack.enter_context(written_whole(self._paths.review_file))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(*error)  # type: ignore[arg-type]

    def write(self, rejects: Iterable[Reject], review: str) -> None:
        """Write what belongs to a chunk."""
        if self._rejects:
            self._rejects.writelines(map(reject_line, rejects))
        if self._review:
            self._review.write(review.encode())


def remove_old_rejects(paths: OutputPaths, has_rejects: bool) -> None:
    """Remove the reject file of an output that was replaced by one without rejects."""
    if not has_rejects:
        with writing(paths.reject_file):
            paths.reject_file.unlink(missing_ok=True)


def reject_line(reject: Reject) -> bytes:
    """Return a reject as a line of the reject file."""
    return (json.dumps(reject.as_json(), ensure_ascii=False) + "\n").encode()
