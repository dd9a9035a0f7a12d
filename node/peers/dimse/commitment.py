"""Storage Commitment, Push Model (PS3.4 Annex J): the node asks (SCU), an archive vouches.

The archive's word comes as N-EVENT-REPORT on the association of the question or on one that it opens itself; `service`
is what the node's listener offers for the second way.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID
from pynetdicom import evt

from node.child import Child
from node.dicom import vouch
from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.errors import Refuse
from node.log import log
from node.peers.carrier import Broken
from node.peers.dimse.connect import Address
from node.peers.dimse.link import Link, Message, linked
from node.peers.dimse.message import NO_DATA_SET, SUCCESS, Command, Field
from node.peers.dimse.negotiation import NoContext, Proposal
from node.peers.dimse.query import encoded
from node.peers.dimse.service import Context, Service

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
INSTANCE: Final = "1.2.840.10008.1.20.1.1"  # well-known (PS3.4 J.3.5)
_SYNTAXES: Final = (EXPLICIT_LE, IMPLICIT_LE)
# The archive proposes the SCP role for itself (PS3.7 D.3.3.4); one that proposes no role is understood, too.
CONTEXTS: Final = (Context(abstract_syntax=PUSH_MODEL, transfer_syntaxes=_SYNTAXES, scu_role=True, scp_role=True),)
_ACTION_TYPE: Final = 1  # PS3.4 J.3.2.1
_MOST_IDENTIFIER: Final = 16 << 20
_PROCESSING_FAILURE: Final = 0x0110  # PS3.7 10.1.1.1.8
_INVALID_ARGUMENT: Final = 0x0115


@dataclass(frozen=True, kw_only=True)
class Word:
    """What an archive says of one transaction.

    committed: SOP Instance UIDs that it keeps safe
    failures:  SOP Instance UID -> Failure Reason (0008,1197)
    """

    transaction_uid: str
    committed: frozenset[str]
    failures: dict[str, int]


class NotTaken(Broken):
    """The archive answered the question itself with a failure."""


def ask(
    address: Address,
    *,
    transaction_uid: str,
    instances: Sequence[tuple[str, str]],
    wait_s: float,
    asked: Callable[[], None],
    said: Callable[[Word], None],
) -> None:
    """N-ACTION, then so many seconds on the same association for the archive's word.

    instances: (SOP Class UID, SOP Instance UID)
    asked:     called when the archive has taken the question
    said:      called with its word, if that comes here; it must be durable when the call returns
    raises:    Unreachable; NoContext if the archive offers no Storage Commitment; NotTaken; Broken before `asked`
    """
    proposals = [Proposal(abstract_syntax=PUSH_MODEL, transfer_syntaxes=_SYNTAXES)]
    with linked(address, proposals, purpose="N-ACTION") as link:
        chosen = link.context(PUSH_MODEL)
        if chosen is None:
            raise NoContext("N-ACTION: the peer does not offer Storage Commitment.")
        context, syntax = chosen
        message_id = link.next_id()
        link.send(
            context,
            {
                Field.REQUESTED_CLASS: PUSH_MODEL,
                Field.COMMAND: Command.N_ACTION_RQ,
                Field.MESSAGE_ID: message_id,
                Field.DATA_SET_TYPE: 1,
                Field.REQUESTED_INSTANCE: INSTANCE,
                Field.ACTION_TYPE: _ACTION_TYPE,
            },
            encoded(_question(transaction_uid, instances), implicit=syntax == IMPLICIT_LE),
        )
        answered = heard = False
        while not answered:
            message = link.receive()
            if message.command[Field.COMMAND] == Command.N_EVENT_REPORT_RQ:
                heard = _hear(link, message, said) == transaction_uid or heard  # some are faster than their own answer
                continue
            _check(link, message, message_id)
            answered = True
        asked()
        if not heard:
            _wait(link, transaction_uid, wait_s, said)


def _check(link: Link, message: Message, message_id: int) -> None:
    if message.has_data_set:
        link.data_set(_MOST_IDENTIFIER)
    status = message.number(Field.STATUS)
    if message.number(Field.RESPONDED_TO) != message_id or status is None:
        raise Broken("N-ACTION: the peer sent something else than an answer.")
    if status != SUCCESS:
        raise NotTaken(f"The archive answered the request for storage commitment with {status:#06x}.")


def _wait(link: Link, transaction_uid: str, wait_s: float, said: Callable[[Word], None]) -> None:
    """The word may come here; if not, it comes on an association of the archive's own, or is asked for again."""
    try:
        while wait_s:
            message = link.receive(wait_s)
            if message.command[Field.COMMAND] != Command.N_EVENT_REPORT_RQ:
                raise Broken("N-ACTION: the peer sent something else than its report.")
            if _hear(link, message, said) == transaction_uid:
                return
    except TimeoutError:
        return
    except Broken as error:  # an archive may end the association once it has the question
        log.info("no word on the same association", why=error.message)


