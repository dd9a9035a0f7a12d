"""What may be removed from the disk because nobody needs its files any more. Records stay."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, exists, func, or_, select, update

from node.records import events
from node.records.states import GatheringState, JobState, SetState
from node.records.tables import GATHERINGS, INSTANCES, JOB_SETS, JOBS, SERIES, SETS

# Ended, and nobody has to look: what was made arrived everywhere, or nothing was made and never will be.
_DONE = (JobState.DELIVERED, JobState.REFUSED, JobState.DISCARDED)
_OPEN_GATHERINGS = (GatheringState.WAITING, GatheringState.READY, GatheringState.HELD)


@dataclass(frozen=True, kw_only=True)
class Purge:
    """The files of one series: names of received ones, ids of the jobs whose results and arrays go, bytes received."""

    series_uid: str
    files: tuple[str, ...]
    jobs: tuple[str, ...]
    bytes: int


def due(connection: Connection, *, before: float) -> list[str]:
    """Series that came, and whose jobs all ended well, before that time; those that rest longest first."""
    query = select(SERIES.c.series_uid).where(_is_due(before)).order_by(SERIES.c.last_at)
    return list(connection.execute(query).scalars().all())


def of_series(connection: Connection, series_uid: str, *, before: float) -> Purge | None:
    """What is to be removed of a series; None if it is not due (any more)."""
    query = select(SERIES.c.series_uid).where(_is_due(before), SERIES.c.series_uid == series_uid)
    if connection.execute(query).first() is None:
        return None
    mine = INSTANCES.c.series_uid == series_uid, INSTANCES.c.file != ""
    files = tuple(connection.execute(select(INSTANCES.c.file).where(*mine)).scalars().all())
    size = connection.execute(select(func.sum(INSTANCES.c.bytes)).where(*mine)).scalar_one()
    made = select(JOBS.c.id).join(SETS, SETS.c.id == JOBS.c.set_id).where(SETS.c.series_uid == series_uid)
    return Purge(
        series_uid=series_uid,
        files=files,
        jobs=tuple(connection.execute(made).scalars().all()),
        bytes=int(size or 0),
    )


def note(connection: Connection, purge: Purge, *, at: float) -> None:
    """The files are gone. Their records say so; the same bytes bring them back when they come again."""
    connection.execute(update(INSTANCES).where(INSTANCES.c.series_uid == purge.series_uid).values(file=""))
    events.add(
        connection, at=at, kind="purged", subject=purge.series_uid, instances=len(purge.files), bytes=purge.bytes
    )


def _is_due(before: float) -> ColumnElement[bool]:
    here = SETS.c.series_uid == SERIES.c.series_uid
    unfinished = or_(JOBS.c.state.not_in(_DONE), JOBS.c.updated_at >= before)
    kept = exists().where(INSTANCES.c.series_uid == SERIES.c.series_uid, INSTANCES.c.file != "")
    waits = exists().where(
        here, or_(SETS.c.state.in_((SetState.FROZEN, SetState.FAILED)), SETS.c.started_run < SETS.c.run)
    )
    works = exists().where(here, JOBS.c.set_id == SETS.c.id, unfinished)
    takes_part = exists().where(here, JOB_SETS.c.set_id == SETS.c.id, JOBS.c.id == JOB_SETS.c.job_id, unfinished)
    gathers = exists().where(GATHERINGS.c.study_uid == SERIES.c.study_uid, GATHERINGS.c.state.in_(_OPEN_GATHERINGS))
    complete = SERIES.c.instances <= SERIES.c.frozen
    return complete & (SERIES.c.last_at < before) & kept & ~waits & ~works & ~takes_part & ~gathers
