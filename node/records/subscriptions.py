"""Who is told of workitems (PS3.4 CC.2.3), and what is still to be told: an outbox that outlives every process.

Each subscription to one workitem is a row; a global one is a row with an empty workitem, which gives new ones theirs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Float, Integer, String, delete, func, insert, literal, select, update
from sqlalchemy.dialects.sqlite import insert as insert_or

from node.dicom.json_model import Plain
from node.records.worklist_tables import SUBSCRIPTIONS, UPS_EVENTS, WORKITEMS

ALL: Final = ""
_WAITING: Final = "waiting"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One N-EVENT-REPORT that an AE is to get. `body`: Event Information as `json_model.Plain`."""

    id: int
    ae_title: str
    workitem_uid: str
    event_type: int
    body: Plain
    attempts: int
    created_at: float


def put(connection: Connection, ae_title: str, workitem_uid: str, *, locked: bool, at: float) -> None:
    """Subscribe an AE to one workitem, or note its global subscription (`ALL`); a lock is as said last."""
    values = {"ae_title": ae_title, "workitem_uid": workitem_uid, "locked": int(locked), "at": at}
    connection.execute(
        insert_or(SUBSCRIPTIONS)
        .values(values)
        .on_conflict_do_update(index_elements=["ae_title", "workitem_uid"], set_={"locked": int(locked), "at": at})
    )


def put_on_all(connection: Connection, ae_title: str, *, locked: bool, at: float) -> list[str]:
    """Subscribe an AE to every workitem that it is not subscribed to (table CC.2.3-2). Returns which those are."""
    known = select(SUBSCRIPTIONS.c.workitem_uid).where(SUBSCRIPTIONS.c.ae_title == ae_title)
    new = list(
        connection.execute(
            select(WORKITEMS.c.uid).where(WORKITEMS.c.uid.not_in(known)).order_by(WORKITEMS.c.created_at)
        )
        .scalars()
        .all()
    )
    for uid in new:
        put(connection, ae_title, uid, locked=locked, at=at)
    return new


def inherit(connection: Connection, workitem_uid: str, *, at: float) -> list[str]:
    """Give a new workitem the subscriptions of those who subscribed to all. Returns their AE titles."""
    rows = connection.execute(
        select(SUBSCRIPTIONS.c.ae_title, SUBSCRIPTIONS.c.locked).where(SUBSCRIPTIONS.c.workitem_uid == ALL)
    ).all()
    for row in rows:
        put(connection, row.ae_title, workitem_uid, locked=bool(row.locked), at=at)
    return [row.ae_title for row in rows]


def remove(connection: Connection, ae_title: str, workitem_uid: str) -> None:
    """End a subscription and what was still to be told of it."""
    connection.execute(
        delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.ae_title == ae_title, SUBSCRIPTIONS.c.workitem_uid == workitem_uid)
    )
    connection.execute(
        delete(UPS_EVENTS).where(UPS_EVENTS.c.ae_title == ae_title, UPS_EVENTS.c.workitem_uid == workitem_uid)
    )


def remove_all(connection: Connection, ae_title: str) -> None:
    """End every subscription of an AE, its locks with them, and what was still to be told."""
    connection.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.ae_title == ae_title))
    connection.execute(delete(UPS_EVENTS).where(UPS_EVENTS.c.ae_title == ae_title))


def of_item(connection: Connection, workitem_uid: str) -> dict[str, bool]:
    """AE titles subscribed to a workitem (`ALL`: to all of them), and whether with a deletion lock."""
    rows = connection.execute(
        select(SUBSCRIPTIONS.c.ae_title, SUBSCRIPTIONS.c.locked).where(SUBSCRIPTIONS.c.workitem_uid == workitem_uid)
    ).all()
    return {row.ae_title: bool(row.locked) for row in rows}


def everybody(connection: Connection) -> set[str]:
    """Every AE with any subscription."""
    return set(connection.execute(select(SUBSCRIPTIONS.c.ae_title).distinct()).scalars().all())


def tell(connection: Connection, workitem_uid: str, event_type: int, body: Mapping[str, Any], *, at: float) -> None:
    """Put an event into the outbox for every subscriber of a workitem."""
    said = (
        literal(workitem_uid, String),
        literal(event_type, Integer),
        literal(dict(body), UPS_EVENTS.c.body.type),
        literal(_WAITING, String),
        literal(0, Integer),
        literal(at, Float),
        literal(at, Float),
    )
    subscribers = select(SUBSCRIPTIONS.c.ae_title, *said).where(SUBSCRIPTIONS.c.workitem_uid == workitem_uid)
    names = ["ae_title", "workitem_uid", "event_type", "body", "state", "attempts", "next_at", "created_at"]
    connection.execute(insert(UPS_EVENTS).from_select(names, subscribers))


def tell_one(
    connection: Connection, ae_title: str, workitem_uid: str, event_type: int, body: Mapping[str, Any], *, at: float
) -> None:
    """Put an event into the outbox for one AE."""
    connection.execute(
        insert(UPS_EVENTS).values(
            ae_title=ae_title,
            workitem_uid=workitem_uid,
            event_type=event_type,
            body=dict(body),
            state=_WAITING,
            attempts=0,
            next_at=at,
            created_at=at,
        )
    )


def drop_of_type(connection: Connection, ae_title: str, event_type: int) -> None:
    """Take what was to be told before: only the newest event of this type means anything."""
    connection.execute(
        delete(UPS_EVENTS).where(UPS_EVENTS.c.ae_title == ae_title, UPS_EVENTS.c.event_type == event_type)
    )


def due(connection: Connection, *, at: float) -> list[str]:
    """AEs whose oldest event may be tried now."""
    oldest: dict[str, float] = {}
    rows = connection.execute(select(UPS_EVENTS.c.ae_title, UPS_EVENTS.c.next_at).order_by(UPS_EVENTS.c.id)).all()
    for row in rows:
        oldest.setdefault(row.ae_title, row.next_at)
    return [ae_title for ae_title, next_at in oldest.items() if next_at <= at]


def waiting(connection: Connection, ae_title: str, *, most: int) -> list[Event]:
    """The oldest events of an AE, in the order in which they came about."""
    query = select(UPS_EVENTS).where(UPS_EVENTS.c.ae_title == ae_title).order_by(UPS_EVENTS.c.id).limit(most)
    names = Event.__dataclass_fields__
    return [Event(**{name: row[name] for name in names}) for row in connection.execute(query).mappings().all()]


def count_waiting(connection: Connection, *, before: float | None = None) -> int:
    """How many events are not yet taken; of those that came about before, if that is given."""
    query = select(func.count()).select_from(UPS_EVENTS)
    if before is not None:
        query = query.where(UPS_EVENTS.c.created_at < before)
    return int(connection.execute(query).scalar_one())


def done(connection: Connection, event_id: int) -> None:
    """The AE took an event, or never will."""
    connection.execute(delete(UPS_EVENTS).where(UPS_EVENTS.c.id == event_id))


def later(connection: Connection, event_id: int, *, next_at: float) -> None:
    """An attempt failed."""
    connection.execute(
        update(UPS_EVENTS)
        .where(UPS_EVENTS.c.id == event_id)
        .values(attempts=UPS_EVENTS.c.attempts + 1, next_at=next_at)
    )


def drop_old(connection: Connection, *, before: float) -> int:
    """Give up what nobody took since. Returns how many."""
    return connection.execute(delete(UPS_EVENTS).where(UPS_EVENTS.c.created_at < before)).rowcount
