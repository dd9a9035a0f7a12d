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
from node.records import sets, triages
from node.records.tables import ASSOCIATIONS, JOBS
from node.records.worklist_tables import SUBSCRIPTIONS, UPS_EVENTS, WORKITEMS
from node.worklist import ups_cases, ups_events
from node.worklist.ups_attributes import PRIORITY, STUDY, WORKLIST
from node.worklist.ups_cases import Input
from node.worklist.ups_requests import EVENT_STATE, one
from node.worklist.ups_status import FINAL, State
from pipelines.triage import Flag

_INPUT: Final = '$."00404021"'  # Input Information: most of the bytes of a workitem, and seldom asked for


@dataclass(frozen=True, kw_only=True)
class Item:
    """One workitem. Times are seconds since the epoch.

    job_id:     of the verdict that it stands for; empty: no verdict yet; None: made by a peer
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

    @property
    def is_own(self) -> bool:
        """Whether the node made it, and not a peer."""
        return self.job_id is not None


def new(uid: str, attributes: Plain, *, at: float, **columns: Any) -> Item:
    """A workitem that is SCHEDULED. columns: by the names of `Item`, where they are not the usual ones"""
    usual: dict[str, Any] = {
        "study_uid": one(STUDY, attributes),
        "job_id": None,
        "priority": one(PRIORITY, attributes),
        "label": one(WORKLIST, attributes),
        "queued_at": at,
        "credit_s": 0.0,
        "first": False,
    }
    return Item(
        uid=uid,
        state=State.SCHEDULED.value,
        transaction_uid=None,
        claimed_by=None,
        attributes=attributes,
        created_at=at,
        updated_at=at,
        claimed_at=None,
        ended_at=None,
        **{**usual, **columns},
    )


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


def arrived(
    connection: Connection,
    job_id: str,
    facts: Mapping[str, Any],
    *,
    label: str,
    retrieve_ae: str | None,
    at: float,
) -> None:
    """A triage job was routed: its study is in the list from now on, in order of arrival, before there is a verdict.

    A further series of a study joins the workitem that is there. Twice is once.

    facts:       `node.dicom.workitems.study` of one of its images; empty if nobody could read it
    label:       Worklist Label (0074,1202)
    retrieve_ae: where readers get the images; None: who sent them
    """
    input_, queued_at = _input(connection, job_id, retrieve_ae)
    own = [item for item in of_study(connection, input_.study_uid) if item.is_own]
    if own:
        if own[0].state not in FINAL:
            attributes = ups_cases.with_input(own[0].attributes, input_)
            change(connection, own[0].uid, since=own[0].state, at=at, attributes=attributes)
        return  # one that has ended stays so; a verdict may ask for a further one
    uid = ups_cases.own_uid(input_.study_uid)
    attributes = ups_cases.attributes(
        facts, uid=uid, input_=input_, now=ups_cases.standing(()), worklist=label, queued_at=queued_at, at=at
    )
    if add(connection, new(uid, attributes, at=at, job_id="", queued_at=queued_at)):
        ups_events.announce(connection, uid, attributes, at=at)


def lists(connection: Connection, job_id: str) -> bool:
    """Whether the series of a job, as it is now, is in a workitem of the node, or its study has been read."""
    input_, _ = _input(connection, job_id, "")
    own = [item for item in of_study(connection, input_.study_uid) if item.is_own]
    return bool(own) and (own[0].state in FINAL or ups_cases.has_input(own[0].attributes, input_))


def tell(connection: Connection, row: Mapping[str, Any]) -> None:
    """A verdict came, or was withdrawn: the workitem of its study moves, and subscribers hear of it. Twice is once.

    One that is claimed stays as it is: somebody reads the study. After it has ended a flag makes a further one, any
    other verdict does not. Studies without a workitem (the list is off) are left alone.

    row: of the table of verdicts, which has it already
    """
    verdicts = triages.of_study(connection, row["study_uid"])
    own = [item for item in of_study(connection, row["study_uid"]) if item.is_own]
    at = row["decided_at"] if row["withdrawn_at"] is None else row["withdrawn_at"]
    if not own or own[0].state == State.IN_PROGRESS:
        return
    item = own[0]
    if item.state == State.SCHEDULED:
        read = [one.ended_at for one in own if one.state == State.COMPLETED and one.ended_at is not None]
        since = max(read, default=0.0)  # what was known then has been read
        now = ups_cases.standing([one for one in verdicts if one["decided_at"] > since])
        attributes = ups_cases.told(item.attributes, now, at=at)
        changed = attributes != item.attributes or (now.credit_s, now.first) != (item.credit_s, item.first)
        change(
            connection, item.uid, since=item.state, at=at, attributes=attributes, priority=one(PRIORITY, attributes),
            credit_s=now.credit_s, first=now.first, job_id=now.job_id or "",
        )  # fmt: skip
        if changed:
            ups_events.tell(connection, item.uid, EVENT_STATE, attributes, at=at)
    elif row["flag"] == Flag.RAISED and row["withdrawn_at"] is None and row["decided_at"] > (item.ended_at or 0.0):
        _again(connection, item, row, at=at)


def _again(connection: Connection, ended: Item, row: Mapping[str, Any], *, at: float) -> None:
    retrieve_ae = ups_cases.retrieve_ae(ended.attributes)
    input_, queued_at = _input(connection, row["job_id"], retrieve_ae or None)
    now = ups_cases.standing([row])
    uid = ups_cases.own_uid(ended.study_uid, row["job_id"])
    attributes = ups_cases.again(ended.attributes, uid=uid, input_=input_, now=now, queued_at=queued_at, at=at)
    item = new(uid, attributes, at=at, job_id=now.job_id, queued_at=queued_at, credit_s=now.credit_s)
    if add(connection, item):
        ups_events.announce(connection, uid, attributes, at=at)


def _input(connection: Connection, job_id: str, retrieve_ae: str | None) -> tuple[Input, float]:
    """The images of a job, and when the last of them came."""
    set_id = connection.execute(select(JOBS.c.set_id).where(JOBS.c.id == job_id)).scalar_one()
    members = sets.members(connection, set_id)
    sender = connection.execute(
        select(ASSOCIATIONS.c.calling_ae).where(ASSOCIATIONS.c.id == members[0].association)
    ).scalar()
    found = Input(
        study_uid=members[0].study_uid,
        series_uid=members[0].series_uid,
        instances=[(one.sop_class_uid, one.sop_instance_uid) for one in members],
        retrieve_ae=retrieve_ae or sender or "",
    )
    return found, max(one.received_at for one in members)


def _from_row(row: Mapping[Any, Any]) -> Item:
    values = dict(row)
    attributes = values.pop("data_set")
    return Item(
        **{**values, "first": bool(values["first"])},
        attributes=json.loads(attributes) if isinstance(attributes, str) else attributes,
    )
