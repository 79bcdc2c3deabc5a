"""What an interrupted run leaves behind: a folder beside the output with the chunks that are done.

    labels.parquet.part/
        manifest.json   what the run depends on: inputs and their digests, options, model, versions
        chunk-000000    one finished chunk: a line of JSON (counts, rejects, review, length), then its output
        lock            held by the run that writes here

Files appear under their names whole or not at all. The manifest is written first and removed first: a folder without
one is what a finished run left when it was stopped while tidying up.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from corpora.errors import RadlabelError
from nlp_service.chunks import Origin, Reject
from nlp_service.errors import OutputExists, OutputUnwritable, ResumeMismatch
from nlp_service.run_manifest import Manifest, differences
from nlp_service.work import ChunkResult, Counts

MANIFEST = "manifest.json"
LOCK = "lock"
_OURS = re.compile(r"(manifest\.json|chunk-\d{6,}|shard-\d{6,}\.json)(\.tmp)?")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the operating system says of writing ``path`` into `OutputUnwritable`."""
    try:
        yield
    except (RadlabelError, BrokenPipeError):
        raise
    except OSError as error:
        raise OutputUnwritable(f"{path}: cannot be written: {error.strerror or type(error).__name__}") from error


def check_replaceable(path: Path) -> None:
    """Raise `OutputUnwritable` where ``path`` is a device, a pipe or a folder: writing whole would put a file there."""
    if path.exists() and not path.is_file():
        raise OutputUnwritable(f"{path}: cannot be written: it is no regular file")


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a neighbour for writing, which takes the name ``path`` once all is on the disk; an error removes it.

    Raises:
        OutputUnwritable: ``path`` is no regular file, or the system refuses to write.
    """
    check_replaceable(path)
    temporary = path.with_name(f"{path.name}.tmp")
    with writing(path):
        try:
            with temporary.open("w+b") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            # A disk that is full or gone may refuse this as well; what went wrong first is what counts.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


class PartFolder:
    """The folder of one run. Use `begin`; it stays locked until `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    @classmethod
    def beside(cls, output: Path) -> PartFolder:
        """Return the folder that belongs to an output; nothing is made yet."""
        return cls(output.with_name(f"{output.name}.part"))

    @property
    def is_unfinished(self) -> bool:
        """Tell whether a run was begun here and did not end."""
        return (self.path / MANIFEST).is_file()

    def begin(self, manifest: Manifest, *, resume: bool) -> None:
        """Make the folder and keep others out. With ``resume``, a manifest that is there must be the same.

        Raises `ResumeMismatch` if it differs, `OutputExists` if another run is at work here.
        """
        with writing(self.path):
            self.path.mkdir(exist_ok=True)
            self._take_lock()
        if resume and self.is_unfinished:
            differing = differences(self.read_manifest(), manifest)
            if not differing:
                return
            self.close()
            raise ResumeMismatch(
                f"{self.path}: holds a run with other {' and '.join(differing)}; resume it as it was begun, "
                "or start over with --overwrite"
            )
        self._clear()
        try:
            self.write_manifest(manifest)
        except BaseException:
            with suppress(OutputUnwritable):
                self.remove()
            raise

    def finished(self) -> set[int]:
        """Return the indices of the chunks that are done."""
        return {int(entry.name[6:]) for entry in self.path.glob("chunk-*") if entry.name[6:].isdigit()}

    def save(self, result: ChunkResult) -> None:
        """Keep a chunk that is done."""
        head = {
            "counts": asdict(result.counts),
            "rejects": [asdict(reject) for reject in result.rejects],
            "review": result.review,
            "bytes": len(result.piece),
            "digest": digest_of(result.piece),
        }
        self.write(_chunk_name(result.index), json.dumps(head).encode() + b"\n" + result.piece)

    def load(self, index: int) -> ChunkResult | None:
        """Return a chunk that is done, or ``None`` if the file is damaged."""
        try:
            line, _, piece = (self.path / _chunk_name(index)).read_bytes().partition(b"\n")
            head = json.loads(line)
            rejects = rejects_of(head["rejects"])
            if head["bytes"] != len(piece) or head["digest"] != digest_of(piece):
                return None
            return ChunkResult(index, piece, rejects, Counts(**head["counts"]), head["review"])
        except (ValueError, KeyError, TypeError):
            return None

    def reload(self, index: int) -> ChunkResult:
        """Return a chunk that was done a moment ago."""
        result = self.load(index)
        if result is None:
            raise OutputUnwritable(f"{self.path}: was changed by something else while the run was at work")
        return result

    def remove(self) -> None:
        """Remove the folder and what a run has put there; files of others stay, and the folder with them."""
        if not self.path.is_dir():
            return
        self._clear()
        self.close()
        with writing(self.path):
            (self.path / LOCK).unlink(missing_ok=True)
            with suppress(OSError):
                self.path.rmdir()

    def close(self) -> None:
        """Let others in."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _clear(self) -> None:
        with writing(self.path):
            (self.path / MANIFEST).unlink(missing_ok=True)
            for entry in list(self.path.iterdir()):
                if _OURS.fullmatch(entry.name):
                    entry.unlink(missing_ok=True)

    def _take_lock(self) -> None:
        """Lock the folder. The system lets go of the lock when the process ends, however it does."""
        while True:
            self._lock = (self.path / LOCK).open("wb")
            if sys.platform == "win32":
                return  # no advisory locks of this kind: two runs with one output are the user's to avoid
            import fcntl

            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                raise OutputExists(f"{self.path}: another run is writing here; wait for it, or stop it first") from None
            if self._has_lock_file():
                return
            self.close()

    def _has_lock_file(self) -> bool:
        """Tell whether the file that is locked is still the one in the folder: a run that ended may have removed it."""
        assert self._lock is not None
        try:
            return os.path.samestat(os.fstat(self._lock.fileno()), (self.path / LOCK).stat())
        except FileNotFoundError:
            return False

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the folder."""
        with writing(self.path), written_whole(self.path / name) as stream:
            stream.write(data)

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest, in place of the one that is there."""
        self.write(MANIFEST, json.dumps(manifest, indent=2).encode())

    def read_manifest(self) -> Manifest:
        """Return the manifest; one that cannot be read is empty."""
        try:
            manifest = json.loads((self.path / MANIFEST).read_bytes())
        except (OSError, ValueError):
            manifest = None
        return manifest if isinstance(manifest, dict) else {}


def digest_of(data: bytes) -> str:
    """Return the digest by which a file that was damaged is found."""
    return blake2b(data, digest_size=32).hexdigest()


def rejects_of(items: Iterable[Mapping[str, Any]]) -> tuple[Reject, ...]:
    """Return rejects as `dataclasses.asdict` and JSON have kept them."""
    return tuple(Reject(**{**item, "origin": Origin(**item["origin"])}) for item in items)


def _chunk_name(index: int) -> str:
    return f"chunk-{index:06d}"


def _sync_folder(folder: Path) -> None:
    """Have a new name in a folder survive a power cut; systems that cannot open a folder do it by themselves."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
