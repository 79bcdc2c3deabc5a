"""Masks as DICOM segmentations (PS3.3 A.51), by highdicom."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.vision.dicom_made import LUNGS, MAKER, made_uid, moment_of, without_run_time
from models.vision.errors import SegmentationImpossible
from models.vision.folder import Manifest


def segmentation_bytes(source: Dataset, masks: Mapping[str, NDArray[np.uint8]], model: Manifest) -> bytes:
    """Return masks (0 or 255, of the source's size) of one image as a binary segmentation, a segment for each name.

    The same image, masks and model give the same bytes: UIDs are made from them (PS3.5 B.2, a UUID of version 5), and
    the date of the content is the image's own.

    Raises
    ------
    SegmentationImpossible
        The image lacks what a segmentation needs, or a mask is of another size.
    """
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import (
        SegmentAlgorithmTypeValues,
        Segmentation,
        SegmentationTypeValues,
        SegmentDescription,
    )
    from highdicom.sr import CodedConcept
    from pydicom.sr.codedict import codes

    made_from = hashlib.sha256(f"{source.get('SOPInstanceUID')}\n{model.digest}".encode())
    for name, mask in masks.items():
        made_from.update(name.encode() + mask.tobytes())
    version = model.version
    algorithm = AlgorithmIdentificationSequence(
        name=f"{MAKER} lung segmentation", family=codes.DCM.ArtificialIntelligence, version=version
    )
    kind = {name: CodedConcept(value, "SCT", name) for name, value in LUNGS.items()}
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
            series_instance_uid=made_uid(made_from, "series"),
            series_number=1000,
            sop_instance_uid=made_uid(made_from, "instance"),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=version,
            device_serial_number="0",
            **moment_of(source),
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        # Its message may quote the header.
        raise SegmentationImpossible(
            f"a DICOM image cannot be given a segmentation ({type(error).__name__}): is its header complete?"
        ) from None
    without_run_time(segmentation)
    organization = made_uid(made_from, "dimensions")
    for sequence in (segmentation.DimensionOrganizationSequence, segmentation.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = organization
    stream = BytesIO()
    segmentation.save_as(stream)
    return stream.getvalue()
