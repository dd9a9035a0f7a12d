"""What subscribers are told (PS3.4 CC.2.4): Event Information of each type, put into the outbox of the records."""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import Connection

from node.dicom.json_model import CHARACTER_SET, Plain, key
from node.records import subscriptions
from node.worklist.ups_attributes import (
    CANCEL_REASON,
    CONTACT_NAME,
    CONTACT_URI,
    DISCONTINUED,
    HUMANS,
    ITEM_LIST,
    PROGRESS,
    READINESS,
    REQUESTER,
    SCP_STATUS,
    STATE,
    STATION_NAME,
    SUBSCRIPTION_LIST,
)
from node.worklist.ups_requests import (
    EVENT_ASSIGNED,
    EVENT_CANCEL,
    EVENT_PROGRESS,
    EVENT_SCP,
    EVENT_STATE,
    has_value,
    values,
)
from node.worklist.ups_status import ALL_ITEMS

REASONS: Final = (CANCEL_REASON, DISCONTINUED, CONTACT_URI, CONTACT_NAME)
_PERFORMER: Final = (key("HumanPerformerCodeSequence"), key("HumanPerformerOrganization"))


def state_report(attributes: Plain) -> Plain:
    """State and readiness, and why it was cancelled if it was (table CC.2.4-1, type 1)."""
    body = _some(attributes, (STATE, READINESS))
    for item in attributes.get(PROGRESS, {}).get("Value", ())[:1]:
        body |= _some(item, (CANCEL_REASON, DISCONTINUED))
    return body


def tell(connection: Connection, uid: str, event_type: int, attributes: Plain, *, at: float) -> None:
    """Tell every subscriber of a workitem of a state report, its progress, or its assignment."""
    body = {EVENT_STATE: state_report, EVENT_PROGRESS: _progress, EVENT_ASSIGNED: _assignment}[event_type](attributes)
    subscriptions.tell(connection, uid, event_type, body, at=at)


def announce(connection: Connection, uid: str, attributes: Plain, *, at: float) -> None:
    """A new workitem: those who subscribed to all get it, and are told."""
    subscriptions.inherit(connection, uid, at=at)
    tell(connection, uid, EVENT_STATE, attributes, at=at)
    if has_value(attributes.get(STATION_NAME, {})) or has_value(attributes.get(HUMANS, {})):
        tell(connection, uid, EVENT_ASSIGNED, attributes, at=at)


def cancel_requested(connection: Connection, uid: str, sent: Plain, *, by: str, at: float) -> None:
    """Somebody other than the performer asks to stop. sent: of the N-ACTION"""
    body = _some(sent, REASONS) | {REQUESTER: values("AE", by)}
    subscriptions.tell(connection, uid, EVENT_CANCEL, body, at=at)


def restarted(connection: Connection, also: Iterable[str], *, at: float, kept: bool = True) -> int:
    """Tell every subscriber that the node was started, and whether it kept its lists; of several starts the last one.

    also:    AE titles that are told without a subscription
    kept:    False after a restore: what was changed since the backup is lost (COLD START, PS3.4 CC.2.4.3)
    returns: how many are told
    """
    lists = "WARM START" if kept else "COLD START"
    body = {
        SCP_STATUS: values("CS", "RESTARTED"),
        SUBSCRIPTION_LIST: values("CS", lists),
        ITEM_LIST: values("CS", lists),
    }
    everybody = sorted(subscriptions.everybody(connection) | set(also))
    for ae_title in everybody:
        subscriptions.drop_of_type(connection, ae_title, EVENT_SCP)
        subscriptions.tell_one(connection, ae_title, ALL_ITEMS, EVENT_SCP, body, at=at)
    return len(everybody)


def _progress(attributes: Plain) -> Plain:
    return _some(attributes, (PROGRESS,))


def _assignment(attributes: Plain) -> Plain:
    body = _some(attributes, (STATION_NAME,) if has_value(attributes.get(STATION_NAME, {})) else ())
    for item in attributes.get(HUMANS, {}).get("Value", ())[:1]:
        body |= _some(item, _PERFORMER)
    return body


def _some(attributes: Mapping[str, dict[str, object]], tags: Iterable[str]) -> Plain:
    return {tag: attributes[tag] for tag in (*tags, CHARACTER_SET) if tag in attributes}
