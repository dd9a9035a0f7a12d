"""A connection with deadlines, as pynetdicom's state machine and the node's own reader share it."""

import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Any, Final

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

_LOOK_S: Final = 1.0  # a read that waits looks at its deadline so often
_FAREWELL_S: Final = 0.2


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How slow a peer may be.

    pdu_s:               for one PDU, from its first byte to its last
    bytes_per_s:         at least, of a message that takes longer than `pdu_s`
    """

    pdu_s: float
    bytes_per_s: float


class Gone(Exception):
    """The peer closed the connection, or it broke."""


class TooSlow(Exception):
    """A PDU was not complete in its time."""


class Wire(AssociationSocket):
    """An accepted connection, plain or TLS, whose reads end at a deadline.

    first: bytes that were read already and come before the others
    """

    def __init__(self, association: Association, connection: socket.socket, *, first: bytes, pace: Pace) -> None:
        super().__init__(association, client_socket=connection)
        self._connection = connection
        self._ahead = bytearray(first)
        self._pace = pace
        self._deadline = time.monotonic() + pace.pdu_s
        self._poll = select.poll()  # select.select ends at descriptor 1023
        self._poll.register(connection, select.POLLIN)
        self._tls = isinstance(connection, ssl.SSLSocket)
        self.waited_s = 0.0  # spent in reads so far
        if self._tls:
            connection.settimeout(_LOOK_S)
        else:
            connection.setblocking(True)
            seconds, rest = divmod(_LOOK_S, 1.0)
            limit = struct.pack("ll", int(seconds), int(rest * 1e6))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(pace.pdu_s) + 1, 0))
        self._whole = 0 if self._tls else socket.MSG_WAITALL

    @property
    def ready(self) -> bool:
        """Whether there is something to read."""
        return self.wait(0.0)

    def wait(self, seconds: float) -> bool:
        """Wait so long at most until there is something to read, be it the end."""
        if self._ahead:
            return True
        if self.socket is None:
            return False
        if self._tls and self._connection.pending():  # type: ignore[attr-defined]  # it is an SSLSocket
            return True
        return bool(self._poll.poll(1000 * seconds))

    def start_pdu(self) -> None:
        """A PDU begins: its time runs from now."""
        self._deadline = time.monotonic() + self._pace.pdu_s
        if self.socket is not None:
            # Senders as installed wait for an acknowledgement before the last piece of each PDU (Nagle); the kernel
            # would keep it back for 40 ms. The flag does not last, so it is set again and again.
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def fill(self, view: memoryview, least: int | None = None) -> int:
        """Read until the view is full, or has `least` bytes. Returns how many. Raises Gone, TooSlow."""
        wanted = len(view) if least is None else least
        got = min(len(self._ahead), len(view))
        if got:
            view[:got] = self._ahead[:got]
            del self._ahead[:got]
        if got >= wanted:
            return got
        flags = self._whole if least is None else 0
        began = time.monotonic()
        try:
            while True:
                try:
                    count = (
                        self._connection.recv_into(view[got:])
                        if self._tls
                        else self._connection.recv_into(view[got:], 0, flags)
                    )
                except (BlockingIOError, TimeoutError):
                    count = -1
                except OSError as error:
                    raise Gone from error
                if count == 0:
                    raise Gone
                got += max(count, 0)
                if got >= wanted:
                    return got
                if time.monotonic() > self._deadline:
                    raise TooSlow
        finally:
            self.waited_s += time.monotonic() - began

    def fill_and_look_on(self, view: memoryview, more: int) -> None:
        """As `fill`, for a view that something is sure to follow: `more` bytes of that are read in the same call.

        One call for each PDU, because each gives up the interpreter and has to wait for its turn again.
        """
        if self._tls or self._ahead:
            self.fill(view)
            return
        behind = bytearray(more)
        began = time.monotonic()
        try:
            got = self._connection.recvmsg_into([view, behind], 0, socket.MSG_WAITALL)[0]
        except BlockingIOError:
            got = -1
        except OSError as error:
            raise Gone from error
        finally:
            self.waited_s += time.monotonic() - began
        if got == 0:
            raise Gone
        if got < len(view):
            self.fill(view[max(got, 0) :])
        else:
            self._ahead += behind[: got - len(view)]

    def unread(self, data: bytes | bytearray) -> None:
        """Put bytes back, to be read first."""
        self._ahead[:0] = data

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay. Raises Gone, TooSlow."""
        found = bytearray(count)
        self.fill(memoryview(found))
        self.unread(found)
        return bytes(found)

    def recv(self, nr_bytes: int) -> bytearray:
        """For pynetdicom: so many bytes, or fewer at the end of the connection. Raises TimeoutError."""
        found = bytearray(nr_bytes)
        try:
            self.fill(memoryview(found))
        except TooSlow as error:
            raise TimeoutError from error
        except Gone:
            return bytearray()
        return found

    def send_all(self, data: bytes) -> None:
        """Raises Gone."""
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Gone from error

    def say_farewell(self, pdu: bytes) -> None:
        """Send a last PDU to a peer that broke the rules, wait a moment until it was read, and close."""
        try:
            self._connection.settimeout(_FAREWELL_S)
            self._connection.sendall(pdu)
            # What is unread at a close makes the kernel reset the connection, and the peer would not see the PDU.
            plain: Any = self._connection
            plain.shutdown(socket.SHUT_WR)
            until = time.monotonic() + _FAREWELL_S
            while time.monotonic() < until and plain.recv(1 << 16):
                pass
        except OSError:
            pass  # it is gone, which is all that was wanted
        self.close()
