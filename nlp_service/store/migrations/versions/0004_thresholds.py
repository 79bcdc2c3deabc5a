"""From which score on a model of images calls a label present, and of what label set its labels are"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    for column in ("label_set", "thresholds"):
        op.add_column("image_scores", sa.Column(column, sa.Text(), nullable=True))


def downgrade() -> None:
    for column in ("thresholds", "label_set"):
        op.drop_column("image_scores", column)
