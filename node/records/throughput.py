"""What a person asks of a running node: how many series, how fast, what waits, what was stopped and why.

Hours are counted back from now in seconds since the epoch, so that the hours of a night in which the clocks change are
all there, each once. What lies in the future, because the clock was set back since, belongs to the newest hour.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, select

from node.records import overview
from node.records.states import UNDELIVERED, DispatchState, JobState, SetState, StopCause
from node.records.tables import DISPATCHES, JOBS, SETS
from node.records.worklist_tables import NOTICES, TRIAGES

HOUR_S: Final = 3600.0
STAGES: Final = ("assemble", "prepare", "infer", "check", "derive", "deliver")
_STOPPED: Final = (JobState.DEAD, JobState.FAILED, JobState.HELD, JobState.PAUSED)
_MOST: Final = 100_000  # of the newest jobs of a window; more say nothing else about a percentile


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of how many, and two of their percentiles; seconds."""

    count: int
    median_s: float
    p95_s: float


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Series of one kind, hour by hour, the newest hour last. `pipeline`: empty for those that came in."""

    modality: str
    pipeline: str
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was delivered in a window: by hour, and how long it took by pipeline and by stage."""

    hours: tuple[Hours, ...]
    turnaround: dict[str, Spread]
    stages: dict[str, Spread]


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What is not done, by the stage that it is in. `oldest_s`: for how long nothing has happened to one of it."""

    stage: str
    count: int
    oldest_s: float


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Jobs that go no further by themselves, by why. `job`: the newest of them; `since_s`: when it was stopped."""

    state: str
    pipeline: str
    cause: str
    count: int
    job: str
    reason: str
    since_s: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """What waits for one destination. Seconds ago; `trouble` is of the newest attempt, empty if it went well."""

    destination: str
    jobs: int
    instances: int
    oldest_s: float
    troubled_s: float
    trouble: str


@dataclass(frozen=True, kw_only=True)
class Triage:
    """Verdicts of a window by flag, and what is due. Seconds ago; 0 if nothing waits."""

    verdicts: dict[str, int]
    to_verdict: Spread | None
    waiting: int
    oldest_s: float
    not_acknowledged: int
    oldest_notice_s: float


def percentile(values: Sequence[float], share: float) -> float:
    """Between the two nearest of sorted values, as numpy has it by default. share: 0 to 1; there is a value."""
    place = share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (values[above] - values[below]) * (place - below)


def spread(values: Iterable[float]) -> Spread | None:
    """None without a value. What a clock that was set back makes negative counts as 0."""
    known = sorted(max(value, 0.0) for value in values)
    return Spread(count=len(known), median_s=percentile(known, 0.5), p95_s=percentile(known, 0.95)) if known else None


