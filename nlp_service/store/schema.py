"""The tables of the store. What changes here needs a migration beside it (`nlp_service.store.migrations`)."""

from __future__ import annotations

import sqlalchemy as sa

# Named constraints: without a name, a later migration could not change them on SQLite.
metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# A number of 64 bits that counts up, also on SQLite, where only INTEGER does.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _time(name: str = "created_at", *, nullable: bool = False) -> sa.Column[float]:
    """Return a column for a time in seconds since 1970, UTC: one form on both databases."""
    return sa.Column(name, sa.Float(precision=53), nullable=nullable)


reports = sa.Table(
    "reports",
    metadata,
    sa.Column("id", Id, primary_key=True),
    # SHA-256 over everything that identifies the report and over its text: the same report is stored once.
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("report_id", sa.Text, nullable=False, index=True),
    sa.Column("accession_number", sa.Text, index=True),
    sa.Column("accession_number_issuer", sa.Text),
    sa.Column("study_instance_uid", sa.Text, index=True),
    sa.Column("patient_id", sa.Text),
    sa.Column("study_date", sa.Text),
    sa.Column("modality", sa.Text),
    sa.Column("result_status", sa.Text),  # as the sender gave it: HL7 table 0123, FHIR diagnostic-report-status
    sa.Column("door", sa.String(16), nullable=False),  # api, job, hl7, fhir, sr
    sa.Column("text", sa.Text),  # kept until it is labeled, and as long as the retention says
    sa.Column("sections", sa.Text),  # JSON, for sources that give a report in parts
    sa.Column("is_waiting", sa.Boolean, nullable=False, default=False),  # stored, and not labeled yet
    _time("received_at"),
    sa.Index("ix_reports_waiting", "id", sqlite_where=sa.text("is_waiting"), postgresql_where=sa.text("is_waiting")),
    sa.Index("ix_reports_received_at", "received_at"),
)

PRIORITY = "coalesce(doubt, 0) + coalesce(disagreement, 0)"

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("report", Id, sa.ForeignKey("reports.id", ondelete="CASCADE"), nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("model_digest", sa.Text, nullable=False),
    sa.Column("label_sets", sa.Text, nullable=False),  # ids, with commas between
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("row", sa.Text, nullable=False),  # the row as JSON, without the ids, which are the report's
    sa.Column("doubt", sa.Float(precision=53)),  # how far its least certain label is from certain, 0 to 1
    sa.Column("doubtful", sa.Text),  # that label, as <label set>:<label>
    sa.Column("disagreement", sa.Integer),  # on how many labels the rules say something else; null: not compared
    sa.Column("rules_say", sa.Text),  # JSON: those labels as <label set>:<label>, with the value that the rules give
    sa.Column("images_say", sa.Text),  # JSON: labels that images speak against, with their probability of the finding
    # What people should review first: kept by the database, so that an index can give the order.
    sa.Column("priority", sa.Float(precision=53), sa.Computed(PRIORITY, persisted=True)),
    _time("labeled_at"),
    sa.UniqueConstraint("report", "model_digest", "label_sets"),
    sa.Index("ix_labels_priority", "priority", "id"),
    sa.Index(
        "ix_labels_images_say",
        "priority",
        "id",
        sqlite_where=sa.text("images_say IS NOT NULL"),
        postgresql_where=sa.text("images_say IS NOT NULL"),
    ),
)

label_rates = sa.Table(
    "label_rates",
    metadata,
    sa.Column("week", sa.String(10), primary_key=True),  # its Monday, ISO 8601
    sa.Column("model_digest", sa.Text, primary_key=True),
    sa.Column("label_set", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("value", sa.String(16), primary_key=True),  # positive, negative, uncertain, none
    sa.Column("reports", sa.BigInteger, nullable=False),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("name", sa.Text, nullable=False),  # of the file, as shown to its owner; never logged
    sa.Column("key_id", sa.String(16)),
    sa.Column("options", sa.Text, nullable=False),  # JSON: label sets, columns, format, whether to store
    sa.Column("path", sa.Text),  # of a server-side file; an upload lies in upload_parts
    sa.Column("chunks", sa.Integer),
    sa.Column("records", sa.BigInteger, nullable=False, default=0),
    sa.Column("error", sa.Text),
    sa.Column("model", sa.Text),  # JSON: name, version, digest
    _time(),
    _time("started_at", nullable=True),
    _time("ended_at", nullable=True),
)

upload_parts = sa.Table(
    "upload_parts",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

job_chunks = sa.Table(
    "job_chunks",
    metadata,
    sa.Column("job", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("records", sa.Integer, nullable=False),
    sa.Column("input", sa.LargeBinary),  # the records, compressed; dropped when the job is done
    sa.Column("output", sa.LargeBinary),  # the rows as JSON Lines, compressed
    sa.Column("rejects", sa.LargeBinary),  # the lines of the reject file, compressed
    sa.Column("counts", sa.Text),  # JSON
    sa.Column("is_done", sa.Boolean, nullable=False, default=False),
)

datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("name", sa.Text, nullable=False),  # as its owner calls it; never logged
    sa.Column("key_id", sa.String(16)),
    sa.Column("recipe", sa.Text, nullable=False),  # JSON: the whole recipe, with where the inputs lie
    sa.Column("labels_job", sa.String(32)),  # a job whose results are the labels
    sa.Column("attempt", sa.Integer, nullable=False, default=0),  # counts how often a stop of the service broke it off
    sa.Column("stage", sa.Text),
    sa.Column("done", sa.BigInteger, nullable=False, default=0),  # within the stage
    sa.Column("summary", sa.Text),  # JSON: rows, splits, counts
    sa.Column("error", sa.Text),
    _time(),
    _time("started_at", nullable=True),
    _time("ended_at", nullable=True),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_digest", sa.LargeBinary(32), nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    _time(),
    _time("revoked_at", nullable=True),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _time("at"),
    sa.Column("key_id", sa.String(16)),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("door", sa.String(16), nullable=False),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("labels", Id, sa.ForeignKey("labels.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("label_set", sa.Text, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("given", sa.String(16)),
    sa.Column("value", sa.String(16)),
    sa.Column("key_id", sa.String(16)),
    sa.Column("reviewer", sa.Text),
    _time("reviewed_at"),
)

image_scores = sa.Table(
    "image_scores",
    metadata,
    sa.Column("id", Id, primary_key=True),
    # SHA-256 over the image's identifiers and the model: scores that come again take the place of the earlier ones.
    sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
    sa.Column("image_id", sa.Text, nullable=False),
    sa.Column("accession_number", sa.Text, index=True),
    sa.Column("accession_number_issuer", sa.Text),
    sa.Column("study_instance_uid", sa.Text, index=True),
    sa.Column("sop_instance_uid", sa.Text),
    sa.Column("patient_id", sa.Text),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("model_digest", sa.Text, nullable=False),
    sa.Column("label_set", sa.Text),  # whose labels the scores are of
    sa.Column("thresholds", sa.Text),  # JSON: from which probability on a label is called present
    sa.Column("scores", sa.Text, nullable=False),  # JSON: probability by label
    _time("scored_at"),
)

image_overlays = sa.Table(
    "image_overlays",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),  # drawn at random: what is in URLs says nothing
    sa.Column("image", Id, sa.ForeignKey("image_scores.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),  # the label, or what is drawn
    sa.Column("png", sa.LargeBinary, nullable=False),
)

executors = sa.Table(
    "executors",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    _time("seen_at"),
)
