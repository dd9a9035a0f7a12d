"""The DICOM listener: who may come in, how many, and what each may do. What to keep is `stages.receive`'s to say."""

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pynetdicom import AE, _config, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.presentation import build_context
from pynetdicom.transport import AddressInformation

from node.dicom.classes import DOCUMENT_CLASSES, DOCUMENT_SYNTAXES, STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from node.intake.incoming import Head
from node.log import log
from node.peers.dimse import pdu
from node.peers.dimse.door import Caller, Door
from node.peers.dimse.inline import Provider
from node.peers.dimse.service import Service
from node.peers.dimse.sink import Incoming, Store
from node.peers.dimse.slots import Full, IPAddress, Slot, Slots
from node.peers.dimse.wire import Pace, Wire
from node.settings.receiver import Peer, Receiver

_config.LOG_REQUEST_IDENTIFIERS = False  # pynetdicom would log data sets otherwise
_config.LOG_RESPONSE_IDENTIFIERS = False
_config.LOG_HANDLER_LEVEL = "none"  # it formats a text for each PDU, for a log that nobody reads

SLOTS_FILE: Final = "associations.slots"
_CLOSING_S: Final = 3.0
_UNRECOGNISED: Final = 0x0211  # an operation that was not agreed upon
_NEVER: Final = 1 << 30  # pynetdicom's own limit of associations; ours is counted before it is asked


@dataclass(frozen=True, kw_only=True)
class Listening:
    """What the listener tells the node; every function may be called from any thread.

    begin:    makes ready for an object, raises Rejected
    opened:   an association (its key, calling AE title) was accepted
    closed:   an association ended: key, and whether by release with everything taken that ever can be
    refused:  a connection or an association was refused, for a reason of a closed set (`metrics.REFUSALS`)
    answered: one C-STORE was answered: status, bytes of the data set, seconds since its first byte
    """

    begin: Callable[[Head], Incoming]
    opened: Callable[[str, str], None]
    closed: Callable[[str, bool], None]
    refused: Callable[[str], None]
    answered: Callable[[int, int, float], None]


class Listener:
    """A running SCP on one or two ports.

    state:   folder of the node; processes that share it share the limits of associations
    plain:   bound socket of the port without TLS, or None
    secure:  bound socket of the port with TLS and its context, or None
    raises:  BadSetting
    """

    def __init__(
        self,
        settings: Receiver,
        peers: Sequence[Peer],
        node: Listening,
        *,
        services: Sequence[Service] = (),
        implementation_uid: str,
        state: Path,
        plain: socket.socket | None,
        secure: tuple[socket.socket, ssl.SSLContext] | None = None,
    ) -> None:
        self._settings, self._peers, self._node = settings, peers, node
        self._slots = Slots(
            state / SLOTS_FILE,
            count=settings.maximum_associations,
            per_address=settings.maximum_associations_per_address,
            reserved=settings.reserved_associations if any(peer.urgent for peer in peers) else 0,
        )
        self._ae = AE(ae_title=settings.ae_title)
        self._ae.implementation_class_uid = implementation_uid
        self._ae.maximum_associations = _NEVER
        self._ae.maximum_pdu_size = settings.maximum_pdu_bytes
        self._ae.network_timeout = self._ae.dimse_timeout = settings.network_timeout_s
        self._ae.acse_timeout = settings.request_timeout_s
        self._contexts = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_CLASSES]
        self._contexts += [build_context(uid, list(DOCUMENT_SYNTAXES)) for uid in DOCUMENT_CLASSES]
        self._contexts.append(build_context(VERIFICATION))
        self._handlers = _handlers(services)
        for service in services:
            for wanted in service.contexts:
                context = build_context(wanted.abstract_syntax, list(wanted.transfer_syntaxes))
                context.scu_role, context.scp_role = wanted.scu_role, wanted.scp_role
                self._contexts.append(context)
        self._associations: set[_Accepted] = set()
        self._turn = threading.Lock()
        self._doors = {
            name: Door(
                listening,
                context=context,
                request_s=settings.request_timeout_s,
                answer=self._answer,
                refused=node.refused,
            )
            for name, listening, context in (
                ("plain", plain, None),
                ("tls", secure[0] if secure else None, secure[1] if secure else None),
            )
            if listening is not None
        }
        for door in self._doors.values():
            door.open()

    @property
    def port(self) -> int:
        """The plain port that it listens on, also when the settings said 0; 0 if there is none."""
        return self._doors["plain"].port if "plain" in self._doors else 0

    @property
    def tls_port(self) -> int:
        """The port for TLS; 0 if there is none."""
        return self._doors["tls"].port if "tls" in self._doors else 0

    def close(self) -> None:
        """Take no more associations, end those that are open."""
        for door in self._doors.values():
            door.close()
        with self._turn:
            there = list(self._associations)
        for association in there:
            association.abort(block=False)
        until = time.monotonic() + _CLOSING_S
        for association in there:
            association.join(max(0.0, until - time.monotonic()))
            association.hang_up()
        for association in there:
            association.join(1.0)
        self._slots.close()

    def _answer(self, caller: Caller) -> bytes | None:
        """Refuse a caller, or give it an association with threads of its own."""
        called, calling = pdu.titles(caller.request)
        known = self._peers_of(calling, caller.address, caller.names)
        if not known:
            why = "no peer with this AE title, address and certificate"
            log.warning("association refused", why=why, address=str(caller.address))
            return self._refusal("unknown_peer", pdu.UNKNOWN_CALLING)
        if called != self._settings.ae_title:
            return self._refusal("called_ae_title", pdu.UNKNOWN_CALLED)
        try:
            slot = self._slots.take(caller.address, urgent=any(peer.urgent for peer in known))
        except Full as error:
            log.warning("association refused", why=error.reason, address=str(caller.address))
            return self._refusal(error.reason, pdu.LIMIT_EXCEEDED)
        try:
            association = _Accepted(self, caller, slot)
            with self._turn:
                self._associations.add(association)
            association.start()
        except BaseException:
            slot.release()
            raise
        return None

    def _refusal(self, reason: str, answer: tuple[int, int, int]) -> bytes:
        self._node.refused(reason)
        return pdu.reject(*answer)

    def _peers_of(self, title: str, address: IPAddress, names: Collection[str] | None) -> list[Peer]:
        return [
            peer
            for peer in self._peers
            if peer.ae_title == title
            and (peer.subject is None if names is None else (peer.subject or "").lower() in names)
            and any(address in ipaddress.ip_network(network, strict=False) for network in peer.addresses)
        ]


