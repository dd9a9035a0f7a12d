"""A verdict that no longer holds: its images were taken back, came again in another state, or somebody says so.

Whatever carried the flag is told, in the transaction that withdraws it. The objects of the verdict stay where they are,
as an archive never forgets; a note that rejects them goes after them (`Retractions`).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from node.child import Child
from node.dicom.rejection_notes import TITLES, WITHDRAWING
from node.errors import Refuse
from node.log import log
from node.metrics import METRICS
from node.records import rejections, sets, triages, workitems
from node.records.database import Records
from node.spool import Spool
from node.worklist.flags import queue_withdrawal

QUALITY: Final = "113001"  # CID 7011: Rejected for Quality Reasons
SAFETY: Final = "113037"  # Rejected for Patient Safety Reasons
SUPERSEDED: Final = "The series came again with other images and was triaged again."


def withdraw(
    connection: Connection, job_id: str, *, by: str, why: str, at: float, code: str = QUALITY, quiet: bool = False
) -> bool:
    """Withdraw a verdict and tell everybody who carried it. Twice is once.

    by, why: who says so and a plain sentence; neither names a patient
    code:    title of the note that rejects its objects, (113001, DCM) or (113037, DCM)
    quiet:   nobody is told: the verdict in its place says the same
    returns: whether it held until now
    """
    if not triages.withdraw(connection, job_id, by=by, why=why, code=code, at=at):
        return False
    row = triages.get(connection, job_id)
    assert row is not None  # it was withdrawn
    if not quiet:
        queue_withdrawal(connection, job_id, why, at=at)
    workitems.tell(connection, row)
    METRICS.triage_withdrawals.inc()
    log.info("verdict withdrawn", job=job_id[:12], by=by)
    return True


def supersede(connection: Connection, row: Mapping[str, Any], *, at: float) -> None:
    """A new verdict takes the place of earlier ones on the same part of the same series.

    row: of the new one
    """
    earlier = triages.same_part(connection, row["job_id"])
    for old in earlier:
        if old["withdrawn_at"] is None:
            same = old["flag"] == row["flag"]
            withdraw(connection, old["job_id"], by="node", why=SUPERSEDED, at=at, quiet=same)


def already_rejected(connection: Connection, row: Mapping[str, Any], *, at: float) -> bool:
    """Withdraw a new verdict whose images were taken back before it was there. Returns whether it was so."""
    job = triages.set_of(connection, row["job_id"])
    uids = [member.sop_instance_uid for member in sets.members(connection, job)]
    found = rejections.rejecting(connection, row["study_uid"], uids)
    if not found:
        return False
    code = QUALITY if set(found.values()) == {QUALITY} else SAFETY
    return withdraw(connection, row["job_id"], by="rejection note", why=_why(found, len(uids)), at=at, code=code)


def _why(found: Mapping[str, str], total: int) -> str:
    words = " and ".join(TITLES[code] for code in sorted(set(found.values())))
    return f"{len(found)} of {total} source images were {words}."


@dataclass(frozen=True, kw_only=True)
class Retractions:
    """Reads the rejection notes that came, and sends our own after what was withdrawn; part of the worker's tick.

    retract: writes and queues the note that rejects the objects of a job
    """

    records: Records
    spool: Spool
    child: Child
    retract: Callable[[str], None]
    clock: Callable[[], float] = time.time

    def tick(self) -> None:
        """Read what is new, withdraw what rests on it, and reject what was sent of it."""
        with self.records.read() as connection:
            unread = rejections.unread(connection)
        for note in unread:
            try:
                said = self.child.call("node.dicom.rejection_notes:read", {"path": str(self.spool.path(note.file))})
            except Refuse as error:
                log.warning("a key object selection says nothing", reason=error.message)
                said = {"code": "", "instances": []}
            with self.records.write() as connection:
                rejections.put(connection, note, code=said["code"], instances=said["instances"], at=self.clock())
                self._apply(connection, said["code"], said["instances"])
        with self.records.read() as connection:
            withdrawn = rejections.to_retract(connection)
        for job_id in withdrawn:
            became, trouble = "written", ""
            try:
                self.retract(job_id)
            except Refuse as error:  # its files were purged, for one: nothing more can be done here
                log.warning("objects of a withdrawn verdict are not rejected", job=job_id[:12], reason=error.message)
                became, trouble = "none", error.message
            with self.records.write() as connection:
                triages.noted(connection, job_id, note=became, trouble=trouble)

    def _apply(self, connection: Connection, code: str, instances: list[str]) -> None:
        if code not in WITHDRAWING:
            return
        for job_id, count in rejections.resting_on(connection, instances).items():
            why = f"{count} of its images were {TITLES[code]}."
            own = QUALITY if code == QUALITY else SAFETY
            withdraw(connection, job_id, by="rejection note", why=why, at=self.clock(), code=own)
