"""Data elements byte by byte, right or wrong, for tests of what parses them (PS3.5 7.1)."""

import struct

UNDEFINED = 0xFFFFFFFF
LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")
ITEM, ITEM_END, SEQUENCE_END = (struct.pack("<HHI", 0xFFFE, n, 0) for n in (0xE000, 0xE00D, 0xE0DD))
OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, UNDEFINED)


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """One element in Explicit VR Little Endian; `length` if it is to lie."""
    count = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HI", 0, count) if vr in LONG else struct.pack("<H", count)) + value


def implicit(tag: int, value: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def text(tag: int, vr: bytes, value: bytes) -> bytes:
    return element(tag, vr, value + b" " * (len(value) % 2))


def big(tag: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    """As `element`, in Explicit VR Big Endian."""
    head, count = struct.pack(">HH2s", tag >> 16, tag & 0xFFFF, vr), len(value) if length is None else length
    return head + (struct.pack(">HI", 0, count) if vr in LONG else struct.pack(">H", count)) + value