class _Accepted(Association):
    """One accepted connection: pynetdicom's association, with our provider below it and an end that leaves nothing."""

    def __init__(self, listener: Listener, caller: Caller, slot: Slot) -> None:
        settings, ae = listener._settings, listener._ae
        super().__init__(ae, MODE_ACCEPTOR)
        self._listener, self._node, self._slot = listener, listener._node, slot
        self._connection, self._request = caller.connection, caller.request
        self._key, self._was_opened = uuid.uuid4().hex, False
        pace = Pace(pdu_s=settings.pdu_timeout_s, bytes_per_s=settings.minimum_bytes_per_s)
        self.dul = self._provider = Provider(self)
        self._provider.store = Store(
            begin=self._node.begin,
            answered=self._node.answered,
            association=self._key,
            maximum_pdu_bytes=settings.maximum_pdu_bytes,
            maximum_bytes=settings.maximum_instance_mb << 20,
            pace=pace,
        )
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout  # of the new provider's timers
        self._wire = Wire(self, caller.connection, first=caller.request, pace=pace)
        self.set_socket(self._wire)
        self._server: Any = self  # which pynetdicom asks to shut the connection
        self.name = f"association {self._key[:8]}"
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(caller.connection.getsockname())
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.acceptor.supported_contexts = listener._contexts
        self.requestor.address_info = AddressInformation(str(caller.address), caller.port)
        for event, handler in (*listener._handlers, *self._own_handlers()):
            self.bind(event, handler)

    def _own_handlers(self) -> list[tuple[Any, Callable[[Any], Any]]]:
        return [(evt.EVT_ACCEPTED, self._on_accepted), (evt.EVT_C_ECHO, lambda _: 0x0000)]

    def run_reactor(self) -> None:
        """As pynetdicom's; whatever happens, connection and slot are free afterwards."""
        try:
            if _is_readable(self._request):
                super().run_reactor()
            else:
                self._node.refused("malformed")
                self._wire.say_farewell(pdu.abort(pdu.INVALID_VALUE))
        except Exception:  # noqa: BLE001  one association ends; the log has the trace
            log.exception("association failed")
        finally:
            self._end()

    def _on_accepted(self, _: Any) -> None:
        self._was_opened = True
        try:
            self._node.opened(self._key, self.requestor.ae_title)
        except Exception:  # noqa: BLE001  what is not recorded is not served; the log has the trace
            log.exception("association not recorded")
            self.abort(block=False)

    def _end(self) -> None:
        self.hang_up()
        if self.dul.ident is not None:
            self.dul.join(self._listener._settings.pdu_timeout_s)
        self._connection.close()
        self._slot.release()
        with self._listener._turn:
            self._listener._associations.discard(self)
        if self._was_opened:
            try:
                # Who was turned away with some objects and then released is not done: that is no sign of completeness.
                self._node.closed(self._key, self.is_released and not self._provider.turned_away)
            except Exception:  # noqa: BLE001  it is closed as lost when the receiver starts again
                log.exception("end of an association not recorded")

    def hang_up(self) -> None:
        """Shut the connection, whoever reads it."""
        with contextlib.suppress(OSError):  # it is shut already
            self._connection.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, _: socket.socket) -> None:
        """Called by pynetdicom in the place of its own server's."""
        self.hang_up()


def _handlers(services: Sequence[Service]) -> list[tuple[Any, Callable[[Any], Any]]]:
    """One handler for each event, which gives it to the service that took the SOP class of its context."""
    found: dict[Any, dict[str, Callable[[Any], Any]]] = {}
    for service in services:
        for event, handler in service.handlers:
            by_class = found.setdefault(event, {})
            for context in service.contexts:
                if context.abstract_syntax in by_class:
                    raise ValueError(f"two services answer {event.name} of {context.abstract_syntax}")
                by_class[context.abstract_syntax] = handler
    return [(event, _by_class(by_class)) for event, by_class in found.items()]


def _by_class(handlers: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def handle(event: Any) -> Any:
        handler = handlers.get(str(event.context.abstract_syntax))
        if handler is not None:
            return handler(event)
        # Only a peer that sends what the class of its context does not have comes here (PS3.7 annex C).
        return iter([(_UNRECOGNISED, None)]) if event.event == evt.EVT_C_FIND else (_UNRECOGNISED, None)

    return handle


def _is_readable(request: bytes) -> bool:
    """Whether pynetdicom can read this A-ASSOCIATE-RQ; one that it cannot read it would keep until a timer ends."""
    try:
        read = A_ASSOCIATE_RQ()
        read.decode(request)
        read.to_primitive()
    except Exception:  # noqa: BLE001  it raises what its parsing meets
        return False
    return True
