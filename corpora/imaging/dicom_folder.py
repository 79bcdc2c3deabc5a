"""An index of a tree of DICOM files: headers are read by several processes, and only of files that are new or changed.

The tree is walked in a fixed order and the index is written in it. A second scan goes through the old index and the
tree side by side: neither is ever held as a whole, and an index of a tree that did not change is left as it is.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa

from corpora.errors import SourceUnreadable
from corpora.imaging.index_table import (
    EMPTY,
    IndexInfo,
    IndexWriter,
    UnreadableFile,
    read_info,
    rows_to_table,
)
from corpora.imaging.old_index import OldIndex
from corpora.imaging.tree import TreeFile, walk

# Enough files to make the hand-over between processes cheap (a header takes 0.1 ms), few enough to share out the work.
FILES_PER_CHUNK = 256
# Chunks in flight for each process: memory stays flat however fast the walk is.
CHUNKS_AHEAD = 4
# A process takes a third of a second to start: with fewer new files than this, reading them here is sooner done.
FILES_WORTH_A_PROCESS = 2_000
_CHUNKS_HELD = 2 * FILES_WORTH_A_PROCESS // FILES_PER_CHUNK


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is; ``unchanged`` images were taken from the old index."""

    seen: int = 0
    images: int = 0
    unchanged: int = 0
    unreadable: int = 0


