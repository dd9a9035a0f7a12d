"""C-MOVE and C-GET as SCU (PS3.4 C.4.2 and C.4.3): an archive sends what is asked for, elsewhere or back here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset

from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE, STORAGE_CLASSES, TRANSFER_SYNTAXES
from node.intake.incoming import Head, Rejected
from node.log import log
from node.peers.carrier import Broken
from node.peers.dimse.connect import Address
from node.peers.dimse.link import Link, Message, linked
from node.peers.dimse.message import NO_DATA_SET, PENDING, SUCCESS, Command, Field, Values
from node.peers.dimse.negotiation import MOST_CONTEXTS, NoContext, Proposal
from node.peers.dimse.query import encoded
from node.peers.dimse.sink import Incoming

STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
_UIDS: Final = (EXPLICIT_LE, IMPLICIT_LE)
_MOST_IDENTIFIER: Final = 16 << 20
_PATIENCE_S: Final = 120.0  # an archive may fetch from tape, and need not say that it still does
_WORDS: Final = {
    0xA701: "out of resources: it cannot count the matches",
    0xA702: "out of resources: it cannot send them",
    0xA801: "it does not know the node as a move destination",
    0xA900: "it does not understand the request",
    0xB000: "it could not send all of it",
    0xFE00: "it was cancelled",
    0x0122: "it does not offer that",
    0x0124: "it does not allow that",
}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sub-operations, as the archive counts them."""

    remaining: int
    completed: int
    failed: int
    warning: int


@dataclass(frozen=True, kw_only=True)
class Retrieved:
    """How it ended. `status`: of the last answer; `why`: in words, empty if all went well."""

    status: int
    counts: Counts

    @property
    def why(self) -> str:
        if self.status == SUCCESS and not self.counts.failed:
            return ""
        return f"{_WORDS.get(self.status, 'it failed')} ({self.status:#06x})"


def move(address: Address, what: Dataset, *, to: str, progress: Callable[[Counts], None]) -> Retrieved:
    """C-MOVE to the AE title `to`. Raises Unreachable, NoContext, Broken."""
    proposals = [Proposal(abstract_syntax=STUDY_ROOT_MOVE, transfer_syntaxes=_UIDS)]
    with linked(address, proposals, purpose="C-MOVE") as link:
        more: Values = {Field.COMMAND: Command.C_MOVE_RQ, Field.MOVE_DESTINATION: to}
        message_id = _ask(link, STUDY_ROOT_MOVE, more, what)
        while True:
            message = _next(link, "C-MOVE")
            if (ended := _counted(link, message, message_id, progress, "C-MOVE")) is not None:
                return ended


def get(
    address: Address,
    what: Dataset,
    *,
    association: str,
    begin: Callable[[Head], Incoming],
    progress: Callable[[Counts], None],
) -> Retrieved:
    """C-GET; each object is answered when it is durable, like one that came by C-STORE.

    association: key of this association in the records
    begin:       makes ready for an object; raises Rejected
    raises:      Unreachable, NoContext, Broken
    """
    proposals = [Proposal(abstract_syntax=STUDY_ROOT_GET, transfer_syntaxes=_UIDS), *_storage()]
    with linked(address, proposals, purpose="C-GET") as link:
        message_id = _ask(link, STUDY_ROOT_GET, {Field.COMMAND: Command.C_GET_RQ}, what)
        while True:
            message = _next(link, "C-GET")
            if message.command[Field.COMMAND] == Command.C_STORE_RQ:
                _take(link, message, association=association, calling_ae=address.called_ae, begin=begin)
            elif (ended := _counted(link, message, message_id, progress, "C-GET")) is not None:
                return ended


