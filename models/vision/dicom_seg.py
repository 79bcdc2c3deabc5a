"""Masks as DICOM segmentations (PS3.3 A.51), by highdicom."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from datetime import date, time
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.vision.errors import SegmentationImpossible
from models.vision.folder import Manifest

if TYPE_CHECKING:
    from pydicom.uid import UID

_MAKER = "radlabel"
#: A segmentation needs a date, and an image may have none.
_NO_DATE, _MIDNIGHT = date(1900, 1, 1), time()
#: SNOMED CT, as of the context group of anatomic structures (PS3.16 CID 4030).
_SCT = {"Right Lung": "3341006", "Left Lung": "44029006"}


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
            series_instance_uid=_uid(made_from, "series"),
            series_number=1000,
            sop_instance_uid=_uid(made_from, "instance"),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=version,
            device_serial_number="0",
            **_moment(source),
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        # Its message may quote the header.
        raise SegmentationImpossible(
            f"a DICOM image cannot be given a segmentation ({type(error).__name__}): is its header complete?"
        ) from None
    # When this was run, which may be absent.
    del segmentation.InstanceCreationDate, segmentation.InstanceCreationTime
    del segmentation.ContributingEquipmentSequence[-1].ContributionDateTime
    organization = _uid(made_from, "dimensions")
    for sequence in (segmentation.DimensionOrganizationSequence, segmentation.DimensionIndexSequence):
        for item in sequence:
            item.DimensionOrganizationUID = organization
    stream = BytesIO()
    segmentation.save_as(stream)
    return stream.getvalue()


def _uid(made_from: hashlib._Hash, what: str) -> UID:
    from pydicom.uid import UID

    return UID(f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{made_from.hexdigest()} {what}').int}")


def _moment(source: Dataset) -> dict[str, Any]:
    """Return date and time of the content: when the image was made, as far as it says so."""
    from pydicom.valuerep import DA, TM

    for kind in ("Content", "Acquisition", "Series", "Study"):
        given = source.get(f"{kind}Date")
        if not given:
            continue
        try:
            return {"content_date": DA(given), "content_time": TM(source.get(f"{kind}Time") or "000000")}
        except (ValueError, TypeError):
            continue
    return {"content_date": _NO_DATE, "content_time": _MIDNIGHT}
