"""Jobs: one pipeline on one set, from queued to delivered."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from node.dicom import maps
from node.records import events, restored
from node.records.states import DispatchState, JobState
from node.records.tables import DELIVERIES, DISPATCHES, INSTANCES, JOB_SETS, JOBS, RESULTS, SERIES, SETS

RELEASED = "released"  # kind of event
WHOLE = "all"  # the part of a job that takes a whole set, as `node.dicom.stacks` labels it
NO_ROLES: Mapping[str, Sequence[str]] = MappingProxyType({})
MAP = maps.FORM  # form of the object that goes beside the images, in a series of its own
FINISHED = (JobState.DELIVERED, JobState.DELIVERING, JobState.DISCARDED)


def job_id(
    *,
    set_id: str,
    pipeline: str,
    version: str,
    engine_sha256: str,
    parameters: Mapping[str, Any],
    part: str = WHOLE,
    roles: Mapping[str, Sequence[str]] = NO_ROLES,
) -> str:
    """The identity of a job: what goes in and what is done to it. The same work twice is the same job.

    roles: of a pipeline that takes several series: role -> set, part
    """
    parts = [set_id, pipeline, version, engine_sha256]
    if parameters:  # jobs without any keep the identity that they had before there were parameters
        parts.append(json.dumps(parameters, sort_keys=True))
    if part != WHOLE or roles:  # and those of whole sets theirs
        parts.append(
            json.dumps({"part": part, "roles": {role: list(one) for role, one in roles.items()}}, sort_keys=True)
        )
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def add(
    connection: Connection, *, at: float, job: Mapping[str, Any], roles: Mapping[str, Sequence[str]] = NO_ROLES
) -> bool:
    """Record a job unless it is there. Returns whether there is work to do on it.

    job:   id, set_id, part, rule, pipeline, pipeline_version, engine_sha256, parameters, destinations, and
           maps: those of the destinations that get the map, too
    roles: as for `job_id`
    """
    known = connection.execute(select(JOBS.c.state).where(JOBS.c.id == job["id"])).scalar_one_or_none()
    if known is None:
        values = {**job, "state": JobState.QUEUED, "stage": "route", "started_at": at, "updated_at": at, "seconds": {}}
        values |= _of_sets(job["set_id"], [set_id for set_id, _ in roles.values()])
        connection.execute(JOBS.insert().values(values))
        for role, (set_id, part) in roles.items():
            connection.execute(JOB_SETS.insert().values(job_id=job["id"], role=role, set_id=set_id, part=part))
        events.add(connection, at=at, kind="queued", subject=job["id"], pipeline=job["pipeline"], rule=job["rule"])
        return True
    return known not in FINISHED


def _of_sets(grid: str, others: Sequence[str]) -> dict[str, Any]:
    """What a job has from its sets: the modality, and when the last slice of all of them came."""
    last_at = select(func.max(SETS.c.last_received_at)).where(SETS.c.id.in_({grid, *others}))
    modality = select(SETS.c.modality).where(SETS.c.id == grid)
    return {"modality": modality.scalar_subquery(), "arrived_at": last_at.scalar_subquery()}


def roles(connection: Connection, key: str) -> dict[str, tuple[str, str]]:
    """The sets and parts of a job that takes several series, by role; empty for one that takes one."""
    rows = connection.execute(select(JOB_SETS).where(JOB_SETS.c.job_id == key).order_by(JOB_SETS.c.role))
    return {row["role"]: (row["set_id"], row["part"]) for row in rows.mappings().all()}


def role_series(connection: Connection, key: str) -> dict[str, dict[str, Any]]:
    """The same for people: role -> series_uid, version and part."""
    rows = connection.execute(
        select(JOB_SETS.c.role, JOB_SETS.c.part, SETS.c.series_uid, SETS.c.version)
        .join(SETS, SETS.c.id == JOB_SETS.c.set_id)
        .where(JOB_SETS.c.job_id == key)
        .order_by(JOB_SETS.c.role)
    )
    return {row["role"]: {k: row[k] for k in ("series_uid", "version", "part")} for row in rows.mappings().all()}


def runs(connection: Connection, key: str) -> int:
    """How many runs of its sets were asked for, all together: it grows whichever of them is replayed."""
    query = select(func.sum(SETS.c.run)).join(JOB_SETS, JOB_SETS.c.set_id == SETS.c.id).where(JOB_SETS.c.job_id == key)
    return int(connection.execute(query).scalar_one() or 0)


def get(connection: Connection, key: str) -> dict[str, Any]:
    return dict(connection.execute(select(JOBS).where(JOBS.c.id == key)).mappings().one())


def listing(connection: Connection, *, limit: int = 50) -> list[dict[str, Any]]:
    """The newest jobs with the series they came from."""
    rows = connection.execute(
        select(JOBS, SETS.c.series_uid.label("source_series_uid"))
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .order_by(JOBS.c.started_at.desc())
        .limit(limit)
    )
    return [dict(row) for row in rows.mappings().all()]


def of_set(connection: Connection, set_id: str) -> list[dict[str, Any]]:
    """The jobs that take a set, alone or among others."""
    among = select(JOB_SETS.c.job_id).where(JOB_SETS.c.set_id == set_id)
    query = select(JOBS).where(or_(JOBS.c.set_id == set_id, JOBS.c.id.in_(among))).order_by(JOBS.c.started_at)
    rows = connection.execute(query)
    return [dict(row) for row in rows.mappings().all()]


def enter(connection: Connection, key: str, stage: str, *, at: float) -> None:
    """A job begins a stage."""
    connection.execute(
        update(JOBS).where(JOBS.c.id == key).values(state=JobState.RUNNING, stage=stage, reason="", updated_at=at)
    )


def note(connection: Connection, key: str, *, at: float, **values: Any) -> None:
    """Set columns of a job."""
    connection.execute(update(JOBS).where(JOBS.c.id == key).values(updated_at=at, **values))


def took(connection: Connection, key: str, stage: str, seconds: float) -> None:
    """Add what a stage took to the job's own account."""
    known = connection.execute(select(JOBS.c.seconds).where(JOBS.c.id == key)).scalar_one()
    connection.execute(update(JOBS).where(JOBS.c.id == key).values(seconds={**known, stage: round(seconds, 4)}))


