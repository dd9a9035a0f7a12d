"""The tables of the records: what was received, made and sent. Asked for years later; workflow state is elsewhere."""

from typing import Final

from sqlalchemy import (
    JSON,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from node.dicom.classes import KEY_OBJECTS

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Times are seconds since the epoch, UTC.

ASSOCIATIONS: Final = Table(
    "associations",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("calling_ae", String(16), nullable=False),
    Column("receiver", String(32), nullable=False),  # the receiver process that held it
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float, index=True),
    Column("ending", String(16)),  # released, aborted, lost (the receiver died)
    Index("ix_associations_open", "calling_ae", sqlite_where=text("closed_at IS NULL")),
)

SERIES: Final = Table(
    "series",
    METADATA,
    Column("series_uid", String(64), primary_key=True),
    Column("study_uid", String(64), nullable=False, index=True),
    Column("instances", Integer, nullable=False),
    Column(
        "frozen", Integer, nullable=False, default=0
    ),  # instances in the newest set; fewer than `instances`: work to do
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Index("ix_series_open", "first_at", sqlite_where=text("instances > frozen")),
)

INSTANCES: Final = Table(
    "instances",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False, unique=True),
    Column("sop_class_uid", String(64), nullable=False),
    Column("study_uid", String(64), nullable=False),
    Column("series_uid", String(64), nullable=False, index=True),
    Column("transfer_syntax", String(64), nullable=False),
    Column("patient_key", String(64), nullable=False),
    Column("file", String(80), nullable=False),  # in the spool; a name of ours
    Column("bytes", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),  # of the data set as received; see node.dicom.scan.Scan
    Column("pixel_sha256", String(64), nullable=False),  # of the pixel data as encoded
    Column("header", JSON, nullable=False),
    Column("association", String(32), nullable=False, index=True),
    Column("received_at", Float, nullable=False),
    Index("ix_instances_documents", "id", sqlite_where=text(f"sop_class_uid = '{KEY_OBJECTS}'")),
)

