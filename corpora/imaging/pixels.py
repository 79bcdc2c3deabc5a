"""The pixels of an image, ready for a model: one grey plane from 0 (black) to 1 (white), whatever the file holds.

This is the one place that reads pixels, so that no reader forgets a step; `corpora.imaging.pictures` calls it for rows
of an index.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEGExtended12Bit

from corpora.errors import RadlabelError, SourceUnreadable
from corpora.imaging.extras import ImagingExtraMissing, need
from corpora.imaging.greyscale import colour_to_grey, stored_to_grey
from corpora.imaging.header import NotAnImage, Unreadable, dataset_to_row
from corpora.imaging.jpeg12 import add_to_pydicom
from corpora.imaging.placement import Placement

PixelType = Literal["float32", "uint8"]
_PICTURE_16_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_FROM_HEADER = ("row_spacing_mm", "column_spacing_mm", "view", "laterality", "patient_orientation")


@dataclass(frozen=True, slots=True, repr=False)
class ImagePixels:
    """Grey pixels (rows, columns), and what a header says of them.

    ``pixels`` is float32 in [0, 1] or uint8; the spacings and the orientation are those of the pixels given here, after
    any turning and resizing; ``placement`` carries boxes and masks over from the file.
    """

    pixels: NDArray[Any]
    placement: Placement
    row_spacing_mm: float | None = None
    column_spacing_mm: float | None = None
    view: str | None = None
    laterality: str | None = None
    patient_orientation: str | None = None

    def __repr__(self) -> str:
        return f"ImagePixels({self.pixels.shape[0]} x {self.pixels.shape[1]}, {self.pixels.dtype})"


def load_image(
    file: Path | Dataset,
    *,
    dtype: PixelType = "float32",
    longest_side: int | None = None,
    frame: int | None = None,
    upright: bool = False,
    like: Mapping[str, Any] | None = None,
) -> ImagePixels:
    """Return the pixels of a DICOM file, of a data set in memory, or of a PNG or JPEG file.

    Parameters
    ----------
    file
        A path, or a data set with its file meta information.
    dtype
        ``float32`` in [0, 1], or ``uint8``.
    longest_side
        Makes the longer side that long, larger or smaller, and keeps the aspect.
    frame
        Picks one of several frames, from 0; an image of several frames is refused otherwise.
    upright
        Turns a frontal image so that its rows run to the patient's left and its columns to the feet, where Patient
        Orientation (PS3.3 C.7.6.1.1.1) tells how it lies. Others are left as they are.
    like
        Its row of the image index: what a PNG or JPEG file does not say of itself (spacing, view, laterality), and
        which instance a DICOM file should hold.

    Raises
    ------
    SourceUnreadable
        The file or its pixels cannot be read.
    ImagingExtraMissing
        Nothing is installed that decodes the file's transfer syntax.
    """
    if longest_side is not None and longest_side < 1:
        raise ValueError("longest_side must be 1 or more")
    name = file.name if isinstance(file, Path) else "the data set"
    try:
        if isinstance(file, Path) and _is_picture(file):
            grey = _load_picture(file)
            known = {name: (like or {}).get(name) for name in _FROM_HEADER}
            loaded = ImagePixels(grey, Placement.of(grey.shape), **known)
        else:
            loaded = _load_dicom(file, frame, (like or {}).get("sop_instance_uid"))
    except NotAnImage:
        raise SourceUnreadable(f"{name}: holds no image") from None
    except Unreadable as error:
        raise SourceUnreadable(f"{name}: {error}") from None
    except RadlabelError:
        raise
    except OSError as error:
        raise SourceUnreadable(f"{name}: {error.strerror or 'cannot be read as an image'}") from None
    except Exception as error:  # decoders raise whatever damaged bytes lead to
        raise SourceUnreadable(f"{name}: the pixels cannot be decoded ({type(error).__name__})") from None
    if upright:
        loaded = _upright(loaded)
    if longest_side is not None:
        loaded = _resized(loaded, longest_side)
    if dtype == "uint8":
        return replace(loaded, pixels=np.rint(loaded.pixels * 255).astype(np.uint8))
    return loaded


def _is_picture(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4).startswith((b"\x89PNG", b"\xff\xd8\xff"))


def _load_picture(path: Path) -> NDArray[np.float32]:
    """Return a PNG or JPEG as it is stored: a rotation in its EXIF data is not applied, as boxes do not know of it."""
    image_module = need("PIL.Image", "pillow", "reading PNG and JPEG")
    with image_module.open(path, formats=("PNG", "JPEG")) as image:
        if image.mode in _PICTURE_16_BIT:
            return np.asarray(np.asarray(image, dtype=np.float64).clip(0, 65535) / 65535, dtype=np.float32)
        return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)


def _load_dicom(file: Path | Dataset, frame: int | None, sop_instance_uid: str | None) -> ImagePixels:
    # pydicom's warnings are about values, and may quote them.
    with warnings.catch_warnings(), config.disable_value_validation():
        warnings.simplefilter("ignore")
        dataset = dcmread(file, force=True) if isinstance(file, Path) else file
        row = dataset_to_row(dataset)
        if sop_instance_uid not in (None, row["sop_instance_uid"]):
            raise Unreadable("holds another image than when it was indexed")
        frames = row["number_of_frames"] or 1
        if frames > 1 and frame is None:
            raise Unreadable(f"the image has {frames} frames; say which one is wanted")
        if frame is not None and not 0 <= frame < frames:
            raise Unreadable(f"there is no frame {frame}, the image has {frames}")
        stored = _stored_pixels(dataset, frame if frames > 1 else None)
        grey = colour_to_grey(stored, dataset) if _is_colour(dataset) else stored_to_grey(stored, dataset)
    return ImagePixels(grey, Placement.of(grey.shape), **{name: row[name] for name in _FROM_HEADER})


def _is_colour(dataset: Dataset) -> bool:
    return not str(dataset.PhotometricInterpretation).startswith("MONOCHROME")


def _stored_pixels(dataset: Dataset, frame: int | None) -> NDArray[Any]:
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.pixels.utils import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == JPEGExtended12Bit:
        add_to_pydicom()
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Unreadable("the transfer syntax is none of single pictures") from None
    if not decoder.is_available:
        raise ImagingExtraMissing(
            f"{syntax.name} needs python-gdcm, pylibjpeg and pylibjpeg-openjpeg: pip install 'radlabel[images]'"
        )
    # Bits that do not count are left to `stored_to_grey`, which knows where the others lie.
    return pixel_array(dataset, index=frame, correct_unused_bits=False)


def _upright(loaded: ImagePixels) -> ImagePixels:
    axes = [part[:1] for part in (loaded.patient_orientation or "").split("\\")]
    if len(axes) != 2:
        return loaded
    is_transposed = axes[0] in ("F", "H")
    across, down = reversed(axes) if is_transposed else axes
    if across not in ("L", "R") or down not in ("F", "H"):
        return loaded
    before = loaded.placement
    turned = Placement(before.file_shape, before.file_shape, is_transposed, across == "R", down == "H")
    spacing = (loaded.row_spacing_mm, loaded.column_spacing_mm)
    row_spacing, column_spacing = reversed(spacing) if is_transposed else spacing
    return replace(
        loaded,
        pixels=turned.turn(loaded.pixels),
        placement=turned.scaled_to(turned.turned_shape),
        row_spacing_mm=row_spacing,
        column_spacing_mm=column_spacing,
        patient_orientation="L\\F",
    )


def _resized(loaded: ImagePixels, longest_side: int) -> ImagePixels:
    rows, columns = loaded.pixels.shape
    factor = longest_side / max(rows, columns)
    if factor == 1:
        return loaded
    new_rows, new_columns = (max(1, round(side * factor)) for side in (rows, columns))
    image_module = need("PIL.Image", "pillow", "resizing")
    image = image_module.fromarray(loaded.pixels)  # mode F
    resized = image.resize((new_columns, new_rows), image_module.Resampling.BICUBIC)
    row_spacing, column_spacing = loaded.row_spacing_mm, loaded.column_spacing_mm
    return replace(
        loaded,
        pixels=np.asarray(resized, dtype=np.float32).clip(0, 1),
        placement=loaded.placement.scaled_to((new_rows, new_columns)),
        row_spacing_mm=None if row_spacing is None else row_spacing * rows / new_rows,
        column_spacing_mm=None if column_spacing is None else column_spacing * columns / new_columns,
    )
