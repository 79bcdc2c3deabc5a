"""The SQL of linking, one statement a step, in the order in which `corpora.linking.matching` runs them.

Every statement is a set operation whose result does not depend on the order of rows. Values that come from a user are
bound as parameters (``$name``) or normalised before; nothing of them is pasted into SQL, and equality is the only
comparison of identifiers, so no accession number acts as a pattern.
"""

from __future__ import annotations

# A number on more studies than this is a placeholder: no order of one patient is split so often. It also bounds the
# pairs of report and study that are looked at, so that time stays linear whatever the numbers are.
MAX_STUDIES_PER_ACCESSION_NUMBER = 50

REPORTS = """
CREATE TABLE report_all AS
SELECT report_row, report_id, accession_key, issuer_key, patient_key, uid_key, status, study_date, report_time,
    modality
FROM read_parquet($reports) WHERE invalid_reason IS NULL;

CREATE TABLE first_row AS
SELECT min(report_row) AS report_row FROM report_all
GROUP BY report_id, accession_key, issuer_key, patient_key, uid_key, status, study_date, report_time, modality;

-- One id for reports of several studies: labels are joined by id later, and would go to the wrong one.
CREATE TABLE repeated_id AS
SELECT report_id FROM report_all GROUP BY report_id
HAVING count(*) > 1 AND (
    min(coalesce(accession_key, '')) <> max(coalesce(accession_key, '')) OR min(issuer_key) <> max(issuer_key)
    OR min(patient_key) <> max(patient_key) OR min(uid_key) <> max(uid_key));

CREATE TABLE report AS
SELECT r.*, repeated_id.report_id IS NOT NULL AS is_repeated, coalesce(r.status = 'cancelled', false) AS is_cancelled,
    -- A report that does not date its study was signed soon after it, unless it adds to or corrects an earlier one.
    coalesce(r.study_date, CASE WHEN r.status IS NULL OR r.status NOT IN ('addendum', 'corrected')
        THEN r.report_time::DATE END) AS day
FROM report_all r SEMI JOIN first_row USING (report_row) LEFT JOIN repeated_id USING (report_id);
"""

# `lone_image` keeps images without a Study Instance UID apart until their keys are known.
HEADERS = """
CREATE TABLE header AS
SELECT uid, lone_image, accession_number, issuer, patient_id, min(study_date) AS first_date,
    max(study_date) AS last_date, min(modality) AS modality, max(modality) AS other_modality
FROM (SELECT uid_of(study_instance_uid) AS uid, CASE WHEN uid IS NULL THEN image_id END AS lone_image, accession_number,
        accession_number_issuer AS issuer, patient_id, study_date, upper(trim(modality)) AS modality FROM image)
GROUP BY ALL;

CREATE TABLE keyed AS
SELECT *, CASE WHEN uid IS NOT NULL THEN 'u' || uid
    WHEN accession_key IS NOT NULL
        THEN 'a' || accession_key || chr(31) || coalesce(issuer_key, '') || chr(31) || coalesce(patient_key, '')
    ELSE 'i' || lone_image END AS study_key
FROM (SELECT *, accession_key_of(accession_number) AS accession_key, issuer_key_of(issuer) AS issuer_key,
        patient_key_of(patient_id) AS patient_key FROM header);
DROP TABLE header;
"""

