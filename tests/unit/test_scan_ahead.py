"""A data set that is scanned while it comes: the same is found as at once, and little is left for the end."""

import os
from pathlib import Path

import pytest

from node.dicom.classes import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from node.dicom.part10 import split
from node.dicom.scan import Scan, Scanning, Unreadable, scan
from node.dicom.source import Memory
from node.errors import Refuse
from tests.elements import ITEM_END, OPEN_ITEM, SEQUENCE_END, UNDEFINED, big, element, implicit, text

J2K = "1.2.840.10008.1.2.4.90"
FRONT = text(0x00080060, b"CS", b"CT") + text(0x00100020, b"LO", b"SECRET")
TAG = b"\xe0\x7f\x10\0OW\0\0"
PIXELS = os.urandom(300_000)
NATIVE = element(0x7FE00010, b"OW", PIXELS)
FRAGMENTS = implicit(0xFFFEE000, b"") + implicit(0xFFFEE000, PIXELS) + SEQUENCE_END
ENCAPSULATED = element(0x7FE00010, b"OB", FRAGMENTS, length=UNDEFINED)
BEHIND = element(0xFFFCFFFC, b"OB", bytes(100_000))
ICON = OPEN_ITEM + element(0x7FE00010, b"OW", b"\1\2") + ITEM_END + SEQUENCE_END

CASES = {
    "native": (FRONT + NATIVE, EXPLICIT_LE),
    "with something behind": (FRONT + NATIVE + BEHIND, EXPLICIT_LE),
    "encapsulated": (FRONT + ENCAPSULATED, J2K),
    "encapsulated, with something behind": (FRONT + ENCAPSULATED + BEHIND, J2K),
    "implicit": (implicit(0x00080060, b"CT") + implicit(0x7FE00010, PIXELS), IMPLICIT_LE),
    "big endian": (big(0x00080060, b"CS", b"CT") + big(0x7FE00010, b"OW", PIXELS), EXPLICIT_BE),
    "an icon before": (FRONT + element(0x00880200, b"SQ", ICON, length=UNDEFINED) + NATIVE, EXPLICIT_LE),
    "a value that looks like pixels": (FRONT + element(0x00E11001, b"OB", TAG * 3) + NATIVE, EXPLICIT_LE),
    "nothing but pixels": (NATIVE, EXPLICIT_LE),
    "no pixels": (FRONT, EXPLICIT_LE),
    "longer than it is": (FRONT + NATIVE[:-2], EXPLICIT_LE),
    "never closed": (FRONT + ENCAPSULATED[:-8], J2K),
    "out of order behind the pixels": (FRONT + NATIVE + FRONT, EXPLICIT_LE),
    "out of order before them": (NATIVE[:8] + FRONT + NATIVE, EXPLICIT_LE),
    "deflated, and broken": (FRONT + NATIVE, DEFLATED_LE),
}


class Counting(Memory):
    """Counts the bytes that it is asked to hash."""

    fed = 0

    def feed(self, digest: "object", start: int, stop: int) -> None:
        self.fed += stop - start
        super().feed(digest, start, stop)  # type: ignore[arg-type]


def in_pieces(data: bytes, syntax: str, piece: int, buffer: int) -> tuple[Scan | str, int]:
    """As an incoming object does it; and how many bytes were left to hash at the end."""
    scanning, start = Scanning(syntax), 0
    for at in range(0, len(data), piece):
        stop = min(at + piece, len(data))
        if at - start > buffer:
            scanning.came(memoryview(data)[start:at], start, all_of_it=True)
            start = at
        scanning.came(memoryview(data)[start:stop], start)
    source = Counting(data)
    try:
        return scanning.finish(source), source.fed
    except Unreadable as error:
        return str(error), source.fed


def at_once(data: bytes, syntax: str) -> Scan | str:
    try:
        return scan(data, syntax)
    except Unreadable as error:
        return str(error)


@pytest.mark.parametrize("buffer", [40, 5000, 1 << 30])
@pytest.mark.parametrize("piece", [37, 4096, 131_066, 10_000_000])
@pytest.mark.parametrize("name", CASES)
def test_pieces_are_scanned_as_the_whole_is(name: str, piece: int, buffer: int) -> None:
    data, syntax = CASES[name]

    assert in_pieces(data, syntax, piece, buffer)[0] == at_once(data, syntax)


def test_real_files_in_pieces_are_scanned_as_the_whole_is(shared_data: Path) -> None:
    folders = ["dicom/enhanced_multiframe", "dicom/ct_abdomen_siemens_j2k", "odd/malformed"]
    compared = 0
    for path in [path for folder in folders for path in sorted((shared_data / folder).glob("*.dcm"))[:8]]:
        try:
            meta, data = split(path)
        except Refuse:
            continue
        expected = at_once(bytes(data), meta.transfer_syntax)
        assert in_pieces(bytes(data), meta.transfer_syntax, 16_378, 1 << 21)[0] == expected
        compared += 1
    assert compared > 10


@pytest.mark.parametrize("name", ["native", "encapsulated", "implicit", "big endian", "an icon before"])
def test_little_is_left_to_hash_behind_the_last_byte(name: str) -> None:
    data, syntax = CASES[name]

    assert in_pieces(data, syntax, 16_378, 1 << 21)[1] < 70_000
    at_the_end = Counting(data)
    Scanning(syntax).finish(at_the_end)
    assert at_the_end.fed >= len(PIXELS)
