"""Reports meet images: by accession number with its issuer, by Study Instance UID, by patient and date.

    >>> from corpora.linking import LinkSettings, link_files

A wrong link is worse than a missing one: what contradicts itself is reported, with a reason for each report and study.
`docs/linking.md` has the rules.
"""

from corpora.linking.errors import (
    ImageIndexInvalid,
    ImagesExtraMissing,
    LabelRowsInvalid,
    LinkingFailed,
    LinkOutputUnusable,
    LinkSettingsInvalid,
)
from corpora.linking.link import LinkSummary, Stage, link_files
from corpora.linking.normalise import normalise_identifier, normalise_uid
from corpora.linking.outcomes import Outcome, Reason, ReportStatus, SeveralStudies, Versions
from corpora.linking.settings import LinkSettings

__all__ = [
    "ImageIndexInvalid",
    "ImagesExtraMissing",
    "LabelRowsInvalid",
    "LinkOutputUnusable",
    "LinkSettings",
    "LinkSettingsInvalid",
    "LinkSummary",
    "LinkingFailed",
    "Outcome",
    "Reason",
    "ReportStatus",
    "SeveralStudies",
    "Stage",
    "Versions",
    "link_files",
    "normalise_identifier",
    "normalise_uid",
]
