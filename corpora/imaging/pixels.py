"""The pixels of an image, ready for a model: one grey plane from 0 (black) to 1 (white), whatever the file holds.

The order is that of the grey scale transformations (PS3.4 N.2): modality LUT or rescale, VOI LUT or window, and last
the inversion of MONOCHROME1. This is the one place that reads pixels, so that no reader forgets a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import config, dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from corpora.errors import SourceUnreadable
from corpora.imaging.extras import need
from corpora.imaging.header import Unreadable, dataset_to_row

_GREY = np.array([0.299, 0.587, 0.114])  # luminance of RGB, ITU-R BT.601
_PICTURE_16_BIT = ("I;16", "I;16B", "I;16L", "I")


@dataclass(frozen=True, slots=True, repr=False)
class ImagePixels:
    """Grey pixels (rows, columns), and what a header says of them.

    ``pixels`` is float32 in [0, 1] or uint8; spacings are those of the pixels given here, after any resizing; ``scale``
    is how many of these pixels there are to one of the file, and carries boxes over.
    """

    pixels: NDArray[Any]
    row_spacing_mm: float | None = None
    column_spacing_mm: float | None = None
    view: str | None = None
    laterality: str | None = None
    patient_orientation: str | None = None
    scale: float = 1.0

    def __repr__(self) -> str:
        return f"ImagePixels({self.pixels.shape[0]} x {self.pixels.shape[1]}, {self.pixels.dtype})"


def load_image(
    file: Path | Dataset,
    *,
    dtype: Literal["float32", "uint8"] = "float32",
    longest_side: int | None = None,
    frame: int | None = None,
    upright: bool = False,
) -> ImagePixels:
    """Return the pixels of a DICOM file, of a data set in memory, or of a PNG or JPEG file.

    ``longest_side`` makes the longer side that long and keeps the aspect. ``frame`` (from 0) picks one of several
    frames, which are refused otherwise. ``upright`` turns a frontal image so that its rows run to the patient's left
    and its columns to the feet, where Patient Orientation (PS3.3 C.7.6.1.1.1) tells how it lies. Without a window or
    VOI LUT the smallest and largest value become 0 and 1, padding left out.

    Raises `SourceUnreadable` if the file or its pixels cannot be read.
    """
    if longest_side is not None and longest_side < 1:
        raise ValueError("longest_side must be 1 or more")
    name = file.name if isinstance(file, Path) else "the data set"
    try:
        if isinstance(file, Path) and not _is_dicom(file):
            loaded = ImagePixels(_load_picture(file))
        else:
            loaded = _load_dicom(file, frame)
    except SourceUnreadable:
        raise
    except Unreadable as error:
        raise SourceUnreadable(f"{name}: {error}") from None
    except OSError as error:
        raise SourceUnreadable(f"{name}: {error.strerror or 'cannot be read as an image'}") from None
    except ImportError:
        raise
    except Exception as error:  # decoders raise whatever damaged bytes lead to
        raise SourceUnreadable(f"{name}: the pixels cannot be decoded ({type(error).__name__})") from None
    if upright:
        loaded = _upright(loaded)
    if longest_side is not None:
        loaded = _resized(loaded, longest_side)
    if dtype == "uint8":
        return _with(loaded, pixels=np.rint(loaded.pixels * 255).astype(np.uint8))
    return loaded


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as handle:
        head = handle.read(132)
    if head[128:] == b"DICM":
        return True
    return not head.startswith((b"\x89PNG", b"\xff\xd8\xff"))


def _load_picture(path: Path) -> NDArray[np.float32]:
    image_module = need("PIL.Image", "pillow", "reading PNG and JPEG")
    with image_module.open(path) as image:
        if image.mode in _PICTURE_16_BIT:
            return np.asarray(np.asarray(image, dtype=np.float64).clip(0, 65535) / 65535, dtype=np.float32)
        return np.asarray(np.asarray(image.convert("L"), dtype=np.float32) / 255, dtype=np.float32)


def _load_dicom(file: Path | Dataset, frame: int | None) -> ImagePixels:
    with config.disable_value_validation():
        dataset = dcmread(file, force=True) if isinstance(file, Path) else file
        row = dataset_to_row(dataset)
        frames = row["number_of_frames"] or 1
        if frames > 1 and frame is None:
            raise Unreadable(f"the image has {frames} frames; say which one is wanted")
        if frame is not None and not 0 <= frame < frames:
            raise Unreadable(f"there is no frame {frame}, the image has {frames}")
        values = _stored_pixels(dataset, frame if frames > 1 else None)
        grey = _to_grey(dataset, values)
    names = ("row_spacing_mm", "column_spacing_mm", "view", "laterality", "patient_orientation")
    return ImagePixels(grey, **{name: row[name] for name in names})


def _stored_pixels(dataset: Dataset, frame: int | None) -> NDArray[Any]:
    from pydicom.pixels.utils import pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and syntax.is_encapsulated:
        need("pylibjpeg", "pylibjpeg, pylibjpeg-libjpeg and pylibjpeg-openjpeg", "compressed DICOM")
    return pixel_array(dataset, index=frame)


def _to_grey(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.float32]:
    if stored.ndim == 3:  # rows, columns, samples; YBR is RGB by now
        top = 2.0 ** int(dataset.BitsStored) - 1
        return np.asarray((stored @ _GREY / top).clip(0, 1), dtype=np.float32)
    if stored.ndim != 2:
        raise Unreadable(f"the pixels have {stored.ndim} dimensions")
    padding = _padding(dataset, stored)
    values = apply_modality_lut(stored, dataset)
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        grey = np.asarray(apply_voi(values, dataset), dtype=np.float64) / (2.0**bits - 1)
    elif (window := _window(dataset)) is not None:
        grey = _windowed(np.asarray(values, dtype=np.float64), *window)
    else:
        inside = values if padding is None or padding.all() else values[~padding]
        low, high = float(inside.min()), float(inside.max())
        grey = (np.asarray(values, dtype=np.float64) - low) / (high - low or 1.0)
    grey = grey.clip(0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    if padding is not None:
        grey[padding] = 0
    return np.asarray(grey, dtype=np.float32)


def _padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where there is padding (PS3.3 C.7.5.1.1.2): stored values, before any transformation."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    found: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return found if found.any() else None


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    try:
        center, width = (np.ravel(dataset[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        center, width = float(center), float(width)
    except (KeyError, IndexError, TypeError, ValueError):
        return None  # no window, or half of one
    return (center, width, function) if width >= 1 or (width > 0 and function != "LINEAR") else None


def _windowed(values: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64]:
    """Values through a window, to [0, 1] (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700))))
    if function == "LINEAR_EXACT":
        return (values - center) / width + 0.5
    if width == 1:  # a threshold
        return np.asarray(values > center - 0.5, dtype=np.float64)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _with(loaded: ImagePixels, **changes: Any) -> ImagePixels:
    from dataclasses import replace

    return replace(loaded, **changes)


