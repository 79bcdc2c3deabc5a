"""What a model says of a batch of pictures, ready to be written: the one function that every engine calls.

A batch goes in as a list of files, and comes out as rows and the bytes of files, so that whoever asked needs neither
pixels nor a model, and only writes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from corpora.imaging.evidence import EvidenceMissing
from models.vision.answers import Answer, answer
from models.vision.boxes import FoundBox
from models.vision.errors import SegmentationImpossible
from models.vision.overlays import png_bytes
from models.vision.recipe import Task
from models.vision.runtime import BATCH, VisionModel
from models.vision.sources import Picture, Source, Unreadable, read

#: Columns that say which study a picture is of, between its file and what the model says.
STUDY_COLUMNS = ("study_instance_uid", "accession_number", "accession_number_issuer", "patient_id")
#: Overlays of 14 labels are some 10 MB a picture.
DRAWN_BATCH = 4
MAX_BATCH_BYTES = 32 * 2**20
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is made for each picture besides its row."""

    overlays: bool = False
    dicom_seg: bool = False
    dicom_sr: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Told:
    """What is written for one picture of ``width`` times ``height`` pixels: its row, its boxes, and files by name.

    ``missing`` says which file could not be made, and why.
    """

    file: str
    width: int
    height: int
    row: dict[str, Any]
    boxes: tuple[FoundBox, ...] = ()
    files: dict[str, bytes] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


def batches(sources: Iterable[Source], task: Task, drawn: Drawn) -> Iterator[tuple[Source, ...]]:
    """Yield what goes to a model at a time: always the same pictures together, whoever reads them.

    What travels to a worker and back is bounded: pictures that come back whole, which may be larger than they were, go
    one by one, those that are drawn over a few at a time, and those that were read before by their size.
    """
    most = 1 if task in (Task.DENOISING, Task.SUPER_RESOLUTION) else DRAWN_BATCH if drawn.overlays else BATCH
    batch: list[Source] = []
    size = 0
    for source in sources:
        batch.append(source)
        size += _size(source)
        if len(batch) == most or size >= MAX_BATCH_BYTES:
            yield tuple(batch)
            batch, size = [], 0
    if batch:
        yield tuple(batch)


def _size(source: Source) -> int:
    if not isinstance(source, Picture):
        return 0
    return source.pixels.nbytes + len(source.dicom.get("PixelData", b"") if source.dicom is not None else b"")


def read_batch(model: VisionModel, drawn: Drawn, batch: Sequence[Source]) -> list[Told | Unreadable]:
    """Return what a model says of each picture of a batch, in their order."""
    pictures = [read(source) for source in batch]
    readable = [picture for picture in pictures if isinstance(picture, Picture)]
    answers = iter(answer(model, readable) if readable else ())
    return [
        picture if isinstance(picture, Unreadable) else _told(model, drawn, picture, next(answers))
        for picture in pictures
    ]


def _told(model: VisionModel, drawn: Drawn, picture: Picture, found: Answer) -> Told:
    height, width = picture.pixels.shape
    study = {name: picture.row.get(name) for name in STUDY_COLUMNS}
    row = {"image_id": picture.image_id, "file": picture.file, **study, **found.row}
    name = file_name(picture.image_id)
    files = dict(_pictures(drawn, name, picture, found))
    missing = []
    for folder, make in _documents(model, drawn, picture, found):
        try:
            files[f"{folder}/{name}.dcm"] = make()
        except (SegmentationImpossible, EvidenceMissing) as error:
            missing.append(str(error))
    return Told(picture.file, width, height, row, found.boxes, files, tuple(missing))


def _pictures(drawn: Drawn, name: str, picture: Picture, found: Answer) -> Iterator[tuple[str, bytes]]:
    for part, pixels in found.masks.items():
        yield f"masks/{name}.{file_name(part)}.png", png_bytes(pixels, longest=None)
    if found.picture is not None:
        yield f"pictures/{name}.png", png_bytes(found.picture, longest=None)
    if drawn.overlays:
        for part, pixels in found.overlays(picture.pixels):
            yield f"overlays/{name}.{file_name(part)}.png", png_bytes(pixels)


def _documents(
    model: VisionModel, drawn: Drawn, picture: Picture, found: Answer
) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield what is made of a DICOM image: the folder that it goes to, and what makes it."""
    if picture.dicom is None:
        return
    if drawn.dicom_seg and found.masks:
        from models.vision.dicom_seg import segmentation_bytes

        yield "seg", partial(segmentation_bytes, picture.dicom, found.masks, model.manifest)
    scores = {label: found.row[label] for label in model.labels} if model.task is Task.CLASSIFICATION else {}
    if drawn.dicom_sr and (scores or found.boxes):  # TID 1500 has one group at least
        from models.vision.dicom_sr import report_bytes

        yield "sr", partial(report_bytes, picture.dicom, scores, found.boxes, model.manifest)


def file_name(name: str) -> str:
    """Return a name that is safe as a file's: itself, or a digest where it holds other characters than most do."""
    spaced = name.replace(" ", "_")
    return spaced if _SAFE.fullmatch(spaced) else hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:20]
