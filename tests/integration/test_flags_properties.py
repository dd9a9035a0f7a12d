"""Whatever receivers, kills and withdrawals do to the outbox: nobody is left with a wrong flag, or without one."""

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.peers.carrier import Broken, Unreachable
from node.peers.telling import NotTaken, Told
from node.records import notices
from node.records.database import Records
from node.settings.flags import Hl7Channel
from node.worklist.flags import queue_flag, queue_withdrawal
from node.worklist.notices import _Lane
from tests.verdicts import FACTS, add_verdict, new_records

CHANNEL = Hl7Channel(name="ris", host="127.0.0.1", port=1, retry_longest_s=0.1, refusals=1000)


class Killed(BaseException):
    """The process is gone."""


class Receiver:
    """One that knows repetitions. `holds`: control id -> what it was told, of what it processed."""

    def __init__(self, script: list[str]) -> None:
        self.script, self.holds, self.order = script, dict[str, Told](), list[str]()

    def tell(self, told: Told, *, control_id: str, before: Callable[[], None]) -> str:
        act = self.script.pop(0) if self.script else "takes"
        if act == "away":
            raise Unreachable("away")
        if act == "killed before":
            raise Killed
        before()
        if act == "killed after":
            raise Killed
        if act == "refuses":
            raise NotTaken("no")
        if act != "lost":
            assert self.holds.setdefault(control_id, told) == told, "the same id, the same message"
            self.order.append(control_id)
        if act == "killed late":
            raise Killed
        if act in ("lost", "drops"):
            raise Broken("no answer")
        return "AA"

    def probe(self) -> None:
        """Nothing."""


ACTS = st.sampled_from(
    ["takes", "away", "refuses", "lost", "drops", "killed before", "killed after", "killed late", "WITHDRAW"]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=st.lists(ACTS, max_size=8))
def test_receiver_ends_up_with_what_holds(script: list[str]) -> None:
    with TemporaryDirectory() as folder, closing(new_records(Path(folder))) as records:
        with records.write() as connection:
            queue_flag(connection, add_verdict(connection, "job", decided_at=time.time()), [CHANNEL], FACTS)
        receiver, withdrawn = Receiver([]), False
        lane = _new_lane(records, receiver)
        for act in [*script, *["takes"] * 3]:
            if act == "WITHDRAW":
                with records.write() as connection:
                    queue_withdrawal(connection, "job", "rejected", at=time.time())
                withdrawn = True
                continue
            receiver.script = [act]
            try:
                _one(lane, records)
            except Killed:
                lane = _new_lane(records, receiver)

        flags = [one for one in receiver.holds.values() if not one.withdrawn]
        withdrawals = [one for one in receiver.holds.values() if one.withdrawn]
        assert len(flags) <= 1
        assert len(withdrawals) <= 1
        if withdrawn:
            assert len(withdrawals) >= len(flags), "who holds a flag knows that it no longer holds"
            assert not flags or receiver.holds[receiver.order[-1]].withdrawn, "and hears of it last"
        else:
            assert len(flags) == 1
            assert not withdrawals
        with records.read() as connection:
            assert notices.due_channels(connection, at=time.time() + 3600) == set(), "nothing is left to be told"


def _new_lane(records: Records, receiver: Receiver) -> _Lane:
    return _Lane(records, CHANNEL, receiver, time.time)


def _one(lane: _Lane, records: Records) -> None:
    """One attempt for the first that waits, without its pause."""
    with records.read() as connection:
        waiting = notices.due(connection, "ris", at=time.time() + 3600)
    if waiting:
        lane._tell(waiting[0])
