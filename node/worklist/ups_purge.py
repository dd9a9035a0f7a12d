"""The worklist does not grow for ever: what nobody claimed is cancelled, what ended is removed after its time."""

from typing import Final

from node.log import log
from node.records import workitems
from node.records.database import Records
from node.settings.ups import Ups
from node.worklist.ups_attributes import CANCEL_REASON
from node.worklist.ups_moves import cancel_scheduled
from node.worklist.ups_requests import values
from node.worklist.ups_status import State

DAY_S: Final = 24 * 3600.0


def purge(records: Records, settings: Ups, *, at: float) -> tuple[int, int]:
    """Cancel and remove. Returns how many of each."""
    cancelled = 0
    if settings.unclaimed_days != "never":
        with records.read() as connection:
            before = at - settings.unclaimed_days * DAY_S
            old = workitems.unclaimed(connection, before=before, state=State.SCHEDULED.value)
        for uid in old:
            with records.write() as connection:
                item = workitems.get(connection, uid)
                if item is not None and item.state == State.SCHEDULED:  # somebody may have claimed it since
                    reason = f"Nobody claimed it in {settings.unclaimed_days:g} days."
                    cancel_scheduled(connection, item, {CANCEL_REASON: values("LT", reason)}, at=at)
                    cancelled += 1
    with records.write() as connection:
        removed = workitems.remove_ended(
            connection, before=at - settings.keep_days * DAY_S, lock_before=at - settings.lock_days * DAY_S
        )
    if cancelled or removed:
        log.info("worklist purged", cancelled=cancelled, removed=removed)
    return cancelled, removed
