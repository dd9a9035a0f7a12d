"""What throughput is counted by: modality, arrival, delivery, and why a job was stopped"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# The modality of the first member; a set is of one series, and a series of one modality (PS3.3 C.7.3.1.1.1).
_MODALITY = """
UPDATE sets SET modality = COALESCE(
    (SELECT json_extract(instances.header, '$.Modality[0]') FROM members
     JOIN instances ON instances.id = members.instance_id
     WHERE members.set_id = sets.id AND json_extract(instances.header, '$.Modality[0]') IN ('CT', 'MR', 'KO') LIMIT 1),
    'other')
"""
_OF_SETS = """
UPDATE jobs SET
    modality = (SELECT sets.modality FROM sets WHERE sets.id = jobs.set_id),
    arrived_at = (SELECT MAX(sets.last_received_at) FROM sets WHERE sets.id = jobs.set_id
                  OR sets.id IN (SELECT job_sets.set_id FROM job_sets WHERE job_sets.job_id = jobs.id))
"""
_DELIVERED = """
UPDATE jobs SET delivered_at =
    COALESCE((SELECT MAX(dispatches.updated_at) FROM dispatches WHERE dispatches.job_id = jobs.id), jobs.updated_at)
WHERE jobs.state = 'delivered'
"""
_BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 4 * 3600, 24 * 3600)  # seconds
_TURNAROUNDS = f"""
INSERT INTO turnarounds (pipeline, modality, bucket, jobs, seconds)
SELECT pipeline, modality,
    CASE {" ".join(f"WHEN delivered_at - arrived_at <= {bound} THEN {at}" for at, bound in enumerate(_BOUNDS))}
    ELSE {len(_BOUNDS)} END AS bucket, COUNT(*), SUM(MAX(delivered_at - arrived_at, 0.0))
FROM jobs WHERE delivered_at IS NOT NULL GROUP BY pipeline, modality, bucket
"""  # noqa: S608  numbers of this file


def upgrade() -> None:
    op.add_column("sets", sa.Column("modality", sa.String(length=8), nullable=False, server_default="other"))
    op.add_column("jobs", sa.Column("cause", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("modality", sa.String(length=8), nullable=False, server_default="other"))
    op.add_column("jobs", sa.Column("arrived_at", sa.Float(), nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("delivered_at", sa.Float(), nullable=True))
    op.add_column("dispatches", sa.Column("cause", sa.String(length=32), nullable=False, server_default=""))
    op.create_table(
        "turnarounds",
        sa.Column("pipeline", sa.String(length=64), nullable=False),
        sa.Column("modality", sa.String(length=8), nullable=False),
        sa.Column("bucket", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("jobs", sa.Integer(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("pipeline", "modality", "bucket", name=op.f("pk_turnarounds")),
    )
    for statement in (_MODALITY, _OF_SETS, _DELIVERED, _TURNAROUNDS):
        op.execute(statement)
    op.create_index("ix_sets_modality", "sets", ["modality"])
    op.drop_index("ix_jobs_state", "jobs")
    op.create_index("ix_jobs_state_pipeline_cause", "jobs", ["state", "pipeline", "cause"])
    op.create_index("ix_jobs_delivered", "jobs", ["delivered_at"], sqlite_where=sa.text("delivered_at IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_jobs_delivered", "jobs")
    op.drop_index("ix_jobs_state_pipeline_cause", "jobs")
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.drop_index("ix_sets_modality", "sets")
    op.drop_table("turnarounds")
    with op.batch_alter_table("dispatches", schema=None) as batch_op:
        batch_op.drop_column("cause")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        for name in ("delivered_at", "arrived_at", "modality", "cause"):
            batch_op.drop_column(name)
    with op.batch_alter_table("sets", schema=None) as batch_op:
        batch_op.drop_column("modality")
