"""The walk over a data set's elements: the only parser that meets received bytes in the receiver process.

It checks that tags, lengths and delimiters fit together (PS3.5 7.1 data elements, 7.5 sequences, A.4 encapsulated pixel
data), within limits, and hands out the values that somebody asked for. It is written for speed: one loop for the top
level, one for all that is nested, no call for an element that nobody wants.
"""

import hashlib
import struct
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any, Final

from node.dicom.source import Source, Unreadable

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 500_000  # an Enhanced object of 2,000 frames with undefined lengths has some 200,000
MAX_VALUE_BYTES: Final = 16_384  # of an attribute that is kept; longer ones are cut

_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CONTRIBUTING_EQUIPMENT: Final = 0x0018A001
_DEVICE_UID: Final = 0x00181002
_CONTRAST_AGENTS: Final = 0x00180012
_BETWEEN_ITEMS: Final = -2
UNDEFINED: Final = 0xFFFFFFFF
# PS3.5 6.2, and whether the length has four bytes (7.1.2). A VR of a later edition is taken for a short one.
_SHORT_VRS, _LONG_VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US",
    b"OB OD OF OL OV OW SQ SV UC UN UR UT UV",
)
_LONG: Final = dict.fromkeys(_SHORT_VRS.split(), False) | dict.fromkeys(_LONG_VRS.split(), True)

_Unpack = Callable[[memoryview, int], tuple[Any, ...]]


@dataclass(kw_only=True)
class Found:
    """What a walk brought.

    kept:    tag -> value bytes of the attributes asked for, cut at `MAX_VALUE_BYTES`
    devices: Device UID (0018,1002) of each item of Contributing Equipment
    agents:  whether Contrast/Bolus Agent Sequence (0018,0012) holds anything
    pixels:  where the value of the top-level pixel element begins and ends; None without one
    pixel_digest: SHA-256 of those bytes, of nothing without them
    """

    kept: dict[int, bytes] = field(default_factory=dict)
    devices: list[bytes] = field(default_factory=list)
    agents: bool = False
    pixels: tuple[int, int] | None = None
    pixel_digest: bytes = hashlib.sha256().digest()


@dataclass(kw_only=True)
class Ahead:
    """What was hashed of the pixels while they came: the bytes from `start` to `stop`."""

    start: int
    stop: int
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)


