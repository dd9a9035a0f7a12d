"""Unified Procedure Step as SCP (PS3.4 annex CC): the worklist on the node's own port.

Data sets are parsed in the child, never here. A change is in the records, synced, before it is answered.
"""

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import evt
from sqlalchemy.exc import DBAPIError

from node.child import Child
from node.dicom import json_model
from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.dicom.json_model import Plain
from node.errors import NodeError, Refuse
from node.log import log
from node.peers.dimse.service import Context, Service
from node.records.database import disk_error
from node.worklist.ups_operations import Operations
from node.worklist.ups_status import EVENT, PULL, PUSH, QUERY, WATCH, Refusal, Status

CLASSES: Final = (PUSH, PULL, WATCH, EVENT, QUERY)
CONTEXTS: Final = tuple(Context(abstract_syntax=uid, transfer_syntaxes=(EXPLICIT_LE, IMPLICIT_LE)) for uid in CLASSES)
MAXIMUM_BYTES: Final = 4 << 20

Answer = tuple[Dataset | int, Dataset | None]
_BREATH: Final = 50  # answers between two looks at what the asker says meanwhile
_Action = Callable[[str, str, Plain], Status]


def service(operations: Operations, child: Child) -> Service:
    """All five SOP classes, for a listener. What a peer may do depends on its AE title, not on the context."""
    scp = _Scp(operations=operations, child=child)
    return Service(
        contexts=CONTEXTS,
        handlers=(
            (evt.EVT_N_CREATE, scp.on_create),
            (evt.EVT_N_SET, scp.on_set),
            (evt.EVT_N_GET, scp.on_get),
            (evt.EVT_N_ACTION, scp.on_action),
            (evt.EVT_C_FIND, scp.on_find),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Scp:
    operations: Operations
    child: Child

    def on_create(self, event: Any) -> Answer:
        """Answer an N-CREATE. What was made of it is read with N-GET."""
        request = event.request

        def work() -> tuple[Status, None]:
            _require_class(request.AffectedSOPClassUID)
            sent, dropped = self._read(event, request.AttributeList)
            uid = str(request.AffectedSOPInstanceUID or "")
            return self.operations.create(_caller(event), uid, sent, dropped=dropped), None

        return self._answered("N-CREATE", work)

    def on_set(self, event: Any) -> Answer:
        """Answer an N-SET."""
        request = event.request

        def work() -> tuple[Status, None]:
            _require_class(request.RequestedSOPClassUID)
            sent, dropped = self._read(event, request.ModificationList)
            uid = str(request.RequestedSOPInstanceUID or "")
            return self.operations.set(_caller(event), uid, sent, dropped=dropped), None

        return self._answered("N-SET", work)

    def on_get(self, event: Any) -> Answer:
        """Answer an N-GET."""
        request = event.request

        def work() -> tuple[Status, Dataset]:
            _require_class(request.RequestedSOPClassUID)
            wanted = [f"{int(tag):08X}" for tag in _tags(request.AttributeIdentifierList)]
            status, found = self.operations.get(_caller(event), str(request.RequestedSOPInstanceUID or ""), wanted)
            return status, json_model.dataset(found)

        return self._answered("N-GET", work)

    def on_action(self, event: Any) -> Answer:
        """Answer an N-ACTION."""
        request, operations = event.request, self.operations
        actions: Mapping[int, _Action] = MappingProxyType(
            {
                1: operations.change_state,
                2: operations.request_cancel,
                3: operations.subscribe,
                4: operations.unsubscribe,
                5: operations.suspend,
            }
        )

        def work() -> tuple[Status, None]:
            _require_class(request.RequestedSOPClassUID)
            action = actions.get(int(request.ActionTypeID))
            if action is None:
                raise Refusal(Status.NO_SUCH_ACTION, "There are the actions 1 to 5")
            # A request to cancel need not say why (table CC.2.2-1): it may come without a data set.
            sent = self._read(event, request.ActionInformation, may_lack=int(request.ActionTypeID) == 2)[0]
            return action(_caller(event), str(request.RequestedSOPInstanceUID or ""), sent), None

        return self._answered("N-ACTION", work)

    def on_find(self, event: Any) -> Iterator[Answer]:
        """Answer a C-FIND: what fits, in the order in which it is to be read."""
        try:
            sent, dropped = self._read(event, event.request.Identifier, unreadable=Status.BAD_IDENTIFIER)
            asked, answers = self.operations.find(_caller(event), sent)
        except Refusal as error:
            log.warning("worklist query refused", status=f"{error.status:#06x}", why=error.comment)
            yield _failure(error), None
            return
        except Exception:  # noqa: BLE001  as below
            log.exception("worklist query not answered")
            yield _failure(Refusal(Status.OUT_OF_RESOURCES, "The node could not look; see its log")), None
            return
        pending = Status.PENDING_NOT_ALL if asked.partial or dropped else Status.PENDING
        for number, found in enumerate(answers):
            if number % _BREATH == 0:
                _let_it_read(event.assoc)
            if event.is_cancelled:
                yield int(Status.CANCEL), None
                return
            yield int(pending), json_model.dataset(found, wanted=asked.texts)

    def _answered(self, what: str, work: Callable[[], tuple[Status, Dataset | None]]) -> Answer:
        try:
            status, found = work()
        except Refusal as error:
            log.warning("worklist request refused", what=what, status=f"{error.status:#06x}", why=error.comment)
            return _failure(error), None
        except DBAPIError as error:
            log.exception("worklist request not kept", what=what)
            full = disk_error(error) is not None
            status = Status.RESOURCE_LIMIT if full else Status.PROCESSING_FAILURE
            return _failure(Refusal(status, "The records could not be written; see the node's log")), None
        except Exception:  # noqa: BLE001  the peer gets an answer whatever broke here; the log has the trace
            log.exception("worklist request not done", what=what)
            return _failure(Refusal(Status.PROCESSING_FAILURE, "The node could not do it; see its log")), None
        return int(status), found

    def _read(
        self, event: Any, stream: Any, *, may_lack: bool = False, unreadable: Status = Status.INVALID_VALUE
    ) -> tuple[Plain, bool]:
        """What was sent, and whether something of it is not kept."""
        data = stream.getvalue() if stream is not None else b""
        if not data:
            if may_lack:
                return {}, False
            missing = Status.MISSING_ATTRIBUTE if unreadable is Status.INVALID_VALUE else unreadable
            raise Refusal(missing, "There is no data set")
        if len(data) > MAXIMUM_BYTES:
            raise Refusal(Status.RESOURCE_LIMIT, f"The data set is larger than {MAXIMUM_BYTES} bytes")
        implicit = str(event.context.transfer_syntax) == IMPLICIT_LE
        request = {"data": base64.b64encode(data).decode("ascii"), "implicit": implicit}
        try:
            found = self.child.call("node.dicom.workitems:parsed", request)
        except Refuse as error:
            raise Refusal(unreadable, error.message) from error
        except NodeError as error:
            raise Refusal(Status.PROCESSING_FAILURE, "It could not be read now") from error
        return found["attributes"], bool(found["left_out"])


def _caller(event: Any) -> str:
    return str(event.assoc.requestor.ae_title)


def _require_class(uid: Any) -> None:
    if str(uid or "") not in CLASSES:
        raise Refusal(Status.NO_SUCH_CLASS, "The SOP class is none of Unified Procedure Step")


def _tags(found: Any) -> list[Any]:
    if found is None:
        return []
    return list(found) if isinstance(found, list | tuple) else [found]


def _failure(error: Refusal) -> Dataset:
    answer = Dataset()
    answer.Status = int(error.status)
    answer.ErrorComment = error.comment
    return answer


def _let_it_read(association: Any) -> None:
    """pynetdicom reads nothing while it has something to send: it would hear a C-CANCEL after the last answer."""
    while association.is_established and not association.dul.to_provider_queue.empty():
        time.sleep(0.001)
    time.sleep(0.002)
