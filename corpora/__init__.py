"""Everything that is data: reports and what is read from them, the sources they come from, and what can be wrong.

    >>> from corpora import Report, read_reports

What is exported here is what users call; the rest is reached by its module. Importing this package loads none of the
heavy libraries that single sources need.
"""

from corpora.errors import (
    ColumnMissing,
    CorpusUnavailable,
    LabelSetUnknown,
    RadlabelError,
    RowInvalid,
    SourceUnreadable,
    VocabularyInvalid,
)
from corpora.findings import Assertion, Finding, LabeledReport, Measurement, Status, StudyLabel
from corpora.reports import Report, Section, SectionKind
from corpora.sources import iter_records, read_reports

__all__ = [
    "Assertion",
    "ColumnMissing",
    "CorpusUnavailable",
    "Finding",
    "LabelSetUnknown",
    "LabeledReport",
    "Measurement",
    "RadlabelError",
    "Report",
    "RowInvalid",
    "Section",
    "SectionKind",
    "SourceUnreadable",
    "Status",
    "StudyLabel",
    "VocabularyInvalid",
    "iter_records",
    "read_reports",
]
