"""Flags that no longer hold: told to whoever may have them, to nobody else, and before what takes their place."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node.records import triages
from node.records.database import Records
from node.records.states import NoticeState
from node.worklist.flags import queue_flag
from tests.mllp_peer import MllpPeer, answers, control_id_of, drops, parsed, takes
from tests.peers import free_port
from tests.telling import hl7_channel, raise_flag, rows, states, tell, telling, withdraw
from tests.verdicts import FACTS, new_records, verdict


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with closing(new_records(tmp_path)) as found:
        yield found


def test_withdrawal_goes_to_every_channel_that_carried_the_flag(records: Records) -> None:
    with MllpPeer(takes) as first, MllpPeer(takes) as second:
        channels = [hl7_channel(first.port, "first"), hl7_channel(second.port, "second")]
        raise_flag(records, channels)
        tell(records, channels)
        assert withdraw(records) == ["first", "second"]
        tell(records, channels)

        for peer in (first, second):
            assert len(peer.received) == 2
            assert parsed(peer.received[1]).segment("OBX")[11][0] == "W"
            assert control_id_of(peer.received[0]) != control_id_of(peer.received[1])
    withdraw(records)
    assert states(records) == [NoticeState.DELIVERED] * 4, "twice is once"


def test_flag_that_reached_nobody_is_cancelled_instead(records: Records) -> None:
    ris = hl7_channel(free_port())
    raise_flag(records, [ris])
    with telling(records, [ris]) as until:
        until("an attempt failed", lambda: rows(records)[0]["attempts"] >= 1)
        assert withdraw(records) == []
        assert states(records) == [NoticeState.CANCELLED]
        with MllpPeer(takes, port=ris.port) as peer:
            raise_flag(records, [ris], "job-2")
            until("the next is told", lambda: states(records, "job-2") == [NoticeState.DELIVERED])
            assert len(peer.received) == 1


def test_flag_that_may_have_arrived_is_not_repeated_but_withdrawn(records: Records) -> None:
    with MllpPeer(drops, takes) as peer:
        ris = hl7_channel(peer.port, retry_longest_s=30.0)
        raise_flag(records, [ris])
        with telling(records, [ris]) as until:
            until("an attempt broke", lambda: rows(records)[0]["attempts"] >= 1)
            assert withdraw(records) == ["ris"]
            until("it is withdrawn", lambda: NoticeState.DELIVERED in states(records))

        assert states(records) == [NoticeState.CANCELLED, NoticeState.DELIVERED]
        assert [parsed(one).segment("OBX")[11][0] for one in peer.received] == ["P", "W"]


def test_withdrawal_comes_before_the_flag_that_takes_its_place_on_the_study(records: Records) -> None:
    with MllpPeer(takes) as peer:
        ris = hl7_channel(peer.port)
        raise_flag(records, [ris], "old")
        tell(records, [ris], "old")
        raise_flag(records, [ris], "new")
        withdraw(records, "old", at=time.time() + 0.2)
        tell(records, [ris], "new")

        assert [parsed(one).segment("OBX")[11][0] for one in peer.received] == ["P", "W", "P"]


def test_flag_does_not_wait_for_a_withdrawal_that_nobody_takes(records: Records) -> None:
    def no_withdrawals(peer: MllpPeer, connection: Any, message: bytes) -> bool:
        return answers("AE" if b"|W\r" in message else "AA")(peer, connection, message)

    with MllpPeer(no_withdrawals) as peer:
        ris = hl7_channel(peer.port, refusals=1000)
        raise_flag(records, [ris], "old")
        tell(records, [ris], "old")
        raise_flag(records, [ris], "new")
        withdraw(records, "old")
        tell(records, [ris], "new")


def test_verdict_that_takes_the_place_of_a_failed_one_is_told_anew(records: Records) -> None:
    with MllpPeer(takes) as peer:
        ris = hl7_channel(peer.port)
        raise_flag(records, [ris], flag="NOT_ANALYSABLE")
        tell(records, [ris])
        row = verdict("job-1", decided_at=time.time())
        with records.write() as connection:
            triages.replace(connection, row)
            queue_flag(connection, row, [ris], FACTS)
        tell(records, [ris])

        said = [str(parsed(one).segment("OBX")[5][0][0]) for one in peer.received]
        assert said == ["NOT_ANALYSABLE", "FLAG_RAISED"]
        again = verdict("job-1", "FLAG_NOT_RAISED", decided_at=time.time())
        with records.write() as connection:
            queue_flag(connection, again, [ris], FACTS)
        tell(records, [ris])
        assert parsed(peer.received[2]).segment("OBX")[11][0] == "W", (
            "who does not hear of negatives hears that it ended"
        )