class Walker:
    """Walks a data set, in one go or a part after the other.

    Offsets are those of the data set. Implicit VR is always little endian, also inside a big endian data set.

    ahead: may be set between two parts
    """

    ahead: Ahead | None = None

    def __init__(self, *, implicit: bool, big_endian: bool, wanted: Container[int]) -> None:
        self._implicit, self._wanted = implicit, wanted
        self._headers = {True: _HEADERS["<"], False: _HEADERS[">" if big_endian else "<"]}  # by: is the VR implicit
        self._budget = MAX_ELEMENTS
        self._found = Found()
        self._at, self._last = 0, -1

    def walk(self, source: Source) -> Found:
        """On to the end of `source`: the same bytes as before and more of them, or none. Raises Unreadable."""
        self._source = source
        found, end, wanted = self._found, source.size, self._wanted
        implicit = self._implicit
        tag_length, tag_vr_length, four = self._headers[implicit]
        at, last = self._at, self._last
        view, base = source.window(at)
        while at < end:
            if end - at < 8:
                raise _short_of(8, end - at, at)
            here = at - base
            if here + 12 > len(view):
                view, base = source.window(at)
                here = at - base
            self._budget -= 1
            if self._budget < 0:
                raise _too_many()
            vr, value = b"", at + 8
            if implicit:
                group, number, length = tag_length(view, here)
            else:
                group, number, vr, length = tag_vr_length(view, here)
                long = _LONG.get(vr)
                if long:
                    if end - at < 12:
                        raise _short_of(12, end - at, at)
                    (length,) = four(view, here + 8)
                    value = at + 12
                elif long is None and group != 0xFFFE:
                    _require_vr(vr, at)
            tag = group << 16 | number
            if group == 0xFFFE:
                raise Unreadable(f"a delimiter out of place at offset {at}")
            if tag <= last:
                raise Unreadable(f"element {tag:08X} at offset {at} does not follow {last:08X} in order")
            last = tag
            if length == UNDEFINED:
                if tag in _PIXEL_TAGS:
                    digest = None if self._is_ahead(value) else hashlib.sha256()
                    behind = self._fragments(value, end, tag_length, digest)
                    if digest is None:
                        self._pixels(value, behind)
                    else:
                        found.pixels, found.pixel_digest = (value, behind), digest.digest()
                else:
                    inside = _inside(vr, at, implicit=implicit)
                    behind = self._items(value, end, closed=True, implicit=inside, sequence=tag)
                    if tag == _CONTRAST_AGENTS:
                        found.agents = behind - value > 8  # more than the delimiter that closes it
            else:
                behind = value + length
                if behind > end:
                    raise _too_long(tag, at, length, end - value)
                if tag in wanted:
                    found.kept[tag] = source.read(value, min(length, MAX_VALUE_BYTES))
                elif tag in _PIXEL_TAGS:
                    self._pixels(value, behind)
                elif tag == _CONTRAST_AGENTS:
                    found.agents = length > 0
                elif tag == _CONTRIBUTING_EQUIPMENT:  # every other sequence of known length is stepped over
                    self._items(value, behind, closed=False, implicit=implicit or vr == b"UN", sequence=tag)
            at = behind
        self._at, self._last = at, last
        return found

    def _is_ahead(self, start: int) -> bool:
        return self.ahead is not None and self.ahead.start == start

    def _pixels(self, start: int, stop: int) -> None:
        """Where the pixels' value ends is known: hash what is not hashed yet."""
        ahead = self.ahead
        if ahead is None or ahead.start != start or ahead.stop > stop:
            ahead = Ahead(start=start, stop=start)
        self._source.feed(ahead.digest, ahead.stop, stop)
        self._found.pixels, self._found.pixel_digest = (start, stop), ahead.digest.digest()

    def _items(self, at: int, end: int, *, closed: bool, implicit: bool, sequence: int) -> int:
        """Walk the items of a top-level sequence and all that is inside; returns the offset behind it.

        closed: its length is undefined, a delimiter closes it before `end`
        """
        source = self._source
        tag_length, tag_vr_length, four = self._headers[implicit]
        view, base = source.window(at)
        outer: list[tuple[int, bool, int, bool]] = []  # what this sequence and item are inside of
        last = _BETWEEN_ITEMS
        while True:
            if at >= end:
                if closed:
                    raise Unreadable("a sequence or item of undefined length is never closed")
                if not outer:
                    return at
                end, closed, last, implicit = outer.pop()
                tag_length, tag_vr_length, four = self._headers[implicit]
                continue
            if end - at < 8:
                raise _short_of(8, end - at, at)
            here = at - base
            if here + 12 > len(view):
                view, base = source.window(at)
                here = at - base
            self._budget -= 1
            if self._budget < 0:
                raise _too_many()
            value = at + 8
            if last == _BETWEEN_ITEMS:
                group, number, length = tag_length(view, here)
                if group != 0xFFFE or number not in (0xE000, 0xE0DD) or (number == 0xE0DD and not closed):
                    raise Unreadable(f"a sequence holds something other than an item at offset {at}")
                if number == 0xE0DD:
                    if not outer:
                        return value
                    end, closed, last, implicit = outer.pop()
                    tag_length, tag_vr_length, four = self._headers[implicit]
                else:
                    outer.append((end, closed, last, implicit))
                    closed, last = length == UNDEFINED, -1
                    if not closed:
                        if length > end - value:
                            raise Unreadable(f"an item at offset {at} declares {length} bytes, {end - value} are left")
                        end = value + length
                at = value
                continue
            vr = b""
            if implicit:
                group, number, length = tag_length(view, here)
            else:
                group, number, vr, length = tag_vr_length(view, here)
                long = _LONG.get(vr)
                if long:
                    if end - at < 12:
                        raise _short_of(12, end - at, at)
                    (length,) = four(view, here + 8)
                    value = at + 12
                elif long is None and group != 0xFFFE:
                    _require_vr(vr, at)
            if group == 0xFFFE:
                if number != 0xE00D or not closed:
                    raise Unreadable(f"a delimiter out of place at offset {at}")
                end, closed, last, implicit = outer.pop()
                at += 8
                continue
            tag = group << 16 | number
            if tag <= last:
                raise Unreadable(f"element {tag:08X} at offset {at} does not follow {last:08X} in order")
            last = tag
            if length != UNDEFINED:
                if length > end - value:
                    raise _too_long(tag, at, length, end - value)
                if tag == _DEVICE_UID and sequence == _CONTRIBUTING_EQUIPMENT and len(outer) == 1:
                    self._found.devices.append(source.read(value, min(length, 64)))
                at = value + length
            elif tag in _PIXEL_TAGS:  # of an icon, which may be compressed too (PS3.3 C.7.6.1.1.6)
                at = self._fragments(value, end, tag_length, None)
            else:
                if len(outer) // 2 + 2 > MAX_DEPTH:
                    raise Unreadable(f"sequences nested deeper than {MAX_DEPTH}")
                inside = _inside(vr, at, implicit=implicit)
                outer.append((end, closed, last, implicit))
                closed, last, implicit = True, _BETWEEN_ITEMS, inside
                tag_length, tag_vr_length, four = self._headers[implicit]
                at = value

    def _fragments(self, at: int, end: int, tag_length: "_Unpack", digest: "hashlib._Hash | None") -> int:
        """Step over encapsulated pixel data; returns the offset behind its delimiter."""
        while at < end:
            if end - at < 8:
                raise _short_of(8, end - at, at)
            self._budget -= 1
            if self._budget < 0:
                raise _too_many()
            view, base = self._source.window(at)
            group, number, length = tag_length(view, at - base)
            is_end = (group, number) == (0xFFFE, 0xE0DD)
            if not is_end and ((group, number) != (0xFFFE, 0xE000) or length > end - at - 8):
                raise Unreadable(f"a broken pixel fragment at offset {at}")
            behind = at + 8 if is_end else at + 8 + length
            if digest is not None:
                self._source.feed(digest, at, behind)
            if is_end:
                return behind
            at = behind
        raise Unreadable("the encapsulated pixel data is never closed")


