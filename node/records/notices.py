"""What is to be told of verdicts, to whom, and how far it came: an outbox that outlives the process."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Integer, case, cast, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from node.records import events
from node.records.states import CARRIED, GIVEN_UP, UNDELIVERED, NoticeState
from node.records.worklist_tables import NOTICES, TRIAGES
from pipelines.triage import Flag

FLAG: Final = "flag"
WITHDRAWAL: Final = "withdrawal"
_AT_ONCE: Final = 200
_WAITED_FOR: Final = 3  # attempts
_SET_BACK_S: Final = 5.0  # a row written so far in the future: the clock was set back


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One thing to tell one channel. `body`: `node.peers.telling.Told` as JSON."""

    id: int
    job_id: str
    kind: str
    channel: str
    control_id: str
    state: NoticeState
    attempts: int
    since: float
    body: Mapping[str, Any]


def put(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Queue notices: job_id, kind, channel, way, control_id, body and since of each.

    One that is there already under its control id stays as it is; one of another verdict on the same job is replaced.
    What the receiver may have of that counts for the new one, too: a withdrawal has to go there.
    """
    for row in rows:
        fresh: dict[str, Any] = {
            **row,
            "state": NoticeState.WAITING,
            "attempts": 0,
            "next_at": row["since"],
            "updated_at": row["since"],
            "alarmed_at": None,
            "delivered_at": None,
            "trouble": "",
            "answer": "",
        }
        connection.execute(
            insert(NOTICES)
            .values(fresh)
            .on_conflict_do_update(
                index_elements=["job_id", "kind", "channel"],
                set_={
                    **fresh,
                    "state": case((NOTICES.c.state.in_(CARRIED), NoticeState.SENT), else_=NoticeState.WAITING),
                },
                where=NOTICES.c.control_id != row["control_id"],
            )
        )


def of_job(connection: Connection, job_id: str, kind: str | None = None) -> list[dict[str, Any]]:
    """Every notice of a job, oldest first."""
    query = select(NOTICES).where(NOTICES.c.job_id == job_id).order_by(NOTICES.c.id)
    if kind is not None:
        query = query.where(NOTICES.c.kind == kind)
    return [dict(row) for row in connection.execute(query).mappings().all()]


def due_channels(connection: Connection, *, at: float) -> set[str]:
    """Channels that have something to be told now."""
    return set(connection.execute(select(NOTICES.c.channel).where(*_due(at)).distinct()).scalars().all())


def due(connection: Connection, channel: str, *, at: float) -> list[Notice]:
    """What a channel is to be told now: what was tried longest ago first.

    A flag comes after the withdrawal of an earlier one on the same study, so that a receiver that keeps one result for
    each order keeps the one that holds; but it does not wait for a withdrawal that fails time and again.
    """
    query = select(NOTICES).where(NOTICES.c.channel == channel, *_due(at)).order_by(NOTICES.c.next_at, NOTICES.c.id)
    pending = select(NOTICES.c.body).where(
        NOTICES.c.channel == channel,
        NOTICES.c.kind == WITHDRAWAL,
        NOTICES.c.state.in_(UNDELIVERED),
        NOTICES.c.attempts < _WAITED_FOR,
    )
    first = {_study(body) for body in connection.execute(pending).scalars().all()}
    return [
        Notice(
            id=row["id"],
            job_id=row["job_id"],
            kind=row["kind"],
            channel=row["channel"],
            control_id=row["control_id"],
            state=NoticeState(row["state"]),
            attempts=row["attempts"],
            since=row["since"],
            body=row["body"],
        )
        for row in connection.execute(query.limit(_AT_ONCE)).mappings().all()
        if row["kind"] == WITHDRAWAL or _study(row["body"]) not in first
    ]


def _study(body: Mapping[str, Any]) -> str:
    return str(body["subject"]["study_uid"])


def _due(at: float) -> tuple[Any, ...]:
    return (
        NOTICES.c.state.in_(UNDELIVERED),
        or_(NOTICES.c.next_at <= at, NOTICES.c.updated_at > at + _SET_BACK_S),
    )


def sending(connection: Connection, notice: Notice, *, at: float) -> bool:
    """Note, before its first byte goes, that the receiver may have it from now on. False: it is not to be sent."""
    done = connection.execute(update(NOTICES).where(*_same(notice)).values(state=NoticeState.SENT, updated_at=at))
    return bool(done.rowcount)


def _same(notice: Notice) -> tuple[Any, ...]:
    """The row as long as it is the same verdict's and still to be told."""
    return (
        NOTICES.c.id == notice.id,
        NOTICES.c.control_id == notice.control_id,
        NOTICES.c.state.in_(UNDELIVERED),
    )


def delivered(connection: Connection, notice: Notice, *, answer: str, at: float) -> bool:
    """Note the acknowledgement. Returns whether it counts: not when the verdict was withdrawn meanwhile."""
    said = {"delivered_at": at, "updated_at": at, "answer": answer, "trouble": "", "attempts": notice.attempts + 1}
    done = connection.execute(update(NOTICES).where(*_same(notice)).values(state=NoticeState.DELIVERED, **said))
    if done.rowcount:
        return True
    withdrawn = (NOTICES.c.id == notice.id, NOTICES.c.control_id == notice.control_id)
    connection.execute(update(NOTICES).where(*withdrawn).values(said))  # it stays cancelled, but the record says all
    return False


def attempted(
    connection: Connection,
    notice: Notice,
    *,
    state: NoticeState,
    trouble: str,
    answer: str | None = None,
    next_at: float,
    at: float,
) -> None:
    """Note an attempt that brought no acknowledgement. `answer`: None if the receiver said nothing."""
    said = {} if answer is None else {"answer": answer}
    connection.execute(
        update(NOTICES)
        .where(*_same(notice))
        .values(state=state, trouble=trouble, attempts=notice.attempts + 1, next_at=next_at, updated_at=at, **said)
    )


def cancel(connection: Connection, notice_id: int, *, why: str, at: float) -> None:
    """Its verdict no longer holds: it is not sent any more."""
    connection.execute(
        update(NOTICES)
        .where(NOTICES.c.id == notice_id, NOTICES.c.state != NoticeState.DELIVERED)
        .values(state=NoticeState.CANCELLED, trouble=why, updated_at=at)
    )


def overdue(connection: Connection, channel: str, *, before: float) -> list[int]:
    """Notices that deserve an alarm and have none yet: not acknowledged and older than `before`, or given up."""
    late = NOTICES.c.state.in_(UNDELIVERED) & (NOTICES.c.since <= before)
    query = select(NOTICES.c.id).where(
        NOTICES.c.channel == channel,
        NOTICES.c.alarmed_at.is_(None),
        or_(NOTICES.c.state.in_(GIVEN_UP), late),
    )
    return list(connection.execute(query).scalars().all())


def raise_alarms(connection: Connection, ids: Sequence[int], *, at: float) -> None:
    """Note that an alarm was raised for these."""
    connection.execute(update(NOTICES).where(NOTICES.c.id.in_(ids)).values(alarmed_at=at))


def end_unknown(connection: Connection, channels: Collection[str], *, at: float) -> int:
    """Give up what waits for a channel that the settings no longer name, with an alarm. Returns how many."""
    trouble = "The settings no longer name this channel; add it again, then replay."
    count = 0
    for state, final in ((NoticeState.WAITING, NoticeState.DEAD), (NoticeState.SENT, NoticeState.LOST)):
        count += connection.execute(
            update(NOTICES)
            .where(NOTICES.c.state == state, NOTICES.c.channel.not_in(list(channels)))
            .values(state=final, trouble=trouble, updated_at=at, alarmed_at=func.coalesce(NOTICES.c.alarmed_at, at))
        ).rowcount
    return count


def replay(connection: Connection, job_id: str, *, at: float) -> list[str]:
    """Tell again what was given up, with the same control ids. Returns the channels."""
    found = []
    for row in of_job(connection, job_id):
        if row["state"] in GIVEN_UP:
            again = NoticeState.WAITING if row["state"] == NoticeState.DEAD else NoticeState.SENT
            connection.execute(
                update(NOTICES)
                .where(NOTICES.c.id == row["id"])
                .values(state=again, since=at, next_at=at, updated_at=at, alarmed_at=None)
            )
            found.append(row["channel"])
    return found


def known(connection: Connection, job_id: str, *, by: str, at: float) -> list[str]:
    """A person asked the receivers: they have what was given up. Ends its alarm; returns the channels."""
    found = [row for row in of_job(connection, job_id) if row["state"] in GIVEN_UP]
    for row in found:
        connection.execute(
            update(NOTICES)
            .where(NOTICES.c.id == row["id"])
            .values(
                state=NoticeState.DELIVERED, trouble=f"The receiver has it, says {by}.", delivered_at=at, updated_at=at
            )
        )
        events.add(connection, at=at, kind="known there", subject=job_id, by=by, channel=row["channel"])
    return [row["channel"] for row in found]


def forget(connection: Connection, job_id: str) -> None:
    """Leave out who the patient is of what has ended: its files are gone, too. The order stays, for a withdrawal."""
    for row in of_job(connection, job_id):
        if row["state"] in (NoticeState.DELIVERED, NoticeState.CANCELLED):
            subject = {**row["body"]["subject"], "patient_id": "", "names": []}
            connection.execute(
                update(NOTICES).where(NOTICES.c.id == row["id"]).values(body={**row["body"], "subject": subject})
            )


def standing_flags(connection: Connection, study_uid: str, *, beside: str) -> set[Flag]:
    """The verdicts that hold on a study, those of the job `beside` left out."""
    query = select(TRIAGES.c.flag).where(
        TRIAGES.c.study_uid == study_uid, TRIAGES.c.job_id != beside, TRIAGES.c.withdrawn_at.is_(None)
    )
    return {Flag(value) for value in connection.execute(query).scalars().all()}


def counts(connection: Connection) -> dict[tuple[str, ...], float]:
    """How many notices, by channel and state."""
    query = select(NOTICES.c.channel, NOTICES.c.state, func.count()).group_by(NOTICES.c.channel, NOTICES.c.state)
    return {(channel, state): float(count) for channel, state, count in connection.execute(query).all()}


def alarms(connection: Connection) -> dict[str, int]:
    """Notices that nobody acknowledged in time, or at all, by channel; 0 for a channel that is well."""
    still = NOTICES.c.alarmed_at.is_not(None) & NOTICES.c.state.in_((*UNDELIVERED, *GIVEN_UP))
    query = select(NOTICES.c.channel, func.sum(cast(still, Integer))).group_by(NOTICES.c.channel)
    return {channel: int(count) for channel, count in connection.execute(query).all()}
