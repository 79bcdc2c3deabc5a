"""An index of a tree of DICOM files: headers are read by several processes, and only of files that are new or changed.

The tree is walked in a fixed order and the index is written in it. A second scan therefore goes through the old index
and the tree side by side, and neither is ever held as a whole.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa

from corpora.errors import SourceUnreadable
from corpora.imaging.index_table import (
    SCHEMA,
    IndexInfo,
    IndexWriter,
    UnreadableFile,
    iter_tables,
    read_info,
    rows_to_table,
    unreadable_path,
)

# Enough files to make the hand-over between processes cheap (a header takes 0.3 ms), few enough to share out the work.
FILES_PER_CHUNK = 256
# Chunks in flight for each process: memory stays flat however fast the walk is.
CHUNKS_AHEAD = 4
# A process takes half a second to start: with fewer new files than this, reading them here is sooner done.
FILES_WORTH_A_PROCESS = 1_500


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan is; ``unchanged`` images were taken from the old index."""

    seen: int = 0
    images: int = 0
    unchanged: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class _File:
    """A file of the tree; ``problem`` is why it need not be opened."""

    name: str
    size_bytes: int = 0
    modified_ns: int = 0
    problem: str | None = None


_Result = tuple[str, Any]  # "row", "unreadable" or "other", and what belongs to it
_Key = tuple[str, ...]
# A folder: where it is, what its files are called from the root on, and device and inode of the folders above it
_Place = tuple[Path, str, frozenset[tuple[int, int]]]


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
    old = _OldIndex.at(output, root, refresh)
    own = {output.resolve(), unreadable_path(output).resolve()}
    workers = max(1, processes or len(os.sched_getaffinity(0)))
    with ExitStack() as stack:
        writer = stack.enter_context(IndexWriter(output, str(root)))
        scan = _Scan(root, writer, workers, stack, on_progress)
        chunk: list[_File] = []
        for file in _walk(root, own):
            chunk.append(file)
            if len(chunk) == FILES_PER_CHUNK:
                scan.add(chunk, old)
                chunk = []
        scan.add(chunk, old)
        scan.finish()
        info = writer.info
    return info


def _walk(root: Path, own: set[Path]) -> Iterator[_File]:
    """Give the files below a root, in the order of the parts of their names; a link back up is a problem, no loop."""
    pending = [_folder((root, "", frozenset()), own)]
    while pending:
        step = next(pending[-1], None)
        if step is None:
            pending.pop()
        elif isinstance(step, _File):
            yield step
        else:
            pending.append(_folder(step, own))


def _folder(place: _Place, own: set[Path]) -> Iterator[_File | _Place]:
    path, prefix, above = place
    try:
        here = path.stat()
        if (here.st_dev, here.st_ino) in above:
            yield _File(prefix.rstrip("/"), problem="a link to a folder that it lies in")
            return
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        yield _File(prefix.rstrip("/") or ".", problem=f"the folder cannot be read: {error.strerror}")
        return
    below = above | {(here.st_dev, here.st_ino)}
    for entry in entries:
        name = prefix + entry.name
        if not _is_utf8(name):
            yield _File(name.encode("utf-8", "backslashreplace").decode(), problem="the file's name is not UTF-8")
            continue
        try:
            if entry.is_dir():
                yield Path(entry.path), name + "/", below
                continue
            stat = entry.stat()
        except OSError as error:
            yield _File(name, problem=error.strerror or "cannot be looked at")
            continue
        if not entry.is_file():
            yield _File(name, problem="not a file (a pipe, socket or device)")
        elif not own or Path(entry.path) not in own:
            yield _File(name, stat.st_size, stat.st_mtime_ns)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key(name: str) -> _Key:
    return tuple(name.split("/"))


@dataclass(slots=True)
class _OldIndex:
    """The index of the scan before, gone through once, in step with the walk."""

    _tables: Iterator[pa.Table]
    _table: pa.Table | None = None
    _names: list[str] = field(default_factory=list)
    _stamps: list[tuple[int, int]] = field(default_factory=list)
    _at: int = 0

    @classmethod
    def at(cls, path: Path, root: Path, refresh: bool) -> _OldIndex:
        if not path.exists():
            return cls(iter(()))
        info = read_info(path)  # anything else is not overwritten
        return cls(iter_tables(path) if refresh and info.root == str(root) else iter(()))

    def find(self, file: _File) -> tuple[pa.Table, int] | None:
        """Return the table and the row that a file has, if it is unchanged. Files come in the order of the walk."""
        key = _key(file.name)
        while self._more():
            name = self._names[self._at]
            if name == file.name:
                stamp = self._stamps[self._at]
                same = stamp == (file.size_bytes, file.modified_ns) and self._table is not None
                return (self._table, self._at) if same else None
            if _key(name) > key:
                return None
            self._at += 1
        return None

    def _more(self) -> bool:
        while self._at >= len(self._names):
            self._table = next(self._tables, None)
            if self._table is None:
                return False
            if self._table.schema.remove_metadata() != SCHEMA:
                self._table = self._table.cast(SCHEMA)
            self._names = self._table["file"].to_pylist()
            sizes, times = (self._table[name].to_pylist() for name in ("size_bytes", "modified_ns"))
            self._stamps = list(zip(sizes, times, strict=True))
            self._at = 0
        return True