STUDIES = """
CREATE TABLE study_group AS
SELECT study_key, min(uid) AS uid, min(accession_key) AS accession_key, min(issuer_key) AS issuer_key,
    min(patient_key) AS patient_key,
    -- as written, of those that hold something
    min(accession_number) FILTER (accession_key IS NOT NULL) AS accession_number,
    min(issuer) FILTER (issuer_key IS NOT NULL) AS issuer,
    min(patient_id) FILTER (patient_key IS NOT NULL) AS patient_id,
    min(first_date) AS first_date, max(last_date) AS last_date, min(modality) AS modality,
    max(other_modality) AS other_modality,
    coalesce(min(accession_key) <> max(accession_key) OR min(issuer_key) <> max(issuer_key)
        OR min(patient_key) <> max(patient_key), false) AS is_contradictory
FROM keyed GROUP BY study_key;

CREATE TABLE study_numbered AS
SELECT row_number() OVER (ORDER BY study_key) AS study_id, * FROM study_group;
DROP TABLE study_group;

-- The same image in several files, or indexed several times, is one image: the first file by name stands for it.
CREATE TABLE study_image AS
SELECT study_id, image_id, min(file) AS file, arg_min(series_instance_uid, file) AS series_instance_uid,
    arg_min(sop_instance_uid, file) AS sop_instance_uid, count(*) AS copies
FROM (
    SELECT s.study_id, i.image_id, i.file, i.series_instance_uid, i.sop_instance_uid
    FROM image i JOIN study_numbered s ON s.study_key = 'u' || uid_of(i.study_instance_uid)
    UNION ALL
    SELECT s.study_id, i.image_id, i.file, i.series_instance_uid, i.sop_instance_uid
    FROM image i JOIN keyed k ON k.lone_image = i.image_id JOIN study_numbered s USING (study_key)
    WHERE uid_of(i.study_instance_uid) IS NULL
        AND k.accession_number IS NOT DISTINCT FROM i.accession_number
        AND k.issuer IS NOT DISTINCT FROM i.accession_number_issuer AND k.patient_id IS NOT DISTINCT FROM i.patient_id
) GROUP BY study_id, image_id;

CREATE TABLE shared_image AS
SELECT DISTINCT study_id FROM study_image SEMI JOIN (
    SELECT image_id FROM study_image GROUP BY image_id HAVING count(*) > 1) USING (image_id);

CREATE TABLE study AS
SELECT s.* EXCLUDE (is_contradictory), s.is_contradictory OR x.study_id IS NOT NULL AS is_bad
FROM study_numbered s LEFT JOIN shared_image x USING (study_id);
DROP TABLE study_numbered;

-- A study whose images disagree stays in the way under every number that it names.
CREATE TABLE study_number AS
SELECT study_id, accession_key, issuer_key, patient_key FROM study WHERE accession_key IS NOT NULL AND NOT is_bad
UNION ALL
SELECT DISTINCT s.study_id, k.accession_key, k.issuer_key, k.patient_key
FROM keyed k JOIN study s USING (study_key) WHERE s.is_bad AND k.accession_key IS NOT NULL;
DROP TABLE keyed;
"""

# Who uses a number is seen from both sides: a report of another patient makes it as doubtful as a study does.
NUMBERS = """
CREATE TABLE number_use AS
SELECT accession_key, issuer_key, patient_key, 0 AS studies FROM report WHERE accession_key IS NOT NULL
UNION ALL
SELECT accession_key, issuer_key, patient_key, 1 FROM study_number;

CREATE TABLE number AS
SELECT accession_key, min(issuer_key) AS first_issuer, max(issuer_key) AS last_issuer,
    min(patient_key) AS first_patient, max(patient_key) AS last_patient,
    coalesce(min(issuer_key) <> max(issuer_key), false) AS is_of_several_issuers,
    coalesce(min(patient_key) <> max(patient_key), false) AS is_of_several_patients,
    sum(studies) AS studies
FROM number_use GROUP BY accession_key;

-- Within one issuer, whatever names no issuer may be of it.
CREATE TABLE number_of_issuer AS
SELECT x.accession_key, x.issuer_key,
    coalesce(least(min(x.first), min(y.first)) <> greatest(max(x.last), max(y.last)), false) AS is_of_several_patients
FROM (SELECT accession_key, issuer_key, min(patient_key) AS first, max(patient_key) AS last FROM number_use
        WHERE issuer_key IS NOT NULL GROUP BY ALL) x
    LEFT JOIN (SELECT accession_key, min(patient_key) AS first, max(patient_key) AS last FROM number_use
        WHERE issuer_key IS NULL GROUP BY ALL) y USING (accession_key)
    SEMI JOIN (SELECT accession_key FROM number WHERE is_of_several_issuers) z USING (accession_key)
GROUP BY ALL;
DROP TABLE number_use;
"""

