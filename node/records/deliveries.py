"""What is on its way where: one dispatch for each job and destination, one delivery for each instance of it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Integer, cast, func, select, update
from sqlalchemy.dialects.sqlite import insert

from node.records import events, restored, turnarounds
from node.records.states import ARRIVED, DeliveryState, DispatchState, JobState, StopCause
from node.records.tables import DELIVERIES, DISPATCHES, JOBS, RESULTS


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One derived object that a destination has not confirmed. `state`: PENDING, SENT (no answer known) or FAILED.

    form: of its series; each has one of its own
    """

    sop_instance_uid: str
    sop_class_uid: str
    file: str
    sha256: str
    state: DeliveryState
    form: str = "classic"


def unconfirmed(connection: Connection, job_id: str, destination: str) -> list[Parcel]:
    """What is still to be delivered, in series order."""
    columns = (
        RESULTS.c.sop_instance_uid,
        RESULTS.c.sop_class_uid,
        RESULTS.c.file,
        RESULTS.c.sha256,
        RESULTS.c.form,
        DELIVERIES.c.state,
    )
    rows = connection.execute(
        select(*columns)
        .join(RESULTS, RESULTS.c.sop_instance_uid == DELIVERIES.c.sop_instance_uid)
        .where(
            DELIVERIES.c.job_id == job_id,
            DELIVERIES.c.destination == destination,
            DELIVERIES.c.state.not_in(ARRIVED),
        )
        .order_by(RESULTS.c.number)
    )
    return [Parcel(**{**row, "state": DeliveryState(row["state"])}) for row in rows.mappings().all()]


def mark(
    connection: Connection, uids: list[str], destination: str, *, state: DeliveryState, at: float, status: str = ""
) -> None:
    connection.execute(
        update(DELIVERIES)
        .where(DELIVERIES.c.sop_instance_uid.in_(uids), DELIVERIES.c.destination == destination)
        .values(state=state, status=status, updated_at=at)
    )


def dispatch(connection: Connection, job_id: str, destination: str) -> dict[str, Any]:
    query = select(DISPATCHES).where(DISPATCHES.c.job_id == job_id, DISPATCHES.c.destination == destination)
    return dict(connection.execute(query).mappings().one())


def of_job(connection: Connection, job_id: str) -> list[dict[str, Any]]:
    """Every destination of a job, with how many instances it confirmed."""
    confirmed = func.sum(cast(DELIVERIES.c.state.in_(ARRIVED), Integer))
    rows = connection.execute(
        select(DISPATCHES, func.count().label("instances"), confirmed.label("confirmed"))
        .join(
            DELIVERIES,
            (DELIVERIES.c.job_id == DISPATCHES.c.job_id) & (DELIVERIES.c.destination == DISPATCHES.c.destination),
        )
        .where(DISPATCHES.c.job_id == job_id)
        .group_by(DISPATCHES.c.job_id, DISPATCHES.c.destination)
    )
    return [dict(row) for row in rows.mappings().all()]


def attempted(
    connection: Connection, job_id: str, destination: str, *, trouble: str, refused: bool, number: int, at: float
) -> None:
    """Note attempt `number`; noting it twice is noting it once. `refused`: it met a permanent failure."""
    connection.execute(
        update(DISPATCHES)
        .where(DISPATCHES.c.job_id == job_id, DISPATCHES.c.destination == destination)
        .values(
            attempts=number,
            refusals=DISPATCHES.c.refusals + int(refused),
            trouble=trouble,
            updated_at=at,
        )
    )


def end(
    connection: Connection,
    job_id: str,
    destination: str,
    *,
    state: DispatchState,
    cause: StopCause = StopCause.UNKNOWN,
    at: float,
) -> None:
    """Close a dispatch and, with its last one, the job. `cause`: of a dead one.

    A job counts as delivered once: what is added later, such as the note that takes a verdict back, moves no time.
    """
    connection.execute(
        update(DISPATCHES)
        .where(DISPATCHES.c.job_id == job_id, DISPATCHES.c.destination == destination)
        .values(state=state, cause=cause if state is DispatchState.DEAD else "", updated_at=at)
    )
    events.add(connection, at=at, kind=state.value, subject=job_id, destination=destination)
    close(connection, job_id, at=at)


