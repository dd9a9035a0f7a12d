"""Triage: verdicts, notices, the worklist with its subscribers, rejections"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_index(
        "ix_instances_documents",
        "instances",
        ["id"],
        sqlite_where=sa.text("sop_class_uid = '1.2.840.10008.5.1.4.1.1.88.59'"),
    )
    op.create_table(
        "rejections",
        sa.Column("sop_instance_uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("code", sa.String(length=16), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("file", sa.String(length=80), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("applied_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_rejections")),
    )
    with op.batch_alter_table("rejections", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_rejections_study_uid"), ["study_uid"], unique=False)

    op.create_table(
        "subscriptions",
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("workitem_uid", sa.String(length=64), nullable=False),
        sa.Column("locked", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("ae_title", "workitem_uid", name=op.f("pk_subscriptions")),
    )
    op.create_table(
        "ups_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ae_title", sa.String(length=16), nullable=False),
        sa.Column("workitem_uid", sa.String(length=64), nullable=False),
        sa.Column("event_type", sa.Integer(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ups_events")),
    )
    with op.batch_alter_table("ups_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ups_events_state"), ["state"], unique=False)

    op.create_table(
        "workitems",
        sa.Column("uid", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.String(length=8), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=True),
        sa.Column("claimed_by", sa.String(length=16), nullable=True),
        sa.Column("queued_at", sa.Float(), nullable=False),
        sa.Column("credit_s", sa.Float(), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("data_set", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("claimed_at", sa.Float(), nullable=True),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_workitems")),
    )
    with op.batch_alter_table("workitems", schema=None) as batch_op:
        batch_op.create_index(
            "ix_workitems_open", ["queued_at"], unique=False, sqlite_where=sa.text("ended_at IS NULL")
        )
        batch_op.create_index(batch_op.f("ix_workitems_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_workitems_study_uid"), ["study_uid"], unique=False)

    op.create_table(
        "triages",
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("study_uid", sa.String(length=64), nullable=False),
        sa.Column("series_uid", sa.String(length=64), nullable=False),
        sa.Column("scanner", sa.String(length=32), nullable=False),
        sa.Column("flag", sa.String(length=20), nullable=False),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("percentile", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("credit_s", sa.Float(), nullable=False),
        sa.Column("arrived_at", sa.Float(), nullable=False),
        sa.Column("decided_at", sa.Float(), nullable=False),
        sa.Column("acknowledged_at", sa.Float(), nullable=True),
        sa.Column("read_at", sa.Float(), nullable=True),
        sa.Column("withdrawn_at", sa.Float(), nullable=True),
        sa.Column("withdrawal", sa.JSON(), nullable=True),
        sa.Column("report_uid", sa.String(length=64), nullable=False),
        sa.Column("assessment", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_triages_job_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_triages")),
    )
    with op.batch_alter_table("triages", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_triages_scanner_decided_at"), ["scanner", "decided_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_triages_series_uid"), ["series_uid"], unique=False)
        batch_op.create_index(batch_op.f("ix_triages_study_uid"), ["study_uid"], unique=False)

    op.create_table(
        "notices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("way", sa.String(length=16), nullable=False),
        sa.Column("control_id", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("alarmed_at", sa.Float(), nullable=True),
        sa.Column("delivered_at", sa.Float(), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["triages.job_id"], name=op.f("fk_notices_job_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("control_id", name=op.f("uq_notices_control_id")),
        sa.UniqueConstraint("job_id", "kind", "channel", name=op.f("uq_notices_job_id_kind_channel")),
    )
    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_notices_state"), ["state"], unique=False)

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unfit", sa.JSON(), server_default="[]", nullable=False))
        batch_op.add_column(sa.Column("numbers", sa.JSON(), server_default="{}", nullable=False))

    with op.batch_alter_table("sets", schema=None) as batch_op:
        batch_op.add_column(sa.Column("urgent", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("sets", schema=None) as batch_op:
        batch_op.drop_column("urgent")

    with op.batch_alter_table("jobs", schema=None) as batch_op:
        batch_op.drop_column("numbers")
        batch_op.drop_column("unfit")

    with op.batch_alter_table("notices", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_notices_state"))

    op.drop_table("notices")
    with op.batch_alter_table("triages", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_triages_study_uid"))
        batch_op.drop_index(batch_op.f("ix_triages_series_uid"))
        batch_op.drop_index(batch_op.f("ix_triages_scanner_decided_at"))

    op.drop_table("triages")
    with op.batch_alter_table("workitems", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_workitems_study_uid"))
        batch_op.drop_index(batch_op.f("ix_workitems_state"))
        batch_op.drop_index("ix_workitems_open", sqlite_where=sa.text("ended_at IS NULL"))

    op.drop_table("workitems")
    with op.batch_alter_table("ups_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_ups_events_state"))

    op.drop_table("ups_events")
    op.drop_table("subscriptions")
    with op.batch_alter_table("rejections", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rejections_study_uid"))

    op.drop_table("rejections")
    op.drop_index("ix_instances_documents", table_name="instances")