def _hear(link: Link, message: Message, said: Callable[[Word], None]) -> str:
    syntax = link.accepted[message.context].transfer_syntax
    data = link.data_set(_MOST_IDENTIFIER) if message.has_data_set else b""
    try:
        word = _word(vouch.report(_request(data, syntax)))
    except Refuse as error:
        raise Broken(error.message) from error
    said(word)
    link.send(
        message.context,
        {
            Field.AFFECTED_CLASS: PUSH_MODEL,
            Field.COMMAND: Command.N_EVENT_REPORT_RSP,
            Field.RESPONDED_TO: message.number(Field.MESSAGE_ID) or 0,
            Field.DATA_SET_TYPE: NO_DATA_SET,
            Field.STATUS: SUCCESS,
            Field.AFFECTED_INSTANCE: INSTANCE,
            Field.EVENT_TYPE: message.number(Field.EVENT_TYPE) or 1,
        },
    )
    return word.transaction_uid


def _question(transaction_uid: str, instances: Sequence[tuple[str, str]]) -> Dataset:
    question = Dataset()
    question.TransactionUID = UID(transaction_uid)
    question.ReferencedSOPSequence = Items([_reference(*instance) for instance in instances])
    return question


def _reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = UID(sop_class_uid)
    reference.ReferencedSOPInstanceUID = UID(sop_instance_uid)
    return reference


def _word(found: dict[str, Any]) -> Word:
    return Word(
        transaction_uid=found["transaction_uid"],
        committed=frozenset(found["committed"]),
        failures={uid: int(reason) for uid, reason in found["failures"].items()},
    )


def _request(data: bytes, syntax: str) -> dict[str, Any]:
    return {"data": base64.b64encode(data).decode("ascii"), "implicit": syntax == IMPLICIT_LE}


def service(said: Callable[[Word], None], child: Child) -> Service:
    """Storage Commitment on the node's own port: an archive calls and, as SCP of the class, gives its word.

    said: makes a word durable; called before the archive gets its answer, from any thread
    """

    def reported(event: Any) -> tuple[int, None]:  # pynetdicom types its events too loosely to follow
        stream = event.request.EventInformation
        data = stream.getvalue() if stream is not None else b""
        try:
            if len(data) > _MOST_IDENTIFIER:
                raise Refuse(f"The report is larger than {_MOST_IDENTIFIER} bytes.")
            request = _request(data, str(event.context.transfer_syntax))
            said(_word(child.call("node.dicom.vouch:report", request)))
        except Refuse as error:
            log.warning("a commitment report is not readable", why=error.message)
            return _INVALID_ARGUMENT, None
        except Exception:  # noqa: BLE001  the archive gets an answer whatever broke here, and may report again
            log.exception("a commitment report was not kept")
            return _PROCESSING_FAILURE, None
        return SUCCESS, None  # also for transactions that nobody knows any more

    return Service(contexts=CONTEXTS, handlers=((evt.EVT_N_EVENT_REPORT, reported),))