def close(connection: Connection, job_id: str, *, at: float) -> None:
    """End a job whose every dispatch has ended, as the last one did; one that was made again may have none left."""
    query = select(DISPATCHES).where(DISPATCHES.c.job_id == job_id).order_by(DISPATCHES.c.destination)
    rows = connection.execute(query).all()
    if not rows or any(row.state == DispatchState.WAITING for row in rows):
        return
    dead = [row for row in rows if row.state == DispatchState.DEAD]
    reason = "; ".join(f"{row.destination}: {row.trouble}" for row in dead)
    values: dict[str, Any] = {"state": JobState.DELIVERED, "reason": reason, "cause": "", "updated_at": at}
    if dead:
        values |= {"state": JobState.DEAD, "cause": dead[0].cause or StopCause.UNKNOWN}
    else:
        turnarounds.note(connection, job_id, at=at)
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(values))


def to_resume(connection: Connection) -> list[tuple[str, str, int, int]]:
    """Every dispatch that waits: (job, destination, run, number of its next attempt)."""
    rows = connection.execute(select(DISPATCHES).where(DISPATCHES.c.state == DispatchState.WAITING)).mappings().all()
    return [(row["job_id"], row["destination"], row["run"], row["attempts"] + 1) for row in rows]


def end_unknown(connection: Connection, destinations: Collection[str], *, at: float) -> int:
    """Make dead letters of what waits for a destination that the settings no longer name. Returns how many."""
    gone = [row for row in to_resume(connection) if row[1] not in destinations]
    trouble = "The settings no longer name this destination; add it again, then replay."
    for job_id, destination, _, number in gone:
        attempted(connection, job_id, destination, trouble=trouble, refused=False, number=number, at=at)
        end(connection, job_id, destination, state=DispatchState.DEAD, cause=StopCause.NO_DESTINATION, at=at)
    return len(gone)


def add(connection: Connection, job_id: str, result: Mapping[str, Any], *, at: float) -> None:
    """One more object of a job, to go wherever its others went or are to go. Twice is once.

    result: columns of RESULTS without job_id and number
    """
    last = connection.execute(select(func.max(RESULTS.c.number)).where(RESULTS.c.job_id == job_id)).scalar_one() or 0
    row = {**result, "job_id": job_id, "number": last + 1}
    if not connection.execute(insert(RESULTS).values(row).on_conflict_do_nothing()).rowcount:
        return
    for one in connection.execute(select(DISPATCHES).where(DISPATCHES.c.job_id == job_id)).mappings().all():
        parcel = {"sop_instance_uid": row["sop_instance_uid"], "destination": one["destination"], "job_id": job_id}
        first = restored.first_state(connection, job_id, at=at)
        connection.execute(DELIVERIES.insert().values(**parcel, state=first, updated_at=at))
        if one["state"] != DispatchState.WAITING:
            connection.execute(
                update(DISPATCHES)
                .where(DISPATCHES.c.job_id == job_id, DISPATCHES.c.destination == one["destination"])
                .values(state=DispatchState.WAITING, refusals=0, run=DISPATCHES.c.run + 1, since=at, updated_at=at)
            )
    connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(state=JobState.DELIVERING, updated_at=at))


def replay(connection: Connection, job_id: str, *, at: float) -> list[str]:
    """Send dead letters again, with the same UIDs. Returns the destinations."""
    query = select(DISPATCHES.c.destination).where(
        DISPATCHES.c.job_id == job_id, DISPATCHES.c.state == DispatchState.DEAD
    )
    destinations = list(connection.execute(query).scalars().all())
    for destination in destinations:
        connection.execute(  # a person decided
            update(DELIVERIES)
            .where(
                DELIVERIES.c.job_id == job_id,
                DELIVERIES.c.destination == destination,
                DELIVERIES.c.state == DeliveryState.DOUBTED,
            )
            .values(state=DeliveryState.SENT, updated_at=at)
        )
        connection.execute(
            update(DISPATCHES)
            .where(DISPATCHES.c.job_id == job_id, DISPATCHES.c.destination == destination)
            .values(state=DispatchState.WAITING, refusals=0, run=DISPATCHES.c.run + 1, since=at, updated_at=at)
        )
        events.add(connection, at=at, kind="replay", subject=job_id, destination=destination)
    if destinations:
        connection.execute(
            update(JOBS).where(JOBS.c.id == job_id).values(state=JobState.DELIVERING, reason="", updated_at=at)
        )
    return destinations