@dataclass(slots=True)
class _Chunk:
    """Some files of the walk: rows kept, with their places, and the results of the others, now or to come."""

    size: int
    kept: list[tuple[int, pa.Table, int]]
    read: list[_File]
    places: list[int]
    results: list[_Result] | Future[list[_Result]] | None = None


@dataclass(slots=True)
class _Scan:
    root: Path
    writer: IndexWriter
    workers: int
    stack: ExitStack
    on_progress: Callable[[ScanProgress], None] | None
    _waiting: deque[_Chunk] = field(default_factory=deque)
    _to_read: int = 0
    _pool: ProcessPoolExecutor | None = None
    _progress: ScanProgress = field(default_factory=ScanProgress)

    def add(self, files: list[_File], old: _OldIndex) -> None:
        """Take the next files of the walk; results of earlier ones are written when enough are waiting."""
        chunk = _Chunk(len(files), [], [], [])
        for place, file in enumerate(files):
            found = None if file.problem else old.find(file)
            if found is not None:
                chunk.kept.append((place, *found))
            else:
                chunk.read.append(file)
                chunk.places.append(place)
        self._to_read += len(chunk.read)
        if not chunk.read:
            chunk.results = []
        self._waiting.append(chunk)
        if self.workers > 1 and self._to_read >= FILES_WORTH_A_PROCESS:
            self._start()
        if self._pool is not None:
            self._submit()
            while len(self._waiting) > self.workers * CHUNKS_AHEAD:
                self._write(self._waiting.popleft())
        elif self.workers == 1 or chunk.results is not None:
            while self._waiting and (self.workers == 1 or self._waiting[0].results is not None):
                self._write(self._waiting.popleft())
        elif len(self._waiting) > FILES_WORTH_A_PROCESS // FILES_PER_CHUNK * 4:
            self._write(self._waiting.popleft())  # a few new files among many old ones: read here, hold little

    def finish(self) -> None:
        while self._waiting:
            self._write(self._waiting.popleft())

    def _start(self) -> None:
        if self._pool is None:
            # Not forked: the host may have threads, whose locks a fork would copy in whatever state they are.
            pool = ProcessPoolExecutor(self.workers, mp_context=get_context("spawn"))
            self.stack.callback(pool.shutdown, cancel_futures=True)
            self._pool = pool

    def _submit(self) -> None:
        assert self._pool is not None
        for chunk in self._waiting:
            if chunk.results is None:
                chunk.results = self._pool.submit(_read_files, str(self.root), chunk.read)

    def _write(self, chunk: _Chunk) -> None:
        results = chunk.results
        if results is None:
            results = _read_files(str(self.root), chunk.read)
            self._to_read -= len(chunk.read)
        elif isinstance(results, Future):
            results = results.result()
        rows, places = [], []
        for place, file, (kind, value) in zip(chunk.places, chunk.read, results, strict=True):
            if kind == "row":
                rows.append(value)
                places.append(place)
            elif kind == "unreadable":
                self.writer.unreadable(UnreadableFile(file.name, value))
            else:
                self.writer.not_images += 1
        self._write_table(chunk.kept, rows, places)
        self._tell(len(chunk.kept))

    def _write_table(self, kept: list[tuple[int, pa.Table, int]], rows: list[Any], places: list[int]) -> None:
        tables = [rows_to_table(rows)] if rows else []
        order = list(places)
        at = 0
        while at < len(kept):
            table = kept[at][1]
            end = at
            while end < len(kept) and kept[end][1] is table:
                end += 1
            tables.append(table.take([row for _, _, row in kept[at:end]]))
            order += [place for place, _, _ in kept[at:end]]
            at = end
        if tables:
            merged = pa.concat_tables([table.replace_schema_metadata() for table in tables])
            if order != sorted(order):
                merged = merged.take(sorted(range(len(order)), key=order.__getitem__))
            self.writer.write(merged)

    def _tell(self, unchanged: int) -> None:
        info = self.writer.info
        self._progress = ScanProgress(info.seen, info.images, self._progress.unchanged + unchanged, info.unreadable)
        if self.on_progress is not None:
            self.on_progress(self._progress)


def _read_files(root: str, files: list[_File]) -> list[_Result]:
    """Read headers; runs in a process of its own."""
    # Here, so that a scan of a tree without changes does not wait for pydicom.
    from corpora.imaging.header import NotAnImage, Unreadable, read_file_header

    results: list[_Result] = []
    for file in files:
        if file.problem is not None:
            results.append(("unreadable", file.problem))
            continue
        try:
            path = Path(root, file.name)
            row = read_file_header(path, file.name, file.size_bytes, file.modified_ns)
            results.append(("row", {name: value for name, value in row.items() if not name.startswith("_")}))
        except NotAnImage:
            results.append(("other", None))
        except Unreadable as error:
            results.append(("unreadable", str(error)))
    return results
