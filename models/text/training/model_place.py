"""Where a model folder goes: never over anything that is no model, and never with a moment in which none is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from corpora.errors import RadlabelError
from models.text.encoder.folder import MANIFEST, ModelUnusable, read_manifest

_UNLISTED = frozenset({MANIFEST, "README.md"})


class FolderTaken(RadlabelError, ValueError):
    """A model would replace something that is no model."""


def check_place(folder: Path) -> None:
    """Raise `FolderTaken` unless ``folder`` is free, empty, or a model and nothing else."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise FolderTaken(f"{folder}: is there already and no folder: give another name for the model")
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return
    try:
        known = _UNLISTED | set(read_manifest(folder, files=()).digests)
    except ModelUnusable:
        raise FolderTaken(
            f"{folder}: is a folder with something else than a model in it, which would be lost: give another folder"
        ) from None
    if strange := sorted(names - known):
        raise FolderTaken(
            f"{folder}: holds {strange[0]!r} beside a model, which would be lost: move it away, or give another folder"
        )


def put_in_place(made: Path, folder: Path) -> None:
    """Give a finished folder its name; a model that has the name is moved aside first and removed last.

    A kill in between leaves the old model whole, in the hidden folder ``.NAME-old-*`` beside its place.

    Raises:
        FolderTaken: what has the name is no model, or holds other files too.
    """
    check_place(folder)
    if not folder.exists():
        made.rename(folder)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    try:
        old = folder.rename(aside / folder.name)
        try:
            made.rename(folder)
        except BaseException:
            old.rename(folder)
            raise
    finally:
        if folder.exists():
            shutil.rmtree(aside, ignore_errors=True)
