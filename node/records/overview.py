"""Counts over the records, for metrics, readiness and the command line. Every state is there, also with 0."""

from sqlalchemy import Connection, Table, func, select

from node.records.states import ARRIVED, JobState, SetState
from node.records.tables import DELIVERIES, JOBS, QUARANTINE, SERIES, SETS

STAGES = ("route", "prepare", "infer", "check", "derive", "deliver")


def sets(connection: Connection) -> dict[str, float]:
    rows = connection.execute(select(SETS.c.state, func.count()).group_by(SETS.c.state)).all()
    return dict.fromkeys(SetState, 0.0) | {row[0]: float(row[1]) for row in rows}


def jobs(connection: Connection) -> dict[str, float]:
    rows = connection.execute(select(JOBS.c.state, func.count()).group_by(JOBS.c.state)).all()
    return dict.fromkeys(JobState, 0.0) | {row[0]: float(row[1]) for row in rows}


def queue(connection: Connection) -> dict[str, float]:
    """Jobs that are not finished, by the stage they are in."""
    unfinished = (JobState.QUEUED, JobState.RELEASED, JobState.RUNNING, JobState.DELIVERING)
    query = select(JOBS.c.stage, func.count()).where(JOBS.c.state.in_(unfinished)).group_by(JOBS.c.stage)
    return dict.fromkeys(STAGES, 0.0) | {row[0]: float(row[1]) for row in connection.execute(query).all()}


def undelivered(connection: Connection) -> dict[str, float]:
    query = (
        select(DELIVERIES.c.destination, func.count())
        .where(DELIVERIES.c.state.not_in(ARRIVED))
        .group_by(DELIVERIES.c.destination)
    )
    return {row[0]: float(row[1]) for row in connection.execute(query).all()}


def open_series(connection: Connection) -> float:
    query = select(func.count()).select_from(SERIES).where(SERIES.c.instances > SERIES.c.frozen)
    return float(connection.execute(query).scalar_one())


def quarantined(connection: Connection) -> float:
    return float(_count(connection, QUARANTINE))


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
