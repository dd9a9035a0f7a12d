"""One association that the node opened: negotiated by pynetdicom's PDUs, then read and written by this thread alone.

pynetdicom's own associations hand every fragment through two threads and a polling loop, and have lost answers on that
way (THROUGHPUT, "A trap"). Here the calling thread owns the socket; each wait has a deadline, each length a limit.
"""

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from node.peers.carrier import Broken, Unreachable
from node.peers.dimse import message, negotiation
from node.peers.dimse.connect import Address, connect
from node.peers.dimse.fragments import COMMAND, LAST, Buffers, behind, cut
from node.peers.dimse.message import Field
from node.peers.dimse.negotiation import Accepted, NoContext, Proposal

_MOST_COMMAND: Final = 1 << 14
_MOST_NEGOTIATION: Final = 1 << 20
_MOST_BUFFERS: Final = 512  # of one sendmsg; Linux takes 1024
_RELEASE_RQ: Final = struct.pack(">BBLL", 5, 0, 4, 0)
_RELEASE_RP: Final = struct.pack(">BBLL", 6, 0, 4, 0)
_ABORT: Final = struct.pack(">BBLBBBB", 7, 0, 4, 0, 0, 0, 0)
_SMALLEST_PDU: Final = 128
# What to look at when a peer ends the connection in the negotiation, by whether the node speaks TLS.
_FIX: Final = {
    False: "Check host, port and AE titles of the destination, and whether it wants TLS.",
    True: "Check that the peer accepts the node's certificate, and the AE titles.",
}
_LARGEST_FRAGMENT: Final = 1 << 18  # to a peer that sets no limit


class Aborted(Broken):
    """The peer answered with an A-ABORT: it is there, and does not want this."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A command set that came, on which presentation context; its data set, if any, is still to be read."""

    context: int
    command: dict[Field, int | str]

    @property
    def has_data_set(self) -> bool:
        return self.command.get(Field.DATA_SET_TYPE) != message.NO_DATA_SET

    def number(self, field: Field) -> int | None:
        return message.number(self.command, field)

    def text(self, field: Field) -> str:
        return message.text(self.command, field)


@contextlib.contextmanager
def linked(address: Address, proposals: Sequence[Proposal], *, purpose: str) -> Iterator["Link"]:
    """An established association, released at the end, or aborted if the block raises.

    raises: Unreachable or NoContext, naming why
    """
    link = Link(connect(address, purpose=purpose), address, purpose=purpose)
    try:
        link.negotiate(proposals)
        yield link
        link.release()
    except BaseException:
        link.abort()
        raise
    finally:
        link.close()