def _headers(order: str) -> "tuple[_Unpack, _Unpack, _Unpack]":
    """How to read a tag with a length of four bytes; a tag, VR and length of two; a length of four alone."""
    shapes = ("HHI", "HH2sH", "I")
    first, second, third = (struct.Struct(order + shape).unpack_from for shape in shapes)
    return first, second, third


_HEADERS: Final = {order: _headers(order) for order in "<>"}


def _inside(vr: bytes, at: int, *, implicit: bool) -> bool:
    """Whether the items of a sequence of undefined length have Implicit VR (PS3.5 6.2.2 note 2)."""
    if vr not in (b"", b"SQ", b"UN"):
        raise Unreadable(f"undefined length at offset {at} in an element that may not have it")
    return implicit or vr == b"UN"


def _require_vr(vr: bytes, at: int) -> None:
    if not (vr.isalpha() and vr.isupper()):
        raise Unreadable(f"no value representation at offset {at + 4}")


def _short_of(needed: int, left: int, at: int) -> Unreadable:
    return Unreadable(f"{left} bytes left at offset {at}, an element needs {needed}")


def _too_long(tag: int, at: int, length: int, left: int) -> Unreadable:
    return Unreadable(f"element {tag:08X} at offset {at} declares {length} bytes, {left} are left")


def _too_many() -> Unreadable:
    return Unreadable(f"more than {MAX_ELEMENTS} elements")
