"""Every kind of damaged file is listed with its reason, and the good ones beside it are indexed."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit

from corpora.imaging.dicom_folder import index_folder
from corpora.imaging.index_table import read_index, unreadable_path

from .making import MARK, make_dataset, write


def _bytes(**changes: Any) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, make_dataset(**changes), enforce_file_format=True)
    return buffer.getvalue()


def _cut(end: int) -> bytes:
    return _bytes()[:end]


def _replaced(old: bytes, new: bytes) -> bytes:
    content = _bytes()
    assert old in content
    return content.replace(old, new, 1)


def _without_preamble(cut: int | None = None) -> bytes:
    dataset = make_dataset()
    buffer = BytesIO()
    dataset.remove_private_tags()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()[132:][:cut]


def _compressed(fragments: bytes, cut: int) -> bytes:
    dataset = make_dataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([fragments])
    dataset["PixelData"].is_undefined_length = True
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()[:-cut]


def _implicit(cut: int) -> bytes:
    dataset = make_dataset()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True, implicit_vr=True, little_endian=True)
    return buffer.getvalue()[:-cut]


_NOBODY = 65534  # of Linux; any that is not root would do
_PIXELS = b"\xe0\x7f\x10\x00OB\x00\x00"
DAMAGED: dict[str, Callable[[], bytes]] = {
    "zero bytes": lambda: b"",
    "one byte": lambda: b"\0",
    "half a preamble": lambda: _cut(64),
    "only a preamble": lambda: _cut(128),
    "preamble and DIC": lambda: _cut(131),
    "preamble and DICM": lambda: _cut(132),
    "cut in the group length": lambda: _cut(138),
    "cut in the meta information": lambda: _cut(170),
    "cut after the meta information": lambda: _cut(132 + 12 + 200),
    "cut in the middle of the header": lambda: _cut(_bytes().index(b"\x10\x00\x20\x00") + 3),
    "cut in a value": lambda: _cut(_bytes().index(b"\x10\x00\x20\x00") + 12),
    "cut before the pixel size": lambda: _cut(_bytes().index(b"\x28\x00\x10\x00")),
    "cut after the header": lambda: _cut(_bytes().index(_PIXELS)),
    "cut in the tag of the pixels": lambda: _cut(_bytes().index(_PIXELS) + 3),
    "cut in the length of the pixels": lambda: _cut(_bytes().index(_PIXELS) + 10),
    "cut before the first pixel": lambda: _cut(_bytes().index(_PIXELS) + 12),
    "half of the pixels": lambda: _cut(len(_bytes()) - 150),
    "one byte too few": lambda: _cut(len(_bytes()) - 1),
    "implicit VR, half of the pixels": lambda: _implicit(150),
    "implicit VR, no pixels": lambda: _implicit(16 * 24),
    "no preamble and cut": lambda: _without_preamble(300),
    "no preamble, half of the pixels": lambda: _without_preamble(-200),
    "empty pixel data": lambda: _bytes(PixelData=b""),
    "too few pixels": lambda: _bytes(PixelData=b"\1\2"),
    "too many rows": lambda: _bytes(Rows=1600),
    "no pixel data": lambda: _bytes(PixelData=None),
    "pixels with a VR of text": lambda: _replaced(_PIXELS, b"\xe0\x7f\x10\x00LO\x00\x00"),
    "an unknown VR": lambda: _replaced(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00Q?"),
    "a sequence for rows": lambda: _replaced(b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x10\x00SQ\x00\x00"),
    "rows as text": lambda: _replaced(b"\x28\x00\x10\x00US\x02\x00\x10\x00", b"\x28\x00\x10\x00LO\x02\x00ZZ"),
    "rows 0": lambda: _bytes(Rows=0),
    "columns 0": lambda: _bytes(Columns=0),
    "no rows": lambda: _bytes(Rows=None),
    "no columns": lambda: _bytes(Columns=None),
    "no study": lambda: _bytes(StudyInstanceUID=None),
    "an empty study": lambda: _bytes(StudyInstanceUID=""),
    "a study that is no UID": lambda: _replaced(b"\x20\x00\x0d\x00UI", b"\x20\x00\x0f\x00UI"),
    "an empty instance": lambda: _replaced(b"\x08\x00\x18\x00UI", b"\x08\x00\x19\x00UI"),
    "no class": lambda: _replaced(b"\x08\x00\x16\x00UI", b"\x08\x00\x17\x00UI"),
    "text in a DICOM name": lambda: f"the patient is {MARK}\n".encode() * 40,
    "JPEG in a DICOM name": lambda: b"\xff\xd8\xff\xe0" + b"\0" * 400,
    "HTML in a DICOM name": lambda: b"<html>" + b"x" * 400,
    "DICM and then noise": lambda: b"\0" * 128 + b"DICM" + bytes(range(256)) * 4,
    "DICM and then zeros": lambda: b"\0" * 128 + b"DICM" + b"\0" * 500,
    "compressed, no delimiter and half a fragment": lambda: _compressed(b"\xff\xd8" * 200, 100),
    "compressed, cut at the first item": lambda: _compressed(b"\xff\xd8" * 200, 412),
    "an element of 4 GB": lambda: _replaced(b"\x28\x00\x10\x00US\x02\x00", b"\x28\x00\x10\x00UT\x00\x00"),
}


def _special(folder: Path) -> list[str]:
    """Damage that is no content: links, folders and names."""
    (folder / "loop").mkdir()
    (folder / "loop" / "back").symlink_to(folder, target_is_directory=True)
    (folder / "self.dcm").symlink_to(folder / "self.dcm")
    (folder / "nowhere.dcm").symlink_to(folder / "not there")
    os.mkfifo(folder / "pipe.dcm")
    (folder / os.fsdecode(b"\xff.dcm")).write_bytes(_bytes())
    return ["loop/back", "self.dcm", "nowhere.dcm", "pipe.dcm"]


def test_there_are_at_least_forty_kinds() -> None:
    assert len(DAMAGED) >= 40


def test_every_damaged_file_is_listed_with_a_reason_and_the_rest_is_indexed(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    folder.mkdir()
    names = []
    for number, (kind, make) in enumerate(DAMAGED.items()):
        name = f"{number:02d} {kind}.dcm"
        (folder / name).write_bytes(make())
        write(folder / f"{number:02d} good.dcm", make_dataset())
        names.append(name)
    special = _special(folder)
    info = index_folder(folder, tmp_path / "index.parquet")
    with unreadable_path(tmp_path / "index.parquet").open(newline="", encoding="utf-8") as handle:
        listed = {row["file"]: row["reason"] for row in csv.DictReader(handle)}
    assert set(names) - set(listed) == set()
    assert set(special) <= set(listed)
    assert set(listed) - set(names) - set(special) == {"\\udcff.dcm"}
    assert all(reason and MARK not in reason for reason in listed.values())
    assert info.images == len(DAMAGED) == read_index(tmp_path / "index.parquet").num_rows
    assert info.seen == info.images + info.not_images + info.unreadable


@contextmanager
def _nobody() -> Iterator[None]:
    """Be a user whom permissions bind, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_files_and_folders_without_permission_are_listed() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        locked = write(folder / "tree" / "locked.dcm", make_dataset())
        closed = write(folder / "tree" / "closed" / "x.dcm", make_dataset()).parent
        write(folder / "tree" / "open.dcm", make_dataset())
        locked.chmod(0)
        closed.chmod(0)
        try:
            with _nobody():
                info = index_folder(folder / "tree", folder / "index.parquet", processes=1)
        finally:
            closed.chmod(0o755)
        assert (info.images, info.unreadable) == (1, 2)
        listed = unreadable_path(folder / "index.parquet").read_text(encoding="utf-8").splitlines()
    assert listed[1:] == ["closed,the folder cannot be read: Permission denied", "locked.dcm,Permission denied"]


def test_files_that_do_not_claim_to_be_dicom_are_counted(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("notes.txt", "picture.jpg", "Thumbs.db"):
        (tmp_path / "tree" / name).write_bytes(b"some bytes that are no image at all")
    info = index_folder(tmp_path / "tree", tmp_path / "index.parquet")
    assert (info.seen, info.not_images, info.unreadable) == (3, 3, 0)


def test_a_data_set_without_preamble_is_indexed(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "old").write_bytes(_without_preamble())
    assert index_folder(tmp_path / "tree", tmp_path / "index.parquet").images == 1
