"""Reads C-STORE requests off the socket into the node's own buffer; all else is pynetdicom's.

pynetdicom negotiates, keeps the state machine (PS3.8 9.2), timers, release and abort. Between two messages of an
association in state Sta6 this provider reads itself: the command set is parsed here, the data set goes straight to
where it is kept, and the answer is one prepared PDU. Whatever is no C-STORE request is put back and read by
pynetdicom, as if nothing had been.
"""

import time
from typing import Final

from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider

from node.intake.incoming import TRANSIENT, Head, Rejected, Status
from node.log import log
from node.peers.dimse import pdu
from node.peers.dimse.pdu import HEADER_BYTES, Malformed, StoreRequest
from node.peers.dimse.sink import Sink, Store
from node.peers.dimse.wire import Gone, TooSlow, Wire

_LOOK_S: Final = 0.25  # an idle association looks so often whether it shall end
_TOLERANCE: Final = 64  # some peers take the maximum length for that of the data and not of the whole PDU
_OTHER_MESSAGE_BYTES: Final = 34 << 20  # of a message that pynetdicom reads; it holds it in memory


class Provider(DULServiceProvider):
    """pynetdicom's upper layer provider of one accepted association, with C-STORE taken out of its hands."""

    socket: Wire
    store: Store

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True  # a process that ends does not wait for a peer
        self._head = bytearray(2 * HEADER_BYTES)
        self._other_bytes, self._other_since = 0, 0.0
        self.turned_away = False  # some object was refused for a reason that passes: its sender comes again with it

    def run_reactor(self) -> None:
        """As pynetdicom's; the association's own thread is set free at the end."""
        try:
            super().run_reactor()
        finally:
            self.assoc._reactor_checkpoint.set()

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state != "Sta6":
            self.assoc._reactor_checkpoint.set()
            return bool(super()._is_transport_event())
        if self.assoc.dimse.message is not None:
            return self._read_on()
        self._other_bytes = 0
        if not self.assoc.is_established:
            return False  # its opening is being recorded
        return self._serve(_LOOK_S if self._parked() else 0.0)

    def _parked(self) -> bool:
        """Let the association's own thread wait while there is nothing for it; it looks a thousand times a second."""
        association = self.assoc
        if (
            association._kill
            or self.idle_timer_expired()
            or not self.to_user_queue.empty()
            or not self.to_provider_queue.empty()
            or not association.dimse.msg_queue.empty()
        ):
            association._reactor_checkpoint.set()
            return False
        association._reactor_checkpoint.clear()
        return bool(association._is_paused)

    def _serve(self, wait_s: float) -> bool:
        """Take messages until none came for so long, or there is something else to do. Returns whether any came."""
        any_came = False
        while self.socket.wait(wait_s):
            any_came = True
            try:
                handed_back = not self._message()
            except (Gone, Malformed, TooSlow) as error:
                self._cut(error)
                return True
            self._idle_timer.restart()
            if handed_back or self._kill_thread:
                break
            if not (self.to_provider_queue.empty() and self.event_queue.empty()):
                break
        return any_came

    def _message(self) -> bool:
        """Read one message if it is a C-STORE request, and answer it. Returns False if it was put back."""
        wire = self.socket
        began = time.monotonic(), wire.waited_s
        read, command = bytearray(), bytearray()
        complete = False
        while not complete:
            wire.start_pdu()
            kind, left = self._pdu_header()
            if kind != pdu.P_DATA:
                read += self._head[:HEADER_BYTES]
                return self._put_back(read)
            read += self._head[:HEADER_BYTES]
            while left and not complete:
                context, control, size, left = self._pdv_header(left)
                if not control & 1:
                    raise Malformed("A data set came before its command.")
                if len(command) + size > pdu.MAXIMUM_COMMAND_BYTES:
                    raise Malformed("A command set is too long.")
                fragment = bytearray(size)
                wire.fill(memoryview(fragment))
                read += self._head[HEADER_BYTES:] + fragment
                command += fragment
                left -= size
                complete = bool(control & 2)
        request = pdu.store_request(command)
        if request is None:
            return self._put_back(read)
        sink = self._begin(request, context)
        try:
            if request.has_data_set:
                complete = self._data_set(sink, context, left, began)
            elif left:
                raise Malformed("A request without a data set came with one.")
            if complete:
                self._answer(request, context, sink, began[0])
            else:
                sink.abandon()
                self._read_pdu_data()
        except BaseException:
            sink.abandon()
            raise
        return complete

    def _pdu_header(self) -> tuple[int, int]:
        """Type and length of the next PDU; of a P-DATA-TF the header of its first PDV is read too, if it is there.

        Only `_head` holds what was read; a longer one is put back.
        """
        wire, head = self.socket, self._head
        got = wire.fill(memoryview(head), least=HEADER_BYTES)
        wire.unread(head[HEADER_BYTES:got])
        kind, length = head[0], int.from_bytes(head[2:6], "big")
        if kind == pdu.P_DATA and not HEADER_BYTES <= length <= self.store.maximum_pdu_bytes + _TOLERANCE:
            raise Malformed("A P-DATA-TF PDU is longer than agreed, or too short.")
        return kind, length

    def _pdv_header(self, left: int) -> tuple[int, int, int, int]:
        """Context, control header and data length of the next PDV, and what is left of its PDU behind this header."""
        if left < HEADER_BYTES:
            raise Malformed("A PDU ends in the header of a PDV.")
        head = memoryview(self._head)[HEADER_BYTES:]
        self.socket.fill(head)
        size = int.from_bytes(head[:4], "big") - 2
        left -= HEADER_BYTES
        if not 0 <= size <= left:
            raise Malformed("A PDV is longer than its PDU.")
        return head[4], head[5], size, left

    def _data_set(self, sink: Sink, context: int, left: int, began: tuple[float, float]) -> bool:
        """Read a data set to its end. Returns False if an abort or a release came instead, which is put back.

        left: bytes of the PDU that the command stood in
        """
        wire = self.socket
        complete = False
        while not complete:
            if not left:
                self._require_pace(sink.size, began)
                wire.start_pdu()
                kind, left = self._pdu_header()
                if kind != pdu.P_DATA:
                    wire.unread(self._head[:HEADER_BYTES])
                    return False
            its_context, control, size, left = self._pdv_header(left)
            if its_context != context or control & 1:
                raise Malformed("A data set is interrupted by something else.")
            left -= size
            while size:
                room = sink.buffer()[:size]
                if len(room) == size and not left and not control & 2:
                    wire.fill_and_look_on(room, 2 * HEADER_BYTES)
                else:
                    wire.fill(room)
                sink.advance(len(room))
                size -= len(room)
            complete = bool(control & 2)
        if left:
            raise Malformed("Something stands behind the end of a message.")
        return True

    def _require_pace(self, size: int, began: tuple[float, float]) -> None:
        pace, waited = self.store.pace, self.socket.waited_s - began[1]
        if waited > pace.pdu_s and size < waited * pace.bytes_per_s:
            raise TooSlow

    def _begin(self, request: StoreRequest, context: int) -> Sink:
        agreed = self.assoc._accepted_cx.get(context)
        if agreed is None:
            raise Malformed("A message names a presentation context that was not accepted.")
        incoming, refusal = None, None
        if not request.has_data_set:
            refusal = Rejected(Status.UNREADABLE, "The request has no data set")
        elif str(agreed.abstract_syntax) != request.sop_class_uid or not agreed.as_scp:
            refusal = Rejected(Status.CLASS_UNSUPPORTED, "Affected SOP Class is not that of the context")
        else:
            head = Head(
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                transfer_syntax=str(agreed.transfer_syntax[0]),
                association=self.store.association,
                calling_ae=self.assoc.requestor.ae_title,
            )
            try:
                incoming = self.store.begin(head)
            except Rejected as error:
                refusal = error
            except Exception:  # noqa: BLE001  the sender gets an answer whatever broke here; the log has the trace
                log.exception("instance not begun")
                refusal = Rejected(Status.INTERNAL_FAILURE, "The node could not store it; see its log")
        return Sink(incoming, refusal, self.store.maximum_bytes)

    def _answer(self, request: StoreRequest, context: int, sink: Sink, began: float) -> None:
        status, comment = Status.SUCCESS, ""
        try:
            sink.finish()
        except Rejected as error:
            status, comment = error.status, error.comment
            log.warning("instance refused", status=f"{status:#06x}", why=comment)
        except Exception:  # noqa: BLE001  as above
            log.exception("instance not stored")
            status, comment = Status.INTERNAL_FAILURE, "The node could not store it; see its log"
        self.turned_away |= status in TRANSIENT
        self.store.answered(status, sink.size, time.monotonic() - began)
        answer = pdu.store_response(
            request,
            context=context,
            status=status,
            comment=comment,
            maximum_bytes=self.assoc.requestor.maximum_length or 0,
        )
        self.socket.send_all(answer)

    def _put_back(self, read: bytearray) -> bool:
        self.socket.unread(read)
        self._other_since = time.monotonic()
        self._read_pdu_data()
        return False

    def _read_on(self) -> bool:
        """The rest of a message that pynetdicom reads."""
        if self.socket.ready:
            self._read_pdu_data()
            return True
        if time.monotonic() - self._other_since > self.store.pace.pdu_s:
            self._cut(TooSlow())
            return True
        return False

    def _read_pdu_data(self) -> None:
        """As pynetdicom's, which believes every length that it is told."""
        try:
            self.socket.start_pdu()
            header = self.socket.peek(HEADER_BYTES)
            kind, length = header[0], int.from_bytes(header[2:6], "big")
            self._other_bytes += length
            most = {1: pdu.MAXIMUM_REQUEST_BYTES, 2: pdu.MAXIMUM_REQUEST_BYTES, 3: 4, 5: 4, 6: 4, 7: 4}
            most[pdu.P_DATA] = self.store.maximum_pdu_bytes + _TOLERANCE
            if length > most.get(kind, -1):
                raise Malformed("A PDU is of no known type, or longer than its type may be.")
            if self._other_bytes > _OTHER_MESSAGE_BYTES:
                raise Malformed("A message is longer than the node takes.")
        except (Gone, Malformed, TooSlow) as error:
            self._cut(error)
            return
        super()._read_pdu_data()

    def _cut(self, error: Gone | Malformed | TooSlow) -> None:
        """End a connection that has no future; the state machine learns of it as of any other loss (Evt17)."""
        if isinstance(error, Gone):
            self.socket.close()
            return
        why = str(error) or "The peer is too slow."
        log.warning("association cut", why=why)
        self.socket.say_farewell(pdu.abort(pdu.INVALID_VALUE))
