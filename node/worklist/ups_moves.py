"""Changes of state, each with the report that subscribers get of it; within a writing transaction of the caller."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from node.dicom.json_model import Plain
from node.records import events, workitems
from node.records.workitems import Item
from node.worklist import ups_cases, ups_events, ups_requests
from node.worklist.ups_attributes import CANCEL_REASON, STATE
from node.worklist.ups_requests import EVENT_STATE, values
from node.worklist.ups_status import State


def move(connection: Connection, item: Item, to: State, attributes: Plain, *, at: float, **columns: Any) -> Item:
    """Bring a workitem from the state in which it was read into another one.

    item:    as read in this transaction
    columns: of the record, as `workitems.change` has them
    """
    attributes = attributes | {STATE: values("CS", to.value)}
    moved = workitems.change(
        connection, item.uid, since=item.state, at=at, state=to.value, attributes=attributes, **columns
    )
    if not moved:  # nobody else writes in this transaction
        raise RuntimeError("a workitem changed inside the transaction that had read it")
    ups_events.tell(connection, item.uid, EVENT_STATE, attributes, at=at)
    return replace(item, state=to.value, attributes=attributes)


def cancel_scheduled(connection: Connection, item: Item, reason: Plain, *, at: float) -> None:
    """End what nobody has claimed, by way of IN PROGRESS (PS3.4 CC.2.2.3). reason: attributes of its progress"""
    attributes = ups_requests.cancelled(item.attributes, at=at, reason=reason)
    begun = move(connection, item, State.IN_PROGRESS, item.attributes, at=at)
    move(connection, begun, State.CANCELED, attributes, at=at, ended_at=at)


def give_up(connection: Connection, item: Item, *, by: str, why: str, at: float) -> str | None:
    """End a claim that nobody works on any more; the study of the node's own is in the list again, in its place.

    The standard has no way back to SCHEDULED (PS3.4 CC.1.1), so it is a further workitem.

    by, why: who decides, and a plain sentence; neither names a patient
    returns: SOP Instance UID of the further one; None for a workitem of a peer, who makes another itself
    """
    attributes = ups_requests.cancelled(item.attributes, at=at, reason={CANCEL_REASON: values("LT", why)})
    move(connection, item, State.CANCELED, attributes, at=at, ended_at=at)
    events.add(connection, at=at, kind="claim given up", subject=item.uid, by=by, why=why)
    if not item.is_own:
        return None
    uid = ups_cases.own_uid(item.study_uid, item.uid)
    attributes = ups_cases.anew(item.attributes, uid=uid, at=at)
    further = workitems.new(
        uid, attributes, at=at, job_id=item.job_id, queued_at=item.queued_at, credit_s=item.credit_s, first=item.first
    )
    if workitems.add(connection, further):
        ups_events.announce(connection, uid, attributes, at=at)
    return uid
