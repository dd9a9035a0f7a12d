"""Workitems of the worklist: Unified Procedure Steps (PS3.4 annex CC), as several processes read and write them.

Whoever changes one reads it first in the same writing transaction, so that of two at once one sees what the other did.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert

from node.dicom.json_model import Plain
from node.records.worklist_tables import SUBSCRIPTIONS, UPS_EVENTS, WORKITEMS

_INPUT: Final = '$."00404021"'  # Input Information: most of the bytes of a workitem, and seldom asked for


@dataclass(frozen=True, kw_only=True)
class Item:
    """One workitem. Times are seconds since the epoch.

    job_id:     of the verdict that it stands for; None: made by a peer, or no verdict yet
    queued_at:  its place in the list, credit aside
    credit_s:   by how much it stands ahead of that
    first:      on top of the list: nothing is known of the study
    attributes: `node.dicom.json_model.Plain`
    """

    uid: str
    study_uid: str
    job_id: str | None
    state: str
    priority: str
    label: str
    transaction_uid: str | None
    claimed_by: str | None
    queued_at: float
    credit_s: float
    first: bool
    attributes: Plain
    created_at: float
    updated_at: float
    claimed_at: float | None
    ended_at: float | None


def add(connection: Connection, item: Item) -> bool:
    """Record a workitem unless its UID is taken. Returns whether it is new."""
    row = {name: getattr(item, name) for name in item.__dataclass_fields__ if name != "attributes"}
    row |= {"first": int(item.first), "data_set": item.attributes}
    return bool(connection.execute(insert(WORKITEMS).values(row).on_conflict_do_nothing()).rowcount)


def get(connection: Connection, uid: str) -> Item | None:
    """The workitem of a SOP Instance UID."""
    row = connection.execute(select(WORKITEMS).where(WORKITEMS.c.uid == uid)).mappings().one_or_none()
    return None if row is None else _from_row(row)


def of_study(connection: Connection, study_uid: str) -> list[Item]:
    """Every workitem of a study, the newest first."""
    query = select(WORKITEMS).where(WORKITEMS.c.study_uid == study_uid).order_by(WORKITEMS.c.created_at.desc())
    return [_from_row(row) for row in connection.execute(query).mappings().all()]


def listing(
    connection: Connection,
    *,
    uids: Collection[str] = (),
    states: Collection[str] = (),
    priority: str | None = None,
    whole: bool = True,
) -> list[Item]:
    """Workitems in the order in which they were made.

    uids, states: only these; empty: all
    whole:        with Input Information (0040,4021), which is long
    """
    data_set = WORKITEMS.c.data_set if whole else func.json_remove(WORKITEMS.c.data_set, _INPUT).label("data_set")
    columns = [column for column in WORKITEMS.c if column is not WORKITEMS.c.data_set]
    query = select(*columns, data_set).order_by(WORKITEMS.c.created_at, WORKITEMS.c.uid)
    if uids:
        query = query.where(WORKITEMS.c.uid.in_(uids))
    if states:
        query = query.where(WORKITEMS.c.state.in_(states))
    if priority is not None:
        query = query.where(WORKITEMS.c.priority == priority)
    return [_from_row(row) for row in connection.execute(query).mappings().all()]


def change(connection: Connection, uid: str, *, since: str, at: float, **values: Any) -> bool:
    """Change columns of a workitem, if it is still in the state `since`. Returns whether it was.

    values: by the names of `Item`
    """
    if "attributes" in values:
        values["data_set"] = values.pop("attributes")
    if "first" in values:
        values["first"] = int(values["first"])
    done = connection.execute(
        update(WORKITEMS).where(WORKITEMS.c.uid == uid, WORKITEMS.c.state == since).values(**values, updated_at=at)
    )
    return done.rowcount == 1


def count(connection: Connection) -> int:
    """How many there are, in any state."""
    return int(connection.execute(select(func.count()).select_from(WORKITEMS)).scalar_one())


def unclaimed(connection: Connection, *, before: float, state: str) -> list[str]:
    """Workitems in a state that were made before, and are to be read no more."""
    query = select(WORKITEMS.c.uid).where(WORKITEMS.c.state == state, WORKITEMS.c.created_at < before)
    return list(connection.execute(query.order_by(WORKITEMS.c.created_at)).scalars().all())


def remove_ended(connection: Connection, *, before: float, lock_before: float) -> int:
    """Remove what ended before, unless a subscriber asked to keep it and that was not before `lock_before`.

    returns: how many
    """
    locked = exists().where(
        SUBSCRIPTIONS.c.workitem_uid == WORKITEMS.c.uid,
        SUBSCRIPTIONS.c.locked == 1,
        WORKITEMS.c.ended_at >= lock_before,
    )
    query = select(WORKITEMS.c.uid).where(WORKITEMS.c.ended_at < before, ~locked)
    uids = list(connection.execute(query).scalars().all())
    for uid in uids:
        connection.execute(delete(UPS_EVENTS).where(UPS_EVENTS.c.workitem_uid == uid))
        connection.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.workitem_uid == uid))
        connection.execute(delete(WORKITEMS).where(WORKITEMS.c.uid == uid))
    return len(uids)


def _from_row(row: Mapping[Any, Any]) -> Item:
    values = dict(row)
    attributes = values.pop("data_set")
    return Item(
        **{**values, "first": bool(values["first"])},
        attributes=json.loads(attributes) if isinstance(attributes, str) else attributes,
    )
