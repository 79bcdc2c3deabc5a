"""Stored pixel values as grey from 0 (black) to 1 (white): the grey scale transformations of PS3.4 N.2.

Modality LUT or rescale first, then VOI LUT or window, and last the inversion of MONOCHROME1. All are pointwise, so they
are worked out once for each value that an image holds and not for each of its pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from corpora.imaging.header import Unreadable

_LUMINANCE = np.array([0.299, 0.587, 0.114])  # of RGB, ITU-R BT.601
_Values = NDArray[np.float64]


def stored_to_grey(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.float32]:
    """Return stored values (rows, columns) of a MONOCHROME1 or MONOCHROME2 image as grey in [0, 1].

    Without a window or VOI LUT the smallest and largest value become 0 and 1, padding (PS3.3 C.7.5.1.1.2) left out. It
    is shown black. Raises `Unreadable` for pixels of another shape.
    """
    if stored.ndim != 2:
        raise Unreadable(f"the pixels have {stored.ndim} dimensions")
    if stored.dtype.kind == "f":  # Float Pixel Data
        values = np.asarray(stored, dtype=np.float64)
        return np.asarray(_grey(values, values, _padding(values, dataset), dataset), dtype=np.float32)
    whole = _without_unused_bits(stored, dataset).astype(np.int32)
    low = int(whole.min())
    held = np.bincount((whole - low).ravel())  # how often each value is there, from the lowest on
    values = np.arange(low, low + len(held), dtype=np.float64)
    table = _grey(values, values[held > 0], _padding(values, dataset), dataset)
    return np.asarray(table, dtype=np.float32)[whole - low]


def colour_to_grey(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.float32]:
    """Return the luminance of an RGB image (rows, columns, 3), or of one with a palette (rows, columns), in [0, 1]."""
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        stored, bits = apply_color_lut(stored, dataset), int(dataset.RedPaletteColorLookupTableDescriptor[2])
    if stored.ndim != 3 or stored.shape[2] < 3:
        raise Unreadable("a colour image has no three samples a pixel")
    return np.asarray((stored[..., :3] @ _LUMINANCE / (2.0**bits - 1)).clip(0, 1), dtype=np.float32)


def _without_unused_bits(stored: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Values of the bits that count (PS3.5 8.1.1): old archives keep overlays above them, or no sign."""
    there, bits = stored.dtype.itemsize * 8, int(dataset.BitsStored)
    above = there - 1 - int(dataset.get("HighBit", bits - 1))
    if not (0 < bits < there and 0 <= above <= there - bits):
        return stored
    # The shift to the right fills up with the sign where there is one.
    return np.asarray((stored << above) >> (there - bits))


def _grey(values: _Values, held: _Values, padding: NDArray[np.bool_] | None, dataset: Dataset) -> _Values:
    """Return the grey of stored values; ``held`` are those that the image has, for the case without a window."""
    meant = _modality(values, dataset)
    if items := dataset.get("VOILUTSequence"):
        grey, bits = _through_lut(meant, items[0], dataset)
        grey = grey / (2.0**bits - 1)
    elif (window := _window(dataset)) is not None:
        grey = _windowed(meant, *window)
    else:
        inside = np.isin(values, held) & (True if padding is None or padding.all() else ~padding)
        known = meant[inside] if inside.any() else meant
        low, high = float(known.min()), float(known.max())
        grey = (meant - low) / (high - low or 1.0)
    grey = grey.clip(0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    if padding is not None:
        grey[padding] = 0
    return grey


def _modality(values: _Values, dataset: Dataset) -> _Values:
    """Values of the modality (PS3.3 C.11.1): through its LUT, or rescaled."""
    if items := dataset.get("ModalityLUTSequence"):
        return _through_lut(values, items[0], dataset)[0]
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    if slope is None or intercept is None or not float(slope):
        return values
    return values * float(slope) + float(intercept)


def _through_lut(values: _Values, item: Dataset, dataset: Dataset) -> tuple[_Values, int]:
    """Values through a LUT, and the bits of its entries (PS3.3 C.11.1.1): values outside get its first or last one."""
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] in (True, None) else ">"
        data = np.frombuffer(data, f"{order}u2" if len(data) >= 2 * entries else "u1")
    table = np.asarray(data, dtype=np.float64)[:entries]
    if first >= 2**15 and int(dataset.get("PixelRepresentation", 0)):
        first -= 2**16  # of signed values, read as unsigned
    index = (np.rint(values) - first).clip(0, len(table) - 1).astype(np.int64)
    # Some writers announce fewer bits than their entries have.
    return table[index], max(bits, int(table.max()).bit_length(), 1)


def _padding(values: _Values, dataset: Dataset) -> NDArray[np.bool_] | None:
    """Which stored values are padding (PS3.3 C.7.5.1.1.2), before any transformation."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    found: NDArray[np.bool_] = (values >= low) & (values <= high)
    return found if found.any() else None


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None if there is none, or half of one."""
    try:
        center, width = (float(np.ravel(dataset[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    return (center, width, function) if width >= 1 or (width > 0 and function != "LINEAR") else None


def _windowed(values: _Values, center: float, width: float, function: str) -> _Values:
    """Values through a window, to [0, 1] (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp((-4 * (values - center) / width).clip(-700, 700))))
    if function == "LINEAR_EXACT":
        return (values - center) / width + 0.5
    if width == 1:  # a threshold
        return np.asarray(values > center - 0.5, dtype=np.float64)
    return (values - (center - 0.5)) / (width - 1) + 0.5
