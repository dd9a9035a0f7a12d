"""What a restore leaves in doubt: what was told and sent between the backup and the failure, the node cannot know.

Nothing may arrive twice, so what may have left already asks first, or waits for a person:

* objects: every instance that was not confirmed at the backup, and everything that is made of series that were complete
  then, is `doubted`: the destination is asked before it goes, and where it cannot be asked a person decides. What is
  made of series that come after the restore, which a sender may repeat, is asked for as well, for 30 days; where nobody
  can be asked it is sent, under UIDs that are the same as they were.
* flags: what was not acknowledged waits for a person, who sees it with `imaging-node flags`; a label is set again,
  which is setting it once.
* worklist events: dropped; subscribers hear that the list begins cold, and read it anew.
* series that were coming in: they wait for their sender, an archive's word or a person, not only for silence.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, update

from node.records import events, unfinished
from node.records.states import (
    ARRIVED,
    UNDELIVERED,
    CommitmentState,
    DeliveryState,
    DispatchState,
    Ending,
    NoticeState,
)
from node.records.tables import (
    ASSOCIATIONS,
    COMMITMENTS,
    DELIVERIES,
    DISPATCHES,
    EVENTS,
    INSTANCES,
    JOB_SETS,
    JOBS,
    SERIES,
    SETS,
)
from node.records.worklist_tables import NOTICES, UPS_EVENTS

SUBJECT: Final = "restore"  # of the events
_RESTORED: Final = "restored"
_STARTED: Final = "started after restore"
_LET_GO: Final = "let go"
ASK_FOR_S: Final = 30 * 24 * 3600.0
CUT_OFF_WAIT_S: Final = 24 * 3600.0
IN_DOUBT: Final = "Whether it was told before the restore is not known; ask the receiver"
_LABEL: Final = "label"


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What a restore marked. `objects`: by destination; `notices`: by channel; `series`: that were coming in."""

    objects: dict[str, int]
    notices: dict[str, int]
    events: int
    jobs: int
    series: list[str]
    jobs_by_state: dict[str, int]


def mark(connection: Connection, *, taken_at: float, at: float) -> Doubt:
    """Mark everything in doubt. Once, before a node sees the records.

    taken_at: when the backup was taken
    at:       now
    """
    objects = _objects(connection, at)
    notices = _notices(connection, at)
    dropped = connection.execute(delete(UPS_EVENTS)).rowcount
    series = _cut_off(connection, at)
    connection.execute(  # asked anew before what failed goes once more
        update(COMMITMENTS).where(COMMITMENTS.c.state == CommitmentState.FAILED).values(state=CommitmentState.RESENT)
    )
    waiting = unfinished.sets(connection)
    unfinished.begin_anew(connection, waiting, why=_RESTORED, at=at)
    events.add(connection, at=at, kind=_RESTORED, subject=SUBJECT, taken_at=taken_at, series=series)
    states = connection.execute(select(JOBS.c.state, func.count()).group_by(JOBS.c.state)).all()
    return Doubt(
        objects=objects,
        notices=notices,
        events=dropped,
        jobs=len({job for some in waiting.values() for job in some}),
        series=series,
        jobs_by_state={str(state): int(count) for state, count in states},
    )


def first_state(connection: Connection, job_id: str, *, at: float) -> DeliveryState:
    """How the delivery of something that was just made begins."""
    last = _last(connection)
    if last is None:
        return DeliveryState.PENDING
    if _known_then(connection, job_id, last):
        return DeliveryState.DOUBTED
    return DeliveryState.SENT if at < last["at"] + ASK_FOR_S else DeliveryState.PENDING


def hold_notices(connection: Connection, job_id: str, *, at: float) -> None:
    """A verdict on what came before the backup may have been told before: a person decides. Labels are set again."""
    last = _last(connection)
    if last is not None and _known_then(connection, job_id, last):
        connection.execute(
            update(NOTICES)
            .where(NOTICES.c.job_id == job_id, NOTICES.c.state == NoticeState.WAITING, NOTICES.c.way != _LABEL)
            .values(state=NoticeState.LOST, trouble=f"{IN_DOUBT}.", updated_at=at)
        )


