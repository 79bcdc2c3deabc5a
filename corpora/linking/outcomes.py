"""What becomes of a report and of a study: one outcome each, with one reason. The words stand in every output."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The kind of answer that a report or a study got."""

    LINKED = "linked"  # to one study, or by request to all of one patient's studies under the accession number
    NONE = "none"  # nothing to go by, or nothing found
    SEVERAL = "several"  # more than one study or report it may belong to, and nothing that tells them apart
    CONFLICTING = "conflicting"  # what is known of it contradicts itself
    SUPERSEDED = "superseded"  # reports only: its study is known, and another report stands for it
    DUPLICATE = "duplicate"  # reports only: the same row came before
    INVALID = "invalid"  # reports only: the row could not be read


class Reason(StrEnum):
    """Why. The first that holds counts, in the order of `docs/linking.md`."""

    # linked
    ACCESSION_NUMBER = "accession_number"  # by accession number
    STUDY_INSTANCE_UID = "study_instance_uid"  # by Study Instance UID: no accession number, or one that finds nothing
    PATIENT_AND_DATE = "patient_and_date"  # by patient and date, within the window that was asked for
    # none
    NO_IDENTIFIER = "no_identifier"  # no accession number, and no other identifier in use found a study
    NO_STUDY = "no_study"  # reports: no study has its accession number
    NO_REPORT = "no_report"  # studies: no report has its accession number
    ONLY_CANCELLED_REPORTS = "only_cancelled_reports"  # studies: reports were withdrawn, and there is no other
    # several
    SEVERAL_STUDIES = "several_studies"  # several studies of one patient under the accession number
    SEVERAL_WITHIN_WINDOW = "several_within_window"  # patient and date fit more than one report or study
    # conflicting
    HEADERS_DISAGREE = "headers_disagree"  # the images of the study name several patients or accession numbers
    REPORT_ID_REPEATED = "report_id_repeated"  # one report id stands for reports of different studies
    PATIENT_DISAGREES = "patient_disagrees"  # the study under this accession number is another patient's
    ISSUER_DISAGREES = "issuer_disagrees"  # the accession number was given by another issuer
    ACCESSION_NUMBER_DISAGREES = "accession_number_disagrees"  # the UID fits, the accession number does not
    STUDY_INSTANCE_UID_DISAGREES = "study_instance_uid_disagrees"  # the accession number fits, the UID does not
    ACCESSION_NUMBER_REUSED = "accession_number_reused"  # in use by several patients, and the patient is not known here
    ISSUER_AMBIGUOUS = "issuer_ambiguous"  # in use by several issuers, and the issuer is not known here
    ACCESSION_NUMBER_OVERUSED = "accession_number_overused"  # in so many studies that it is no accession number
    DATE_DISAGREES = "date_disagrees"  # report and study are further apart than reports and studies are
    PATIENT_NOT_COMPARED = "patient_not_compared"  # the patient is not known on both sides, and that was required
    # superseded
    PRELIMINARY = "preliminary"  # a final report is there
    OLDER_VERSION = "older_version"  # a later or corrected report is there
    CANCELLED = "cancelled"  # withdrawn by its author
    # duplicate, invalid
    SAME_ROW = "same_row"
    ROW_INVALID = "row_invalid"


class ReportStatus(StrEnum):
    """How far a report is, from HL7 table 0123, FHIR DiagnosticReport.status and words in use."""

    PRELIMINARY = "preliminary"
    FINAL = "final"
    CORRECTED = "corrected"  # replaces the final report
    ADDENDUM = "addendum"  # stands beside the final report
    CANCELLED = "cancelled"  # never links


# HL7 table 0123 (letters), FHIR R4 DiagnosticReportStatus, DICOM's Verification and Completion Flag (PS3.3 C.17.2), and
# words in use. What is not here counts as not known, and as final. HL7's A is "some results available"; radiology
# systems send addenda with it.
STATUS_WORDS: dict[str, ReportStatus] = {
    **dict.fromkeys(
        "p preliminary prelim r i s o partial registered draft unverified wetread dictated transcribed".split(),
        ReportStatus.PRELIMINARY,
    ),
    **dict.fromkeys("f final verified complete completed signed approved".split(), ReportStatus.FINAL),
    **dict.fromkeys("c k m corrected correction amended amendment revised".split(), ReportStatus.CORRECTED),
    **dict.fromkeys("a addendum addended appended addenda".split(), ReportStatus.ADDENDUM),
    **dict.fromkeys("x d cancelled canceled entered-in-error retracted withdrawn".split(), ReportStatus.CANCELLED),
}


class Versions(StrEnum):
    """Which of several reports of one study are linked."""

    LATEST_FINAL = "latest-final"  # the latest final or corrected report, and every addendum
    ALL = "all"  # every report that was not cancelled


class SeveralStudies(StrEnum):
    """What becomes of a report whose accession number is on several studies of one patient."""

    REPORT = "report"  # listed, not linked: which of them it describes is not known
    LINK = "link"  # linked to each of them
