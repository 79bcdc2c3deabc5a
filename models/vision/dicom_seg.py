"""Masks as DICOM segmentations (PS3.3 A.51), by highdicom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.vision.errors import SegmentationImpossible

_MAKER = "radlabel"
#: SNOMED CT, as of the context group of anatomic structures (PS3.16 CID 4030).
_SCT = {"Right Lung": "3341006", "Left Lung": "44029006"}


def write_segmentation(path: Path, source: Dataset, masks: Mapping[str, NDArray[np.uint8]], version: str) -> None:
    """Write masks (0 or 255, of the source's size) of one image as a binary segmentation, a segment for each name.

    Raises
    ------
    SegmentationImpossible
        The image lacks what a segmentation needs, or a mask is of another size.
    """
    from highdicom import UID, AlgorithmIdentificationSequence
    from highdicom.seg import (
        SegmentAlgorithmTypeValues,
        Segmentation,
        SegmentationTypeValues,
        SegmentDescription,
    )
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    algorithm = AlgorithmIdentificationSequence(
        name=f"{_MAKER} lung segmentation", family=codes.DCM.ArtificialIntelligence, version=version
    )
    kind = {name: CodedConcept(value, "SCT", name) for name, value in _SCT.items()}
    names = list(masks)
    segments = [
        SegmentDescription(
            segment_number=index + 1,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=kind.get(name, codes.SCT.Lung),
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for index, name in enumerate(names)
    ]
    stacked = np.stack([masks[name] > 127 for name in names], axis=-1).astype(np.uint8)[None]  # (1, rows, columns, n)
    try:
        segmentation = Segmentation(
            source_images=[source],
            pixel_array=stacked,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=UID(),
            series_number=1000,
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=version,
            device_serial_number="0",
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        # Its message may quote the header.
        raise SegmentationImpossible(
            f"a DICOM image cannot be given a segmentation ({type(error).__name__}): is its header complete?"
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    segmentation.save_as(path)
