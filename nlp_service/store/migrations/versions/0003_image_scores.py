"""What models of images say, beside the reports of the same studies"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "image_scores",
        sa.Column("id", Id, nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("accession_number", sa.Text(), nullable=True),
        sa.Column("accession_number_issuer", sa.Text(), nullable=True),
        sa.Column("study_instance_uid", sa.Text(), nullable=True),
        sa.Column("sop_instance_uid", sa.Text(), nullable=True),
        sa.Column("patient_id", sa.Text(), nullable=True),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("model_digest", sa.Text(), nullable=False),
        sa.Column("scores", sa.Text(), nullable=False),
        sa.Column("scored_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_scores")),
        sa.UniqueConstraint("digest", name=op.f("uq_image_scores_digest")),
    )
    for column in ("accession_number", "study_instance_uid"):
        op.create_index(op.f(f"ix_image_scores_{column}"), "image_scores", [column])
    op.create_table(
        "image_overlays",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("image", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["image"], ["image_scores.id"], name=op.f("fk_image_overlays_image_image_scores"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image_overlays")),
    )
    op.create_index(op.f("ix_image_overlays_image"), "image_overlays", ["image"])
    op.add_column("labels", sa.Column("images_say", sa.Text(), nullable=True))
    spoken = sa.text("images_say IS NOT NULL")
    op.create_index("ix_labels_images_say", "labels", ["priority", "id"], sqlite_where=spoken, postgresql_where=spoken)


def downgrade() -> None:
    op.drop_index("ix_labels_images_say", "labels")
    op.drop_column("labels", "images_say")
    op.drop_table("image_overlays")
    op.drop_table("image_scores")