def _storage() -> list[Proposal]:
    """A context for each class and encoding: the archive sends as it stores, without transcoding."""
    single = [
        Proposal(abstract_syntax=sop_class, transfer_syntaxes=(syntax,), as_scp=True)
        for sop_class in STORAGE_CLASSES
        for syntax in TRANSFER_SYNTAXES
    ]
    if len(single) < MOST_CONTEXTS:
        return single
    every = tuple(TRANSFER_SYNTAXES)
    return [Proposal(abstract_syntax=uid, transfer_syntaxes=every, as_scp=True) for uid in STORAGE_CLASSES]


def _ask(link: Link, sop_class: str, more: Values, what: Dataset) -> int:
    chosen = link.context(sop_class, _UIDS)
    if chosen is None:
        raise NoContext("The peer does not offer this kind of retrieval.", fix="Try it with or without --get.")
    context, syntax = chosen
    message_id = link.next_id()
    command: Values = {
        Field.AFFECTED_CLASS: sop_class,
        Field.MESSAGE_ID: message_id,
        Field.PRIORITY: 0,
        Field.DATA_SET_TYPE: 1,
        **more,
    }
    link.send(context, command, encoded(what, implicit=syntax == IMPLICIT_LE))
    return message_id


def _next(link: Link, purpose: str) -> Message:
    try:
        return link.receive(_PATIENCE_S)
    except TimeoutError as error:
        raise Broken(f"{purpose}: no word from the peer for {_PATIENCE_S:g} s.") from error


def _counted(
    link: Link, message: Message, message_id: int, progress: Callable[[Counts], None], purpose: str
) -> Retrieved | None:
    """Report an answer's counts; the result if it is the last one."""
    if message.has_data_set:
        link.data_set(_MOST_IDENTIFIER)  # Failed SOP Instance UID List: what is missing is found out otherwise
    status = message.number(Field.STATUS)
    if status is None or message.number(Field.RESPONDED_TO) != message_id:
        raise Broken(f"{purpose}: the peer sent something else than an answer.")
    counts = Counts(
        remaining=message.number(Field.REMAINING) or 0,
        completed=message.number(Field.COMPLETED) or 0,
        failed=message.number(Field.FAILED) or 0,
        warning=message.number(Field.WARNING) or 0,
    )
    progress(counts)
    return None if status in PENDING else Retrieved(status=status, counts=counts)


def _take(
    link: Link, message: Message, *, association: str, calling_ae: str, begin: Callable[[Head], Incoming]
) -> None:
    head = Head(
        sop_class_uid=message.text(Field.AFFECTED_CLASS),
        sop_instance_uid=message.text(Field.AFFECTED_INSTANCE),
        transfer_syntax=link.accepted[message.context].transfer_syntax,
        association=association,
        calling_ae=calling_ae,
    )
    status = SUCCESS
    try:
        _read(link, begin, head)
    except Rejected as error:
        log.warning("instance refused", status=f"{error.status:#06x}", why=error.comment)
        status = int(error.status)
    link.send(
        message.context,
        {
            Field.AFFECTED_CLASS: head.sop_class_uid,
            Field.COMMAND: Command.C_STORE_RSP,
            Field.RESPONDED_TO: message.number(Field.MESSAGE_ID) or 0,
            Field.DATA_SET_TYPE: NO_DATA_SET,
            Field.STATUS: status,
            Field.AFFECTED_INSTANCE: head.sop_instance_uid,
        },
    )


def _read(link: Link, begin: Callable[[Head], Incoming], head: Head) -> None:
    """The data set into an object; it is durable afterwards. Raises Rejected, with all of the message read."""
    pieces = link.pieces()
    incoming: Incoming | None = None
    try:
        incoming = begin(head)
        for piece in pieces:
            left = piece
            while left:
                room = incoming.buffer()
                count = min(len(room), len(left))
                room[:count] = left[:count]
                incoming.advance(count)
                left = left[count:]
        incoming.finish().result()
    except Rejected:
        for _ in pieces:
            pass
        raise
    except BaseException:
        if incoming is not None:
            incoming.abandon()
        raise
