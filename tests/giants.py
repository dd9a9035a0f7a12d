"""Enhanced CT objects of any size, made as they are sent: neither the test nor a file ever holds one whole."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from node.dicom.classes import EXPLICIT_LE
from tests.hostile import STORE, Client, command, item, p_data, pdv

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
JPEG_LS = "1.2.840.10008.1.2.4.80"
_UNDEFINED = 0xFFFFFFFF
_LONG = (b"OB", b"OW", b"SQ")
_ITEM, _ITEM_END, _SEQUENCE_END = (struct.pack("<HHI", 0xFFFE, n, 0) for n in (0xE000, 0xE00D, 0xE0DD))
_OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED)
_PDU_BYTES = 128 << 10
_ROOM = _PDU_BYTES - 12


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """Explicit VR Little Endian; `length` where the value follows later."""
    value += (b"\0" if vr in (b"UI", b"OB") else b" ") * (len(value) % 2)
    head, count = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr), len(value) if length is None else length
    return head + (struct.pack("<HI", 0, count) if vr in _LONG else struct.pack("<H", count)) + value


def sequence(tag: int, *items: bytes) -> bytes:
    """Of undefined length, as are its items."""
    inside = b"".join(_OPEN_ITEM + one + _ITEM_END for one in items)
    return element(tag, b"SQ", b"", length=_UNDEFINED) + inside + _SEQUENCE_END


@dataclass(frozen=True, kw_only=True)
class Giant:
    """An object of `frames` frames of 512 x 512; `fragments`: encapsulated, one for each frame, else as they are."""

    uid: str
    frames: int
    fragments: bool = False

    @property
    def transfer_syntax(self) -> str:
        return JPEG_LS if self.fragments else EXPLICIT_LE

    def parts(self) -> Iterator[bytes]:
        """The data set in pieces."""
        yield element(0x00080016, b"UI", ENHANCED_CT.encode()) + element(0x00080018, b"UI", self.uid.encode())
        yield element(0x00080060, b"CS", b"CT") + element(0x00100020, b"LO", b"GIANT")
        yield element(0x0020000D, b"UI", b"1.2.3") + element(0x0020000E, b"UI", f"{self.uid}.1".encode())
        yield element(0x00280008, b"IS", str(self.frames).encode())
        yield element(0x00280010, b"US", struct.pack("<H", 512)) + element(0x00280011, b"US", struct.pack("<H", 512))
        yield element(0x52009230, b"SQ", b"", length=_UNDEFINED)
        for number in range(self.frames):
            position = sequence(0x00209113, element(0x00200032, b"DS", f"0\\0\\{number}".encode()))
            content = sequence(0x00209111, element(0x00209056, b"SH", b"1"))
            yield _OPEN_ITEM + content + position + _ITEM_END
        yield _SEQUENCE_END
        frame = bytes(512 * 512 * 2)
        if self.fragments:
            yield element(0x7FE00010, b"OB", b"", length=_UNDEFINED) + _ITEM
            for _ in range(self.frames):
                yield struct.pack("<HHI", 0xFFFE, 0xE000, len(frame))
                yield frame
            yield _SEQUENCE_END
        else:
            yield element(0x7FE00010, b"OW", b"", length=len(frame) * self.frames)
            for _ in range(self.frames):
                yield frame


def open_association(client: Client, giant: Giant, *, called: str, calling: str) -> None:
    """Propose Enhanced CT in the transfer syntax of the object."""
    body = struct.pack(">HH", 1, 0) + called.encode().ljust(16) + calling.encode().ljust(16) + bytes(32)
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    proposed = item(0x30, ENHANCED_CT.encode()) + item(0x40, giant.transfer_syntax.encode())
    body += item(0x20, bytes([STORE, 0, 0, 0]) + proposed)
    body += item(0x50, item(0x51, struct.pack(">L", 16384)) + item(0x52, b"1.2.826.0.1.3680043.10.1537.1"))
    client.send(struct.pack(">BxL", 1, len(body)) + body)
    kind, answer = client.pdu()
    assert kind == 2, (kind, answer)


def send(client: Client, giant: Giant, *, at_most: int | None = None) -> int:
    """Send it in PDUs of 128 KB; returns how many bytes went. `at_most`: stop there, in mid-object."""
    client.send(p_data(pdv(command(0x0001, uid=giant.uid, sop_class=ENHANCED_CT), control=3)))
    held, sent = bytearray(), 0
    for part in giant.parts():
        held += part
        while len(held) > _ROOM:  # the last PDU is told apart, so something stays behind for it
            client.send(p_data(pdv(bytes(held[:_ROOM]), control=0)))
            del held[:_ROOM]
            sent += _ROOM
            if at_most is not None and sent >= at_most:
                return sent
    client.send(p_data(pdv(bytes(held), control=2)))
    return sent + len(held)
