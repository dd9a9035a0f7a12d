"""Counts over the records, for metrics, readiness and the command line. Every state is there, also with 0.

All of it is asked for at every scrape: each query is answered by an index, whatever the records hold.
"""

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, Table, func, select

from node.dicom.classes import MODALITIES, OTHER_MODALITY
from node.records.states import ARRIVED, STOPS, DispatchState, JobState, SetState, StopCause
from node.records.tables import DELIVERIES, DISPATCHES, JOBS, QUARANTINE, SERIES, SETS
from node.records.worklist_tables import TRIAGES

STAGES = ("route", "prepare", "infer", "check", "derive", "deliver")
_UNFINISHED = (JobState.QUEUED, JobState.RELEASED, JobState.RUNNING, JobState.DELIVERING)
_UNMADE = (JobState.QUEUED, JobState.RELEASED, JobState.RUNNING)

ByLabels = dict[tuple[str, ...], float]


def sets(connection: Connection) -> dict[str, float]:
    rows = connection.execute(select(SETS.c.state, func.count()).group_by(SETS.c.state)).all()
    return dict.fromkeys(SetState, 0.0) | {row[0]: float(row[1]) for row in rows}


def received(connection: Connection) -> dict[str, float]:
    """Sets that were ever complete, by modality."""
    rows = connection.execute(select(SETS.c.modality, func.count()).group_by(SETS.c.modality)).all()
    return dict.fromkeys((*MODALITIES, OTHER_MODALITY), 0.0) | {row[0]: float(row[1]) for row in rows}


def jobs(connection: Connection) -> dict[str, float]:
    rows = connection.execute(select(JOBS.c.state, func.count()).group_by(JOBS.c.state)).all()
    return dict.fromkeys(JobState, 0.0) | {row[0]: float(row[1]) for row in rows}


def jobs_by_pipeline(connection: Connection, pipelines: Iterable[str]) -> tuple[ByLabels, ByLabels]:
    """Jobs by (state, pipeline), and those that were stopped by (state, cause, pipeline).

    pipelines: that are shown though they have no job
    """
    key = (JOBS.c.state, JOBS.c.pipeline, JOBS.c.cause)
    states: ByLabels = {(state.value, name): 0.0 for name in pipelines for state in JobState}
    stopped: ByLabels = {
        (state.value, cause.value, name): 0.0 for name in pipelines for state, some in STOPS.items() for cause in some
    }
    for state, pipeline, cause, count in connection.execute(select(*key, func.count()).group_by(*key)).all():
        states[state, pipeline] = states.get((state, pipeline), 0.0) + count
        if state in STOPS:
            label = (state, cause or StopCause.UNKNOWN.value, pipeline)
            stopped[label] = stopped.get(label, 0.0) + count
    return states, stopped


def queue(connection: Connection, pipelines: Iterable[str] = ()) -> ByLabels:
    """Jobs that are not finished, by (stage they are in, pipeline). `pipelines`: as above."""
    key = (JOBS.c.stage, JOBS.c.pipeline)
    found: ByLabels = {(stage, name): 0.0 for name in pipelines for stage in STAGES}
    rows = connection.execute(select(*key, func.count()).where(JOBS.c.state.in_(_UNFINISHED)).group_by(*key)).all()
    return found | {(row[0], row[1]): float(row[2]) for row in rows}


def waiting_s(connection: Connection, *, now: float) -> dict[str, float]:
    """By stage, for how many seconds nothing has happened to what has rested longest there; 0 where nothing waits.

    Series that are not complete count from their last slice, sets that are not routed from when they were complete.
    """
    since = dict.fromkeys(("assemble", *STAGES), now)
    query = select(JOBS.c.stage, func.min(JOBS.c.updated_at)).where(JOBS.c.state.in_(_UNFINISHED))
    for stage, at in connection.execute(query.group_by(JOBS.c.stage)).all():
        since[stage] = float(at)
    open_at = select(func.min(SERIES.c.last_at)).where(SERIES.c.instances > SERIES.c.frozen)
    frozen_at = select(func.min(SETS.c.frozen_at)).where(SETS.c.state == SetState.FROZEN)
    for stage, oldest in (("assemble", open_at), ("route", frozen_at)):
        found = connection.execute(oldest).scalar_one()
        since[stage] = min(since[stage], now if found is None else float(found))
    return {stage: max(now - at, 0.0) for stage, at in since.items()}  # a clock that was set back: nothing waits


def undelivered(connection: Connection, destinations: Iterable[str]) -> dict[str, float]:
    """Derived instances on their way that are not confirmed yet, by destination; dead letters are not on their way."""
    query = (
        select(DISPATCHES.c.destination, func.count())
        .join(
            DELIVERIES,
            (DELIVERIES.c.job_id == DISPATCHES.c.job_id) & (DELIVERIES.c.destination == DISPATCHES.c.destination),
        )
        .where(DISPATCHES.c.state == DispatchState.WAITING, DELIVERIES.c.state.not_in(ARRIVED))
        .group_by(DISPATCHES.c.destination)
    )
    return dict.fromkeys(destinations, 0.0) | {row[0]: float(row[1]) for row in connection.execute(query).all()}


def undelivered_s(
    connection: Connection, destinations: Iterable[str], *, now: float, paused: Collection[str] = ()
) -> dict[str, float]:
    """Age of the oldest result that a destination has not confirmed, in seconds; 0 if there is none.

    paused: pipelines whose results stay here because a person wants it
    """
    query = select(DISPATCHES.c.destination, func.min(DISPATCHES.c.since)).where(
        DISPATCHES.c.state == DispatchState.WAITING
    )
    if paused:
        query = query.join(JOBS, JOBS.c.id == DISPATCHES.c.job_id).where(JOBS.c.pipeline.not_in(list(paused)))
    rows = connection.execute(query.group_by(DISPATCHES.c.destination)).all()
    return dict.fromkeys(destinations, 0.0) | {row[0]: max(now - float(row[1]), 0.0) for row in rows}


def untriaged_s(connection: Connection, triages: Collection[str], *, now: float) -> float:
    """Seconds since the last slice of what has waited longest for the verdict of a triage; 0 if nothing does.

    triages: pipelines that triage
    """
    unrouted = select(func.min(SETS.c.last_received_at)).where(SETS.c.state == SetState.FROZEN, SETS.c.urgent == 1)
    unmade = (
        select(func.min(JOBS.c.arrived_at))
        .outerjoin(TRIAGES, TRIAGES.c.job_id == JOBS.c.id)
        .where(JOBS.c.state.in_(_UNMADE), JOBS.c.pipeline.in_(list(triages)), TRIAGES.c.job_id.is_(None))
    )
    found = [at for query in (unrouted, unmade) if (at := connection.execute(query).scalar_one()) is not None]
    return max(now - min(found), 0.0) if found else 0.0


def open_series(connection: Connection) -> float:
    query = select(func.count()).select_from(SERIES).where(SERIES.c.instances > SERIES.c.frozen)
    return float(connection.execute(query).scalar_one())


def quarantined(connection: Connection) -> float:
    return float(_count(connection, QUARANTINE))


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
