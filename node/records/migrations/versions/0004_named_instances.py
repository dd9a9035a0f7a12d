"""Evidence names the instances, not only their number; what the worker asks for every moment has an index"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("evidence", sa.Column("named", sa.JSON(), nullable=False, server_default="[]"))
    # Partial: they hold what waits, not the years.
    op.create_index("ix_series_open", "series", ["first_at"], sqlite_where=sa.text("instances > frozen"))
    op.create_index("ix_sets_to_start", "sets", ["frozen_at"], sqlite_where=sa.text("run > started_run"))
    op.create_index("ix_associations_open", "associations", ["calling_ae"], sqlite_where=sa.text("closed_at IS NULL"))


def downgrade() -> None:
    op.drop_index("ix_associations_open", "associations")
    op.drop_index("ix_sets_to_start", "sets")
    op.drop_index("ix_series_open", "series")
    with op.batch_alter_table("evidence", schema=None) as batch_op:
        batch_op.drop_column("named")
