"""Complete sets of instances: frozen once, never changed."""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from node.dicom.classes import modality_label
from node.records import events
from node.records.instances import Instance, from_row
from node.records.states import SetState
from node.records.tables import INSTANCES, MEMBERS, SERIES, SETS


def digest(members: Sequence[Instance]) -> str:
    """The identity of a set: SHA-256 over its sorted (SOP Instance UID, data set digest) pairs."""
    pairs = sorted((member.sop_instance_uid, member.sha256) for member in members)
    return hashlib.sha256("\n".join("\x1f".join(pair) for pair in pairs).encode()).hexdigest()


def freeze(
    connection: Connection, members: Sequence[tuple[int, Instance]], *, evidence: str, at: float, urgent: bool = False
) -> str | None:
    """Make a set of everything received of a series.

    urgent:  whether it overtakes the others
    returns: its id; None if another slice came meanwhile, or somebody else froze these
    """
    series_uid = members[0][1].series_uid
    query = select(SERIES.c.instances, SERIES.c.frozen).where(SERIES.c.series_uid == series_uid)
    count, frozen = connection.execute(query).one()
    if count != len(members) or frozen == count:
        return None
    version = connection.execute(select(func.count()).where(SETS.c.series_uid == series_uid)).scalar_one() + 1
    set_id = digest([member for _, member in members])
    connection.execute(
        SETS.insert().values(
            id=set_id,
            series_uid=series_uid,
            version=version,
            state=SetState.FROZEN,
            evidence=evidence,
            reasons={},
            urgent=int(urgent),
            modality=modality_label({_modality(member) for _, member in members}),
            last_received_at=max(member.received_at for _, member in members),
            frozen_at=at,
        )
    )
    connection.execute(MEMBERS.insert(), [{"set_id": set_id, "instance_id": row} for row, _ in members])
    connection.execute(update(SERIES).where(SERIES.c.series_uid == series_uid).values(frozen=count))
    events.add(connection, at=at, kind="complete", subject=set_id, evidence=evidence, instances=count, version=version)
    return set_id


def _modality(member: Instance) -> str:
    return "\\".join(member.header.get("Modality", ()))


def members(connection: Connection, set_id: str) -> list[Instance]:
    rows = connection.execute(
        select(INSTANCES)
        .join(MEMBERS, MEMBERS.c.instance_id == INSTANCES.c.id)
        .where(MEMBERS.c.set_id == set_id)
        .order_by(INSTANCES.c.sop_instance_uid)
    )
    return [from_row(row) for row in rows.mappings().all()]


def get(connection: Connection, set_id: str) -> dict[str, Any]:
    return dict(connection.execute(select(SETS).where(SETS.c.id == set_id)).mappings().one())


def of_series(connection: Connection, series_uid: str) -> list[dict[str, Any]]:
    rows = connection.execute(select(SETS).where(SETS.c.series_uid == series_uid).order_by(SETS.c.version))
    return [dict(row) for row in rows.mappings().all()]


def route(connection: Connection, set_id: str, *, state: SetState, reasons: dict[str, list[str]]) -> None:
    """Note what routing found: reasons are rule by rule; a rule that matched has none."""
    connection.execute(update(SETS).where(SETS.c.id == set_id).values(state=state, reasons=reasons))


def to_start(connection: Connection, *, urgent: bool) -> list[tuple[str, int]]:
    """Sets whose newest run has no workflow yet, the oldest first: (id, run).

    urgent: those that overtake the others, or the others
    """
    waiting = (SETS.c.run > SETS.c.started_run) & (SETS.c.urgent == int(urgent))
    query = select(SETS.c.id, SETS.c.run).where(waiting).order_by(SETS.c.frozen_at)
    return [(row.id, row.run) for row in connection.execute(query).all()]


def started(connection: Connection, set_id: str, run: int) -> None:
    connection.execute(update(SETS).where(SETS.c.id == set_id).values(started_run=run))


def replay(connection: Connection, set_id: str, *, at: float) -> None:
    """Ask for another run of a set; finished jobs of it are left as they are."""
    connection.execute(update(SETS).where(SETS.c.id == set_id).values(run=SETS.c.run + 1))
    events.add(connection, at=at, kind="replay", subject=set_id)


def series_of_study(connection: Connection, study_uid: str) -> list[str]:
    """The series received of a study, in order of arrival."""
    query = select(SERIES.c.series_uid).where(SERIES.c.study_uid == study_uid).order_by(SERIES.c.first_at)
    return list(connection.execute(query).scalars().all())


def series_uids(connection: Connection) -> list[str]:
    """Every series received, in order of arrival."""
    return list(connection.execute(select(SERIES.c.series_uid).order_by(SERIES.c.first_at)).scalars().all())