def count_start(connection: Connection, key: str) -> int:
    """Count one more start of inference; returns how many there were."""
    connection.execute(update(JOBS).where(JOBS.c.id == key).values(starts=JOBS.c.starts + 1))
    return int(connection.execute(select(JOBS.c.starts).where(JOBS.c.id == key)).scalar_one())


def stop(connection: Connection, key: str, *, state: JobState, cause: str, reason: str, at: float) -> None:
    """End a job without a delivery. `cause`: the name of a check, or one of `StopCause`."""
    values = {"state": state, "cause": cause, "reason": reason, "updated_at": at}
    connection.execute(update(JOBS).where(JOBS.c.id == key).values(values))
    events.add(connection, at=at, kind=state.value, subject=key, reason=reason)


def release(connection: Connection, key: str, *, by: str, why: str, findings: Sequence[str], at: float) -> None:
    """A person lets a result pass that checks held; `findings`: the names of those that held it."""
    note(connection, key, at=at, state=JobState.RELEASED, reason="")
    events.add(connection, at=at, kind=RELEASED, subject=key, by=by, why=why, findings=sorted(findings))


def discard(connection: Connection, key: str, *, by: str, why: str, at: float) -> None:
    """A person decides that a job is over."""
    note(connection, key, at=at, state=JobState.DISCARDED, reason=f"Discarded by {by}: {why}")
    events.add(connection, at=at, kind="discarded", subject=key, by=by, why=why)


def released_findings(connection: Connection, key: str) -> tuple[str, ...]:
    """The findings that persons let pass."""
    found = [event["detail"]["findings"] for event in events.of(connection, key) if event["kind"] == RELEASED]
    return tuple(sorted({name for names in found for name in names}))


def to_release(connection: Connection) -> list[tuple[str, int]]:
    """Released jobs that were not started yet: (id, how often they were released)."""
    keys = connection.execute(select(JOBS.c.id).where(JOBS.c.state == JobState.RELEASED)).scalars().all()
    return [(key, sum(event["kind"] == RELEASED for event in events.of(connection, key))) for key in keys]


def by_prefix(connection: Connection, prefix: str) -> dict[str, Any] | None:
    """The job whose id starts so; None if there is none or more than one. At least 8 characters."""
    if len(prefix) < 8 or not all(c in "0123456789abcdef" for c in prefix):
        return None
    rows = connection.execute(select(JOBS).where(JOBS.c.id.startswith(prefix)).limit(2)).mappings().all()
    return dict(rows[0]) if len(rows) == 1 else None


