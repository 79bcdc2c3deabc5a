"""Synthetic DICOM files for the tests of images; names and identifiers are invented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

MARK = "ZZMARK"


def ramp(bits: int = 8, *, signed: bool = False, shape: tuple[int, int] = (16, 24)) -> NDArray[Any]:
    """Return pixels from the smallest to the largest value of a depth."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    kind = f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    return np.rint(np.linspace(low, high, shape[0] * shape[1])).reshape(shape).astype(kind)


def make_dataset(
    pixels: NDArray[Any] | None = None, *, bits: int = 8, uid: str | None = None, **changes: Any
) -> FileDataset:
    """Return an image whose identifiers carry a mark; an element changed to None is left out."""
    stored = ramp(bits) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid or generate_uid())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientID = ds.PatientName = f"{MARK}PAT"
    ds.AccessionNumber = f"{MARK}ACC"
    ds.StudyDate, ds.Modality, ds.ViewPosition, ds.PatientAge = "20260131", "CR", "PA", "045Y"
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = stored.dtype.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(stored.dtype.kind == "i")
    data = stored.tobytes()
    ds.add_new(0x7FE00010, "OB" if stored.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))
    for keyword, value in changes.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return ds


def write(path: Path, dataset: FileDataset, **options: Any) -> Path:
    """Write a data set as a file and return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dcmwrite(path, dataset, **{"enforce_file_format": True, **options})
    return path
