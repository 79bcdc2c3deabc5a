"""Findings and labels as a DICOM structured report: TID 1500, Measurement Report (PS3.16), made with highdicom.

A group of TID 1501 stands for each finding: what (the UMLS concept where there is one), where, which side, how large,
and as evaluations whether it is present, how severe, whether changed. One more group stands for each label set, with an
evaluation for each label that has a value; where nothing was read, a group says so. The report is partial, unverified,
and made by a device.

It belongs to the study of the report that was read, which it names as its evidence.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from corpora.findings import Assertion, Finding, LabeledReport, StudyLabel
from corpora.imaging.evidence import evidence_of
from corpora.sources.dicom_sr import quiet
from nlp_service._version import __version__

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept
    from pydicom.dataset import Dataset

    from corpora.vocabulary import Vocabulary
    from nlp_service.labeler import ModelInfo

SCHEME = "99RADLABEL"
_MEANING = 64  # characters of a code's meaning (VR LO)
# SNOMED CT, PS3.16 CID 240 and CID 244.
_ASSERTIONS = {
    Assertion.POSITIVE: ("52101004", "Present"),
    Assertion.NEGATIVE: ("2667000", "Absent"),
    Assertion.UNCERTAIN: ("373068000", "Undetermined"),
}
_SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right"), "bilateral": ("51440002", "Right and left")}


def measurement_report(source: Dataset, labeled: LabeledReport, vocabulary: Vocabulary, model: ModelInfo) -> bytes:
    """Return a DICOM file with what was read in the structured report ``source``.

    Raises
    ------
    EvidenceMissing
        The source lacks a UID of study, series, instance or class, so that nothing can be named as evidence.
    """
    from highdicom.sr import ComprehensiveSR
    from pydicom.uid import generate_uid

    with quiet():
        evidence = evidence_of(source)
        content = _Writer(labeled, vocabulary, model).content()
        document = ComprehensiveSR(
            evidence=[evidence],
            content=content,
            series_instance_uid=generate_uid(),
            series_number=1,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="radlabel",
            is_complete=False,
            is_final=False,
            is_verified=False,
            series_description="Labels of the report (radlabel)",
            software_versions=__version__,
            specific_character_set="ISO_IR 192",  # names of people come in every script
            manufacturer_model_name=model.name[:_MEANING],
            device_serial_number=model.digest[:_MEANING],
        )
        stream = io.BytesIO()
        document.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


class _Writer:
    """Writes the content tree of one document."""

    def __init__(self, labeled: LabeledReport, vocabulary: Vocabulary, model: ModelInfo) -> None:
        self._labeled = labeled
        self._vocabulary = vocabulary
        self._model = model

    def content(self) -> Any:
        from highdicom.sr import (
            DeviceObserverIdentifyingAttributes,
            MeasurementReport,
            ObservationContext,
            ObserverContext,
        )
        from pydicom.sr.codedict import codes
        from pydicom.uid import generate_uid

        # The same model is the same observer in every document.
        device = DeviceObserverIdentifyingAttributes(
            uid=generate_uid(entropy_srcs=["radlabel", self._model.digest]),
            name="radlabel",
            manufacturer_name="radlabel",
            model_name=self._model.name,
            serial_number=self._model.digest,
        )
        groups = [self._finding(index, finding) for index, finding in enumerate(self._labeled.findings, start=1)]
        groups += [
            self._label_set(name, given)
            for name, labels in self._labeled.labels.items()
            if (given := {label: said for label, said in labels.items() if said.value is not None})
        ]
        return MeasurementReport(
            observation_context=ObservationContext(
                observer_device_context=ObserverContext(codes.DCM.Device, device),
            ),
            procedure_reported=_code("18748-4", "LN", "Diagnostic imaging study"),
            imaging_measurements=groups or [self._status()],  # a measurement report has one group at least
            title=codes.DCM.ImagingMeasurementReport,
        )

    def _finding(self, index: int, finding: Finding) -> Any:
        from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier
        from pydicom.uid import generate_uid

        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier=f"finding {index}"),
            finding_type=self._concept(finding),
            finding_sites=list(self._sites(finding)) or None,
            measurements=list(_measurements(finding)) or None,
            qualitative_evaluations=list(_evaluations(finding)),
        )

    def _label_set(self, name: str, labels: dict[str, StudyLabel]) -> Any:
        from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier
        from pydicom.uid import generate_uid

        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier=f"labels {name}"),
            finding_type=_code(f"labels:{name}", SCHEME, f"Labels of the study: {name}"),
            qualitative_evaluations=[
                _evaluation(_code(f"{name}:{label}", SCHEME, label), _assertion(said.value))
                for label, said in labels.items()
                if said.value is not None
            ],
        )

    def _status(self) -> Any:
        """Return a group that says why there are no labels."""
        from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier
        from pydicom.uid import generate_uid

        status = str(self._labeled.status)
        return MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(uid=generate_uid(), identifier="labels"),
            finding_type=_code("labels", SCHEME, "Labels of the study"),
            qualitative_evaluations=[
                _evaluation(_code("status", SCHEME, "Status"), _code(f"status:{status}", SCHEME, status))
            ],
        )

    def _concept(self, finding: Finding) -> CodedConcept:
        if finding.cui:
            return _code(finding.cui, "UMLS", finding.concept_name)
        return _code(finding.concept_id, SCHEME, finding.concept_name)

    def _sites(self, finding: Finding) -> Iterator[Any]:
        from highdicom.sr import FindingSite

        side = _SIDES.get(finding.laterality or "")
        laterality = _code(side[0], "SCT", side[1]) if side else None
        places = finding.location or ((finding.anatomy,) if finding.anatomy else ())
        for place in places:
            known = self._vocabulary.anatomy.get(place)
            name = known.name if known else place.replace("_", " ")
            yield FindingSite(_code(place, SCHEME, name), laterality=laterality)


def _measurements(finding: Finding) -> Iterator[Any]:
    from highdicom.sr import Measurement
    from pydicom.sr.codedict import codes

    if finding.measurement is not None:
        for size in finding.measurement.size_mm:
            yield Measurement(codes.SCT.Length, size, codes.UCUM.Millimeter)
    if finding.probability is not None:
        yield Measurement(_code("probability", SCHEME, "Probability"), finding.probability, codes.UCUM.NoUnits)


def _evaluations(finding: Finding) -> Iterator[Any]:
    yield _evaluation(_code("assertion", SCHEME, "Assertion"), _assertion(finding.assertion))
    for name in ("severity", "temporality"):
        value = getattr(finding, name)
        if value is not None:
            yield _evaluation(_code(name, SCHEME, name.capitalize()), _code(f"{name}:{value}", SCHEME, str(value)))


def _evaluation(name: CodedConcept, value: CodedConcept) -> Any:
    from highdicom.sr import QualitativeEvaluation

    return QualitativeEvaluation(name=name, value=value)


def _assertion(value: Assertion) -> CodedConcept:
    code, meaning = _ASSERTIONS[value]
    return _code(code, "SCT", meaning)


def _code(value: str, scheme: str, meaning: str) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(value, scheme, meaning[:_MEANING])
