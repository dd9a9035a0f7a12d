"""`imaging-node worklist`: the queue as readers get it, and why each study stands where it stands."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from node.errors import BadSetting
from node.records import triages, workitems
from node.records.database import Records
from node.records.workitems import Item
from node.settings import Settings
from node.worklist import ups_moves
from node.worklist.standing import triage_is_up
from node.worklist.ups_attributes import LABEL
from node.worklist.ups_order import ordered
from node.worklist.ups_requests import one
from node.worklist.ups_status import State

_OPEN = (State.SCHEDULED.value, State.IN_PROGRESS.value)


def worklist(settings: Settings, records: Records, *, everything: bool) -> dict[str, Any]:
    """The list, JSON-able: the next one to be read first, what is being read after that.

    It names nobody: not even the labels of workitems that peers made are in it, since they may say anything.

    everything: also what has ended
    """
    up, now = triage_is_up(settings), time.time()
    with records.read() as connection:
        items = workitems.listing(connection, states=() if everything else _OPEN, whole=False)
        scores = {item.uid: _score(item, triages.of_study(connection, item.study_uid)) for item in items}
    waiting = ordered([item for item in items if item.state == State.SCHEDULED], up=up)
    others = [item for item in items if item.state != State.SCHEDULED]
    return {
        "triage_up": up,
        "items": [
            {
                "place": place if item.state == State.SCHEDULED else None,
                "study_uid": item.study_uid,
                "workitem_uid": item.uid,
                "state": item.state,
                "priority": item.priority,
                "label": one(LABEL, item.attributes) if item.is_own else "",
                "waits_s": None if item.state != State.SCHEDULED else round(now - item.queued_at, 1),
                "credit_s": item.credit_s,
                "claimed_by": item.claimed_by,
                "score": scores[item.uid],
                "why": _why(item, up),
            }
            for place, item in enumerate([*waiting, *others], start=1)
        ],
    }


def give_up(records: Records, uid: str, *, by: str, why: str) -> dict[str, Any]:
    """End the claim of a workitem whose reader is gone. Raises BadSetting."""
    with records.write() as connection:
        item = workitems.get(connection, uid)
        if item is None or item.state != State.IN_PROGRESS:
            state = "unknown" if item is None else item.state
            raise BadSetting(f"The workitem {uid!a} is {state}, not claimed.", fix="See `imaging-node worklist`.")
        further = ups_moves.give_up(connection, item, by=by, why=why, at=time.time())
    return {"cancelled": uid, "workitem_uid": further}


def _score(item: Item, verdicts: Sequence[dict[str, Any]]) -> float | None:
    found = [row["score"] for row in verdicts if row["job_id"] == item.job_id]
    return found[0] if found else None


def _why(item: Item, up: bool) -> str:
    if item.state != State.SCHEDULED:
        return f"claimed by {item.claimed_by}" if item.claimed_by else item.state.lower()
    if not up and item.is_own:
        return "by arrival: triage is down"
    if item.first:
        return "on top: nothing is known of it"
    if not item.credit_s:
        return "by arrival"
    minutes = item.credit_s / 60
    return f"{abs(minutes):.0f} min {'ahead of' if minutes > 0 else 'behind'} its arrival"


def text(found: dict[str, Any]) -> RenderableType:
    """As a table."""
    title = "" if found["triage_up"] else "Triage is down: its studies are in order of arrival."
    table = Table("", "study", "state", "priority", "what", "waits", "why", box=None, title=title or None)
    for one_ in found["items"]:
        waits = "" if one_["waits_s"] is None else f"{one_['waits_s'] / 60:.0f} min"
        place = "" if one_["place"] is None else str(one_["place"])
        table.add_row(
            place, escape(one_["study_uid"]), one_["state"], one_["priority"], escape(one_["label"]), waits,
            escape(one_["why"]),
        )  # fmt: skip
    return table