CANDIDATES = """
CREATE TABLE candidate AS
SELECT r.report_row, n.study_id,
    (r.issuer_key IS NULL OR n.issuer_key IS NULL OR r.issuer_key = n.issuer_key) AS issuer_fits,
    (r.patient_key IS NULL OR n.patient_key IS NULL OR r.patient_key = n.patient_key) AS patient_fits,
    issuer_fits AND patient_fits AS fits,
    coalesce(r.patient_key = n.patient_key, false) AS is_confirmed,
    n.patient_key,
    -- clean: nobody else is known to use the number, among those whom the issuers leave in question
    CASE WHEN r.issuer_key IS NOT NULL AND n.issuer_key IS NOT NULL
        THEN coalesce(o.is_of_several_patients, a.is_of_several_patients)
        ELSE a.is_of_several_patients END AS is_reused,
    a.is_of_several_issuers AND (r.issuer_key IS NULL OR n.issuer_key IS NULL) AS is_of_unknown_issuer
FROM report r JOIN number a USING (accession_key) JOIN study_number n USING (accession_key)
    LEFT JOIN number_of_issuer o ON o.accession_key = r.accession_key AND o.issuer_key = r.issuer_key
WHERE NOT r.is_repeated AND a.studies <= $max_studies;

CREATE TABLE found AS
SELECT c.report_row, bool_or(c.issuer_fits) AS any_issuer, bool_or(c.fits) AS any_fits,
    min(c.study_id) FILTER (c.fits) AS study_id, max(c.study_id) FILTER (c.fits) AS last_study_id,
    coalesce(bool_or(s.is_bad) FILTER (c.fits), false) AS any_bad,
    coalesce(min(c.patient_key) FILTER (c.fits) <> max(c.patient_key) FILTER (c.fits), false) AS several_patients,
    coalesce(bool_and(c.is_confirmed) FILTER (c.fits), false) AS is_confirmed,
    coalesce(bool_or(c.is_reused) FILTER (c.fits), false) AS is_reused,
    coalesce(bool_or(c.is_of_unknown_issuer) FILTER (c.fits), false) AS is_of_unknown_issuer,
    bool_or(s.uid IS NOT NULL) FILTER (c.fits) AS has_uid,
    -- how far the report's day lies outside the days of the study
    max(greatest(s.first_date - r.day, r.day - s.last_date, 0)) FILTER (c.fits) AS days_apart
FROM candidate c JOIN report r USING (report_row) JOIN study s USING (study_id)
GROUP BY c.report_row;

CREATE TABLE named AS
SELECT r.report_row, s.study_id, s.is_bad,
    coalesce(r.patient_key <> s.patient_key, false) AS is_other_patient,
    coalesce(r.patient_key = s.patient_key, false) AS is_confirmed,
    coalesce(r.accession_key <> s.accession_key, false) AS is_other_number,
    coalesce(r.accession_key = s.accession_key AND r.issuer_key <> s.issuer_key, false) AS is_other_issuer,
    EXISTS (SELECT 1 FROM candidate c WHERE c.report_row = r.report_row AND c.study_id = s.study_id AND c.fits)
        AS is_found_by_number
FROM report r JOIN study s ON s.uid = r.uid_key
WHERE NOT r.is_repeated;
"""