QUARANTINE: Final = Table(
    "quarantine",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("sop_instance_uid", String(64), nullable=False, index=True),
    Column("file", String(80), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("received_at", Float, nullable=False),
    UniqueConstraint("sop_instance_uid", "sha256"),
)

SETS: Final = Table(
    "sets",
    METADATA,
    Column("id", String(64), primary_key=True),  # digest of the members
    Column("series_uid", String(64), nullable=False, index=True),
    Column("version", Integer, nullable=False),  # 1, 2, ... as late slices arrive
    Column("state", String(16), nullable=False, index=True),
    Column("evidence", Text, nullable=False),
    Column("reasons", JSON, nullable=False),  # rule by rule, why it did not match
    Column("run", Integer, nullable=False, default=1),  # raised by replay
    Column("started_run", Integer, nullable=False, default=0),
    Column("urgent", Integer, nullable=False, server_default="0"),  # a triage may take it: it overtakes the others
    Column("modality", String(8), nullable=False, server_default="other", index=True),  # see node.dicom.classes
    Column("last_received_at", Float, nullable=False),
    Column("frozen_at", Float, nullable=False),
    UniqueConstraint("series_uid", "version"),
    Index(None, "frozen_at", "modality"),
    Index("ix_sets_to_start", "frozen_at", sqlite_where=text("run > started_run")),
)

MEMBERS: Final = Table(
    "members",
    METADATA,
    Column("set_id", ForeignKey("sets.id"), primary_key=True),
    Column("instance_id", ForeignKey("instances.id"), primary_key=True),
)

JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("id", String(64), primary_key=True),  # digest of set, pipeline, version, engine, parameters
    Column("set_id", ForeignKey("sets.id"), nullable=False, index=True),  # of the role that defines the grid
    Column("part", String(64), nullable=False, server_default="all"),  # which stack of the set; "all" when it is one
    Column("rule", String(32), nullable=False),
    Column("pipeline", String(64), nullable=False),
    Column("pipeline_version", String(16), nullable=False),
    Column("engine_sha256", String(64), nullable=False),
    Column("parameters", JSON, nullable=False, server_default="{}"),  # what the rule chose, settled with the headers
    Column("destinations", JSON, nullable=False),
    Column("maps", JSON, nullable=False, server_default="[]"),  # those of them that get the map, too
    Column("state", String(16), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("cause", String(32), nullable=False, server_default=text("''")),  # of a stop: a check's name or a StopCause
    Column("modality", String(8), nullable=False, server_default="other"),  # of its set
    Column("arrived_at", Float, nullable=False, server_default="0"),  # the last slice of all its sets
    Column("delivered_at", Float),  # the first time that every destination had confirmed all
    Column("started_at", Float, nullable=False),  # the job's clock: dates in derived objects come from here
    Column("updated_at", Float, nullable=False),
    Column(
        "starts", Integer, nullable=False, default=0
    ),  # how often inference began; a job that kills its worker is held
    Column("generation", Integer, nullable=False, default=0),  # DICOM_SPEC §2, rule (b)
    Column("series_number", Integer),
    Column("series_uid", String(64)),  # of the derived series
    Column("series_description", String(64)),
    Column("input_digest", String(64)),
    Column("report", JSON),
    Column("seconds", JSON, nullable=False),
    Column("first_out_at", Float),
    Column("map_series_number", Integer),
    Column(
        "unfit", JSON, nullable=False, server_default="[]"
    ),  # why a triage cannot look at it, known from its headers
    Column("numbers", JSON, nullable=False, server_default="{}"),  # Series Number of each form that a triage makes
    Index(None, "state", "pipeline", "cause"),
    Index("ix_jobs_delivered", "delivered_at", sqlite_where=text("delivered_at IS NOT NULL")),
)

# Jobs that were ever delivered, by how long they took: see turnarounds.py.
TURNAROUNDS: Final = Table(
    "turnarounds",
    METADATA,
    Column("pipeline", String(64), primary_key=True),
    Column("modality", String(8), primary_key=True),
    Column("bucket", Integer, primary_key=True, autoincrement=False),
    Column("jobs", Integer, nullable=False),
    Column("seconds", Float, nullable=False),  # of all of them together
)

# The sets of a job that takes several series. A job with one series has no row here.
JOB_SETS: Final = Table(
    "job_sets",
    METADATA,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("role", String(32), primary_key=True),
    Column("set_id", ForeignKey("sets.id"), nullable=False, index=True),
    Column("part", String(64), nullable=False),
)

# A rule whose pipeline takes several series, and a study that has some of them.
GATHERINGS: Final = Table(
    "gatherings",
    METADATA,
    Column("study_uid", String(64), primary_key=True),
    Column("rule", String(32), primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("roles", JSON, nullable=False),  # role -> {set_id, part}
    Column("since", Float, nullable=False),
    Column("reason", Text, nullable=False, default=""),
)

# What peers say of the completeness of a study or series: MPPS, Instance Availability, an archive's stable event.
EVIDENCE: Final = Table(
    "evidence",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("key", String(64), nullable=False),  # SOP Instance UID of the step, or the peer's own id
    Column("study_uid", String(64), nullable=False),
    Column("series_uid", String(64), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("instances", Integer),  # how many the series has, where the peer says so
    Column("named", JSON, nullable=False, server_default="[]"),  # SOP Instance UIDs, where the peer lists them
    Column("at", Float, nullable=False),
    UniqueConstraint("kind", "key", "series_uid"),
)

RESULTS: Final = Table(
    "results",
    METADATA,
    Column("sop_instance_uid", String(64), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False, index=True),
    Column("form", String(16), nullable=False, server_default="classic"),  # or enhanced (one of both), or map
    Column("number", Integer, nullable=False),
    Column("sop_class_uid", String(64), nullable=False),
    Column("source_sop_instance_uid", String(64), nullable=False),
    Column("file", String(160), nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
)

DISPATCHES: Final = Table(
    "dispatches",
    METADATA,
    Column("job_id", ForeignKey("jobs.id"), primary_key=True),
    Column("destination", String(32), primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("attempts", Integer, nullable=False, default=0),
    Column("refusals", Integer, nullable=False, default=0),  # attempts that met a permanent failure
    Column("run", Integer, nullable=False, default=1),  # raised by replay
    Column("since", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("trouble", Text, nullable=False, default=""),
    Column("cause", String(32), nullable=False, server_default=text("''")),  # of a dead one: a StopCause
)

DELIVERIES: Final = Table(
    "deliveries",
    METADATA,
    Column("sop_instance_uid", ForeignKey("results.sop_instance_uid"), primary_key=True),
    Column("destination", String(32), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("status", String(6), nullable=False, default=""),  # the last DIMSE status, as in 0xA700
    Column("updated_at", Float, nullable=False),
    Index(None, "job_id", "destination"),
)

# Storage commitment: what an archive was asked to vouch for (PS3.4 Annex J).
COMMITMENTS: Final = Table(
    "commitments",
    METADATA,
    Column("transaction_uid", String(64), primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("destination", String(32), nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("asked_at", Float, nullable=False),
    Column("answered_at", Float),
    Column("failures", JSON, nullable=False),  # SOP Instance UID -> Failure Reason (0008,1197)
    Index(None, "job_id", "destination"),
)

# How far a source that is polled has been read.
CURSORS: Final = Table(
    "cursors",
    METADATA,
    Column("source", String(32), primary_key=True),
    Column("position", String(64), nullable=False),
    Column("at", Float, nullable=False),
)

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", String(64), nullable=False, index=True),
    Column("detail", JSON, nullable=False),
)
