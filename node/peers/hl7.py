"""HL7 by MLLP (HL7 v2.5.1 appendix C.4.3): one message, one acknowledgement, one connection.

The client of python-hl7 has no time-outs and no TLS, sends what fits into the socket's buffer and takes whatever comes
first for a whole answer; the transport is ours. A connection for each message: flags are some in an hour, an idle
connection is cut by firewalls without a word, and a late answer to an earlier message cannot be taken for this one's.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from node.peers import tls
from node.peers.carrier import Broken, Unreachable
from node.peers.hl7_message import Acknowledgement, acknowledgement, message
from node.peers.telling import NotTaken, Told
from node.settings.flags import Hl7Channel

_START: Final = b"\x0b"
_END: Final = b"\x1c"
_LONGEST_BYTES: Final = 1 << 16  # of all that a receiver says
_BLOCK: Final = 4096


class Hl7Teller:
    """Tells one receiver.

    raises: BadSetting if its certificates cannot be used
    """

    def __init__(self, settings: Hl7Channel) -> None:
        self._settings = settings
        self._context = None if settings.tls is None else tls.web_client_context(settings.tls)

    def probe(self) -> None:
        with self._connected():
            pass

    def tell(self, told: Told, *, control_id: str, before: Callable[[], None]) -> str:
        data = message(told, self._settings, control_id)
        with self._connected() as connection:
            before()
            until = time.monotonic() + self._settings.response_timeout_s
            try:
                connection.sendall(_START + data + _END + b"\r")  # within the time-out of the socket
                said = self._answer(connection, control_id, until)
            except OSError as error:
                raise Broken(f"{self._name}: no acknowledgement ({type(error).__name__}).") from error
        if not said.taken:
            raise NotTaken(
                f"{self._name}: answered {said.code}.",
                answer=f"{said.code} {said.text}".strip(),
                fix="See its log, and what `imaging-node flags` shows of its answer.",
            )
        return f"{said.code} {said.text}".strip()

    @property
    def _name(self) -> str:
        return self._settings.name

    def _answer(self, connection: socket.socket, control_id: str, until: float) -> Acknowledgement:
        """The acknowledgement of this message. What comes for others, late, is passed over."""
        trouble = "no acknowledgement"
        for frame in _frames(connection, until):
            try:
                said = acknowledgement(frame, self._settings.character_set)
            except ValueError:
                trouble = "an answer that is no acknowledgement"
                continue
            if said.control_id == control_id and said.taken is not None:
                return said
            trouble = "an acknowledgement of another message" if said.taken is not None else "an unknown answer"
        raise Broken(f"{self._name}: {trouble} in {self._settings.response_timeout_s:g} s.", fix="See its log.")

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        settings = self._settings
        try:
            found = socket.create_connection((settings.host, settings.port), timeout=settings.connect_timeout_s)
        except OSError as error:
            raise Unreachable(
                f"{self._name}: no connection ({type(error).__name__}).", fix="Check its host and port."
            ) from error
        with found:
            connection = self._secured(found)
            connection.settimeout(settings.response_timeout_s)
            try:
                yield connection
            finally:
                with contextlib.suppress(OSError):  # it may be gone already
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self._context is None:
            return connection
        try:
            return self._context.wrap_socket(connection, server_hostname=self._settings.host)
        except (ssl.SSLError, OSError) as error:
            raise Unreachable(f"{self._name}: TLS failed.", fix="Check certificates and host name.") from error


def _frames(connection: socket.socket, until: float) -> Iterator[bytes]:
    """What is said, frame by frame, in whatever pieces it comes, until the time is over or the other end closes.

    raises: OSError
    """
    buffer, total = b"", 0
    while True:
        while _END in buffer:
            frame, _, buffer = buffer.partition(_END)
            yield frame.rpartition(_START)[2]
        left_s = until - time.monotonic()
        if left_s <= 0 or total > _LONGEST_BYTES:
            return
        connection.settimeout(left_s)
        try:
            block = connection.recv(_BLOCK)
        except TimeoutError:
            return
        if not block:
            return
        total += len(block)
        buffer += block
