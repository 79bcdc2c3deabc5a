"""FHIR R4: the operation ``DiagnosticReport/$label``, what it takes, what it answers, and what describes it."""

from nlp_service.hospital.fhir_bundle import bundle_of
from nlp_service.hospital.fhir_read import findings_of_bundle, labels_of_bundle
from nlp_service.hospital.fhir_statements import (
    MEDIA_TYPE,
    OPERATION_ID,
    LabelRequest,
    capability_statement,
    operation_definition,
    operation_outcome,
    outcome_of,
    read_label_request,
)

__all__ = [
    "MEDIA_TYPE",
    "OPERATION_ID",
    "LabelRequest",
    "bundle_of",
    "capability_statement",
    "findings_of_bundle",
    "labels_of_bundle",
    "operation_definition",
    "operation_outcome",
    "outcome_of",
    "read_label_request",
]