class Link:
    """The requestor's end of an association. Not for several threads.

    accepted: what the peer took, by presentation context ID
    """

    def __init__(self, connection: socket.socket, address: Address, *, purpose: str) -> None:
        self._socket, self._address, self._purpose = connection, address, purpose
        self._tls = isinstance(connection, ssl.SSLSocket)
        self._pdu = memoryview(bytearray(negotiation.MAXIMUM_PDU))
        self._left = memoryview(b"")  # PDVs of the last P-DATA-TF that were not looked at yet
        self._until = 0.0
        self._fragment = _LARGEST_FRAGMENT
        self.accepted: dict[int, Accepted] = {}
        self._established = False
        self._ids = 0

    def negotiate(self, proposals: Sequence[Proposal]) -> None:
        """Ask for an association. Raises Unreachable or NoContext."""
        address = self._address
        try:
            self._wait(address.connect_s)
            self._send_all([negotiation.request(address, proposals)])
            kind, length = self._header()
            if length > _MOST_NEGOTIATION:
                raise Broken(f"it answered with a PDU of {length} bytes")
            body = bytearray(length)
            self._fill(memoryview(body))
        except Broken as error:
            raise Unreachable(f"{self._purpose}: {error.message}.", fix=_FIX[self._tls]) from error
        answer = negotiation.answer(kind, bytes(body), proposals, purpose=self._purpose)
        if not answer.accepted:
            self._established = True  # it was accepted, of no use, and is to be aborted
            raise NoContext(f"{self._purpose}: the peer took none of the presentation contexts.", fix=negotiation.FIX)
        if 0 < answer.maximum_pdu < _SMALLEST_PDU:
            raise Unreachable(f"{self._purpose}: the peer takes PDUs of {answer.maximum_pdu} bytes only.")
        if answer.maximum_pdu:
            self._fragment = min(answer.maximum_pdu - 6, _LARGEST_FRAGMENT) & ~1
        self.accepted, self._established = answer.accepted, True

    def context(self, sop_class: str, syntaxes: Sequence[str] = ()) -> tuple[int, str] | None:
        """ID and transfer syntax of an accepted context for a class; by the order of `syntaxes`, or the first."""
        found = {a.transfer_syntax: key for key, a in self.accepted.items() if a.abstract_syntax == sop_class}
        for syntax in syntaxes or found:
            if syntax in found:
                return found[syntax], syntax
        return None

    def next_id(self) -> int:
        """A message ID that the last 65,534 messages did not have."""
        self._ids = self._ids % 0xFFFF + 1
        return self._ids

    def send(self, context: int, command: message.Values, data: bytes | None = None) -> None:
        """Send a message. Raises Broken."""
        self._wait(self._address.response_s)
        buffers = self.command(context, command)
        if data is not None:
            buffers += self.fragments(context, memoryview(data), last=True)
        self._send_all(buffers)

    def send_part(self, buffers: Buffers) -> None:
        """Send what `command` and `fragments` made. Raises Broken."""
        self._wait(self._address.response_s)
        self._send_all(buffers)

    def command(self, context: int, command: message.Values) -> Buffers:
        """A command set as a P-DATA-TF, in fragments if the peer wants them."""
        data = memoryview(message.encode(command))
        return cut(context, data, size=self._fragment, control=COMMAND, last=True)

    def fragments(self, context: int, data: memoryview, *, last: bool) -> Buffers:
        """A part of a data set as P-DATA-TFs of the size that the peer takes: headers, and slices of `data`."""
        return cut(context, data, size=self._fragment, control=0, last=last)

    def receive(self, seconds: float | None = None) -> Message:
        """The next message's command set. Raises Broken; TimeoutError after `seconds`, if they are given."""
        self._wait(self._address.response_s if seconds is None else seconds)
        command = bytearray()
        try:
            while True:
                context, control, piece = self._next_fragment()
                if not control & COMMAND:
                    raise Broken("the peer sent a data set without a command")
                command += piece
                if len(command) > _MOST_COMMAND:
                    raise Broken(f"a command set of more than {_MOST_COMMAND} bytes")
                if control & LAST:
                    break
            return Message(context=context, command=message.decode(command))
        except ValueError as error:
            raise Broken(f"{self._purpose}: the peer's answer cannot be read ({error}).") from error
        except Broken as error:
            if seconds is not None and isinstance(error.__cause__, TimeoutError) and not command:
                raise TimeoutError from error
            raise type(error)(f"{self._purpose}: {error.message}.") from error

    def data_set(self, most: int) -> bytes:
        """The data set of the message that `receive` gave. Raises Broken, also if it has more than `most` bytes."""
        found = bytearray()
        for piece in self.pieces():
            found += piece
            if len(found) > most:
                raise Broken(f"{self._purpose}: a data set of more than {most} bytes.")
        return bytes(found)

    def pieces(self) -> Iterator[memoryview]:
        """The data set of the message that `receive` gave, piece by piece; each is good until the next one."""
        last = False
        while not last:
            self._wait(self._address.response_s)
            try:
                _, control, piece = self._next_fragment()
            except Broken as error:
                raise Broken(f"{self._purpose}: {error.message}.") from error
            if control & COMMAND:
                raise Broken(f"{self._purpose}: the peer sent a command inside a data set.")
            last = bool(control & LAST)
            yield piece

    def release(self) -> None:
        """Release the association; what was answered stays answered, whatever the peer makes of it."""
        self._established = False
        with contextlib.suppress(Broken):
            self._wait(min(self._address.response_s, 5.0))
            self._send_all([_RELEASE_RQ])
            while True:
                kind, length = self._header()
                if kind not in (4, 5) or length > len(self._pdu):
                    return
                self._fill(self._pdu[:length])
                if kind == 5:  # both at once: PS3.8 9.2.1, release collision
                    self._send_all([_RELEASE_RP])

    def abort(self) -> None:
        """Tell the peer that it is over, if there still is one."""
        if self._established:
            self._established = False
            with contextlib.suppress(Broken):
                self._wait(1.0)
                self._send_all([_ABORT])

    def close(self) -> None:
        self._socket.close()

    def _next_fragment(self) -> tuple[int, int, memoryview]:
        """Presentation context, control header and bytes of the next presentation data value (PS3.8 9.3.5)."""
        if not self._left:
            self._next_pdu()
        if len(self._left) < 6:
            raise Broken("the peer sent a PDU without a whole fragment")
        length, context, control = struct.unpack_from(">LBB", self._left)
        if not 2 <= length <= len(self._left) - 4:
            raise Broken(f"the peer sent a fragment of {length} bytes in a PDU with {len(self._left) - 4} left")
        if context not in self.accepted:
            raise Broken(f"the peer answered on presentation context {context}, which was not accepted")
        piece, self._left = self._left[6 : 4 + length], self._left[4 + length :]
        return context, control, piece

    def _next_pdu(self) -> None:
        kind, length = self._header()
        if length > len(self._pdu):
            raise Broken(f"the peer sent a PDU of {length} bytes")
        self._fill(self._pdu[:length])
        if kind == 4:
            self._left = self._pdu[:length]
            return
        self._established = False
        if kind == 5:
            with contextlib.suppress(Broken):
                self._send_all([_RELEASE_RP])
            raise Broken("the peer released the association before everything was answered")
        if kind == 7:
            raise Aborted("the peer aborted the association")
        raise Broken(f"the peer sent a PDU of type {kind}")

    def _wait(self, seconds: float) -> None:
        """Set the deadline of what follows."""
        self._until = time.monotonic() + seconds

    def _header(self) -> tuple[int, int]:
        head = bytearray(6)
        self._fill(memoryview(head))
        kind, _, length = struct.unpack(">BBL", head)
        return kind, length

    def _fill(self, view: memoryview) -> None:
        while view:
            try:
                # A peer with Nagle's algorithm on holds the rest of its answer back until the first bytes of it are
                # acknowledged, and Linux would wait 40 ms with that. The option is good for a while only.
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
                got = self._socket.recv_into(view)
            except OSError as error:
                raise self._ended(error, "did not answer in time") from error
            if not got:
                self._established = False
                raise Broken("the peer closed the connection")
            view = view[got:]

    def _send_all(self, buffers: Buffers) -> None:
        try:
            if self._tls:
                self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
                for at in range(0, len(buffers), 2):  # a header and its data in one record
                    self._socket.sendall(b"".join(buffers[at : at + 2]))
                return
            while buffers:
                self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
                buffers = behind(buffers, self._socket.sendmsg(buffers[:_MOST_BUFFERS]))
        except OSError as error:
            raise self._ended(error, "took no more data") from error

    def _ended(self, error: OSError, late: str) -> Broken:
        if isinstance(error, TimeoutError):
            return Broken(f"the peer {late}")
        self._established = False
        if isinstance(error, ssl.SSLEOFError):
            return Broken("the peer closed the connection without the end that TLS has")
        if isinstance(error, ssl.SSLError):  # TLS 1.3 says so only now
            return Broken(f"the peer ended TLS ({(error.reason or 'no reason').replace('_', ' ').lower()})")
        return Broken(f"the connection broke off ({error.strerror or type(error).__name__})")
