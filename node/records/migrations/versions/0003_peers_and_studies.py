"""Several series in a job, several forms of a result, commitment, evidence, cursors"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("part", sa.String(length=64), nullable=False, server_default="all"))
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.add_column(sa.Column("form", sa.String(length=16), nullable=False, server_default="classic"))
    op.create_table(
        "job_sets",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("set_id", sa.String(length=64), nullable=False),
        sa.Column("part", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_sets_job_id")),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name=op.f("fk_job_sets_set_id")),
        sa.PrimaryKeyConstraint("job_id", "role", name=op.f("pk_job_sets")),
    )
    op.create_index(op.f("ix_job_sets_set_id"), "job_sets", ["set_id"])
    op.create_table(
        "gatherings",
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("study_uid", "rule", name=op.f("pk_gatherings")),
    )
    op.create_index(op.f("ix_gatherings_state"), "gatherings", ["state"])
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence")),
        sa.UniqueConstraint("kind", "key", "series_uid", name=op.f("uq_evidence_kind_key_series_uid")),
    )
    op.create_index(op.f("ix_evidence_series_uid"), "evidence", ["series_uid"])
    op.create_table(
        "commitments",
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("destination", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("failures", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_commitments_job_id")),
        sa.PrimaryKeyConstraint("transaction_uid", name=op.f("pk_commitments")),
    )
    op.create_index(op.f("ix_commitments_job_id_destination"), "commitments", ["job_id", "destination"])
    op.create_index(op.f("ix_commitments_state"), "commitments", ["state"])
    op.create_table(
        "cursors",
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("position", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_cursors")),
    )


def downgrade() -> None:
    for table in ("cursors", "commitments", "evidence", "gatherings", "job_sets"):
        op.drop_table(table)
    with op.batch_alter_table("results", schema=None) as batch_op:
        batch_op.drop_column("form")
    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("part")