# The rules, in the order in which they hold. docs/linking.md has the same order.
DECISIONS = """
CREATE TABLE decision AS
SELECT report_row, reason, link_all,
    CASE WHEN reason IN ('accession_number', 'study_instance_uid')
        THEN coalesce(named_study_id, study_id) END AS study_id,
    CASE WHEN reason IN ('accession_number', 'study_instance_uid') THEN 'linked'
        WHEN reason IN ('no_identifier', 'no_study') THEN 'none'
        WHEN reason = 'several_studies' THEN 'several'
        ELSE 'conflicting' END AS outcome
FROM (
    SELECT r.report_row, f.study_id, d.study_id AS named_study_id,
        coalesce(d.study_id IS NULL AND f.study_id <> f.last_study_id, false) AS link_all,
        CASE
        WHEN r.is_repeated THEN 'report_id_repeated'
        -- by Study Instance UID: it is unique by construction, so what contradicts it is reported
        WHEN d.study_id IS NOT NULL THEN CASE
            WHEN d.is_bad THEN 'headers_disagree'
            WHEN d.is_other_patient THEN 'patient_disagrees'
            WHEN d.is_other_issuer THEN 'issuer_disagrees'
            WHEN d.is_other_number AND f.any_fits THEN 'study_instance_uid_disagrees'
            WHEN d.is_other_number AND NOT d.is_confirmed THEN 'accession_number_disagrees'
            WHEN $require_patient AND NOT d.is_confirmed THEN 'patient_not_compared'
            WHEN d.is_found_by_number THEN 'accession_number'
            ELSE 'study_instance_uid' END
        -- by accession number
        WHEN r.accession_key IS NULL THEN 'no_identifier'
        WHEN a.studies > $max_studies THEN 'accession_number_overused'
        WHEN f.report_row IS NULL THEN 'no_study'
        WHEN NOT f.any_issuer THEN 'issuer_disagrees'
        WHEN NOT f.any_fits THEN 'patient_disagrees'
        WHEN f.any_bad THEN 'headers_disagree'
        WHEN f.several_patients THEN 'accession_number_reused'
        WHEN f.study_id <> f.last_study_id AND NOT $link_several THEN 'several_studies'
        WHEN r.uid_key IS NOT NULL AND f.has_uid THEN 'study_instance_uid_disagrees'
        WHEN NOT f.is_confirmed AND f.is_reused THEN 'accession_number_reused'
        WHEN NOT f.is_confirmed AND f.is_of_unknown_issuer THEN 'issuer_ambiguous'
        WHEN $max_days IS NOT NULL AND f.days_apart > $max_days THEN 'date_disagrees'
        WHEN $require_patient AND NOT f.is_confirmed THEN 'patient_not_compared'
        ELSE 'accession_number' END AS reason
    FROM report r LEFT JOIN found f USING (report_row) LEFT JOIN named d USING (report_row)
        LEFT JOIN number a ON a.accession_key = r.accession_key
);

CREATE TABLE pair AS
SELECT report_row, study_id, reason FROM decision WHERE outcome = 'linked' AND NOT link_all
UNION ALL
SELECT d.report_row, c.study_id, d.reason FROM decision d JOIN candidate c USING (report_row)
WHERE d.outcome = 'linked' AND d.link_all AND c.fits;

-- What a report that did not link leaves behind at the studies it may have meant.
CREATE TABLE doubt AS
SELECT c.study_id, d.outcome, d.reason FROM decision d JOIN candidate c USING (report_row)
WHERE d.outcome IN ('several', 'conflicting') AND (c.fits OR d.outcome = 'conflicting')
UNION ALL
SELECT n.study_id, d.outcome, d.reason FROM decision d JOIN named n USING (report_row) WHERE d.outcome = 'conflicting'
UNION ALL
SELECT s.study_id, 'conflicting', 'accession_number_overused'
FROM study_number s JOIN number a USING (accession_key) WHERE a.studies > $max_studies
    AND EXISTS (SELECT 1 FROM report r WHERE r.accession_key = a.accession_key)
UNION ALL
SELECT study_id, 'conflicting', 'headers_disagree' FROM study WHERE is_bad;
"""

# Both must be the only one for the other, and neither may name a number or UID that the other has in another form.
PATIENT_AND_DATE = """
CREATE TABLE nearby AS
SELECT r.report_row, s.study_id, coalesce(r.accession_key, chr(31) || r.report_row) AS report_group
FROM (SELECT report_row, accession_key, patient_key, uid_key, modality,
            unnest(generate_series(study_date - $window::INTEGER, study_date + $window::INTEGER, INTERVAL 1 DAY))::DATE
                AS near_date
        FROM report JOIN decision USING (report_row)
        WHERE outcome = 'none' AND NOT is_cancelled AND patient_key IS NOT NULL AND study_date IS NOT NULL) r
    JOIN study s ON s.patient_key = r.patient_key AND s.first_date = r.near_date AND s.last_date = r.near_date
    ANTI JOIN pair p ON p.study_id = s.study_id ANTI JOIN doubt d ON d.study_id = s.study_id
WHERE (r.accession_key IS NULL OR s.accession_key IS NULL) AND (r.uid_key IS NULL OR s.uid IS NULL)
    AND (r.modality IS NULL OR s.modality IS NULL OR r.modality IN (s.modality, s.other_modality));

CREATE TABLE near_report AS
SELECT report_row, min(study_id) AS study_id, bool_and(is_only_report) AND min(study_id) = max(study_id) AS is_only
FROM nearby JOIN (SELECT study_id, min(report_group) = max(report_group) AS is_only_report FROM nearby
        GROUP BY study_id) USING (study_id)
GROUP BY report_row;

INSERT INTO pair SELECT report_row, study_id, 'patient_and_date' FROM near_report WHERE is_only;
INSERT INTO doubt SELECT x.study_id, 'several', 'several_within_window'
    FROM nearby x JOIN near_report n USING (report_row) WHERE NOT n.is_only;
UPDATE decision SET outcome = CASE WHEN n.is_only THEN 'linked' ELSE 'several' END,
    reason = CASE WHEN n.is_only THEN 'patient_and_date' ELSE 'several_within_window' END,
    study_id = CASE WHEN n.is_only THEN n.study_id END
FROM near_report n WHERE n.report_row = decision.report_row;
"""
