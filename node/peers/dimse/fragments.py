"""Messages cut into P-DATA-TF PDUs (PS3.8 9.3.5 and Annex E), one fragment in each."""

import struct
from collections.abc import Sequence
from typing import Final

COMMAND: Final = 0x01  # PS3.8 E.2: bit 0, command; bit 1, last fragment
LAST: Final = 0x02

Buffers = list[bytes | memoryview]


def cut(context: int, data: memoryview, *, size: int, control: int, last: bool) -> Buffers:
    """Headers and slices of `data`, in turn: nothing is copied.

    size:    bytes of data in one PDU, even
    control: COMMAND, or 0 for a data set
    last:    whether `data` ends the command or data set
    """
    buffers: Buffers = []
    end = len(data)
    for at in range(0, max(end, 1), size):
        piece = data[at : at + size]
        final = last and at + size >= end
        header = (4, 0, len(piece) + 6, len(piece) + 2, context, control | (LAST if final else 0))
        buffers += (struct.pack(">BBLLBB", *header), piece)
    return buffers


def behind(buffers: Sequence[bytes | memoryview], sent: int) -> Buffers:
    """What is left of the buffers behind the first `sent` bytes."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return []
