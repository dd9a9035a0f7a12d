"""The top level of a little-endian data set as raw elements, without parsing what a sequence holds.

A series repeats its header slice by slice: what is the same bytes as in the slice before need not be understood again.
pydicom's reader takes sequences of undefined length apart on the way; this one steps over them (PS3.5 7.1 and 7.5). It
runs in the child.
"""

import struct
from typing import Final

from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from node.dicom.part10 import PIXELS

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT: Final = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_LONG: Final = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_NAMES: Final = {name.encode("ascii"): name for name in _SHORT.split()} | {name: name.decode("ascii") for name in _LONG}
_MAX_DEPTH: Final = 64
_EXPLICIT, _LENGTH, _IMPLICIT = struct.Struct("<HH2sH"), struct.Struct("<I"), struct.Struct("<HHI")


class Unusual(ValueError):
    """The bytes are not as simple as this reader wants them; a full parser may still read them."""


def elements(data: bytes, at: int, *, implicit: bool) -> tuple[dict[int, RawDataElement], int]:
    """Read from `at` to the first pixel element.

    returns: tag -> element, in the order that they came, and the offset of the first pixel element. A sequence is raw
             too: its items with their delimiters, without the one that ends a sequence of undefined length
    raises:  Unusual if there is no pixel element, or something that only a full parser should judge
    """
    found: dict[int, RawDataElement] = {}
    end = len(data)
    try:
        while True:
            start = at
            tag, name, value, length = _header(data, at, implicit)
            if tag >= PIXELS:
                return found, start
            vr = None if implicit else _NAMES[name]
            if length == _UNDEFINED:
                if vr not in (None, "SQ"):
                    raise Unusual("an undefined length outside a sequence")
                at = _skip_items(data, value, implicit, 1)
                content, vr = data[value : at - 8], "SQ"
            else:
                at = value + length
                if at > end:
                    raise Unusual("an element is longer than the file")
                content = data[value:at]
            found[tag] = RawDataElement(BaseTag(tag), vr, len(content), content, value, implicit, True)
    except (struct.error, KeyError) as error:
        raise Unusual("the bytes end early, or a value representation is unknown") from error


def values(data: bytes) -> dict[int, bytes]:
    """Tag -> value bytes of a data set of Explicit VR with defined lengths, as this product writes it, to its end.

    raises: Unusual if it is anything else, or its tags don't rise
    """
    found: dict[int, bytes] = {}
    at, end, last = 0, len(data), -1
    unpack, unpack_length = _EXPLICIT.unpack_from, _LENGTH.unpack_from
    try:
        while at < end:
            group, number, name, length = unpack(data, at)
            tag = group << 16 | number
            if tag <= last or name not in _NAMES:
                raise Unusual(f"({group:04X},{number:04X}) does not follow in order, or has no value representation")
            last = tag
            if name in _LONG:
                (length,) = unpack_length(data, at + 8)
                at += 12
            else:
                at += 8
            found[tag] = data[at : at + length]
            at += length
    except struct.error as error:
        raise Unusual("the bytes end within an element") from error
    if at != end:
        raise Unusual("an element is longer than the data set")
    return found


def _header(data: bytes, at: int, implicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR, offset of the value and its length."""
    if implicit:
        group, number, length = _IMPLICIT.unpack_from(data, at)
        return group << 16 | number, b"", at + 8, length
    group, number, name, short = _EXPLICIT.unpack_from(data, at)
    if group == 0xFFFE:
        return group << 16 | number, b"", at + 8, _LENGTH.unpack_from(data, at + 4)[0]
    if name in _LONG:
        return group << 16 | number, name, at + 12, _LENGTH.unpack_from(data, at + 8)[0]
    return group << 16 | number, name, at + 8, short


def _skip_items(data: bytes, at: int, implicit: bool, depth: int) -> int:
    """The offset behind a sequence of undefined length whose first item is at `at`."""
    if depth > _MAX_DEPTH:
        raise Unusual("sequences nested too deep")
    while True:
        tag, _, value, length = _header(data, at, implicit)
        if tag == _SEQUENCE_END:
            return value
        if tag != _ITEM:
            raise Unusual("a sequence holds something other than an item")
        at = _skip_item(data, value, implicit, depth) if length == _UNDEFINED else value + length


def _skip_item(data: bytes, at: int, implicit: bool, depth: int) -> int:
    while True:
        tag, name, value, length = _header(data, at, implicit)
        if tag == _ITEM_END:
            return value
        if length != _UNDEFINED:
            at = value + length
        elif name in (b"", b"SQ"):
            at = _skip_items(data, value, implicit, depth + 1)
        else:
            raise Unusual("an undefined length outside a sequence")
