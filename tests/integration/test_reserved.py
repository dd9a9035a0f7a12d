"""A scanner whose cases are urgent comes in while routine senders hold every association that they may have."""

from contextlib import ExitStack
from pathlib import Path

from tests.hostile import Client, Receiver, associate_rq
from tests.running_node import settings_for

LIMIT_EXCEEDED = (3, b"\0\2\3\2")
ACCEPTED = 2


def test_the_reserve_is_for_the_peers_that_are_urgent(tmp_path: Path) -> None:
    raw = settings_for(
        tmp_path,
        receiver={
            "maximum_associations": 4,
            "maximum_associations_per_address": 4,
            "reserved_associations": 1,
        },
    )
    (urgent,) = [peer for peer in raw["peers"] if peer["ae_title"] == "STORESCU"]
    urgent["urgent"] = True

    with Receiver(tmp_path, raw) as receiver, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Client(receiver.port)).associate()
        with Client(receiver.port) as fourth:
            assert fourth.send(associate_rq()).pdu() == LIMIT_EXCEEDED, "one is left, and not for everybody"
        scanner = stack.enter_context(Client(receiver.port)).send(associate_rq(calling="STORESCU"))
        assert scanner.pdu()[0] == ACCEPTED
        with Client(receiver.port) as another:
            assert another.send(associate_rq(calling="STORESCU")).pdu() == LIMIT_EXCEEDED, "the reserve is used up"