def index_folder(
    root: Path,
    output: Path,
    *,
    processes: int | None = None,
    refresh: bool = True,
    on_progress: Callable[[ScanProgress], None] | None = None,
) -> IndexInfo:
    """Write the index of a tree and return its counts.

    With ``refresh``, rows of an index that is already at ``output`` are kept for files of the same size and time of
    change. Raises `SourceUnreadable` if the root is no folder, or if ``output`` is something else than an index.
    """
    if not root.is_dir():
        raise SourceUnreadable(f"{root.name}: is no folder")
    root = root.resolve()
    # Anything else than an index is not overwritten.
    is_same = output.exists() and read_info(output).root == str(root)
    old = OldIndex(output if is_same and refresh else None)
    workers = max(1, processes or len(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        writer = stack.enter_context(IndexWriter(output, str(root)))
        own = frozenset(str(path.resolve()) for path in writer.files)
        scan = _Scan(root, writer, old, workers, stack, on_progress)
        chunk: list[TreeFile] = []
        for file in walk(root, own):
            chunk.append(file)
            if len(chunk) == FILES_PER_CHUNK:
                scan.add(chunk)
                chunk = []
        scan.add(chunk)
        return scan.finish()


@dataclass(frozen=True, slots=True)
class _Read:
    """What became of files that were read: rows and their places among the files, reasons, how many hold no image."""

    table: pa.Table
    places: list[int]
    unreadable: list[tuple[str, str]]
    not_images: int


@dataclass(slots=True)
class _Chunk:
    """Some files of the walk: those whose rows are kept, by number, the others, and where both stand in the walk."""

    kept: list[int]
    kept_places: list[int]
    files: list[TreeFile]
    places: list[int]
    result: Future[_Read] | None = None


@dataclass(slots=True)
class _Scan:
    root: Path
    writer: IndexWriter
    old: OldIndex
    workers: int
    stack: ExitStack
    on_progress: Callable[[ScanProgress], None] | None
    _waiting: deque[_Chunk] = field(default_factory=deque)
    _to_read: int = 0
    _pool: ProcessPoolExecutor | None = None
    _unchanged: int = 0
    # So many rows from the start of the old index on are kept, and nothing is written yet; None once something is.
    _intact: int | None = 0

    def add(self, files: list[TreeFile]) -> None:
        """Take the next files of the walk; results of earlier ones are written when enough are waiting."""
        chunk = _Chunk([], [], [], [])
        for place, file in enumerate(files):
            number = None if file.problem is not None else self.old.find(file)
            if number is None:
                chunk.files.append(file)
                chunk.places.append(place)
            else:
                chunk.kept.append(number)
                chunk.kept_places.append(place)
        self._waiting.append(chunk)
        self._to_read += len(chunk.files)
        if self._pool is None and self.workers > 1 and self._to_read >= FILES_WORTH_A_PROCESS:
            # Not forked: the host may have threads, whose locks a fork would copy in whatever state they are.
            self._pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"), initializer=_start_process)
            self.stack.callback(self._pool.shutdown, cancel_futures=True)
            for held in self._waiting:
                self._submit(held)
        elif self._pool is not None:
            self._submit(chunk)
        ahead = _CHUNKS_HELD if self._pool is None else self.workers * CHUNKS_AHEAD
        while self._waiting and (len(self._waiting) > ahead or self._is_ready(self._waiting[0])):
            self._write(self._waiting.popleft())

    def _submit(self, chunk: _Chunk) -> None:
        if chunk.files and self._pool is not None:
            chunk.result = self._pool.submit(_read_files, str(self.root), chunk.files)

    def _is_ready(self, chunk: _Chunk) -> bool:
        return self.workers == 1 or not chunk.files or (chunk.result is not None and chunk.result.done())

    def finish(self) -> IndexInfo:
        """Write what is waiting; return the counts."""
        while self._waiting:
            self._write(self._waiting.popleft())
        if self._intact is not None and self.old.info is not None:
            counts = self.writer.info
            if (self.old.info.images, self.old.info.not_images, self.old.info.unreadable) == (
                self._intact,
                counts.not_images,
                counts.unreadable,
            ):
                self.writer.keep_index()
                return self.old.info
            self._write_intact()
        return self.writer.info

    def _write(self, chunk: _Chunk) -> None:
        if chunk.result is not None:
            read = chunk.result.result()
        else:
            read = _read_files(str(self.root), chunk.files)
            self._to_read -= len(chunk.files)
        for file, reason in read.unreadable:
            self.writer.unreadable(UnreadableFile(file, reason))
        self.writer.not_images += read.not_images
        self._unchanged += len(chunk.kept)
        if self._intact is not None:
            after = self._intact + len(chunk.kept)
            if not read.places and chunk.kept == list(range(self._intact, after)):
                self._intact = after
                self._tell()
                return
            self._write_intact()
        tables = [*self.old.take(chunk.kept), read.table]
        order = [*chunk.kept_places, *(chunk.places[place] for place in read.places)]
        merged = pa.concat_tables(tables)
        if order != sorted(order):
            merged = merged.take(sorted(range(len(order)), key=order.__getitem__))
        self.writer.write(merged)
        self._tell()

    def _write_intact(self) -> None:
        """Write the rows that were only counted so far: the old index is not kept as it is."""
        count, self._intact = self._intact or 0, None
        for first in range(0, count, FILES_PER_CHUNK):
            for table in self.old.take(range(first, min(first + FILES_PER_CHUNK, count))):
                self.writer.write(table)

    def _tell(self) -> None:
        if self.on_progress is not None:
            info, intact = self.writer.info, self._intact or 0
            self.on_progress(ScanProgress(info.seen + intact, info.images + intact, self._unchanged, info.unreadable))


class _WithoutPandas(MetaPathFinder):
    """Says that pandas is not installed."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _start_process() -> None:
    """Keep a process that reads headers from loading pandas, which is as long as reading two thousand of them.

    pyarrow asks pandas, where it is installed, whether a list is one of its own.
    """
    sys.meta_path.insert(0, _WithoutPandas())


def _read_files(root: str, files: list[TreeFile]) -> _Read:
    """Read headers; runs in a process of its own."""
    if not files:
        return _Read(EMPTY, [], [], 0)
    # Here, as a scan of a tree without changes does not need them.
    from corpora.imaging.dicom_file import read_file_header
    from corpora.imaging.header import NotAnImage, Unreadable

    rows, places, unreadable = [], [], []
    not_images = 0
    for place, file in enumerate(files):
        try:
            if file.problem is not None:
                raise Unreadable(file.problem)
            rows.append(read_file_header(f"{root}/{file.name}", file.name, file.size_bytes, file.modified_ns))
            places.append(place)
        except NotAnImage:
            not_images += 1
        except Unreadable as error:
            unreadable.append((file.name, str(error)))
    return _Read(rows_to_table(rows), places, unreadable, not_images)
