"""What the receiver reads and writes itself of PS3.8 9.3 and PS3.7 6.3, 9.3.1; the rest is pynetdicom's."""

import struct
from dataclasses import dataclass
from typing import Final

ASSOCIATE_RQ, P_DATA, RELEASE_RQ, ABORT = 1, 4, 5, 7
HEADER_BYTES: Final = 6  # of a PDU: type, reserved, length; and of a PDV: length, context, control header
MAXIMUM_REQUEST_BYTES: Final = 1 << 20  # of an A-ASSOCIATE-RQ; 128 contexts with 20 transfer syntaxes each need 80 KB
MAXIMUM_COMMAND_BYTES: Final = 1 << 16
_FIXED_REQUEST_BYTES: Final = 68  # PS3.8 9.3.2: up to the variable items
_C_STORE_RQ, _C_STORE_RSP = 0x0001, 0x8001
_NO_DATA_SET: Final = 0x0101

# A-ASSOCIATE-RJ: result, source, reason (PS3.8 9.3.4)
UNKNOWN_CALLING: Final = (1, 1, 3)
UNKNOWN_CALLED: Final = (1, 1, 7)
LIMIT_EXCEEDED: Final = (2, 3, 2)  # transient, presentation related: local limit exceeded
# A-ABORT by the provider: reason (PS3.8 9.3.8)
UNRECOGNISED, UNEXPECTED, INVALID_VALUE = 1, 2, 6


class Malformed(Exception):
    """Bytes that no DICOM peer sends. The association has no future. The message names no value of them."""


def reject(result: int, source: int, reason: int) -> bytes:
    """An A-ASSOCIATE-RJ PDU."""
    return struct.pack(">BxLxBBB", 3, 4, result, source, reason)


def abort(reason: int) -> bytes:
    """An A-ABORT PDU of the service provider."""
    return struct.pack(">BxLxxBB", ABORT, 4, 2, reason)


def titles(request: bytes) -> tuple[str, str]:
    """Called and calling AE title of an A-ASSOCIATE-RQ PDU, without their padding. Raises Malformed."""
    if len(request) < HEADER_BYTES + _FIXED_REQUEST_BYTES:
        raise Malformed("The association request is too short.")
    called, calling = (request[at : at + 16].decode("ascii", "replace").strip(" \0") for at in (10, 26))
    return called, calling


@dataclass(frozen=True, kw_only=True)
class StoreRequest:
    """A C-STORE-RQ. UIDs are text of whatever came, not checked: characters outside ASCII are replaced."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def store_request(command: bytes | bytearray) -> StoreRequest | None:
    """The C-STORE-RQ in a command set, or None if it is another command. Raises Malformed.

    command: elements of group 0000H in Implicit VR Little Endian (PS3.7 6.3.1)
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(command):
        if at + 8 > len(command):
            raise Malformed("A command set ends in an element.")
        group, element, length = struct.unpack_from("<HHL", command, at)
        at += 8
        if group != 0 or length > len(command) - at or element in found:
            raise Malformed("A command set has an element that is out of place or longer than what there is.")
        found[element] = bytes(command[at : at + length])
        at += length
    if _number(found, 0x0100) != _C_STORE_RQ:
        return None
    return StoreRequest(
        message_id=_number(found, 0x0110),
        sop_class_uid=_uid(found.get(0x0002, b"")),
        sop_instance_uid=_uid(found.get(0x1000, b"")),
        has_data_set=_number(found, 0x0800) != _NO_DATA_SET,
    )


def _number(found: dict[int, bytes], element: int) -> int:
    value = found.get(element, b"")
    if len(value) != 2:
        raise Malformed(f"A command set lacks element (0000,{element:04x}) or has it in another length than 2.")
    return int.from_bytes(value, "little")


def _uid(value: bytes) -> str:
    return value.decode("ascii", "replace").rstrip("\0 ")


def store_response(
    request: StoreRequest, *, context: int, status: int, comment: str = "", maximum_bytes: int = 0
) -> bytes:
    """A C-STORE-RSP as P-DATA-TF, in one PDU unless the peer takes only tiny ones.

    comment:       Error Comment (0000,0902), ASCII, at most 64 characters
    maximum_bytes: the peer's maximum length of a P-DATA-TF, 0 for none (PS3.8 D.1)
    """
    elements = [
        (0x0002, _padded(request.sop_class_uid, b"\0")),
        (0x0100, struct.pack("<H", _C_STORE_RSP)),
        (0x0120, struct.pack("<H", request.message_id)),
        (0x0800, struct.pack("<H", _NO_DATA_SET)),
        (0x0900, struct.pack("<H", status)),
        (0x0902, _padded(comment, b" ")),
        (0x1000, _padded(request.sop_instance_uid, b"\0")),
    ]
    # A UID that is none goes back to nobody; both are optional in a response (PS3.7 9.1.1.1).
    body = b"".join(
        struct.pack("<HHL", 0, element, len(value)) + value for element, value in elements if 0 < len(value) <= 64
    )
    command = struct.pack("<HHLL", 0, 0, 4, len(body)) + body
    room = max(1, maximum_bytes - HEADER_BYTES) if maximum_bytes else len(command)
    parts = [command[at : at + room] for at in range(0, len(command), room)]
    return b"".join(
        struct.pack(">BxLLBB", P_DATA, len(part) + 6, len(part) + 2, context, 3 if number == len(parts) else 1) + part
        for number, part in enumerate(parts, start=1)
    )


def _padded(text: str, pad: bytes) -> bytes:
    value = text.encode("ascii", "replace")
    return value + pad * (len(value) % 2)
