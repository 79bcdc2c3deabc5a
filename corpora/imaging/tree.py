"""The files of a folder tree in a fixed order, with what is wrong with some of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class TreeFile(NamedTuple):
    """A file of a tree, named by its path below the root; ``problem`` is why it need not be opened."""

    name: str
    size_bytes: int = 0
    modified_ns: int = 0
    problem: str | None = None


class _Folder(NamedTuple):
    path: str
    prefix: str  # what the names of its files begin with
    above: tuple[str, ...]  # the folders it lies in


def walk(root: Path, own: frozenset[str] = frozenset()) -> Iterator[TreeFile]:
    """Give the files below a root in the order of the parts of their names; ``own`` paths are left out.

    Links are followed; one to a folder that it lies in is a problem, and no loop.
    """
    pending = [_entries(_Folder(str(root), "", ()), own)]
    while pending:
        step = next(pending[-1], None)
        if step is None:
            pending.pop()
        elif isinstance(step, TreeFile):
            yield step
        else:
            pending.append(_entries(step, own))


def name_key(name: str) -> list[str]:
    """Return what names are ordered by: their parts."""
    return name.split("/")


def _entries(folder: _Folder, own: frozenset[str]) -> Iterator[TreeFile | _Folder]:
    try:
        with os.scandir(folder.path) as found:
            entries = sorted(found, key=_name)
    except OSError as error:
        name = folder.prefix.rstrip("/") or "."
        yield TreeFile(name, problem=f"the folder cannot be read: {error.strerror}")
        return
    above = (*folder.above, folder.path)
    for entry in entries:
        name = folder.prefix + entry.name
        if not _is_utf8(name):
            yield TreeFile(name.encode("utf-8", "backslashreplace").decode(), problem="the file's name is not UTF-8")
            continue
        try:
            if entry.is_dir():
                if entry.is_symlink() and _is_one_of(entry.path, above):
                    yield TreeFile(name, problem="a link to a folder that it lies in")
                else:
                    yield _Folder(entry.path, name + "/", above)
                continue
            stat = entry.stat()
            is_file = entry.is_file()
        except OSError as error:
            yield TreeFile(name, problem=error.strerror or "cannot be looked at")
            continue
        if not is_file:
            yield TreeFile(name, problem="not a file (a pipe, socket or device)")
        elif entry.path not in own:
            yield TreeFile(name, stat.st_size, stat.st_mtime_ns)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_one_of(path: str, folders: tuple[str, ...]) -> bool:
    here = Path(path).stat()
    return any(os.path.samestat(here, Path(folder).stat()) for folder in folders)


def _is_utf8(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
