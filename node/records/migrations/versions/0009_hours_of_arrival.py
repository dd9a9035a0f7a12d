"""Sets by the time when they were complete, for what counts them by hour; jobs of paused pipelines"""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_index("ix_sets_frozen_at_modality", "sets", ["frozen_at", "modality"])


def downgrade() -> None:
    # An older program knows no pause: what waited must not leave unless a person says so.
    op.execute(
        "UPDATE jobs SET state = 'failed', cause = 'fault', "
        "reason = 'Its pipeline was paused when the program was rolled back; replay the series.' WHERE state = 'paused'"
    )
    op.drop_index("ix_sets_frozen_at_modality", "sets")
