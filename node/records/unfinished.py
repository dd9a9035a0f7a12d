"""Work that is under way, told from the records alone: what DBOS knows of it is bookkeeping and may be gone.

A set whose run is raised is started again by the worker's next look, as `imaging-node replay` has it: its finished jobs
stay as they are, the others begin anew.
"""

from collections.abc import Collection

from sqlalchemy import Connection, select, update

from node.records import events
from node.records.states import JobState, SetState
from node.records.tables import JOB_SETS, JOBS, SETS

_UNDER_WAY = (JobState.QUEUED, JobState.RUNNING)
_STARTED = SETS.c.run <= SETS.c.started_run


def sets(connection: Connection) -> dict[str, set[str]]:
    """Sets that were started and have something unfinished -> ids of the jobs; none of them: it is not routed."""
    found: dict[str, set[str]] = {
        set_id: set()
        for set_id in connection.execute(select(SETS.c.id).where(_STARTED, SETS.c.state == SetState.FROZEN)).scalars()
    }
    for query in (
        select(JOBS.c.set_id, JOBS.c.id).join(SETS, SETS.c.id == JOBS.c.set_id),
        select(JOB_SETS.c.set_id, JOBS.c.id)
        .join(JOBS, JOBS.c.id == JOB_SETS.c.job_id)
        .join(SETS, SETS.c.id == JOB_SETS.c.set_id),
    ):
        for set_id, job_id in connection.execute(query.where(_STARTED, JOBS.c.state.in_(_UNDER_WAY))):
            found.setdefault(set_id, set()).add(job_id)
    return found


def begin_anew(connection: Connection, set_ids: Collection[str], *, why: str, at: float) -> None:
    """Have the worker start these sets again. why: for the audit trail"""
    for set_id in sorted(set_ids):
        done = connection.execute(update(SETS).where(SETS.c.id == set_id, _STARTED).values(run=SETS.c.started_run + 1))
        if done.rowcount:
            events.add(connection, at=at, kind="begun anew", subject=set_id, why=why)
