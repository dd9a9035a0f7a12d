"""The frames of Pixel Data as they lie in a file: one is read at a time, however many there are.

Native frames follow one another (PS3.5 8.1). Encapsulated ones are fragments (A.4), which a basic or an extended offset
table may assign to frames; without one, only what is not ambiguous is taken.
"""

import struct
from collections.abc import Sequence

from node.dicom.file_bytes import Bytes
from node.dicom.part10 import Part10
from node.errors import Refuse

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
# How a frame begins that may go on in further fragments: SOI of JPEG and JPEG-LS, SOC and SIZ of JPEG 2000.
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51")
MAXIMUM_FRAGMENTS = 1_000_000

Piece = tuple[int, int]
"""Offset and length of one fragment's value."""


def native(part: Part10, number: int, *, rows: int, columns: int, allocated: int) -> bytes:
    """Frame `number` (1..N) of pixels that are not encapsulated.

    raises: Refuse if Pixel Data does not hold just the frames that the header names
    """
    size = rows * columns * allocated // 8
    at, length, _ = part.pixel_data()
    wanted = part.frames * size
    if length not in (wanted, wanted + wanted % 2):
        several = f"{part.frames} frames of " if part.frames > 1 else ""
        raise Refuse(f"Pixel Data has {length} bytes, {several}{rows} x {columns} of {allocated} bits are {wanted}.")
    return part.data[at + (number - 1) * size : at + number * size]


def encapsulated(part: Part10, number: int) -> bytes:
    """The codestream of frame `number` (1..N); an odd one keeps its padding byte.

    raises: Refuse if the fragments can't be assigned to frames
    """
    at, _, _ = part.pixel_data()
    if "fragments" not in part.known:
        part.known["fragments"] = frames_of(part.data, at, part.frames, *part.known["offsets"])
    pieces = part.known["fragments"]
    return b"".join(part.data[start : start + length] for start, length in pieces[number - 1])


def frames_of(
    data: Bytes, at: int, frames: int, extended: bytes | None, lengths: bytes | None
) -> tuple[tuple[Piece, ...], ...]:
    """The fragments of every frame.

    data:     the file
    at:       offset of the first item, which is the basic offset table
    extended: value of the Extended Offset Table (7FE0,0001), if there is one; `lengths` of (7FE0,0002)
    raises:   Refuse if the items are broken, or belong to frames in more than one way
    """
    table, *pieces = _items(data, at)
    if not pieces:
        raise Refuse("The encapsulated Pixel Data holds no fragment.", fix="Send the instance again.")
    if frames == 1:
        return (tuple(pieces),)
    if extended:
        return _by_extended(table, pieces, frames, extended, lengths or b"")
    if len(pieces) == frames:  # PS3.5 A.4: a fragment never holds parts of two frames
        return tuple((piece,) for piece in pieces)
    if table[1]:
        offsets = [offset for (offset,) in struct.iter_unpack("<I", data[table[0] : sum(table) // 4 * 4])]
        first = pieces[0][0] - 8
        return _by_starts([first + offset for offset in offsets], pieces, frames)
    starts = [piece[0] - 8 for piece in pieces if data[piece[0] : piece[0] + 4].startswith(_STARTS)]
    return _by_starts(starts, pieces, frames)


def _items(data: Bytes, at: int) -> list[Piece]:
    found: list[Piece] = []
    try:
        while (tag := data[at : at + 4]) != _END:
            (length,) = struct.unpack("<I", data[at + 4 : at + 8])
            if tag != _ITEM or length > len(data) - at - 8 or len(found) > MAXIMUM_FRAGMENTS:
                raise Refuse("The encapsulated Pixel Data can't be taken apart.", fix="Send the instance again.")
            found.append((at + 8, length))
            at += 8 + length
    except struct.error as error:
        raise Refuse("The encapsulated Pixel Data is never closed.", fix="Send the instance again.") from error
    if not found:
        raise Refuse("The encapsulated Pixel Data has no offset table.", fix="Send the instance again.")
    return found


def _by_extended(
    table: Piece, pieces: Sequence[Piece], frames: int, extended: bytes, lengths: bytes
) -> tuple[tuple[Piece, ...], ...]:
    if table[1]:
        raise Refuse("There is a basic and an extended offset table; PS3.5 A.4 allows one of them.")
    if len(extended) != 8 * frames or len(lengths) != 8 * frames or len(pieces) != frames:
        raise Refuse(
            f"The extended offset table has {len(extended) // 8} offsets and {len(lengths) // 8} lengths for "
            f"{len(pieces)} fragments and {frames} frames."
        )
    found: list[tuple[Piece, ...]] = []
    for (offset,), (length,), piece in zip(
        struct.iter_unpack("<Q", extended), struct.iter_unpack("<Q", lengths), pieces, strict=True
    ):
        if offset != piece[0] - pieces[0][0] or not 0 <= piece[1] - length <= 1:
            raise Refuse(f"The extended offset table names frame {len(found) + 1} where no fragment is.")
        found.append(((piece[0], length),))
    return tuple(found)


def _by_starts(starts: Sequence[int], pieces: Sequence[Piece], frames: int) -> tuple[tuple[Piece, ...], ...]:
    known = {piece[0] - 8: index for index, piece in enumerate(pieces)}
    if len(starts) != frames or starts[0] != pieces[0][0] - 8 or any(start not in known for start in starts):
        raise Refuse(f"{len(pieces)} fragments can't be assigned to {frames} frames.", fix="Send an offset table.")
    firsts = [known[start] for start in starts]
    if sorted(set(firsts)) != firsts:
        raise Refuse("The offset table is not in the order of the frames.", fix="Send it with a right one.")
    return tuple(tuple(pieces[first:last]) for first, last in zip(firsts, [*firsts[1:], len(pieces)], strict=True))
