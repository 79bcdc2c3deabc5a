"""What a model says of an image as a DICOM structured report: TID 1500, Measurement Report (PS3.16), by highdicom.

A group stands for each label: of TID 1501 with the image as its source where there is a score alone, of TID 1410 with
the box as a polyline where there is a box. The score is the certainty of the finding in percent (111012, DCM, as in CAD
reports), and from the label's threshold on the label is present. The report is partial, unverified, made by a device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from corpora.imaging.evidence import evidence_of
from corpora.sources.dicom_sr import quiet
from models.vision.boxes import FoundBox
from models.vision.dicom_made import LUNGS, MAKER, made_uid, moment_of, without_run_time
from models.vision.folder import Manifest

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset

_SCHEME = "99RADLABEL"
_MEANING = 64  # characters of a code's meaning (VR LO)


def report_bytes(source: Dataset, scores: Mapping[str, float], boxes: Sequence[FoundBox], model: Manifest) -> bytes:
    """Return a DICOM file with scores by label (0 to 1) and boxes (fractions of the image) of one image, one at least.

    The same image, answers and model give the same bytes.

    Raises
    ------
    EvidenceMissing
        The image lacks a UID of study, series, instance or class.
    """
    from highdicom.sr import ComprehensiveSR

    with quiet():
        evidence = evidence_of(source)
        made_from = hashlib.sha256(f"{source.SOPInstanceUID}\n{model.digest}\n{dict(scores)}\n{boxes}".encode())
        document = ComprehensiveSR(
            evidence=[evidence],
            content=_content(source, scores, boxes, model, made_from),
            series_instance_uid=made_uid(made_from, "series"),
            series_number=1001,
            sop_instance_uid=made_uid(made_from, "instance"),
            instance_number=1,
            manufacturer=MAKER,
            is_complete=False,
            is_final=False,
            is_verified=False,
            series_description="What a model says of the image (radlabel)",
            software_versions=model.version,
            specific_character_set="ISO_IR 192",  # names of people come in every script
            manufacturer_model_name=f"{MAKER} {model.task}",
            device_serial_number=model.digest[:_MEANING],
        )
        moment = moment_of(source)
        document.ContentDate, document.ContentTime = moment["content_date"], moment["content_time"]
        without_run_time(document)
        stream = BytesIO()
        document.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _content(
    source: Dataset, scores: Mapping[str, float], boxes: Sequence[FoundBox], model: Manifest, made_from: hashlib._Hash
) -> Any:
    from highdicom.sr import DeviceObserverIdentifyingAttributes, MeasurementReport, ObservationContext, ObserverContext
    from pydicom.sr.codedict import codes

    # The same model is the same observer in every document.
    device = DeviceObserverIdentifyingAttributes(
        uid=made_uid(hashlib.sha256(model.digest.encode()), "device"),
        name=MAKER,
        manufacturer_name=MAKER,
        model_name=f"{MAKER} {model.task}",
        serial_number=model.digest[:_MEANING],
    )
    groups = [*_scored(source, scores, model, made_from), *_boxed(source, boxes, model, made_from)]
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=ObserverContext(codes.DCM.Device, device)),
        procedure_reported=_code("18748-4", "LN", "Diagnostic imaging study"),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _scored(source: Dataset, scores: Mapping[str, float], model: Manifest, made_from: hashlib._Hash) -> Iterator[Any]:
    from highdicom.sr import (
        MeasurementsAndQualitativeEvaluations,
        QualitativeEvaluation,
        SourceImageForMeasurementGroup,
        TrackingIdentifier,
    )

    for label, score in scores.items():
        is_present = score >= model.thresholds[label]
        value = _code("52101004", "SCT", "Present") if is_present else _code("2667000", "SCT", "Absent")
        yield MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=made_uid(made_from, label), identifier=label[:_MEANING]),
            finding_type=_label(label, model),
            source_images=[SourceImageForMeasurementGroup(source.SOPClassUID, source.SOPInstanceUID)],
            measurements=[_certainty(score)],
            qualitative_evaluations=[QualitativeEvaluation(name=_code("assertion", _SCHEME, "Assertion"), value=value)],
        )


def _boxed(source: Dataset, boxes: Sequence[FoundBox], model: Manifest, made_from: hashlib._Hash) -> Iterator[Any]:
    from highdicom.sr import (
        ImageRegion,
        PlanarROIMeasurementsAndQualitativeEvaluations,
        SourceImageForRegion,
        TrackingIdentifier,
    )

    for number, (label, (x0, y0, x1, y1), score) in enumerate(boxes, start=1):
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]) * (source.Columns, source.Rows)
        yield PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(
                uid=made_uid(made_from, f"box {number}"), identifier=f"{label} {number}"[:_MEANING]
            ),
            referenced_region=ImageRegion(
                graphic_type="POLYLINE",  # closed: its last point is its first
                graphic_data=corners,
                source_image=SourceImageForRegion(source.SOPClassUID, source.SOPInstanceUID),
            ),
            finding_type=_label(label, model),
            measurements=[_certainty(score)],
        )


def _certainty(score: float) -> Any:
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes

    return Measurement(
        name=_code("111012", "DCM", "Certainty of Finding"), value=round(100 * score, 4), unit=codes.UCUM.Percent
    )


def _label(label: str, model: Manifest) -> CodedConcept:
    if label in LUNGS:
        return _code(LUNGS[label], "SCT", label)
    return _code(f"{model.label_set}:{label}" if model.label_set else label, _SCHEME, label)


def _code(value: str, scheme: str, meaning: str) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(value, scheme, meaning[:_MEANING])
