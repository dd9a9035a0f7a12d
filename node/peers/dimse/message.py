"""Command sets of DIMSE messages (PS3.7 6.3 and Annex E): Implicit VR Little Endian, group 0000 only."""

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class Field(IntEnum):
    """Element numbers in group 0000 (PS3.7 E.1)."""

    AFFECTED_CLASS = 0x0002
    REQUESTED_CLASS = 0x0003
    COMMAND = 0x0100
    MESSAGE_ID = 0x0110
    RESPONDED_TO = 0x0120
    MOVE_DESTINATION = 0x0600
    PRIORITY = 0x0700
    DATA_SET_TYPE = 0x0800
    STATUS = 0x0900
    ERROR_COMMENT = 0x0902
    AFFECTED_INSTANCE = 0x1000
    REQUESTED_INSTANCE = 0x1001
    EVENT_TYPE = 0x1002
    ACTION_TYPE = 0x1008
    REMAINING = 0x1020
    COMPLETED = 0x1021
    FAILED = 0x1022
    WARNING = 0x1023


class Command(IntEnum):
    """Command Field (0000,0100)."""

    C_STORE_RQ = 0x0001
    C_STORE_RSP = 0x8001
    C_GET_RQ = 0x0010
    C_GET_RSP = 0x8010
    C_FIND_RQ = 0x0020
    C_FIND_RSP = 0x8020
    C_MOVE_RQ = 0x0021
    C_MOVE_RSP = 0x8021
    C_ECHO_RQ = 0x0030
    C_ECHO_RSP = 0x8030
    N_EVENT_REPORT_RQ = 0x0100
    N_EVENT_REPORT_RSP = 0x8100
    N_ACTION_RQ = 0x0130
    N_ACTION_RSP = 0x8130


NO_DATA_SET: Final = 0x0101
SUCCESS: Final = 0x0000
PENDING: Final = frozenset({0xFF00, 0xFF01})
_NUMBERS: Final = frozenset(
    {Field.COMMAND, Field.MESSAGE_ID, Field.RESPONDED_TO, Field.PRIORITY, Field.DATA_SET_TYPE, Field.STATUS,
     Field.EVENT_TYPE, Field.ACTION_TYPE, Field.REMAINING, Field.COMPLETED, Field.FAILED, Field.WARNING}
)  # fmt: skip
_FIELDS: Final = {int(field): field for field in Field}
_TITLES: Final = frozenset({Field.MOVE_DESTINATION})

# What a command set says: numbers (US) and texts (UI, AE, LO) by element.
Values = Mapping[Field, int | str]


def encode(values: Values) -> bytes:
    """The command set with its group length."""
    body = b"".join(_element(field, values[field]) for field in sorted(values))
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def _element(field: Field, value: int | str) -> bytes:
    if isinstance(value, int):
        return struct.pack("<HHIH", 0, field, 2, value)
    text = value.encode("ascii")
    text += (b" " if field in _TITLES else b"\0") * (len(text) % 2)
    return struct.pack("<HHI", 0, field, len(text)) + text


def decode(data: bytes | bytearray) -> dict[Field, int | str]:
    """What a command set says, as far as `Field` knows it. Raises ValueError if it is not one."""
    found: dict[Field, int | str] = {}
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("a command element is cut off")
        group, element, length = struct.unpack_from("<HHI", data, at)
        at += 8
        if group != 0 or length > len(data) - at:
            raise ValueError("a command element is not of group 0000, or is longer than the command set")
        value = bytes(data[at : at + length])
        at += length
        if (field := _FIELDS.get(element)) is None:
            continue
        if field not in _NUMBERS:
            found[field] = value.decode("ascii", "replace").strip("\0 ")
        elif length == 2:
            found[field] = int.from_bytes(value, "little")
        elif length:
            raise ValueError("a number in the command set does not have 2 bytes")
    if Field.COMMAND not in found:
        raise ValueError("the command set names no command")
    return found


def number(values: Values, field: Field) -> int | None:
    value = values.get(field)
    return value if isinstance(value, int) else None


def text(values: Values, field: Field) -> str:
    value = values.get(field)
    return value if isinstance(value, str) else ""