def is_first_start(connection: Connection, *, at: float) -> bool:
    """Whether the node starts for the first time since a restore; notes that it does."""
    found = [event["kind"] for event in events.of(connection, SUBJECT) if event["kind"] != _LET_GO]
    if not found or found[-1] == _STARTED:
        return False
    events.add(connection, at=at, kind=_STARTED, subject=SUBJECT)
    return True


def cut_off(connection: Connection) -> dict[str, float]:
    """Series that were coming in at the backup -> until when they wait for their sender."""
    found: dict[str, float] = {}
    for event in events.of(connection, SUBJECT):
        if event["kind"] == _RESTORED:
            found = dict.fromkeys(event["detail"]["series"], event["at"] + CUT_OFF_WAIT_S)
        elif event["kind"] == _LET_GO:
            found.pop(event["detail"]["series"], None)
    return found


def let_go(connection: Connection, series_uid: str, *, at: float) -> bool:
    """A person says that such a series is complete as it is. Returns whether it is one."""
    if series_uid not in cut_off(connection):
        return False
    events.add(connection, at=at, kind=_LET_GO, subject=SUBJECT, series=series_uid)
    return True


def _last(connection: Connection) -> dict[str, Any] | None:
    query = select(EVENTS.c.at, EVENTS.c.detail).where(EVENTS.c.subject == SUBJECT, EVENTS.c.kind == _RESTORED)
    row = connection.execute(query.order_by(EVENTS.c.id.desc()).limit(1)).first()
    return None if row is None else {"at": row.at, "taken_at": row.detail["taken_at"]}


def _known_then(connection: Connection, job_id: str, last: dict[str, Any]) -> bool:
    """Whether everything that a job takes was received before the backup."""
    mine = (
        select(JOBS.c.set_id)
        .where(JOBS.c.id == job_id)
        .union(select(JOB_SETS.c.set_id).where(JOB_SETS.c.job_id == job_id))
    )
    newest = connection.execute(select(func.max(SETS.c.last_received_at)).where(SETS.c.id.in_(mine))).scalar_one()
    return newest is not None and float(newest) <= last["taken_at"]


def _objects(connection: Connection, at: float) -> dict[str, int]:
    open_ones = DELIVERIES.c.state.not_in(ARRIVED)
    query = select(DELIVERIES.c.destination, func.count()).where(open_ones).group_by(DELIVERIES.c.destination)
    found = {row[0]: int(row[1]) for row in connection.execute(query).all()}
    connection.execute(update(DELIVERIES).where(open_ones).values(state=DeliveryState.DOUBTED, updated_at=at))
    connection.execute(  # the days that a destination is waited for begin anew
        update(DISPATCHES).where(DISPATCHES.c.state == DispatchState.WAITING).values(since=at, updated_at=at)
    )
    return found


def _notices(connection: Connection, at: float) -> dict[str, int]:
    unsure = NOTICES.c.state.in_((*UNDELIVERED, NoticeState.DEAD)) & (NOTICES.c.way != _LABEL)
    query = select(NOTICES.c.channel, func.count()).where(unsure).group_by(NOTICES.c.channel)
    found = {row[0]: int(row[1]) for row in connection.execute(query).all()}
    connection.execute(
        update(NOTICES)
        .where(unsure)
        .values(state=NoticeState.LOST, trouble=f"{IN_DOUBT}.", updated_at=at, alarmed_at=None)
    )
    return found


def _cut_off(connection: Connection, at: float) -> list[str]:
    open_series = SERIES.c.instances > SERIES.c.frozen
    still = ASSOCIATIONS.c.closed_at.is_(None)
    query = (
        select(SERIES.c.series_uid)
        .join(INSTANCES, INSTANCES.c.series_uid == SERIES.c.series_uid)
        .join(ASSOCIATIONS, ASSOCIATIONS.c.id == INSTANCES.c.association)
        .where(open_series, still)
        .distinct()
    )
    found = sorted(connection.execute(query).scalars().all())
    connection.execute(update(ASSOCIATIONS).where(still).values(closed_at=at, ending=Ending.LOST))
    return found
