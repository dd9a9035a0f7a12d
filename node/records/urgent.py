"""What is under way in the urgent line, from a frozen set to the verdicts of its jobs."""

from collections.abc import Collection

from sqlalchemy import Connection, case, func, select

from node.records.states import JobState, SetState
from node.records.tables import JOBS, SETS

_UNDER_WAY = (JobState.QUEUED, JobState.RUNNING, JobState.RELEASED)


def under_way(connection: Connection, pipelines: Collection[str]) -> dict[str, float]:
    """Set -> since when nothing has happened to it, seconds since the epoch.

    pipelines: those that triage
    """
    unrouted = select(SETS.c.id, SETS.c.frozen_at).where(SETS.c.urgent == 1, SETS.c.state == SetState.FROZEN)
    moved_at = case((JOBS.c.updated_at > SETS.c.frozen_at, JOBS.c.updated_at), else_=SETS.c.frozen_at)
    unmade = (
        select(SETS.c.id, func.min(moved_at))
        .join(JOBS, JOBS.c.set_id == SETS.c.id)
        .where(JOBS.c.pipeline.in_(pipelines), JOBS.c.state.in_(_UNDER_WAY))
        .group_by(SETS.c.id)
    )
    found = [*connection.execute(unrouted).all(), *connection.execute(unmade).all()]
    return {row[0]: float(row[1]) for row in found}
