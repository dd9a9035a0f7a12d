"""The tables of what triage makes of a study: verdicts, notices to others, the worklist, what was rejected."""

from typing import Final

from sqlalchemy import JSON, Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint, text

from node.records.tables import METADATA

ALL: Final = METADATA
"""What a migration has to make: these tables and those of `tables.py`."""

# One row for each job of a triage pipeline that has come to an end.
TRIAGES: Final = Table(
    "triages",
    METADATA,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("series_uid", String(64), nullable=False, index=True),  # of the source
    Column("scanner", String(32), nullable=False),  # a name of the settings, or "other"
    Column("flag", String(20), nullable=False),
    Column("score", Float),
    Column("percentile", Float),  # of the score among those of normals
    Column("threshold", Float, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("credit_s", Float, nullable=False),  # by how much it stands ahead of its arrival
    Column("arrived_at", Float, nullable=False),  # the last slice
    Column("decided_at", Float, nullable=False),
    Column("acknowledged_at", Float),  # the first receiver of a notice that confirmed it
    Column("read_at", Float),  # somebody claimed the study
    Column("withdrawn_at", Float),
    Column("withdrawal", JSON),  # by whom, and why
    Column("report_uid", String(64), nullable=False),  # SOP Instance UID of the report; empty when there is none
    Column("assessment", JSON, nullable=False),
    Index(None, "scanner", "decided_at"),
)

# What is to be told to others: written with the verdict, kept until it is acknowledged.
NOTICES: Final = Table(
    "notices",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("triages.job_id"), nullable=False),
    Column("kind", String(16), nullable=False),  # flag, withdrawal
    Column("channel", String(32), nullable=False),  # a name of the settings
    Column("way", String(16), nullable=False),  # hl7, webhook, label
    Column("control_id", String(20), nullable=False, unique=True),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("since", Float, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("alarmed_at", Float),
    Column("delivered_at", Float),
    Column("trouble", Text, nullable=False, default=""),
    Column("answer", Text, nullable=False, default=""),  # what the receiver said
    Column("body", JSON, nullable=False),
    UniqueConstraint("job_id", "kind", "channel"),
)

# Unified Procedure Steps (PS3.4 Annex CC).
WORKITEMS: Final = Table(
    "workitems",
    METADATA,
    Column("uid", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("job_id", String(64)),  # of the verdict that it stands for; empty: none yet; none: made by a peer
    Column("state", String(16), nullable=False, index=True),
    Column("priority", String(8), nullable=False),
    Column("label", String(64), nullable=False),  # Worklist Label (0074,1202)
    Column("transaction_uid", String(64)),
    Column("claimed_by", String(16)),
    Column("queued_at", Float, nullable=False),
    Column("credit_s", Float, nullable=False, default=0.0),
    Column("first", Integer, nullable=False, default=0),  # 1: not analysable or failed, on top
    Column("data_set", JSON, nullable=False),  # DICOM JSON model (PS3.18 F)
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("claimed_at", Float),
    Column("ended_at", Float),
    Index("ix_workitems_open", "queued_at", sqlite_where=text("ended_at IS NULL")),
)

SUBSCRIPTIONS: Final = Table(
    "subscriptions",
    METADATA,
    Column("ae_title", String(16), primary_key=True),
    Column("workitem_uid", String(64), primary_key=True),  # empty: all
    Column("locked", Integer, nullable=False, default=0),
    Column("at", Float, nullable=False),
)

UPS_EVENTS: Final = Table(
    "ups_events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("ae_title", String(16), nullable=False),
    Column("workitem_uid", String(64), nullable=False),
    Column("event_type", Integer, nullable=False),
    Column("body", JSON, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False),
    Column("created_at", Float, nullable=False),
)

# Key object selections that reject images (IHE IOCM).
REJECTIONS: Final = Table(
    "rejections",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),  # of the note
    Column("study_uid", String(64), nullable=False, index=True),
    Column("code", String(16), nullable=False),
    Column("instances", JSON, nullable=False),
    Column("file", String(80), nullable=False),
    Column("at", Float, nullable=False),
    Column("applied_at", Float),
)
