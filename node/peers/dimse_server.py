"""The DICOM listener, by pynetdicom: negotiation, C-ECHO and C-STORE. What to keep is `stages.receive`'s to say."""

import ipaddress
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom.transport import ThreadedAssociationServer

from node.dicom.classes import STORAGE_CLASSES, TRANSFER_SYNTAXES, VERIFICATION
from node.errors import BadSetting
from node.log import log
from node.settings import Peer, Receiver
from node.stages.receive import Arrival, Rejected, Status

_config.LOG_REQUEST_IDENTIFIERS = False  # pynetdicom would log data sets otherwise
_config.LOG_RESPONSE_IDENTIFIERS = False

_REJECT_CALLING = (0x01, 0x01, 0x03)  # PS3.8 9.3.4: permanent, service user, calling AE title not recognised


@dataclass(frozen=True, kw_only=True)
class Listening:
    """What the listener tells the node; every function may be called from any thread.

    store:    keeps an instance, returns whether it was new, raises Rejected
    opened:   an association (its key, calling AE title) was accepted
    closed:   an association ended: key, and whether by release
    refused:  an association was rejected, for a reason of a closed set
    answered: one C-STORE was answered: status, bytes
    """

    store: Callable[[Arrival], bool]
    opened: Callable[[str, str], None]
    closed: Callable[[str, bool], None]
    refused: Callable[[str], None]
    answered: Callable[[int, int], None]


class Listener:
    """A running SCP. Its handlers take pynetdicom's events, whose types are too loose to follow.

    `port`: the one it listens on, also when the settings said 0.
    """

    def __init__(self, settings: Receiver, peers: Sequence[Peer], node: Listening, *, implementation_uid: str) -> None:
        self._peers, self._node = peers, node
        self._keys: dict[int, str] = {}
        ae = AE(ae_title=settings.ae_title)
        ae.implementation_class_uid = implementation_uid
        ae.require_called_aet = True
        ae.maximum_associations = settings.maximum_associations
        ae.maximum_pdu_size = settings.maximum_pdu_bytes
        ae.network_timeout = ae.dimse_timeout = settings.network_timeout_s
        ae.acse_timeout = min(30.0, settings.network_timeout_s)
        for sop_class in STORAGE_CLASSES:
            ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
        ae.add_supported_context(VERIFICATION)
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_REJECTED, self._on_rejected),
            (evt.EVT_ACCEPTED, self._on_accepted),
            (evt.EVT_RELEASED, self._on_released),
            (evt.EVT_ABORTED, self._on_broken),
            (evt.EVT_CONN_CLOSE, self._on_broken),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_C_ECHO, lambda _: int(Status.SUCCESS)),
        ]
        try:
            server = ae.start_server((settings.host, settings.port), block=False, evt_handlers=handlers)
        except OSError as error:
            raise BadSetting(
                f"Port {settings.port} on {settings.host} cannot be opened: {error.strerror}.",
                fix="Set receiver.host and receiver.port to a free one, or stop what holds it.",
            ) from error
        assert isinstance(server, ThreadedAssociationServer)
        self._ae, self._server = ae, server
        self.port: int = server.socket.getsockname()[1]  # type: ignore[union-attr]  # open until closed

    def close(self) -> None:
        """Take no more associations, end those that are open."""
        self._server.shutdown()
        self._ae.shutdown()

    def _on_requested(self, event: Any) -> None:
        title = event.assoc.requestor.primitive.calling_ae_title
        address = ipaddress.ip_address(event.assoc.requestor.address)
        # A listener on :: sees IPv4 senders as mapped addresses (RFC 4291 2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        known = any(
            peer.ae_title == title and any(address in ipaddress.ip_network(n, strict=False) for n in peer.addresses)
            for peer in self._peers
        )
        if not known:
            log.warning("association refused", why="no peer with this AE title and address", address=str(address))
            self._node.refused("unknown_peer")
            event.assoc.acse.send_reject(*_REJECT_CALLING)
            event.assoc.is_rejected = True
            event.assoc.kill()

    def _on_rejected(self, event: Any) -> None:
        called = event.assoc.requestor.primitive.called_ae_title
        self._node.refused("limit" if called == event.assoc.acceptor.ae_title.strip() else "called_ae_title")

    def _on_accepted(self, event: Any) -> None:
        key = uuid.uuid4().hex
        self._keys[id(event.assoc)] = key
        self._node.opened(key, event.assoc.requestor.ae_title)

    def _on_released(self, event: Any) -> None:
        self._ended(event, released=True)

    def _on_broken(self, event: Any) -> None:
        self._ended(event, released=False)

    def _ended(self, event: Any, *, released: bool) -> None:
        key = self._keys.pop(id(event.assoc), None)
        if key is not None:
            self._node.closed(key, released)

    def _on_store(self, event: Any) -> Dataset | int:
        request = event.request
        data_set = request.DataSet.getbuffer() if request.DataSet is not None else b""
        arrival = Arrival(
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            transfer_syntax=str(event.context.transfer_syntax),
            data_set=data_set,
            association=self._keys[id(event.assoc)],
            calling_ae=event.assoc.requestor.ae_title,
        )
        status, comment = Status.SUCCESS, ""
        try:
            self._node.store(arrival)
        except Rejected as error:
            status, comment = error.status, error.comment
            log.warning("instance refused", status=f"{status:#06x}", why=comment)
        except Exception:  # noqa: BLE001  the sender gets an answer whatever broke here; the log has the trace
            log.exception("instance not stored")
            status, comment = Status.INTERNAL_FAILURE, "The node could not store it; see its log"
        self._node.answered(status, len(data_set))
        if status is Status.SUCCESS:
            return int(status)
        answer = Dataset()
        answer.Status = int(status)
        answer.ErrorComment = comment
        return answer
