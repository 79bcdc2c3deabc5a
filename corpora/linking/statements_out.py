"""The SQL of what linking hands out: versions of a report, one outcome for each report and study, and the outputs."""

from __future__ import annotations

VERSIONS = """
CREATE TABLE version AS
SELECT p.*, r.status, r.report_time, r.is_cancelled,
    CASE WHEN r.is_cancelled THEN 'cancelled' WHEN r.status IN ('addendum', 'preliminary') THEN r.status
        ELSE 'final' END AS class
FROM pair p JOIN report r USING (report_row);

CREATE TABLE newest AS
SELECT study_id, has_final, bool_and(report_time IS NOT NULL) AS all_timed, max(report_time) AS time,
    bool_or(status = 'corrected') AS has_corrected,
    max(report_time) FILTER (status = 'corrected') AS corrected_time
FROM version JOIN (SELECT study_id, bool_or(class = 'final') AS has_final FROM version GROUP BY study_id)
    USING (study_id)
WHERE class = CASE WHEN has_final THEN 'final' ELSE 'preliminary' END
GROUP BY study_id, has_final;

CREATE TABLE linked AS
SELECT v.report_row, v.study_id, v.reason, v.status, v.report_time,
    CASE WHEN v.is_cancelled THEN 'cancelled'
        WHEN $keep_all OR v.class = 'addendum' THEN NULL
        WHEN v.class = 'preliminary' AND n.has_final THEN 'preliminary'
        WHEN n.all_timed AND (v.report_time < n.time
            OR (n.corrected_time = n.time AND v.status IS DISTINCT FROM 'corrected')) THEN 'older_version'
        WHEN NOT n.all_timed AND n.has_corrected AND v.status IS DISTINCT FROM 'corrected' THEN 'older_version'
        END AS superseded
FROM version v LEFT JOIN newest n USING (study_id);
"""

OUTCOMES = """
CREATE TABLE report_outcome AS
SELECT k.report_row,
    CASE WHEN k.invalid_reason IS NOT NULL THEN 'invalid' WHEN r.report_row IS NULL THEN 'duplicate'
        WHEN r.is_cancelled THEN 'superseded' WHEN l.report_row IS NULL THEN d.outcome
        WHEN l.is_linked THEN 'linked' ELSE 'superseded' END AS outcome,
    CASE WHEN k.invalid_reason IS NOT NULL THEN 'row_invalid' WHEN r.report_row IS NULL THEN 'same_row'
        WHEN r.is_cancelled THEN 'cancelled' WHEN l.report_row IS NULL OR l.is_linked THEN d.reason
        ELSE l.superseded END AS reason
FROM (SELECT report_row, invalid_reason FROM read_parquet($reports)) k
    LEFT JOIN report r USING (report_row) LEFT JOIN decision d USING (report_row)
    LEFT JOIN (SELECT report_row, bool_or(superseded IS NULL) AS is_linked, min(superseded) AS superseded
        FROM linked GROUP BY report_row) l USING (report_row);

CREATE TABLE study_outcome AS
SELECT s.study_id,
    CASE WHEN l.is_linked THEN 'linked' WHEN x.study_id IS NOT NULL THEN x.outcome ELSE 'none' END AS outcome,
    CASE WHEN l.is_linked THEN l.reason WHEN x.study_id IS NOT NULL THEN x.reason
        WHEN l.study_id IS NOT NULL THEN 'only_cancelled_reports'
        WHEN s.accession_key IS NULL THEN 'no_identifier' ELSE 'no_report' END AS reason
FROM study s
    LEFT JOIN (SELECT study_id, bool_or(superseded IS NULL) AS is_linked, min(reason) AS reason FROM linked
        GROUP BY study_id) l USING (study_id)
    -- 'conflicting' comes before 'several', and of reasons the first by name: any would do, but always the same
    LEFT JOIN (SELECT study_id, min(outcome) AS outcome, arg_min(reason, outcome || reason) AS reason FROM doubt
        GROUP BY study_id) x USING (study_id);
"""

LINKED_TABLE = """
SELECT r.report_id, i.image_id, l.reason AS matched_by,
    CASE WHEN r.patient_key = s.patient_key THEN 'agrees' ELSE 'not_compared' END AS patient_check,
    k.status AS report_status, k.report_time,
    coalesce(s.patient_id, k.patient_id) AS patient_id,
    coalesce(s.accession_number, k.accession_number) AS accession_number,
    coalesce(s.issuer, k.accession_number_issuer) AS accession_number_issuer,
    s.uid AS study_instance_uid, i.series_instance_uid, i.sop_instance_uid, i.file
FROM linked l JOIN report r USING (report_row) JOIN read_parquet($reports) k USING (report_row)
    JOIN study s USING (study_id) JOIN study_image i USING (study_id)
WHERE l.superseded IS NULL
ORDER BY r.report_id, i.image_id, k.report_time, k.status
"""

