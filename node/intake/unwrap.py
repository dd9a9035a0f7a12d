"""Part 10 files that come by HTTP: the File Meta Information is taken off as they come, the data set is handed on.

What receiving gets is the same as from an association: identity, transfer syntax and the bytes of the data set. The
preamble and whatever else the sender wrote before the data set go nowhere.
"""

import re
import struct
from collections.abc import Callable
from typing import Final

from node.dicom.classes import DEFLATED_LE, TRANSFER_SYNTAXES
from node.intake.incoming import Head, Incoming, Rejected, Status

MAXIMUM_META_BYTES: Final = 65_536
_PREAMBLE: Final = 128 + 4
_LONG_VRS: Final = frozenset((b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC", b"UR"))
_CLASS, _INSTANCE, _SYNTAX = 0x0002, 0x0003, 0x0010  # elements of group 0002, PS3.10 7.1
_SHOWABLE: Final = re.compile(r"[0-9.]{1,64}")


class _Incomplete(Exception):
    """More bytes are needed."""


class Unwrapper:
    """One Part 10 file, block by block. One thread at a time; it ends with `finish` or `abandon`.

    begin:     as `Intake.begin`
    study_uid: the study that it must belong to; empty for any

    `sop_class_uid`, `sop_instance_uid`: as its meta information says, once it is read and if they look like UIDs
    """

    def __init__(
        self, begin: Callable[[Head], Incoming], *, association: str, calling_ae: str, study_uid: str = ""
    ) -> None:
        self._begin, self._association, self._calling_ae = begin, association, calling_ae
        self._study_uid = study_uid
        self._meta = bytearray()
        self._incoming: Incoming | None = None
        self.sop_class_uid = self.sop_instance_uid = ""

    @property
    def size(self) -> int:
        """Bytes of the data set so far."""
        return 0 if self._incoming is None else self._incoming.size

    def feed(self, block: bytes | memoryview) -> None:
        """The next bytes of the file. Raises Rejected; nothing of the file stays then."""
        if self._incoming is None:
            self._meta += block
            try:
                values, end = _file_meta(self._meta)
            except _Incomplete:
                values, end = {}, len(self._meta) + 1
            if end > MAXIMUM_META_BYTES:
                raise _unreadable(f"meta information exceeds {MAXIMUM_META_BYTES} bytes")
            if end > len(self._meta):
                return
            block = bytes(self._meta[end:])
            self._meta.clear()
            self._incoming = self._begin(self._head(values))
        left = memoryview(block)
        while left:
            room = self._incoming.buffer()
            count = min(len(room), len(left))
            room[:count] = left[:count]
            left = left[count:]
            self._incoming.advance(count)

    def finish(self) -> bool:
        """The file is complete. Returns, when it is durable, whether it was new. Raises Rejected."""
        if self._incoming is None:
            raise _unreadable("the file ends within its meta information")
        return self._incoming.finish().result()

    def abandon(self) -> None:
        """Nothing of it stays. May be called twice."""
        if self._incoming is not None:
            self._incoming.abandon()

    def _head(self, values: dict[int, str]) -> Head:
        sop_class, instance = values.get(_CLASS, ""), values.get(_INSTANCE, "")
        self.sop_class_uid = sop_class if _SHOWABLE.fullmatch(sop_class) else ""
        self.sop_instance_uid = instance if _SHOWABLE.fullmatch(instance) else ""
        if values.get(_SYNTAX, "") not in TRANSFER_SYNTAXES:
            raise Rejected(Status.SYNTAX_UNSUPPORTED, "Transfer syntax is not supported")
        return Head(
            sop_class_uid=sop_class,
            sop_instance_uid=instance,
            transfer_syntax=values[_SYNTAX],
            association=self._association,
            calling_ae=self._calling_ae,
            study_uid=self._study_uid,
        )


def _file_meta(data: bytearray) -> tuple[dict[int, str], int]:
    """Group 0002 (PS3.10 7.1, Explicit VR Little Endian) as text by element, and where the data set begins.

    Where the group ends is what its elements say. Its length, which some writers get wrong, decides only before a
    deflated data set, whose first bytes may look like another element of the group.
    raises: _Incomplete, Rejected
    """
    if data[128:_PREAMBLE] != b"DICM"[: max(0, len(data) - 128)]:
        raise _unreadable("no Part 10 file: DICM is missing at byte 128")
    if len(data) < _PREAMBLE:
        raise _Incomplete
    values: dict[int, str] = {}
    at, last, declared = _PREAMBLE, -1, -1
    while at != declared or values.get(_SYNTAX) != DEFLATED_LE:
        if len(data) < at + 8:
            raise _Incomplete
        group, number = struct.unpack_from("<HH", data, at)
        if group != 0x0002:
            break
        if number <= last:
            raise _unreadable("meta information is out of order")
        last, vr = number, bytes(data[at + 4 : at + 6])
        if vr in _LONG_VRS:
            if len(data) < at + 12:
                raise _Incomplete
            length, start = struct.unpack_from("<I", data, at + 8)[0], at + 12
        else:
            length, start = struct.unpack_from("<H", data, at + 6)[0], at + 8
        if not (vr.isalpha() and vr.isupper()) or length > MAXIMUM_META_BYTES:
            raise _unreadable("meta information is no Explicit VR Little Endian")
        if len(data) < start + length:
            raise _Incomplete
        if number == 0x0000 and length == 4:
            declared = start + 4 + int(struct.unpack_from("<I", data, start)[0])
        elif vr == b"UI":
            values[number] = bytes(data[start : start + length]).decode("ascii", "replace").rstrip("\0 ")
        at = start + length
    if at == _PREAMBLE:
        raise _unreadable("no meta information")
    return values, at


def _unreadable(what: str) -> Rejected:
    return Rejected(Status.UNREADABLE, what[:64])
