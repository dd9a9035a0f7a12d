"""Telling verdicts in tests: flags put on record, and an outbox that is ticked until something holds."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from node.records import notices
from node.records.database import Records
from node.records.states import NoticeState
from node.settings.flags import Channel, Hl7Channel
from node.settings.web import OrthancDestination
from node.worklist.flags import queue_flag, queue_withdrawal
from node.worklist.notices import Notices
from node.worklist.tellers import tellers
from tests.peers import HOST, wait_until
from tests.verdicts import FACTS, add_verdict

Until = Callable[[str, Callable[[], bool]], None]
ENDED = {NoticeState.DELIVERED, NoticeState.DEAD, NoticeState.LOST, NoticeState.CANCELLED}


def hl7_channel(port: int, name: str = "ris", **values: Any) -> Hl7Channel:
    """On this machine, and in a hurry."""
    usual = {"retry_longest_s": 0.1, "connect_timeout_s": 2.0, "response_timeout_s": 10.0}
    return Hl7Channel(name=name, host=HOST, port=port, **{**usual, **values})


def raise_flag(records: Records, channels: Sequence[Channel], job_id: str = "job-1", **values: Any) -> None:
    """A verdict on record and queued; `values` overrides columns of its row."""
    with records.write() as connection:
        row = add_verdict(connection, job_id, **{"decided_at": time.time(), **values})
        queue_flag(connection, row, channels, FACTS)


def withdraw(records: Records, job_id: str = "job-1", *, at: float | None = None) -> list[str]:
    """Queue its withdrawal; the channels that are told."""
    with records.write() as connection:
        return queue_withdrawal(connection, job_id, "The images were rejected.", at=time.time() if at is None else at)


def rows(records: Records, job_id: str = "job-1") -> list[dict[str, Any]]:
    """The notices of a job."""
    with records.read() as connection:
        return notices.of_job(connection, job_id)


def states(records: Records, job_id: str = "job-1") -> list[NoticeState]:
    """How far they came."""
    return [NoticeState(row["state"]) for row in rows(records, job_id)]


@contextmanager
def telling(
    records: Records, channels: Sequence[Channel], orthanc: OrthancDestination | None = None
) -> Iterator[Until]:
    """A running outbox; what ticks it until a condition holds."""

    def destination(_: str) -> OrthancDestination:
        assert orthanc is not None
        return orthanc

    with Notices(records, tellers(channels, destination, records), clock=time.time) as told:

        def until(what: str, true: Callable[[], bool]) -> None:
            def look() -> bool:
                told.tick()
                return true()

            wait_until(what, look, timeout_s=20, every_s=0.02)

        yield until


def tell(
    records: Records,
    channels: Sequence[Channel],
    job_id: str = "job-1",
    orthanc: OrthancDestination | None = None,
) -> None:
    """Until all of a job is told or given up."""
    with telling(records, channels, orthanc) as until:
        until("all is told", lambda: set(states(records, job_id)) <= ENDED)
