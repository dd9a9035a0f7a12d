"""Maps that go beside the images of a job"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("maps", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("jobs", sa.Column("map_series_number", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("map_series_number")
        batch_op.drop_column("maps")
