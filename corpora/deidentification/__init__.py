"""De-identification: keyed pseudonyms, shifted dates, DICOM headers (PS3.15 Basic Profile) and tables."""

from corpora.deidentification.headers import HeaderOptions, HeaderReport, deidentify_header
from corpora.deidentification.mapping import PseudonymMap
from corpora.deidentification.pseudonyms import IdentifierKind, Pseudonymiser
from corpora.deidentification.tables import ColumnRule, deidentify_table

__all__ = [
    "ColumnRule",
    "HeaderOptions",
    "HeaderReport",
    "IdentifierKind",
    "PseudonymMap",
    "Pseudonymiser",
    "deidentify_header",
    "deidentify_table",
]