def hours(moments: Iterable[tuple[str, str, float]], *, now: float, window: int) -> tuple[Hours, ...]:
    """Count by hour.

    moments: modality, pipeline and time of each
    window:  hours that are looked at
    """
    found: dict[tuple[str, str], list[int]] = {}
    for modality, pipeline, at in moments:
        ago = max(0, int((now - at) // HOUR_S))
        if ago < window:
            found.setdefault((modality, pipeline), [0] * window)[window - 1 - ago] += 1
    return tuple(
        Hours(modality=modality, pipeline=pipeline, counts=tuple(counts))
        for (modality, pipeline), counts in sorted(found.items())
    )


def received(connection: Connection, *, now: float, window: int) -> tuple[Hours, ...]:
    """Series that became complete, by modality."""
    query = select(SETS.c.modality, SETS.c.frozen_at).where(SETS.c.frozen_at > now - window * HOUR_S)
    rows = connection.execute(query).all()
    return hours(((row.modality, "", row.frozen_at) for row in rows), now=now, window=window)


def made(connection: Connection, *, now: float, window: int) -> Made:
    """What reached every destination, and the seconds from the last slice in to the last confirmation."""
    since = now - window * HOUR_S
    first = select(func.min(DISPATCHES.c.since)).where(DISPATCHES.c.job_id == JOBS.c.id).scalar_subquery()
    columns = (JOBS.c.modality, JOBS.c.pipeline, JOBS.c.arrived_at, JOBS.c.delivered_at, JOBS.c.seconds)
    query = (
        select(*columns, SETS.c.last_received_at, SETS.c.frozen_at, first.label("derived_at"))
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .where(JOBS.c.delivered_at.is_not(None), JOBS.c.delivered_at > since)
        .order_by(JOBS.c.delivered_at.desc())
        .limit(_MOST)
    )
    rows = connection.execute(query).all()
    took: dict[str, list[float]] = {}
    by_stage: dict[str, list[float]] = {name: [] for name in STAGES}
    for row in rows:
        arrived_at = row.last_received_at if row.arrived_at is None else row.arrived_at
        took.setdefault(row.pipeline, []).append(row.delivered_at - arrived_at)
        for stage, seconds in _seconds(row).items():
            by_stage[stage].append(seconds)
    return Made(
        hours=hours(((row.modality, row.pipeline, row.delivered_at) for row in rows), now=now, window=window),
        turnaround={name: found for name, some in sorted(took.items()) if (found := spread(some))},
        stages={name: found for name, some in by_stage.items() if (found := spread(some))},
    )


def _seconds(row: Any) -> dict[str, float]:
    """The seconds of each stage that the records know of."""
    known = {name: float(row.seconds[name]) for name in STAGES if name in row.seconds}
    known["assemble"] = row.frozen_at - row.last_received_at
    if row.derived_at is not None:
        known["deliver"] = row.delivered_at - row.derived_at
    return known


def waiting(connection: Connection, *, now: float) -> tuple[Waiting, ...]:
    """What is on its way, in the order of the flow: series that are not complete, sets that wait for routing, jobs."""
    counts = {"assemble": overview.open_series(connection), "route": overview.sets(connection)[SetState.FROZEN]}
    for (stage, _), count in overview.queue(connection).items():
        counts[stage] = counts.get(stage, 0.0) + count
    oldest = overview.waiting_s(connection, now=now)
    return tuple(
        Waiting(stage=stage, count=int(counts[stage]), oldest_s=oldest[stage]) for stage in oldest if counts.get(stage)
    )


def stopped(connection: Connection, *, now: float, window: int) -> tuple[Stopped, ...]:
    """Jobs that a person has to look at, the most urgent state first; refused ones of the window only."""
    found = []
    for state in (*_STOPPED, JobState.REFUSED):
        here = [JOBS.c.state == state]
        if state is JobState.REFUSED:
            here.append(JOBS.c.updated_at > now - window * HOUR_S)
        kinds = select(JOBS.c.pipeline, JOBS.c.cause, func.count()).where(*here)
        for pipeline, cause, count in connection.execute(kinds.group_by(JOBS.c.pipeline, JOBS.c.cause)).all():
            newest = select(JOBS.c.id, JOBS.c.reason, JOBS.c.updated_at)
            newest = newest.where(*here, JOBS.c.pipeline == pipeline, JOBS.c.cause == cause)
            one = connection.execute(newest.order_by(JOBS.c.updated_at.desc()).limit(1)).one()
            found.append(
                Stopped(
                    state=str(state),
                    pipeline=pipeline,
                    cause=cause or StopCause.UNKNOWN,
                    count=count,
                    job=one.id,
                    reason=one.reason,
                    since_s=_ago(now, one.updated_at),
                )
            )
    return tuple(found)


def lines(connection: Connection, *, now: float) -> dict[str, Line]:
    """What waits for which destination."""
    query = select(DISPATCHES).where(DISPATCHES.c.state == DispatchState.WAITING).order_by(DISPATCHES.c.updated_at)
    instances = overview.undelivered(connection, ())
    found: dict[str, list[Any]] = {}
    for row in connection.execute(query).all():
        found.setdefault(row.destination, []).append(row)
    return {
        name: Line(
            destination=name,
            jobs=len(rows),
            instances=int(instances.get(name, 0)),
            oldest_s=_ago(now, min(row.since for row in rows)),
            troubled_s=_ago(now, min((row.since for row in rows if row.trouble), default=None)),
            trouble=next((row.trouble for row in reversed(rows) if row.attempts), ""),
        )
        for name, rows in found.items()
    }


def triage(connection: Connection, *, now: float, window: int, pipelines: Sequence[str]) -> Triage:
    """What triage said, and what is due. pipelines: those that triage"""
    since = now - window * HOUR_S
    query = select(TRIAGES.c.flag, TRIAGES.c.arrived_at, TRIAGES.c.decided_at).where(TRIAGES.c.decided_at > since)
    rows = connection.execute(query).all()
    flags = [row.flag for row in rows]
    unmade = select(func.count()).where(
        JOBS.c.pipeline.in_(pipelines), JOBS.c.state.in_((JobState.QUEUED, JobState.RELEASED, JobState.RUNNING))
    )
    due = select(func.count(), func.min(NOTICES.c.since)).where(NOTICES.c.state.in_(UNDELIVERED))
    untold, first = connection.execute(due).one()
    return Triage(
        verdicts={flag: flags.count(flag) for flag in sorted(set(flags))},
        to_verdict=spread(row.decided_at - row.arrived_at for row in rows),
        waiting=connection.execute(unmade).scalar_one(),
        oldest_s=overview.untriaged_s(connection, pipelines, now=now),
        not_acknowledged=untold,
        oldest_notice_s=_ago(now, first),
    )


def _ago(now: float, at: float | None) -> float:
    return 0.0 if at is None else max(0.0, now - at)
