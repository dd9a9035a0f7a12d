"""The limits of associations are exact over processes, and a process that is killed leaves nothing taken."""

import ipaddress
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from node.peers.dimse.slots import Full, Slot, Slots

HERE, THERE = ipaddress.ip_address("10.0.0.1"), ipaddress.ip_address("fd00::1")
HOLD = """
import ipaddress, sys, time
from node.peers.dimse.slots import Slots
slots = Slots(sys.argv[1], count=4, per_address=3)
held = [slots.take(ipaddress.ip_address("10.0.0.1")) for _ in range(3)]
print("held", flush=True)
time.sleep(60)
"""


def why(slots: Slots, address: ipaddress.IPv4Address | ipaddress.IPv6Address, *, urgent: bool = False) -> str:
    with pytest.raises(Full) as refused:
        slots.take(address, urgent=urgent)
    return refused.value.reason


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "slots"


def test_two_who_share_a_file_count_together(file: Path) -> None:
    first, second = (Slots(file, count=3, per_address=2) for _ in range(2))
    taken = [first.take(HERE), second.take(HERE)]
    assert why(first, HERE) == why(second, HERE) == "address_limit"
    taken.append(second.take(THERE))
    assert why(first, THERE) == "limit"

    taken[0].release()
    taken[0].release()
    assert isinstance(second.take(HERE), Slot)
    assert why(first, HERE) == "address_limit"
    assert (first.held(), second.held()) == (0, 3)
    second.close()
    assert [isinstance(first.take(HERE), Slot) for _ in range(2)] == [True, True]
    first.close()


def test_what_a_killed_process_held_is_free(file: Path) -> None:
    mine = Slots(file, count=4, per_address=3)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert why(mine, HERE) == "address_limit"
        slot = mine.take(THERE)
        assert why(mine, THERE) == "limit"

        os.kill(other.pid, signal.SIGKILL)
        other.wait()

        slot.release()
        assert [isinstance(mine.take(HERE), Slot) for _ in range(3)] == [True] * 3
        assert why(mine, HERE) == "address_limit"
    mine.close()


def test_what_is_reserved_is_for_urgent_callers(file: Path) -> None:
    first, second = (Slots(file, count=4, per_address=3, reserved=2) for _ in range(2))
    common = [first.take(HERE), second.take(HERE)]
    assert why(second, THERE) == "limit", "two are left, and not for everybody"
    urgent = [first.take(THERE, urgent=True), second.take(THERE, urgent=True)]
    assert why(first, THERE, urgent=True) == "limit"

    common[0].release()
    assert isinstance(first.take(THERE, urgent=True), Slot), "beyond the reserve an urgent one stands with all others"
    urgent[0].release()
    assert why(second, HERE) == "limit", "what an urgent one gives back is reserved again"
    for slots in (first, second):
        slots.close()


def test_an_urgent_caller_comes_in_where_its_address_has_all_it_may_have(file: Path) -> None:
    slots = Slots(file, count=6, per_address=2, reserved=1)
    held = [slots.take(HERE), slots.take(HERE)]
    assert why(slots, HERE) == "address_limit"
    held.append(slots.take(HERE, urgent=True))
    assert why(slots, HERE, urgent=True) == "limit", "a gateway does not take what is left of the others' either"
    assert isinstance(slots.take(THERE), Slot)
    slots.close()

    none = Slots(file, count=6, per_address=2)
    held = [none.take(HERE), none.take(HERE)]
    assert why(none, HERE, urgent=True) == "address_limit", "without a reserve nothing changes"
    none.close()
