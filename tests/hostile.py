"""Clients that send any bytes, in any pieces, or none at all; and a receiver on its own for them."""

import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from node.commands.run import alive
from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE, VERIFICATION
from node.settings import parse
from tests.peers import HOST, wait_until
from tests.running_node import AE_TITLE, write_toml

CT = "1.2.840.10008.5.1.4.1.1.2"
STORE, ECHO = 1, 3  # presentation contexts of `associate`
ABORT = struct.pack(">BxLxxBB", 7, 4, 0, 0)
RELEASE = struct.pack(">BxLL", 5, 4, 0)


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def associate_rq(*, called: str = AE_TITLE, calling: str = "OTHER", syntax: str = EXPLICIT_LE) -> bytes:
    """An A-ASSOCIATE-RQ PDU for CT Image Storage and Verification."""
    body = struct.pack(">HH", 1, 0) + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, abstract, transfer in ((STORE, CT, syntax), (ECHO, VERIFICATION, IMPLICIT_LE)):
        body += item(0x20, bytes([number, 0, 0, 0]) + item(0x30, abstract.encode()) + item(0x40, transfer.encode()))
    body += item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.826.0.1.3680043.10.1537.1"))
    return struct.pack(">BxL", 1, len(body)) + body


def command(field: int, *, message_id: int = 1, sop_class: str = CT, uid: str = "", data: bool = True) -> bytes:
    """A command set: of a C-STORE-RQ (0001H), a C-ECHO-RQ (0030H) or another."""

    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHL", 0, number, len(value)) + value

    body = element(0x0002, sop_class.encode()) + element(0x0100, struct.pack("<H", field))
    body += element(0x0110, struct.pack("<H", message_id))
    if field == 0x0001:
        body += element(0x0700, b"\0\0")
    body += element(0x0800, struct.pack("<H", 1 if data else 0x0101))
    if uid:
        body += element(0x1000, uid.encode())
    return element(0x0000, struct.pack("<L", len(body))) + body


def pdv(data: bytes, *, control: int, context: int = STORE) -> bytes:
    """control: 1 for a command, 2 for the last fragment"""
    return struct.pack(">LBB", len(data) + 2, context, control) + data


def p_data(*pdvs: bytes) -> bytes:
    body = b"".join(pdvs)
    return struct.pack(">BxL", 4, len(body)) + body


def store_command(uid: str, **others: Any) -> bytes:
    return p_data(pdv(command(0x0001, uid=uid, **others), control=3))


class Client(AbstractContextManager["Client"]):
    """A socket. `source`: the address that it calls from; all of 127.0.0.0/8 are this machine's."""

    def __init__(self, port: int, *, source: str = HOST, timeout_s: float = 15.0) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout_s, source_address=(source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def pdu(self) -> tuple[int, bytes]:
        """Type and body of the next PDU; (0, b"") if the connection was closed instead."""
        try:
            head = self._exactly(6)
            return head[0], self._exactly(int.from_bytes(head[2:6], "big"))
        except (EOFError, ConnectionError):
            return 0, b""

    def associate(self, **names: str) -> Self:
        self.send(associate_rq(**names))
        kind, body = self.pdu()
        assert kind == 2, (kind, body)
        return self

    def status(self) -> int:
        """The status of the next response."""
        kind, body = self.pdu()
        assert kind == 4, (kind, body)
        at = 6
        while at < len(body):
            _, element, length = struct.unpack_from("<HHL", body, at)
            if element == 0x0900:
                return int(struct.unpack_from("<H", body, at + 8)[0])
            at += 8 + length
        raise AssertionError("a response without a status")

    def store(self, uid: str, data_set: bytes) -> int:
        """One object in PDUs of 16 KB, as a sender sends it; the status."""
        self.send(store_command(uid))
        parts = [data_set[at : at + 16000] for at in range(0, len(data_set), 16000)]
        for number, part in enumerate(parts, start=1):
            self.send(p_data(pdv(part, control=2 * (number == len(parts)))))
        return self.status()

    def echo(self) -> int:
        self.send(p_data(pdv(command(0x0030, sop_class=VERIFICATION, data=False), control=3, context=ECHO)))
        return self.status()

    def ended_within(self, seconds: float) -> float:
        """Seconds until the other side closed; fails when it did not."""
        began = time.monotonic()
        self.socket.settimeout(seconds)
        with suppress(ConnectionError):
            while self.socket.recv(1 << 16):
                self.socket.settimeout(max(0.01, began + seconds - time.monotonic()))
        return time.monotonic() - began

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.socket.recv(count - len(found))
            if not part:
                raise EOFError
            found += part
        return found


class Receiver(AbstractContextManager["Receiver"]):
    """The receiver part of a node on its own, as a container runs it."""

    def __init__(self, folder: Path, raw: Mapping[str, Any]) -> None:
        self.file = write_toml(folder / "node.toml", raw)
        self.settings = parse(dict(raw), source="the test")
        self.log = folder / "receiver.log"

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            command_line = [sys.executable, "-m", "node", "run", "receiver", "-c", str(self.file)]
            self._process = subprocess.Popen(command_line, stdout=log, stderr=log)
        self.pid = self._process.pid
        wait_until("the receiver serves", lambda: self.said().get("pid") == self.pid or self._gone())
        self._threads_at_rest = self.threads() + 1  # one more comes with the first decoder; an association has two
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        assert self._process.wait(20) == 0, self.log.read_text()[-2000:]

    def _gone(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        return False

    def said(self) -> dict[str, int]:
        return alive(self.settings, "receiver-1")

    @property
    def port(self) -> int:
        return self.said()["port"]

    @property
    def tls_port(self) -> int:
        return self.said()["tls_port"]

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def wait_for_rest(self) -> None:
        """Until no association is open."""
        wait_until("no association is open", lambda: self.threads() <= self._threads_at_rest, timeout_s=15)

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
