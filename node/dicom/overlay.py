"""The words in overlay plane 6000 of images that show what nobody acquired (PS3.3 C.9.2; DICOM_SPEC 1.1).

The plane has the size of the image, since not every viewer places a smaller one; the words stand in the upper left
corner, which a head leaves free in every plane that heads are acquired in. Pixels stay as they are.
"""

import struct
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.dicom import letters, template
from node.errors import Refuse

GROUP: Final = 0x6000
_FULL_SIZE: Final = 256  # columns for which one dot of a letter is one pixel


def elements(words: str, rows: int, columns: int) -> dict[int, bytes]:
    """Tag -> element of the plane (PS3.3 C.9.2).

    raises: Refuse if the image is too small for the words
    """
    made = template.element
    plane = {
        0x0010: made(0x60000010, "US", struct.pack("<H", rows)),
        0x0011: made(0x60000011, "US", struct.pack("<H", columns)),
        0x0022: made(0x60000022, "LO", "Says that the image is synthetic"),
        0x0040: made(0x60000040, "CS", "G"),
        0x0045: made(0x60000045, "LO", "AUTOMATED"),
        0x0050: made(0x60000050, "SS", struct.pack("<2h", 1, 1)),
        0x0100: made(0x60000100, "US", struct.pack("<H", 1)),
        0x0102: made(0x60000102, "US", struct.pack("<H", 0)),
        0x1500: made(0x60001500, "LO", words),
        0x3000: made(0x60003000, "OW", _packed(words, rows, columns)),
    }
    return {GROUP << 16 | number: element for number, element in plane.items()}


@cache
def _packed(words: str, rows: int, columns: int) -> bytes:
    """Eight pixels in a byte, the first one lowest (PS3.5 8.1.2)."""
    return np.packbits(drawn(words, rows, columns).ravel(), bitorder="little").tobytes()


def drawn(words: str, rows: int, columns: int) -> NDArray[np.bool_]:
    """The plane, (rows, columns). Raises Refuse if the words have no room."""
    plane = np.zeros((rows, columns), np.bool_)
    size = max(1, min(rows, columns) // _FULL_SIZE)
    margin = max(1, columns // 64)
    lines = [words]
    if margin + letters.width(words, size) > columns:  # a small image: one word below the other
        first, _, rest = words.partition(" ")
        lines = [first, rest]
    for number, line in enumerate(lines):
        word = letters.drawn(line, size)
        top = margin + number * letters.LINE * size
        height, width = word.shape
        if top + height > rows or margin + width > columns:
            raise Refuse(f"{columns} x {rows} pixels have no room for the words {words!r}.")
        plane[top : top + height, margin : margin + width] = word
    return plane
