"""Where a build works until it is done: a folder beside the output, which takes its name at the end.

chest.part/
    manifest.json   what the result depends on: recipe, inputs, versions; a build that is resumed must have the same
    lock            held by the build that works here
    made/           the data set, which is renamed at the end
    ...             index, labels, links and drawn chunks: what a build that is resumed need not do again
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from corpora.dataset.columns import INFO
from corpora.dataset.errors import BuildMismatch, DatasetExists, DatasetUnwritable
from corpora.errors import RadlabelError

MANIFEST, LOCK, MADE = "manifest.json", "lock", "made"


@contextmanager
def work_folder(output: Path, *, resume: bool = False, overwrite: bool = False) -> Iterator[Path]:
    """Give the work folder of an output; what it holds under ``made`` becomes the output when nothing goes wrong.

    Raises
    ------
    DatasetExists
        The output or an unfinished build is there and neither ``resume`` nor ``overwrite`` says what to do, something
        else has its name, or another build works here.
    DatasetUnwritable
        The folder cannot be made or renamed.
    """
    work = output.with_name(f"{output.name}.part")
    _check(output, work, resume=resume, overwrite=overwrite)
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = _locked(work)
    except OSError as error:
        if isinstance(error, RadlabelError):
            raise
        raise DatasetUnwritable(f"{output}: cannot be written: {error.strerror or type(error).__name__}") from None
    try:
        if not resume:
            _clear(work)
        yield work
        _rename(work / MADE, output)
        shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        if isinstance(error, RadlabelError):
            raise
        raise DatasetUnwritable(f"{output}: cannot be written: {error.strerror or type(error).__name__}") from None
    finally:
        lock.close()


def _check(output: Path, work: Path, *, resume: bool, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise DatasetExists(f"{output}: is there already, and is no folder")
    is_there = output.is_dir() and any(output.iterdir())
    if is_there and overwrite and not (output / INFO).is_file():
        raise DatasetExists(f"{output}: holds something else than a data set; remove it first")
    if is_there and not overwrite:
        raise DatasetExists(f"{output}: is there already; replace it with --overwrite, or name another folder")
    if (work / MANIFEST).is_file() and not (resume or overwrite):
        raise DatasetExists(
            f"{work}: an unfinished build is there; go on with --resume, or start over with --overwrite"
        )
    if work.exists() and not (work / MANIFEST).is_file() and any(entry.name != LOCK for entry in work.iterdir()):
        raise DatasetExists(f"{work}: is in the way, and was not made by a build; remove it first")


def begin(work: Path, manifest: Mapping[str, Any]) -> None:
    """Write down what the result depends on; raise `BuildMismatch` where an earlier run had something else."""
    path = work / MANIFEST
    content = json.loads(json.dumps(manifest))
    if path.is_file():
        try:
            before = json.loads(path.read_text("utf-8"))
        except ValueError:
            before = {}
        if before == content:
            return
        differing = sorted(key for key in content if before.get(key) != content[key])
        if before:
            raise BuildMismatch(
                f"{work}: holds a build with another {' and another '.join(differing) or 'content'}; resume it "
                "as it was begun, or start over with --overwrite"
            )
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(json.dumps(content, indent=2), encoding="utf-8")
    unfinished.replace(path)


def _clear(work: Path) -> None:
    for entry in work.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def _locked(work: Path) -> IO[bytes]:
    lock = (work / LOCK).open("wb")
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise DatasetExists(f"{work}: another build works here; wait for it, or stop it first") from None
    return lock


def _rename(made: Path, output: Path) -> None:
    before = output.with_name(f".{output.name}.before")
    if output.exists():
        shutil.rmtree(before, ignore_errors=True)
        output.rename(before)
    try:
        made.rename(output)
    except OSError:
        with suppress(OSError):
            before.rename(output)
        raise
    shutil.rmtree(before, ignore_errors=True)


@contextmanager
def new_folder(output: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a neighbour that takes the name ``output`` at the end; an error removes it. For what does not resume."""
    if output.exists() and not (output.is_dir() and (overwrite or not any(output.iterdir()))):
        raise DatasetExists(f"{output}: is there already; replace it with --overwrite, or name another folder")
    neighbour = output.with_name(f".{output.name}.partial")
    try:
        shutil.rmtree(neighbour, ignore_errors=True)
        neighbour.mkdir(parents=True)
        yield neighbour
        _rename(neighbour, output)
    except OSError as error:
        if isinstance(error, RadlabelError):
            raise
        raise DatasetUnwritable(f"{output}: cannot be written: {error.strerror or type(error).__name__}") from None
    finally:
        shutil.rmtree(neighbour, ignore_errors=True)
