"""Pipelines that a person has paused. What comes in is taken and waits; nothing of them is made or leaves.

A pause is an event, so that who paused what, why and until when stays in the audit trail. The newest event counts.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select, update

from node.errors import Paused
from node.records import events
from node.records.states import DispatchState, JobState
from node.records.tables import DISPATCHES, EVENTS, JOBS
from node.records.worklist_tables import TRIAGES

_PAUSED: Final = "paused"
_RESUMED: Final = "resumed"
_SUBJECT: Final = "pipeline "
_AFTER_EVERY_SUBJECT: Final = "pipeline!"  # "!" follows the blank
_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A pipeline that stands still. `since`: seconds since the epoch."""

    pipeline: str
    since: float
    by: str
    why: str


def pause(connection: Connection, pipeline: str, *, by: str, why: str, at: float) -> None:
    """From the next stage on nothing of this pipeline is made, and from the next attempt on nothing of it is sent."""
    events.add(connection, at=at, kind=_PAUSED, subject=_SUBJECT + pipeline, by=by, why=why)


def resume(connection: Connection, pipeline: str, *, by: str, why: str, at: float) -> None:
    """It goes on. The hours for which destinations are tried begin anew: nobody tried them meanwhile."""
    events.add(connection, at=at, kind=_RESUMED, subject=_SUBJECT + pipeline, by=by, why=why)
    mine = select(JOBS.c.id).where(JOBS.c.pipeline == pipeline, JOBS.c.state == JobState.DELIVERING)
    connection.execute(
        update(DISPATCHES)
        .where(DISPATCHES.c.state == DispatchState.WAITING, DISPATCHES.c.job_id.in_(mine))
        .values(since=at)
    )


def every(connection: Connection) -> list[Pause]:
    """What stands still now, by name."""
    mine = EVENTS.c.subject.between(_SUBJECT, _AFTER_EVERY_SUBJECT)
    newest = select(func.max(EVENTS.c.id)).where(mine).group_by(EVENTS.c.subject)
    query = select(EVENTS).where(EVENTS.c.id.in_(newest), EVENTS.c.kind == _PAUSED).order_by(EVENTS.c.subject)
    return [
        Pause(
            pipeline=row["subject"].removeprefix(_SUBJECT),
            since=row["at"],
            by=row["detail"]["by"],
            why=row["detail"]["why"],
        )
        for row in connection.execute(query).mappings().all()
    ]


def is_paused(connection: Connection, pipeline: str) -> bool:
    """Whether a person has paused a pipeline."""
    query = select(EVENTS.c.kind).where(EVENTS.c.subject == _SUBJECT + pipeline).order_by(EVENTS.c.id.desc()).limit(1)
    return bool(connection.execute(query).scalar_one_or_none() == _PAUSED)


def require_going(connection: Connection, pipeline: str) -> None:
    """Raises Paused if a person has paused a pipeline."""
    if is_paused(connection, pipeline):
        raise Paused(f"The pipeline {pipeline} is paused.", fix="The job goes on after `imaging-node resume`.")


def keeps_back(connection: Connection, job_id: str) -> bool:
    """Whether what a job made stays here. The note that takes a withdrawn verdict back leaves in any case."""
    pipeline = connection.execute(select(JOBS.c.pipeline).where(JOBS.c.id == job_id)).scalar_one()
    if not is_paused(connection, pipeline):
        return False
    withdrawn = select(TRIAGES.c.job_id).where(TRIAGES.c.job_id == job_id, TRIAGES.c.withdrawn_at.is_not(None))
    return connection.execute(withdrawn).first() is None


def to_go_on(connection: Connection) -> list[tuple[str, int, float]]:
    """Jobs that wait though their pipeline goes on, the oldest first, 500 at most.

    returns: (id, how often each was paused, when it last was)
    """
    standing = [one.pipeline for one in every(connection)]
    query = (
        select(JOBS.c.id, JOBS.c.updated_at)
        .where(JOBS.c.state == JobState.PAUSED, JOBS.c.pipeline.not_in(standing))
        .order_by(JOBS.c.updated_at)
        .limit(_AT_ONCE)
    )
    return [(row.id, _times(connection, row.id), row.updated_at) for row in connection.execute(query).all()]


def gone_on(connection: Connection, job_id: str, *, paused_at: float, at: float) -> None:
    """A job was queued again; nothing changes if it was paused once more since."""
    connection.execute(
        update(JOBS)
        .where(JOBS.c.id == job_id, JOBS.c.state == JobState.PAUSED, JOBS.c.updated_at == paused_at)
        .values(state=JobState.QUEUED, reason="", updated_at=at)
    )


def _times(connection: Connection, job_id: str) -> int:
    return sum(event["kind"] == _PAUSED for event in events.of(connection, job_id))
