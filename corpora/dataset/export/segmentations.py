"""Masks as DICOM Segmentation objects (PS3.3 A.51), each of which refers to the image that it lies on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from corpora.dataset.export.dicom_sources import derived_uid, iter_objects
from corpora.dataset.export.masks import GIVEN_MASK, RowMask, row_masks
from corpora.dataset.export.target import ExportTarget
from corpora.sources.dicom_sr import quiet

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_COLUMNS = ("image_id", "split", "file", "segments")
#: Our findings have no code that everybody knows: theirs is the concept's id in a scheme of our own (PS3.3 8.2).
_SCHEME = "99RADLABEL"
_MANUFACTURER = "radlabel"
#: Must be there, if empty (PS3.3 C.7.1.1, C.7.2.1); old images lack some, and highdicom copies them.
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)


def export_segmentations(target: ExportTarget) -> None:
    """Write ``seg/<patient>/<image>.dcm`` and ``seg.csv``: a segment for each label with a hint, and for a given mask.

    The segments have the size of the source image, and say how they came about (Segmentation Algorithm Identification).

    Raises
    ------
    SourcesMissing
        There is no DICOM source: a segmentation refers to one.
    """
    with (target.folder / "seg.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for row, source, _ in iter_objects(target):
            shape = (int(source.Rows), int(source.Columns))
            masks = list(row_masks(row, shape, _given(target, row, shape)))
            if not masks or int(source.get("NumberOfFrames") or 1) > 1:
                target.count("without masks")
                continue
            file = f"seg/{row['patient_id']}/{row['image_id']}.dcm"
            path = target.folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            with quiet():  # warnings quote names
                try:
                    segmentation = _segmentation(target, row, source, masks)
                except (AttributeError, TypeError, ValueError):  # a header that no segmentation can refer to
                    target.count("not segmentable")
                    continue
                segmentation.save_as(path, enforce_file_format=True)
            writer.writerow([row["image_id"], row["split"], file, "|".join(mask.name for mask in masks)])
            target.count("segmentations")
            target.count("segments", len(masks))


def _given(target: ExportTarget, row: dict[str, Any], shape: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    """Return a row's given mask in the size of the source image; the nearest pixel decides."""
    if not row["mask_file"]:
        return None
    from PIL import Image

    mask = Image.fromarray(target.dataset.read_image(row["mask_file"]))
    return np.asarray(mask.resize(shape[::-1], Image.Resampling.NEAREST)) > 127


def _segmentation(target: ExportTarget, row: dict[str, Any], source: Dataset, masks: Sequence[RowMask]) -> Dataset:
    import highdicom as hd

    info = target.dataset.info
    for keyword in _TYPE_2:
        if keyword not in source:
            setattr(source, keyword, None)
    names = (target.dataset.digest, row["image_id"])
    pixels = np.stack([mask.pixels for mask in masks], axis=-1)[None].astype(np.uint8)  # (1, rows, columns, segments)
    made = hd.seg.Segmentation(
        source_images=[source],
        pixel_array=pixels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(number, mask, info.versions) for number, mask in enumerate(masks, start=1)],
        series_instance_uid=derived_uid("series", *names),
        series_number=1,
        sop_instance_uid=derived_uid("instance", *names),
        instance_number=1,
        manufacturer=_MANUFACTURER,
        manufacturer_model_name="radlabel dataset export",
        software_versions=info.versions["radlabel"],
        device_serial_number=info.policy_digest[:16],
        content_label="REGION_HINTS",
        content_description="Where findings of a report are to be expected",
        series_description="radlabel region hints",
        omit_empty_frames=False,
    )
    _make_repeatable(made, source, derived_uid("dimension", *names))
    return made


def _segment(number: int, mask: RowMask, versions: Any) -> Any:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    is_given = mask.pedigree == GIVEN_MASK
    category = codes.SCT.AnatomicalStructure if is_given else codes.SCT.MorphologicallyAbnormalStructure
    concept = mask.findings[0] if mask.findings else "given_mask"
    kind = hd.sr.CodedConcept("39607008", "SCT", "Lung") if is_given else _own_code(concept, mask.name)
    manual = hd.seg.SegmentAlgorithmTypeValues.MANUAL
    if is_given:
        # Who drew it is not known here: nothing is claimed beyond that it was given.
        return hd.seg.SegmentDescription(number, mask.name[:64], category, kind, algorithm_type=manual)
    algorithm = hd.AlgorithmIdentificationSequence(
        name=f"region hint on {mask.pedigree}",
        family=hd.sr.CodedConcept("rule", _SCHEME, "Rule"),
        version=str(versions["radlabel"]),
    )
    automatic = hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    return hd.seg.SegmentDescription(
        number, mask.name[:64], category, kind, algorithm_type=automatic, algorithm_identification=algorithm
    )


def _own_code(concept: str, name: str) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(concept[:16], _SCHEME, name[:64])


def _make_repeatable(made: Dataset, source: Dataset, dimension_uid: str) -> None:
    """Take the clock and chance out: dates are those of the study."""
    day, time = str(source.get("StudyDate") or "19000101"), str(source.get("StudyTime") or "000000")
    for keyword in ("InstanceCreationDate", "ContentDate"):
        setattr(made, keyword, day)
    for keyword in ("InstanceCreationTime", "ContentTime"):
        setattr(made, keyword, time)
    for item in made.get("ContributingEquipmentSequence") or ():
        if "ContributionDateTime" in item:
            del item.ContributionDateTime
    for sequence in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made.get(sequence) or ():
            item.DimensionOrganizationUID = dimension_uid
