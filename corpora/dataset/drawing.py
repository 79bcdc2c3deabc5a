"""The pictures of a data set: drawn chunk by chunk, by several processes, and kept so that a build can go on.

A chunk is a run of candidates in their order. When its pictures are on the disk a file says what they are like; a build
that was stopped reads these files and draws the rest. The pictures depend on the images alone, not on the processes.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpora.dataset.identity import file_of, mask_of
from corpora.errors import SourceUnreadable
from corpora.imaging.extras import need
from corpora.imaging.index_table import ImageSource, IndexInfo
from corpora.imaging.pictures import Pictures
from corpora.imaging.pixels import ImagePixels, load_image
from corpora.imaging.server import Access
from corpora.weak_labels.duplicates import perceptual_hash, pixel_digest
from corpora.weak_labels.filters import PixelFilter, pixel_reason

IMAGES_PER_CHUNK = 32
# A process takes a second to start and to import the decoders; that is the time of some fifty small images.
CHUNKS_WORTH_A_PROCESS = 4
_CHUNKS_AHEAD = 3
# Of zlib. On 60 radiographs of 512 pixels level 4 gave the size of level 6 (100 KB each) in two fifths of its time.
_PNG_LEVEL = 4
UNREADABLE = "unreadable"
MASK_UNREADABLE = "mask_unreadable"


@dataclass(frozen=True, slots=True, repr=False)
class Task:
    """An image to draw: its name in the data set and its row of the index."""

    name: str
    header: Mapping[str, Any]


@dataclass(frozen=True, slots=True, repr=False)
class Drawn:
    """What became of an image. With a ``reason`` there is no picture. Digests and the hash are in hex."""

    name: str
    reason: str | None = None
    width: int = 0
    height: int = 0
    row_spacing: float | None = None
    column_spacing: float | None = None
    picture_digest: str = ""
    perceptual_hash: str | None = None
    source_digest: str = ""
    has_mask: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """How to draw: from which index, for whom, how large, what is left out, and into which folder."""

    info: IndexInfo
    folder: Path
    size: int
    filter: PixelFilter
    access: Access | None = None

    def draw_all(
        self,
        tasks: Iterable[Task],
        done: Path,
        *,
        processes: int = 1,
        on_drawn: Callable[[int], None] = lambda number: None,
    ) -> int:
        """Draw what is not drawn yet and return how many images there are; ``done`` keeps a file for each chunk."""
        done.mkdir(exist_ok=True)
        chunks = iter(_chunked(tasks))
        first = list(islice(chunks, CHUNKS_WORTH_A_PROCESS))
        with ExitStack() as stack:
            pool = None
            if processes > 1 and len(first) == CHUNKS_WORTH_A_PROCESS:
                # Not forked: the host may have threads, whose locks a fork would copy in whatever state they are.
                pool = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
                stack.callback(pool.shutdown, cancel_futures=True)
            here = stack.enter_context(Pictures(self.info, access=self.access))
            waiting: deque[tuple[int, Future[list[Drawn]] | list[Drawn]]] = deque()
            total = 0

            def finish() -> None:
                nonlocal total
                number, result = waiting.popleft()
                drawn = result.result() if isinstance(result, Future) else result
                if isinstance(result, Future):
                    _keep(done, number, drawn)
                total += len(drawn)
                on_drawn(total)

            for number, chunk in enumerate(chain(first, chunks)):
                known = self._known(done, number, chunk)
                if known is not None:
                    waiting.append((number, known))
                elif pool is not None:
                    waiting.append((number, pool.submit(_draw_apart, self, chunk)))
                else:
                    drawn = [self._draw(task, here) for task in chunk]
                    _keep(done, number, drawn)
                    waiting.append((number, drawn))
                while len(waiting) > (processes * _CHUNKS_AHEAD if pool is not None else 0):
                    finish()
            while waiting:
                finish()
        return total

    def _known(self, done: Path, number: int, chunk: Sequence[Task]) -> list[Drawn] | None:
        """Return what an earlier run drew of a chunk, if all of it is there."""
        drawn = load_chunk(done, number)
        if drawn is None or [one.name for one in drawn] != [task.name for task in chunk]:
            return None
        is_whole = all(one.reason or (self.folder / file_of(one.name)).is_file() for one in drawn)
        return drawn if is_whole else None

    def _draw(self, task: Task, pictures: Pictures) -> Drawn:
        try:
            image, source_digest = self._read(task.header, pictures)
        except SourceUnreadable:
            return Drawn(task.name, UNREADABLE)
        reason = pixel_reason(image.pixels, self.filter)
        if reason is not None:
            return Drawn(task.name, str(reason))
        try:
            mask = pictures.mask(task.header, image)
        except SourceUnreadable:
            return Drawn(task.name, MASK_UNREADABLE)
        pixels = np.rint(image.pixels * 255).astype(np.uint8)
        write_png(self.folder / file_of(task.name), pixels)
        if mask is not None:
            write_png(self.folder / mask_of(task.name), mask.astype(np.uint8) * 255)
        near = perceptual_hash(pixels)
        return Drawn(
            name=task.name,
            width=pixels.shape[1],
            height=pixels.shape[0],
            row_spacing=image.row_spacing_mm,
            column_spacing=image.column_spacing_mm,
            picture_digest=pixel_digest(pixels).hex(),
            perceptual_hash=None if near is None else near.hex(),
            source_digest=source_digest,
            has_mask=mask is not None,
        )

    def _read(self, header: Mapping[str, Any], pictures: Pictures) -> tuple[ImagePixels, str]:
        """Return an image of the size that is wanted, and a digest of the pixels as they are stored.

        The digest is the same for a file and for what a server sends of it, whose header may differ.
        """
        sides = [side for side in (header["rows"], header["columns"]) if side]
        longest = min([self.size, *([max(sides)] if sides else [])])
        frame = 0 if (header["number_of_frames"] or 1) > 1 else None
        if header["source"] == ImageSource.PICTURE:
            data = _bytes_of(Path(self.info.root, header["file"]))
            return pictures.read(header, longest_side=longest), hashlib.sha256(data).hexdigest()
        dataset = pictures.dataset(header)
        stored = next((dataset[tag].value for tag in _PIXELS if tag in dataset), b"")
        image = load_image(dataset, longest_side=longest, frame=frame)
        return image, hashlib.sha256(stored if isinstance(stored, bytes) else b"").hexdigest()


_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceUnreadable(f"{path.name}: {error.strerror or 'cannot be read'}") from None


def _draw_apart(drawing: Drawing, chunk: Sequence[Task]) -> list[Drawn]:
    """Draw a chunk in a process of its own."""
    global _pictures
    if _pictures is None or _pictures[0] != drawing.info:
        _pictures = (drawing.info, Pictures(drawing.info, access=drawing.access))
    return [drawing._draw(task, _pictures[1]) for task in chunk]


_pictures: tuple[IndexInfo, Pictures] | None = None


def _chunked(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    source = iter(tasks)
    while chunk := list(islice(source, IMAGES_PER_CHUNK)):
        yield chunk


def _keep(done: Path, number: int, drawn: Sequence[Drawn]) -> None:
    unfinished = done / f"{number:06d}.partial"
    unfinished.write_text(json.dumps([asdict(one) for one in drawn]), encoding="utf-8")
    unfinished.replace(done / f"{number:06d}.json")


def load_chunk(done: Path, number: int) -> list[Drawn] | None:
    """Return what is known of a chunk, or ``None`` where it was not finished."""
    try:
        return [Drawn(**one) for one in json.loads((done / f"{number:06d}.json").read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        return None


def iter_drawn(done: Path) -> Iterator[Drawn]:
    """Yield what became of every image, in order."""
    number = 0
    while (chunk := load_chunk(done, number)) is not None:
        yield from chunk
        number += 1


def write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    """Write a greyscale picture (height, width), whole or not at all; the same pixels are the same bytes."""
    image_module = need("PIL.Image", "pillow", "writing pictures")
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f"{path.name}.partial")
    image_module.fromarray(pixels).save(neighbour, format="PNG", compress_level=_PNG_LEVEL)
    neighbour.replace(path)
