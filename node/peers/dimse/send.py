"""C-STORE of files: from the file to the wire without a Python object for what lies between (THROUGHPUT)."""

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import dcmread
from pynetdicom.dsutils import encode

from node.dicom.classes import EXPLICIT_LE, IMPLICIT_LE
from node.errors import Refuse
from node.peers.carrier import Broken
from node.peers.dimse.connect import Address
from node.peers.dimse.link import Link, linked
from node.peers.dimse.message import Command, Field
from node.peers.dimse.negotiation import NoContext, Proposal

CLASS_NOT_TAKEN: Final = 0x0122  # PS3.7 C.5.6; here: the peer said so in the negotiation
_WINDOW: Final = 4 << 20  # of a file, read at once
_HEAD: Final = 4096  # File Meta Information is shorter, or is not ours
_LITTLE: Final = frozenset({EXPLICIT_LE, IMPLICIT_LE})
_LONG_VRS: Final = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT"})


@dataclass(frozen=True, kw_only=True)
class _Head:
    """What File Meta Information says, and where the data set begins."""

    sop_instance_uid: str
    transfer_syntax: str
    offset: int


def send(
    address: Address,
    files: Sequence[tuple[str, Path]],
    *,
    before: Callable[[int], None],
    answered: Callable[[int, int], bool],
) -> None:
    """C-STORE files over one association, in order.

    files:    (SOP Class UID, Part 10 file); what the peer does not take as it is goes in Implicit or Explicit VR
              Little Endian if it is in one of them
    before:   called with the index of a file just before it goes on the wire
    answered: called with index and status of each answer; False ends the association early
    raises:   Unreachable before the first file, Broken after it, Refuse if a file cannot be read
    """
    heads = [_head(path) for _, path in files]
    wanted = {(sop_class, head.transfer_syntax): None for (sop_class, _), head in zip(files, heads, strict=True)}
    for sop_class, syntax in list(wanted):
        if syntax in _LITTLE:  # apart, so that a peer that takes both does not choose for the node (PS3.8 9.3.2.2)
            wanted |= {(sop_class, other): None for other in (EXPLICIT_LE, IMPLICIT_LE)}
    proposals = [Proposal(abstract_syntax=sop_class, transfer_syntaxes=(syntax,)) for sop_class, syntax in wanted]
    try:
        _send(address, proposals, files, heads, before=before, answered=answered)
    except NoContext:  # nothing of it: as if each had been answered so
        for index in range(len(files)):
            if not answered(index, CLASS_NOT_TAKEN):
                return


def _send(
    address: Address,
    proposals: Sequence[Proposal],
    files: Sequence[tuple[str, Path]],
    heads: Sequence[_Head],
    *,
    before: Callable[[int], None],
    answered: Callable[[int, int], bool],
) -> None:
    with linked(address, proposals, purpose="C-STORE") as link, ExitStack() as stack:
        loads = _Loads(stack, link)
        following = loads.load(*files[0], heads[0]) if files else None
        for index, (sop_class, _) in enumerate(files):
            load, following = following, None
            sent = None
            if load is not None:
                before(index)
                try:
                    sent = _store(link, load, sop_class, heads[index].sop_instance_uid)
                except Broken as error:
                    raise _broken(error, index, len(files)) from error
            if index + 1 < len(files):
                following = loads.load(*files[index + 1], heads[index + 1])  # while the peer writes this one
            try:
                status = CLASS_NOT_TAKEN if sent is None else _status(link, sent)
            except Broken as error:
                raise _broken(error, index, len(files)) from error
            if not answered(index, status):
                return


def _broken(error: Broken, index: int, count: int) -> Broken:
    return Broken(f"{error.message.rstrip('.')}, with {index} of {count} instances answered.")


@dataclass(frozen=True, kw_only=True)
class _Load:
    """An object ready to go: its first bytes, and the file with the rest."""

    context: int
    first: memoryview
    rest: BinaryIO | None
    left: int

    def parts(self) -> Iterator[tuple[memoryview, bool]]:
        """The data set in windows, and whether each is the last one."""
        yield self.first, self.left == 0
        left = self.left
        while left and self.rest is not None:
            got = self.rest.readinto(self.first)  # type: ignore[attr-defined]  # a raw file has it
            if not got:
                raise Refuse("A file became shorter while it was sent.", fix="Check the disk.")
            left -= got
            yield self.first[:got], left == 0


