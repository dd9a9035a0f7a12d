"""Promises of the supervisor to systemd: told once that the node serves, told that it stops, silent elsewhere."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node import notify
from node.supervisor import Supervisor


@contextmanager
def _systemd(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address)
        listening.settimeout(10.0)
        yield listening


@pytest.mark.parametrize("named", ["as a file", "abstract"])
def test_a_state_reaches_systemd(tmp_path, named):
    name = str(tmp_path / "notify") if named == "as a file" else f"@imaging-node-test-{os.getpid()}"
    with _systemd(name.replace("@", "\0")) as systemd:
        notify.tell({notify.SOCKET: name}, "READY=1")

        assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_sent():
    notify.tell({}, "READY=1")


def test_a_socket_that_is_gone_ends_nothing(tmp_path):
    notify.tell({notify.SOCKET: str(tmp_path / "gone")}, "READY=1")


def test_the_node_says_ready_when_it_serves_and_not_before(tmp_path):
    asked: list[int] = []
    heard: list[bytes] = []

    def serves() -> bool:
        asked.append(len(heard))
        return len(asked) > 2

    with _systemd(str(tmp_path / "notify")) as systemd:

        def listen() -> None:
            heard.append(systemd.recv(100))
            os.kill(os.getpid(), signal.SIGTERM)
            heard.append(systemd.recv(100))

        listener = threading.Thread(target=listen)
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        supervisor = Supervisor(Path("unused"), {notify.SOCKET: str(tmp_path / "notify")}, {}, serves=serves)
        listener.start()
        try:
            assert supervisor.run() == 0
        finally:
            listener.join()
            for number, handler in before.items():
                signal.signal(number, handler)

    assert heard == [b"READY=1", b"STOPPING=1"]
    assert asked == [0, 0, 0]
