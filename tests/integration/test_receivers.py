"""Several receiver processes on one port: one of them dies, the others serve, and the limits hold over all."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import select

from node.commands.run import alive
from node.peers.certificate import expires_at
from node.records import instances
from node.records.states import Ending
from node.records.tables import ASSOCIATIONS
from tests.authority import Authority
from tests.hostile import Client, associate_rq
from tests.peers import wait_until
from tests.running_node import RunningNode, settings_for

LIMIT = 12


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    folder = tmp_path_factory.mktemp("node")
    signed = Authority(folder / "ca").sign("node")
    tls = {"port": 0, "certificate": str(signed.certificate), "key": str(signed.key), "ca": str(signed.ca)}
    receiver = {"port": 0, "processes": 2, "maximum_associations": LIMIT, "tls": tls}
    with RunningNode(folder, settings_for(folder, receiver=receiver)) as running:
        running.port = alive(running.settings, "receiver")["port"]
        yield running


def open_receivers(node: RunningNode) -> set[str]:
    with closing(node.records()) as records, records.read() as connection:
        return instances.open_receivers(connection)


def is_open(client: Client) -> bool:
    try:
        return client.echo() == 0x0000
    except (AssertionError, ConnectionError):
        return False


def test_the_port_that_was_found_is_everybodys(node: RunningNode) -> None:
    said = [alive(node.settings, f"receiver-{slot}") for slot in (1, 2)]

    assert said[0]["pid"] != said[1]["pid"]
    assert said[0]["port"] == said[1]["port"] != 0
    assert said[0]["tls_port"] == said[1]["tls_port"] not in (0, said[0]["port"])


def test_one_is_killed_while_the_other_serves_and_its_places_are_free_at_once(node: RunningNode) -> None:
    before = open_receivers(node)
    assert before == set()
    with ExitStack() as stack:
        held = [stack.enter_context(Client(node.port)).associate() for _ in range(LIMIT)]
        wait_until("both have some", lambda: len(open_receivers(node)) == 2, timeout_s=5)
        with Client(node.port) as surplus:
            assert surplus.send(associate_rq()).pdu() == (3, b"\0\2\3\2"), "the limit is that of both together"
        (killed,) = (name for name in open_receivers(node) if name.startswith("receiver-2/"))
        os.kill(node.pids()["receiver-2"], signal.SIGKILL)
        kept = [client for client in held if is_open(client)]
        assert 0 < len(kept) < LIMIT, "the living one's associations go on"

        began = time.monotonic()
        again = [stack.enter_context(Client(node.port)) for _ in range(LIMIT - len(kept))]
        answers = [client.send(associate_rq()).pdu()[0] for client in again]
        # Those that the kernel had given to the dead one are reset; a sender calls again.
        assert answers.count(3) == 0, "a place of the dead process was not free"
        assert answers.count(2) >= 1
        assert time.monotonic() - began < 2.0

        wait_until("it is back", lambda: alive(node.settings, "receiver-2").get("pid") in node.pids().values())
        wait_until("its associations are closed", lambda: killed not in open_receivers(node))
        assert all(map(is_open, kept))
        with closing(node.records()) as records, records.read() as connection:
            ended = connection.execute(select(ASSOCIATIONS.c.receiver, ASSOCIATIONS.c.ending)).all()
        lost = {receiver for receiver, ending in ended if ending == Ending.LOST}
        assert lost == {killed}, "only those of the dead one are lost"
    wait_until("all are closed", lambda: not open_receivers(node))


def test_the_end_of_the_certificate_is_shown(node: RunningNode) -> None:
    shown = re.search(
        r'imaging_node_certificate_expires_timestamp_seconds\{use="receiver"\} (\S+)',
        node.metrics(),
    )
    assert node.settings.receiver.tls is not None
    assert shown is not None
    assert float(shown[1]) == expires_at(Path(node.settings.receiver.tls.certificate))
