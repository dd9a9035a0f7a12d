"""What archives were asked to vouch for, and what they said (PS3.4 Annex J). Instance by instance: see `deliveries`."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, func, select, update

from node.records import deliveries, events
from node.records.states import CommitmentState, DeliveryState, DispatchState
from node.records.tables import COMMITMENTS, DELIVERIES, DISPATCHES, RESULTS

# An archive vouches for an instance, whatever it answered when that came, or while it is on its way once more.
_SENT = (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.CONFIRMED)
ABSENT = "absent"  # in place of a Failure Reason: a report or C-FIND that does not name the instance


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """One question. `attempt`: 1, 2, ... for a job and destination; `failures`: SOP Instance UID -> reason."""

    transaction_uid: str
    state: CommitmentState
    attempt: int
    asked_at: float
    failures: dict[str, str]


def of_dispatch(connection: Connection, job_id: str, destination: str) -> list[Commitment]:
    """Every question about a job to a destination, oldest first."""
    query = (
        select(COMMITMENTS)
        .where(COMMITMENTS.c.job_id == job_id, COMMITMENTS.c.destination == destination)
        .order_by(COMMITMENTS.c.attempt)
    )
    return [
        Commitment(
            transaction_uid=row["transaction_uid"],
            state=CommitmentState(row["state"]),
            attempt=row["attempt"],
            asked_at=row["asked_at"],
            failures=dict(row["failures"]),
        )
        for row in connection.execute(query).mappings().all()
    ]


def proof(connection: Connection, job_id: str, destination: str) -> str | None:
    """By what a destination has vouched for all of a job; None if it has not, or was not asked."""
    if unproven(connection, job_id, destination):
        return None
    names = {CommitmentState.COMMITTED: "storage commitment", CommitmentState.FOUND: "C-FIND"}
    found = [names[one.state] for one in of_dispatch(connection, job_id, destination) if one.state in names]
    return found[-1] if found else None


def unproven(connection: Connection, job_id: str, destination: str) -> list[tuple[str, str]]:
    """What the destination has taken and not vouched for, in series order: (SOP Class UID, SOP Instance UID)."""
    query = (
        select(RESULTS.c.sop_class_uid, RESULTS.c.sop_instance_uid)
        .join(DELIVERIES, DELIVERIES.c.sop_instance_uid == RESULTS.c.sop_instance_uid)
        .where(
            DELIVERIES.c.job_id == job_id,
            DELIVERIES.c.destination == destination,
            DELIVERIES.c.state != DeliveryState.PROVEN,
        )
        .order_by(RESULTS.c.number)
    )
    return [(row.sop_class_uid, row.sop_instance_uid) for row in connection.execute(query).all()]


def ask(connection: Connection, transaction_uid: str, job_id: str, destination: str, *, at: float) -> int:
    """Note a question before it is asked; one that was noted and never asked makes room. Returns its number."""
    mine = (COMMITMENTS.c.job_id == job_id, COMMITMENTS.c.destination == destination)
    connection.execute(delete(COMMITMENTS).where(*mine, COMMITMENTS.c.state == CommitmentState.ASKING))
    number = int(connection.execute(select(func.max(COMMITMENTS.c.attempt)).where(*mine)).scalar() or 0) + 1
    connection.execute(
        COMMITMENTS.insert().values(
            transaction_uid=transaction_uid,
            job_id=job_id,
            destination=destination,
            state=CommitmentState.ASKING,
            attempt=number,
            asked_at=at,
            failures={},
        )
    )
    return number


def move(connection: Connection, transaction_uid: str, *, since: CommitmentState, to: CommitmentState) -> None:
    """Change a question's state, unless its answer came first."""
    connection.execute(
        update(COMMITMENTS)
        .where(COMMITMENTS.c.transaction_uid == transaction_uid, COMMITMENTS.c.state == since)
        .values(state=to)
    )


def answer(
    connection: Connection,
    transaction_uid: str,
    *,
    committed: Collection[str],
    failures: Mapping[str, str],
    proof: CommitmentState,
    at: float,
) -> str | None:
    """Keep what an archive said of a question; saying it twice is saying it once.

    proof:   COMMITTED or FOUND: what it is if nothing failed
    returns: the destination; None if nobody asked
    """
    row = connection.execute(
        select(COMMITMENTS.c.job_id, COMMITMENTS.c.destination, COMMITMENTS.c.state).where(
            COMMITMENTS.c.transaction_uid == transaction_uid
        )
    ).one_or_none()
    if row is None:
        return None
    mine = (DELIVERIES.c.job_id == row.job_id, DELIVERIES.c.destination == row.destination)
    known = set(connection.execute(select(DELIVERIES.c.sop_instance_uid).where(*mine)).scalars().all())
    for uid in known & set(committed):
        connection.execute(
            update(DELIVERIES)
            .where(*mine, DELIVERIES.c.sop_instance_uid == uid, DELIVERIES.c.state.in_(_SENT))
            .values(state=DeliveryState.PROVEN, updated_at=at)
        )
    left = [uid for _, uid in unproven(connection, row.job_id, row.destination)]
    failed = {uid: failures.get(uid, ABSENT) for uid in left}  # what a report does not name is not vouched for
    state = CommitmentState.FAILED if failed else proof
    if not failed or row.state in (CommitmentState.ASKING, CommitmentState.ASKED):
        connection.execute(
            update(COMMITMENTS)
            .where(COMMITMENTS.c.transaction_uid == transaction_uid)
            .values(state=state, answered_at=at, failures=failed)
        )
    events.add(
        connection, at=at, kind="commitment", subject=row.job_id, destination=row.destination, state=state.value,
        failed=len(failed),
    )  # fmt: skip
    return str(row.destination)


def send_again(connection: Connection, question: Commitment, job_id: str, destination: str, *, at: float) -> int:
    """What failed goes once more, unchanged. Returns how many."""
    count = 0
    for uid, reason in question.failures.items():
        done = connection.execute(
            update(DELIVERIES)
            .where(
                DELIVERIES.c.sop_instance_uid == uid,
                DELIVERIES.c.destination == destination,
                DELIVERIES.c.job_id == job_id,
                DELIVERIES.c.state == DeliveryState.CONFIRMED,
            )
            .values(state=DeliveryState.FAILED, status=reason, updated_at=at)
        )
        count += done.rowcount
    move(connection, question.transaction_uid, since=CommitmentState.FAILED, to=CommitmentState.RESENT)
    return count


def to_settle(connection: Connection) -> list[tuple[str, str]]:
    """Dispatches that wait though every instance of them is vouched for: (job, destination)."""
    here = (DELIVERIES.c.job_id == DISPATCHES.c.job_id) & (DELIVERIES.c.destination == DISPATCHES.c.destination)
    query = select(DISPATCHES.c.job_id, DISPATCHES.c.destination).where(
        DISPATCHES.c.state == DispatchState.WAITING,
        exists().where(here & (DELIVERIES.c.state == DeliveryState.PROVEN)),
        ~exists().where(here & (DELIVERIES.c.state != DeliveryState.PROVEN)),
    )
    return [(row.job_id, row.destination) for row in connection.execute(query).all()]


def settle(connection: Connection, job_id: str, destination: str, *, at: float) -> None:
    """End such a dispatch."""
    if (job_id, destination) not in to_settle(connection):
        return  # the attempt itself was faster
    connection.execute(
        update(DISPATCHES)
        .where(DISPATCHES.c.job_id == job_id, DISPATCHES.c.destination == destination)
        .values(trouble="")
    )
    deliveries.end(connection, job_id, destination, state=DispatchState.DELIVERED, at=at)
