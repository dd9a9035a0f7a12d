"""The verdicts of triage: one for each job that came to an end, and what became of it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.sqlite import insert

from node.records import events
from node.records.tables import JOBS, SETS
from node.records.worklist_tables import TRIAGES

WITHDRAWN = "withdrawn"  # kind of event
DECIDED = "triaged"


def put(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Record a verdict unless the job has one. Returns whether it is new.

    A verdict never changes: a series that is triaged again has another job, or its verdict is withdrawn.
    """
    done = connection.execute(insert(TRIAGES).values(dict(row)).on_conflict_do_nothing())
    if done.rowcount:
        events.add(connection, at=row["decided_at"], kind=DECIDED, subject=row["job_id"], flag=row["flag"])
    return bool(done.rowcount)


def replace(connection: Connection, row: Mapping[str, Any]) -> None:
    """Record a verdict in the place of one that said only that the job had failed."""
    connection.execute(update(TRIAGES).where(TRIAGES.c.job_id == row["job_id"]).values(dict(row)))
    events.add(connection, at=row["decided_at"], kind=DECIDED, subject=row["job_id"], flag=row["flag"])


def get(connection: Connection, job_id: str) -> dict[str, Any] | None:
    """The verdict of a job; None while there is none."""
    found = connection.execute(select(TRIAGES).where(TRIAGES.c.job_id == job_id)).mappings().one_or_none()
    return None if found is None else dict(found)


def of_study(connection: Connection, study_uid: str) -> list[dict[str, Any]]:
    """Every verdict on series of a study, those that were withdrawn too, the oldest first."""
    query = select(TRIAGES).where(TRIAGES.c.study_uid == study_uid).order_by(TRIAGES.c.decided_at)
    return [dict(row) for row in connection.execute(query).mappings().all()]


def newest(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """The newest verdicts."""
    rows = connection.execute(select(TRIAGES).order_by(TRIAGES.c.decided_at.desc()).limit(limit))
    return [dict(row) for row in rows.mappings().all()]


def withdraw(connection: Connection, job_id: str, *, by: str, why: str, code: str, at: float) -> bool:
    """Note that a verdict no longer holds. Returns whether it held until now.

    by:   an operator, a peer's AE title or a part of the node
    why:  plain words without patient data
    code: title of the note that rejects its objects
    """
    done = connection.execute(
        update(TRIAGES)
        .where(TRIAGES.c.job_id == job_id, TRIAGES.c.withdrawn_at.is_(None))
        .values(withdrawn_at=at, withdrawal={"by": by, "why": why, "code": code})
    )
    if done.rowcount:
        events.add(connection, at=at, kind=WITHDRAWN, subject=job_id, by=by, why=why)
    return bool(done.rowcount)


def noted(connection: Connection, job_id: str, *, note: str, trouble: str) -> None:
    """What became of the note that rejects the objects of a withdrawn verdict."""
    known = connection.execute(select(TRIAGES.c.withdrawal).where(TRIAGES.c.job_id == job_id)).scalar_one()
    said = {**known, "note": note, "trouble": trouble}
    connection.execute(update(TRIAGES).where(TRIAGES.c.job_id == job_id).values(withdrawal=said))


def acknowledged(connection: Connection, job_id: str, *, at: float) -> None:
    """A receiver confirmed a notice of this verdict; the first one counts."""
    _first(connection, job_id, "acknowledged_at", at)


def read(connection: Connection, study_uid: str, *, at: float) -> None:
    """Somebody claimed the study; the first time counts."""
    connection.execute(
        update(TRIAGES).where(TRIAGES.c.study_uid == study_uid).values(read_at=func.coalesce(TRIAGES.c.read_at, at))
    )


def _first(connection: Connection, job_id: str, column: str, at: float) -> None:
    known = TRIAGES.c[column]
    connection.execute(update(TRIAGES).where(TRIAGES.c.job_id == job_id).values({column: func.coalesce(known, at)}))


def set_of(connection: Connection, job_id: str) -> str:
    """The set that a job takes."""
    return str(connection.execute(select(JOBS.c.set_id).where(JOBS.c.id == job_id)).scalar_one())


def same_part(connection: Connection, job_id: str) -> list[dict[str, Any]]:
    """Verdicts of other jobs on the same part of the same series, in the same or an earlier state of it."""
    mine = connection.execute(
        select(JOBS.c.part, SETS.c.series_uid, SETS.c.version)
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .where(JOBS.c.id == job_id)
    ).one()
    rows = connection.execute(
        select(TRIAGES)
        .join(JOBS, JOBS.c.id == TRIAGES.c.job_id)
        .join(SETS, SETS.c.id == JOBS.c.set_id)
        .where(
            JOBS.c.id != job_id,
            JOBS.c.part == mine.part,
            SETS.c.series_uid == mine.series_uid,
            SETS.c.version <= mine.version,
        )
        .order_by(TRIAGES.c.decided_at)
    )
    return [dict(row) for row in rows.mappings().all()]