# Rows of labels find their reports by id; the accession number, which label rows carry along, must be the same one.
LABELED = """
CREATE TABLE label_match AS
SELECT a.report_id, a.label_rows, r.report_id IS NOT NULL AS is_known, coalesce(r.is_linked, false) AS is_linked,
    r.report_id IS NULL OR a.accession_key IS NOT DISTINCT FROM r.accession_key AS agrees
FROM (SELECT report_id, count(*) AS label_rows, min(accession_key_of(accession_number)) AS accession_key
        FROM label_row GROUP BY report_id) a
    LEFT JOIN (SELECT report_id, min(accession_key) AS accession_key, bool_or(l.report_row IS NOT NULL) AS is_linked
        FROM report LEFT JOIN (SELECT DISTINCT report_row FROM linked WHERE superseded IS NULL) l USING (report_row)
        GROUP BY report_id) r USING (report_id);
"""

LABELED_TABLE = """
SELECT k.*, a.* EXCLUDE (report_id, accession_number)
FROM read_parquet($linked) k
    SEMI JOIN (SELECT report_id FROM label_match WHERE agrees) m USING (report_id)
    JOIN label_row a USING (report_id)
ORDER BY k.report_id, k.image_id, k.report_time, k.report_status
"""

LABEL_TOTALS = {
    "label_rows": "SELECT coalesce(sum(label_rows), 0)::BIGINT FROM label_match",
    "label_rows_joined": "SELECT count(*) FROM label_match WHERE agrees AND is_linked",
    "label_rows_of_reports_not_linked": """
        SELECT count(*) FROM label_match WHERE agrees AND is_known AND NOT is_linked""",
    "label_rows_of_other_reports": "SELECT count(*) FROM label_match WHERE NOT is_known",
    "label_rows_of_other_accession_number": "SELECT count(*) FROM label_match WHERE NOT agrees",
}

UNLINKED_REPORTS = """
SELECT k.report_row, k.report_id, k.accession_number, k.accession_number_issuer, k.patient_id, k.study_date,
    o.outcome, o.reason, k.source, k.source_row, k.field, k.invalid_reason AS detail
FROM report_outcome o JOIN read_parquet($reports) k USING (report_row)
WHERE o.outcome <> 'linked' ORDER BY k.report_row
"""

UNLINKED_STUDIES = """
SELECT s.uid AS study_instance_uid, s.accession_number, s.issuer AS accession_number_issuer, s.patient_id,
    s.first_date AS study_date, s.modality, i.images, o.outcome, o.reason, i.file
FROM study_outcome o JOIN study s USING (study_id)
    JOIN (SELECT study_id, count(*) AS images, min(file) AS file FROM study_image GROUP BY study_id) i USING (study_id)
WHERE o.outcome <> 'linked' ORDER BY study_id
"""

# An image that is in two studies (which then never link) stands here once.
UNLINKED_IMAGES = """
SELECT i.image_id, min(o.outcome) AS outcome, arg_min(o.reason, o.outcome || o.reason) AS reason
FROM study_image i JOIN study_outcome o USING (study_id)
GROUP BY i.image_id HAVING NOT bool_or(o.outcome = 'linked') ORDER BY i.image_id
"""

COUNTS = {
    "reports": "SELECT outcome, reason, count(*) FROM report_outcome GROUP BY ALL ORDER BY ALL",
    "studies": "SELECT outcome, reason, count(*) FROM study_outcome GROUP BY ALL ORDER BY ALL",
    "images": """
        SELECT o.outcome, o.reason, count(*) FROM study_image JOIN study_outcome o USING (study_id)
        GROUP BY ALL ORDER BY ALL""",
}
TOTALS = {
    "image_rows": "SELECT count(*) FROM image",
    "image_copies": "SELECT coalesce(sum(copies - 1), 0)::BIGINT FROM study_image",
    "distinct_images": "SELECT count(*) FROM study_image",
    "studies": "SELECT count(*) FROM study",
    "linked_pairs": "SELECT count(*) FROM linked WHERE superseded IS NULL",
    "studies_with_several_reports": """
        SELECT count(*) FROM (SELECT study_id FROM linked
            WHERE superseded IS NULL AND status IS DISTINCT FROM 'addendum' GROUP BY study_id HAVING count(*) > 1)""",
    "reports_with_several_studies": """
        SELECT count(*) FROM (SELECT report_row FROM linked WHERE superseded IS NULL
            GROUP BY report_row HAVING count(*) > 1)""",
    "pairs_with_patient_agreeing": """
        SELECT count(*) FROM linked JOIN report r USING (report_row) JOIN study s USING (study_id)
        WHERE superseded IS NULL AND r.patient_key = s.patient_key""",
}
