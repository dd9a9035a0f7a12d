"""Notes that take images back, and the verdicts that rest on such images."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from node.dicom.classes import KEY_OBJECTS
from node.dicom.rejection_notes import WITHDRAWING
from node.records.instances import Instance, from_row
from node.records.tables import INSTANCES, JOBS, MEMBERS, RESULTS
from node.records.worklist_tables import REJECTIONS, TRIAGES

_AT_ONCE = 500  # names in one query; SQLite takes 32,766


def unread(connection: Connection) -> list[Instance]:
    """Key object selections that were received and not yet read, the oldest first."""
    rows = connection.execute(
        select(INSTANCES)
        .outerjoin(REJECTIONS, REJECTIONS.c.sop_instance_uid == INSTANCES.c.sop_instance_uid)
        .where(INSTANCES.c.sop_class_uid == KEY_OBJECTS, REJECTIONS.c.sop_instance_uid.is_(None))
        .order_by(INSTANCES.c.id)
        .limit(64)
    )
    return [from_row(row) for row in rows.mappings().all()]


def put(connection: Connection, note: Instance, *, code: str, instances: Sequence[str], at: float) -> None:
    """Record what a key object selection rejects; `code` is empty for one that rejects nothing."""
    connection.execute(
        insert(REJECTIONS)
        .values(
            sop_instance_uid=note.sop_instance_uid,
            study_uid=note.study_uid,
            code=code,
            instances=list(instances),
            file=note.file,
            at=at,
        )
        .on_conflict_do_nothing()
    )


def rejecting(connection: Connection, study_uid: str, uids: Iterable[str]) -> dict[str, str]:
    """Which of these instances of a study were taken back: SOP Instance UID -> code of the note's title."""
    wanted = set(uids)
    rows = connection.execute(
        select(REJECTIONS.c.code, REJECTIONS.c.instances).where(
            REJECTIONS.c.study_uid == study_uid, REJECTIONS.c.code.in_(WITHDRAWING)
        )
    )
    return {uid: row.code for row in rows.all() for uid in wanted.intersection(row.instances)}


def resting_on(connection: Connection, uids: Sequence[str]) -> dict[str, int]:
    """The verdicts that hold and rest on these instances, or were sent as them: job -> how many of its are named."""
    found: dict[str, int] = {}
    for start in range(0, len(uids), _AT_ONCE):
        some = uids[start : start + _AT_ONCE]
        sources = (
            select(TRIAGES.c.job_id, INSTANCES.c.sop_instance_uid)
            .join(JOBS, JOBS.c.id == TRIAGES.c.job_id)
            .join(MEMBERS, MEMBERS.c.set_id == JOBS.c.set_id)
            .join(INSTANCES, INSTANCES.c.id == MEMBERS.c.instance_id)
            .where(TRIAGES.c.withdrawn_at.is_(None), INSTANCES.c.sop_instance_uid.in_(some))
        )
        results = (
            select(TRIAGES.c.job_id, RESULTS.c.sop_instance_uid)
            .join(RESULTS, RESULTS.c.job_id == TRIAGES.c.job_id)
            .where(TRIAGES.c.withdrawn_at.is_(None), RESULTS.c.sop_instance_uid.in_(some))
        )
        for row in [*connection.execute(sources).all(), *connection.execute(results).all()]:
            found[row.job_id] = found.get(row.job_id, 0) + 1
    return found


def to_retract(connection: Connection) -> list[str]:
    """Jobs whose verdict was withdrawn, whose objects left or may leave, and which have no note that rejects them."""
    query = select(TRIAGES.c.job_id).where(
        TRIAGES.c.withdrawn_at.is_not(None),
        TRIAGES.c.report_uid != "",
        func.json_extract(TRIAGES.c.withdrawal, "$.note").is_(None),
    )
    return list(connection.execute(query).scalars().all())
