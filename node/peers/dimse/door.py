"""A listening socket, and the room where a connection waits until it has asked for an association.

One thread looks after all who wait: a silent connection costs a descriptor and a few hundred bytes, no thread. TLS
handshakes never block it either. Only a whole A-ASSOCIATE-RQ leaves the room, and not before it has its answer or its
slot.
"""

import contextlib
import errno
import ipaddress
import selectors
import socket
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from node.log import log
from node.peers.dimse import pdu
from node.peers.dimse.pdu import HEADER_BYTES, Malformed
from node.peers.dimse.slots import IPAddress
from node.peers.tls import subject_names

_WAITING: Final = 1000  # connections; then the one that has waited longest goes
_WAITING_BYTES: Final = 32 << 20  # of requests that are not whole, of all together
_BACKLOG: Final = 1024
_LEAVING_S: Final = 2.0  # a refused one reads its answer
_SAY_EVERY_S: Final = 1.0  # of one reason; a flood must not fill the log


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A connection that asks for an association.

    request: its A-ASSOCIATE-RQ PDU, whole
    names:   of its certificate (`tls.subject_names`); None without TLS
    """

    connection: socket.socket
    address: IPAddress
    port: int
    request: bytes
    names: frozenset[str] | None


class _Guest:
    """A connection in the room. `due`: when it has to go, monotonic seconds."""

    def __init__(self, connection: socket.socket, address: tuple[Any, ...], due: float) -> None:
        self.connection, self.due = connection, due
        there = ipaddress.ip_address(address[0].partition("%")[0])
        # A listener on :: sees IPv4 senders as mapped addresses (RFC 4291 2.5.5.2).
        self.address: IPAddress = getattr(there, "ipv4_mapped", None) or there
        self.port: int = address[1]
        self.shaking_hands = isinstance(connection, ssl.SSLSocket)
        self.leaving = False
        self.request = bytearray()
        self.names: frozenset[str] | None = None


class Door:
    """Accepts connections until it is closed.

    listening: bound, not yet listening
    context:   for TLS, or None
    request_s: from the connection to the end of its association request
    answer:    the PDU that refuses a caller, or None: then the connection is the function's
    refused:   a connection was refused or cut here, for a reason of a closed set
    """

    def __init__(
        self,
        listening: socket.socket,
        *,
        context: ssl.SSLContext | None,
        request_s: float,
        answer: Callable[[Caller], bytes | None],
        refused: Callable[[str], None],
    ) -> None:
        self._listening, self._context, self._request_s = listening, context, request_s
        self._answer, self._refused = answer, refused
        self._waiting: OrderedDict[int, _Guest] = OrderedDict()  # by descriptor, the one that came first in front
        self._leaving: OrderedDict[int, _Guest] = OrderedDict()
        self._waiting_bytes = 0
        self._said: dict[str, float] = {}
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._closing = False
        listening.setblocking(False)
        listening.listen(_BACKLOG)
        self.port: int = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name=f"door {self.port}", daemon=True)

    def open(self) -> None:
        """Begin to accept."""
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()

    def close(self) -> None:
        """Accept no more; who waits is cut off."""
        self._closing = True
        self._wake.send(b"\0")
        self._thread.join()
        for guest in (*self._waiting.values(), *self._leaving.values()):
            guest.connection.close()
        for one in (self._selector, self._listening, self._wake, self._woken):
            one.close()

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(self._until_next()):
                if key.fileobj is self._listening:
                    self._accept()
                elif key.data is not None:
                    self._attend(key.data)
            self._see_off()

    def _until_next(self) -> float | None:
        due = [next(iter(room.values())).due for room in (self._waiting, self._leaving) if room]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _accept(self) -> None:
        for _ in range(64):  # then those inside get their turn
            try:
                connection, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._say("descriptors", "no more descriptors or memory for connections")
                    self._make_room(16)
                    time.sleep(0.01)
                    return
                continue  # that connection was gone before it was accepted
            if len(self._waiting) >= _WAITING:
                self._make_room(1)
            self._welcome(connection, address)

    def _welcome(self, connection: socket.socket, address: tuple[Any, ...]) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        except OSError:
            connection.close()
            return
        guest = _Guest(connection, address, time.monotonic() + self._request_s)
        self._waiting[connection.fileno()] = guest
        self._selector.register(connection, selectors.EVENT_READ, guest)

    def _attend(self, guest: _Guest) -> None:
        try:
            if guest.leaving:
                if not guest.connection.recv(1 << 16):
                    self._drop(guest)
            else:
                self._hear(guest)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._selector.modify(guest.connection, selectors.EVENT_READ, guest)
        except ssl.SSLWantWriteError:
            self._selector.modify(guest.connection, selectors.EVENT_READ | selectors.EVENT_WRITE, guest)
        except ssl.SSLError as error:
            self._refuse(guest, "tls", f"TLS: {error.reason or 'handshake failed'}", None)
        except OSError:
            self._drop(guest)
        except Malformed as error:
            reason = pdu.UNEXPECTED if guest.request[:1] in b"\2\3\4\5\6\7" else pdu.UNRECOGNISED
            self._refuse(guest, "malformed", str(error), pdu.abort(reason))
        except Exception:  # noqa: BLE001  one connection must not close the door for all others; the log has the trace
            log.exception("a connection could not be answered")
            self._drop(guest)

    def _hear(self, guest: _Guest) -> None:
        if guest.shaking_hands:
            assert isinstance(guest.connection, ssl.SSLSocket)
            guest.connection.do_handshake()
            guest.shaking_hands = False
            guest.names = subject_names(guest.connection.getpeercert())
        while missing := _missing(guest.request):
            data = guest.connection.recv(min(missing, 1 << 16))
            if not data:
                self._drop(guest)
                return
            guest.request += data
            self._waiting_bytes += len(data)
            if self._waiting_bytes > _WAITING_BYTES:
                raise Malformed("Too many association requests are not whole.")
        self._ask(guest)

    def _ask(self, guest: _Guest) -> None:
        caller = Caller(
            connection=guest.connection,
            address=guest.address,
            port=guest.port,
            request=bytes(guest.request),
            names=guest.names,
        )
        # From here on the connection may be another thread's, and its descriptor anybody's.
        self._selector.unregister(guest.connection)
        self._forget(guest, guest.connection.fileno())
        refusal = self._answer(caller)
        if refusal is not None:
            self._selector.register(guest.connection, selectors.EVENT_READ, guest)
            self._let_go(guest, refusal)

    def _refuse(self, guest: _Guest, reason: str, why: str, answer: bytes | None) -> None:
        self._refused(reason)
        self._say(reason, why, guest)
        if answer is None:
            self._drop(guest)
        else:
            self._forget(guest, guest.connection.fileno())
            self._let_go(guest, answer)

    def _let_go(self, guest: _Guest, answer: bytes) -> None:
        """Send the answer; the connection stays until it is read, because closing sooner may destroy it."""
        guest.leaving, guest.due = True, time.monotonic() + _LEAVING_S
        self._leaving[guest.connection.fileno()] = guest
        try:
            guest.connection.send(answer)
            guest.connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(guest)

    def _see_off(self) -> None:
        """Cut those whose time is over."""
        now = time.monotonic()
        for room in (self._waiting, self._leaving):
            while room and (guest := next(iter(room.values()))).due <= now:
                if not guest.leaving:
                    self._refused("silent")
                    self._say("silent", "no association request in time", guest)
                self._drop(guest)

    def _make_room(self, count: int) -> None:
        for guest in list(self._waiting.values())[:count]:
            self._refused("silent")
            self._drop(guest)

    def _drop(self, guest: _Guest) -> None:
        descriptor = guest.connection.fileno()
        if descriptor < 0:
            return
        self._forget(guest, descriptor)
        with contextlib.suppress(KeyError):  # it was being answered
            self._selector.unregister(guest.connection)
        guest.connection.close()

    def _forget(self, guest: _Guest, descriptor: int) -> None:
        self._waiting.pop(descriptor, None)
        self._leaving.pop(descriptor, None)
        self._waiting_bytes -= len(guest.request)
        guest.request = bytearray()

    def _say(self, reason: str, why: str, guest: _Guest | None = None) -> None:
        now = time.monotonic()
        if now - self._said.get(reason, 0.0) >= _SAY_EVERY_S:
            self._said[reason] = now
            log.warning("connection refused", why=why, address=str(guest.address) if guest else None)


def _missing(request: bytearray) -> int:
    """How many bytes an A-ASSOCIATE-RQ lacks; of one whose header is not whole, how many its header lacks."""
    if len(request) < HEADER_BYTES:
        if request and request[0] != pdu.ASSOCIATE_RQ:
            raise Malformed("The first PDU is no association request.")
        return HEADER_BYTES - len(request)
    length = int.from_bytes(request[2:6], "big")
    if request[0] != pdu.ASSOCIATE_RQ or length > pdu.MAXIMUM_REQUEST_BYTES:
        raise Malformed("The first PDU is no association request, or too long for one.")
    return HEADER_BYTES + length - len(request)