class _Loads:
    """Reads objects into two buffers in turn: one is on the wire while the next one is read."""

    def __init__(self, stack: ExitStack, link: Link) -> None:
        self._stack, self._link = stack, link
        self._buffers = [bytearray(_WINDOW), bytearray(_WINDOW)]

    def load(self, sop_class: str, path: Path, head: _Head) -> _Load | None:
        """None: the peer takes no objects of this class as they are, or can be written."""
        syntaxes = (head.transfer_syntax, *(sorted(_LITTLE) if head.transfer_syntax in _LITTLE else ()))
        chosen = self._link.context(sop_class, syntaxes)
        if chosen is None:
            return None
        context, syntax = chosen
        if syntax != head.transfer_syntax:
            return _Load(context=context, first=memoryview(_transcoded(path, syntax)), rest=None, left=0)
        self._buffers.reverse()
        with ExitStack() as closing:
            file = closing.enter_context(path.open("rb", buffering=0))
            size = file.seek(0, 2) - head.offset
            file.seek(head.offset)
            window = memoryview(self._buffers[0])[: min(size, _WINDOW)]
            filled = 0
            while filled < len(window):
                got = file.readinto(window[filled:])
                if not got:
                    raise Refuse("A file became shorter while it was read.", fix="Check the disk.")
                filled += got
            if filled == size:
                return _Load(context=context, first=window, rest=None, left=0)
            self._stack.push(closing.pop_all())
            return _Load(context=context, first=window, rest=file, left=size - filled)


def _transcoded(path: Path, syntax: str) -> bytes:
    data = encode(dcmread(path), syntax == IMPLICIT_LE, True)
    if data is None:
        raise Refuse("A finished object cannot be written in Implicit VR Little Endian.", fix="See the log.")
    return data


def _store(link: Link, load: _Load, sop_class: str, sop_instance_uid: str) -> int:
    message_id = link.next_id()
    buffers = link.command(
        load.context,
        {
            Field.AFFECTED_CLASS: sop_class,
            Field.COMMAND: Command.C_STORE_RQ,
            Field.MESSAGE_ID: message_id,
            Field.PRIORITY: 0,
            Field.DATA_SET_TYPE: 1,
            Field.AFFECTED_INSTANCE: sop_instance_uid,
        },
    )
    for part, last in load.parts():
        link.send_part(buffers + link.fragments(load.context, part, last=last))
        buffers = []
    return message_id


def _status(link: Link, message_id: int) -> int:
    answer = link.receive()
    status = answer.number(Field.STATUS)
    if answer.command[Field.COMMAND] != Command.C_STORE_RSP or answer.has_data_set or status is None:
        raise Broken("C-STORE: the peer sent something else than an answer.")
    if answer.number(Field.RESPONDED_TO) != message_id:
        raise Broken(f"C-STORE: the peer answered message {answer.number(Field.RESPONDED_TO)}, not {message_id}.")
    return status


def _head(path: Path) -> _Head:
    """File Meta Information (PS3.10 7.1), as far as sending needs it. Raises Refuse."""
    with path.open("rb", buffering=0) as file:
        data = file.read(_HEAD)
    found, at = {}, 132
    if data[128:132] == b"DICM":
        while data[at : at + 2] == b"\x02\x00" and at + 12 <= len(data):
            (element,) = struct.unpack_from("<H", data, at + 2)
            long = data[at + 4 : at + 6] in _LONG_VRS
            (length,) = struct.unpack_from("<I", data, at + 8) if long else struct.unpack_from("<H", data, at + 6)
            at += 12 if long else 8
            found[element] = data[at : at + length]
            at += length
    uids = [found.get(element, b"").decode("ascii", "replace").strip("\0 ") for element in (0x0003, 0x0010)]
    if not all(uids) or at >= len(data):
        raise Refuse("A file to be sent is no DICOM Part 10 file.", fix="Replay the series.")
    return _Head(sop_instance_uid=uids[0], transfer_syntax=uids[1], offset=at)
