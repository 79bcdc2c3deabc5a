"""A DICOM file of a picture, complete enough for a segmentation to refer to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

DIGITAL_X_RAY = UID("1.2.840.10008.5.1.4.1.1.1.1")  # for presentation, PS3.4 B.5


def write_dicom(path: Path, picture: NDArray[np.uint8], *, accession_number: str = "", patient_id: str = "p1") -> Path:
    """Write a picture as a digital X-ray image and return its path."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DIGITAL_X_RAY
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, name, generate_uid())
    for name in (
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "AccessionNumber",
        "StudyDate",
        "StudyTime",
    ):
        setattr(dataset, name, "")
    dataset.Modality, dataset.ViewPosition, dataset.BodyPartExamined = "DX", "PA", "CHEST"
    dataset.AccessionNumber, dataset.PatientID = accession_number, patient_id
    dataset.PatientOrientation = ["L", "F"]
    dataset.SeriesNumber, dataset.InstanceNumber = 1, 1
    dataset.ReferringPhysicianName = ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Rows, dataset.Columns = picture.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    dataset.ImagerPixelSpacing = [1.0, 1.0]
    dataset.PixelData = picture.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path
