"""A receiver of HL7 by MLLP that behaves on script: a step for each message, in order; the last for all that follow."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Any, Self

import hl7

from tests.peers import HOST

Step = Callable[["MllpPeer", socket.socket, bytes], bool]
"""What is done with one message; False: the connection is closed."""


class MllpPeer(AbstractContextManager["MllpPeer"]):
    """Listens while it is entered.

    received:  every message as it came, without its frame
    processed: the control ids that it took, each once: it knows repetitions
    """

    def __init__(self, *script: Step, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.received: list[bytes] = []
        self.processed: list[str] = []
        self.connections = 0
        self._script, self._context, self._lock = list(script), context, threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.create_server((HOST, port))
        self.port = int(self._listening.getsockname()[1])
        self._closed = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)
        with self._lock:
            left = list(self._open)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):  # whoever called may leave at any time
            connection.settimeout(20)
            if self._context is not None:
                try:
                    connection = self._context.wrap_socket(connection, server_side=True)
                except OSError:
                    connection.close()
                    return
            with self._lock:
                self._open.add(connection)
            buffer = b""
            while True:
                block = connection.recv(4096)
                if not block:
                    break
                buffer += block
                while b"\x1c\r" in buffer:
                    frame, _, buffer = buffer.partition(b"\x1c\r")
                    assert frame.startswith(b"\x0b")
                    if not self._next(frame[1:])(self, connection, frame[1:]):
                        connection.close()
                        return
        connection.close()

    def _next(self, message: bytes) -> Step:
        with self._lock:
            self.received.append(message)
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def take(self, message: bytes) -> str:
        """Process a message, once. Returns its control id."""
        control_id = control_id_of(message)
        with self._lock:
            if control_id not in self.processed:
                self.processed.append(control_id)
        return control_id


def control_id_of(message: bytes) -> str:
    return message.split(b"\r")[0].split(b"|")[9].decode("ascii")


def parsed(message: bytes, encoding: str = "utf-8") -> Any:
    """As python-hl7 reads it."""
    return hl7.parse(message.decode(encoding))


def framed(code: str, control_id: str, text: str = "") -> bytes:
    """An acknowledgement with its frame."""
    return (
        f"\x0bMSH|^~\\&|RIS|SITE|GENAI|SITE|20260101120501||ACK^R01^ACK|A1|P|2.5.1\rMSA|{code}|{control_id}|{text}\r\x1c\r"
    ).encode()


def answers(code: str, text: str = "") -> Step:
    """AA, AE, AR, CA ... to the message."""

    def step(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
        control_id = peer.take(message) if code in ("AA", "CA") else control_id_of(message)
        connection.sendall(framed(code, control_id, text))
        return True

    return step


def silent(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
    """Takes the message and says nothing; the connection stays open."""
    return True


def drops(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
    """Takes the message, processes it, and breaks off before its acknowledgement."""
    peer.take(message)
    return False


def in_pieces(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
    """Acknowledges byte by byte."""
    for byte in framed("AA", peer.take(message)):
        connection.sendall(bytes([byte]))
        time.sleep(0.001)
    return True


def for_another(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
    """Acknowledges a message that nobody sent."""
    connection.sendall(framed("AA", "SOMETHING-ELSE"))
    return True


def late_one_first(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
    """What is left of earlier messages, then the acknowledgement of this one."""
    connection.sendall(framed("AE", "EARLIER-ONE") + b"\x0bno hl7\x1c\r" + framed("AA", peer.take(message), "stored"))
    return True


def says(data: bytes) -> Step:
    """Whatever it is."""

    def step(peer: MllpPeer, connection: socket.socket, message: bytes) -> bool:
        connection.sendall(data)
        return True

    return step


takes: Step = answers("AA")