def series_numbers(connection: Connection, study_uid: str) -> set[int]:
    """Series Numbers in use in a study: received ones and those given to derived series."""
    received = (
        connection.execute(
            select(INSTANCES.c.header["SeriesNumber"][0]).where(INSTANCES.c.study_uid == study_uid).distinct()
        )
        .scalars()
        .all()
    )
    given = connection.execute(
        select(JOBS.c.series_number, JOBS.c.map_series_number, JOBS.c.numbers)
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .join(SERIES, SERIES.c.series_uid == SETS.c.series_uid)
        .where(SERIES.c.study_uid == study_uid)
    ).all()
    numbers = {int(text) for text in received if text and str(text).lstrip("+-").isdigit()}
    of_forms = {number for row in given for number in row.numbers.values()}
    return numbers | of_forms | {number for row in given for number in row[:2] if number is not None}


def finish_derive(
    connection: Connection,
    key: str,
    *,
    at: float,
    series_uid: str,
    description: str,
    results: Sequence[Mapping[str, Any]],
    forms: Mapping[str, str] | None = None,
    every_form: bool = False,
) -> None:
    """Record the objects of a job and what is to go where, all or nothing.

    results: columns of RESULTS; `form` is classic where it is not said. A map goes where the job says, beside the form
             of the images that goes there
    forms:   destination -> the form that it takes, classic if it is not named. A form that was not made is replaced by
             the one that was
    every_form: each destination gets all of them: they are parts of one result, not ways to write it
    """
    job = get(connection, key)
    rows = [{**result, "job_id": key, "number": number} for number, result in enumerate(results, start=1)]
    connection.execute(insert(RESULTS).on_conflict_do_nothing(), rows)
    made = {row.get("form", "classic") for row in rows} - {MAP}
    first = restored.first_state(connection, key, at=at)
    for destination in job["destinations"]:
        form = (forms or {}).get(destination, "classic")
        form = form if form in made else min(made)
        taken = {form, MAP} if destination in job["maps"] else {form}
        if every_form:
            taken = {str(row["form"]) for row in rows}
        dispatch = {
            "job_id": key,
            "destination": destination,
            "state": DispatchState.WAITING,
            "since": at,
            "updated_at": at,
        }
        connection.execute(insert(DISPATCHES).values(dispatch).on_conflict_do_nothing())
        deliveries = [
            {
                "sop_instance_uid": row["sop_instance_uid"],
                "destination": destination,
                "job_id": key,
                "state": first,
                "updated_at": at,
            }
            for row in rows
            if row.get("form", "classic") in taken
        ]
        connection.execute(insert(DELIVERIES).on_conflict_do_nothing(), deliveries)
    note(
        connection,
        key,
        at=at,
        state=JobState.DELIVERING,
        stage="deliver",
        series_uid=series_uid,
        series_description=description,
    )
    events.add(connection, at=at, kind="derived", subject=key, series=series_uid, instances=len(rows))


def first_out(connection: Connection, key: str, *, at: float) -> float | None:
    """Note the first confirmed instance of a job; returns seconds since the last slice came in, the first time only."""
    row = connection.execute(
        select(JOBS.c.first_out_at, SETS.c.last_received_at)
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .where(JOBS.c.id == key)
    ).one()
    if row.first_out_at is not None:
        return None
    connection.execute(update(JOBS).where(JOBS.c.id == key).values(first_out_at=at))
    return float(at - row.last_received_at)


def results(connection: Connection, key: str) -> dict[str, tuple[str, str]]:
    """The objects made by a job: SOP Instance UID -> (file below the spool, SHA-256)."""
    rows = connection.execute(
        select(RESULTS.c.sop_instance_uid, RESULTS.c.file, RESULTS.c.sha256).where(RESULTS.c.job_id == key)
    )
    return {row.sop_instance_uid: (row.file, row.sha256) for row in rows}


def made(connection: Connection, key: str) -> list[dict[str, Any]]:
    """Every object of a job, as the table of results has it, in order."""
    query = select(RESULTS).where(RESULTS.c.job_id == key).order_by(RESULTS.c.number)
    return [dict(row) for row in connection.execute(query).mappings().all()]


def result_of_form(connection: Connection, key: str, form: str) -> str:
    """SOP Instance UID of the one object of a job that has this form. Raises NoResultFound if there is none."""
    query = select(RESULTS.c.sop_instance_uid).where(RESULTS.c.job_id == key, RESULTS.c.form == form)
    return str(connection.execute(query).scalar_one())


def source_series(connection: Connection, prefix: str) -> str | None:
    """The series that a job was made from; of several, the one that defines the grid. `prefix` as for `by_prefix`."""
    job = by_prefix(connection, prefix)
    if job is None:
        return None
    return str(connection.execute(select(SETS.c.series_uid).where(SETS.c.id == job["set_id"])).scalar_one())