def _upright(loaded: ImagePixels) -> ImagePixels:
    rows_to, columns_to = [part[:1] for part in ((loaded.patient_orientation or "") + "\\").split("\\")[:2]]
    pixels, row_spacing, column_spacing = loaded.pixels, loaded.row_spacing_mm, loaded.column_spacing_mm
    if rows_to in ("F", "H") and columns_to in ("L", "R"):
        pixels, rows_to, columns_to = pixels.T, columns_to, rows_to
        row_spacing, column_spacing = column_spacing, row_spacing
    if rows_to not in ("L", "R") or columns_to not in ("F", "H"):
        return loaded
    pixels = pixels[:: -1 if columns_to == "H" else 1, :: -1 if rows_to == "R" else 1]
    return _with(
        loaded,
        pixels=np.ascontiguousarray(pixels),
        row_spacing_mm=row_spacing,
        column_spacing_mm=column_spacing,
        patient_orientation="L\\F",
    )


def _resized(loaded: ImagePixels, longest_side: int) -> ImagePixels:
    rows, columns = loaded.pixels.shape
    scale = longest_side / max(rows, columns)
    if scale == 1:
        return loaded
    new_rows, new_columns = (max(1, round(side * scale)) for side in (rows, columns))
    image_module = need("PIL.Image", "pillow", "resizing")
    image = image_module.fromarray(loaded.pixels)  # mode F
    resized = image.resize((new_columns, new_rows), image_module.Resampling.BICUBIC)
    spacing = loaded.row_spacing_mm, loaded.column_spacing_mm
    return _with(
        loaded,
        pixels=np.asarray(resized, dtype=np.float32).clip(0, 1),
        row_spacing_mm=None if spacing[0] is None else spacing[0] * rows / new_rows,
        column_spacing_mm=None if spacing[1] is None else spacing[1] * columns / new_columns,
        scale=scale,
    )
