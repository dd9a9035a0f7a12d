"""Instances as they come in, for work that need not wait until their series is complete."""

from sqlalchemy import Connection, func, select

from node.records.instances import Instance, from_row
from node.records.states import JobState, SetState
from node.records.tables import INSTANCES, JOBS, SERIES, SETS

_UNMADE = (JobState.QUEUED, JobState.RUNNING)


def first_open(connection: Connection) -> int:
    """The row before the first instance that belongs to no set yet; that of the newest instance if there is none."""
    found = connection.execute(
        select(func.min(INSTANCES.c.id))
        .join(SERIES, SERIES.c.series_uid == INSTANCES.c.series_uid)
        .where(SERIES.c.instances > SERIES.c.frozen)
    ).scalar_one()
    if found is not None:
        return int(found) - 1
    return int(connection.execute(select(func.coalesce(func.max(INSTANCES.c.id), 0))).scalar_one())


def after(connection: Connection, row: int, *, limit: int) -> list[tuple[int, Instance]]:
    """(row, instance) of what came after `row`, in order of arrival."""
    rows = connection.execute(select(INSTANCES).where(INSTANCES.c.id > row).order_by(INSTANCES.c.id).limit(limit))
    return [(found["id"], from_row(found)) for found in rows.mappings().all()]


def busy(connection: Connection) -> set[str]:
    """The series that may still get slices, or have a set that is not routed or a job without a result."""
    still_open = select(SERIES.c.series_uid).where(SERIES.c.instances > SERIES.c.frozen)
    unrouted = select(SETS.c.series_uid).where((SETS.c.state == SetState.FROZEN) | (SETS.c.run > SETS.c.started_run))
    unmade = select(SETS.c.series_uid).join(JOBS, JOBS.c.set_id == SETS.c.id).where(JOBS.c.state.in_(_UNMADE))
    return set(connection.execute(still_open.union(unrouted, unmade)).scalars().all())
