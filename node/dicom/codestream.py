"""What a compressed frame says of itself, read before any decoder allocates memory for it.

A codestream that declares other sizes than the header, or that is lossy under a lossless transfer syntax, is refused.
Sources: ITU-T T.800 A.5.1 and A.6.1 (JPEG 2000), T.81 B.2.2 (JPEG), T.87 C.2 (JPEG-LS), PS3.5 annex G (RLE).
"""

import struct
from dataclasses import dataclass

from node.errors import Refuse

JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_2000 = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"})
RLE = "1.2.840.10008.1.2.5"

_START_OF_FRAME = {0xC3: "lossless JPEG", 0xF7: "JPEG-LS"}


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Size, components, bits and sign of a compressed frame; only JPEG 2000 knows a sign."""

    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False


def check(frame: bytes, transfer_syntax: str, *, rows: int, columns: int, allocated: int = 16) -> Frame:
    """Refuse a frame that is not the single-component, lossless, rows x columns picture that its header promises.

    allocated: Bits Allocated, which an RLE frame has to fill
    returns:   what the frame says; bits of an RLE frame are those allocated
    """
    try:
        if transfer_syntax == RLE:
            _rle(frame, allocated)
            return Frame(rows=rows, columns=columns, components=1, bits=allocated)
        found = _jpeg_2000(frame) if transfer_syntax in JPEG_2000 else _jpeg(frame, transfer_syntax)
    except (struct.error, IndexError) as error:
        raise Refuse("The compressed frame ends inside its own header.", fix="Send the instance again.") from error
    if (found.rows, found.columns, found.components) != (rows, columns, 1) or not 2 <= found.bits <= 16:
        raise Refuse(
            f"The compressed frame is {found.rows} x {found.columns} with {found.components} components of "
            f"{found.bits} bits, its header promises {rows} x {columns} with 1 component.",
        )
    if found.bits > allocated:
        raise Refuse(f"The compressed frame has {found.bits} bits, {allocated} are allocated.")
    return found


def agree(found: Frame, transfer_syntax: str, *, bits: int, signed: bool) -> None:
    """Refuse a frame whose values mean different numbers by its codestream and by its header.

    With as many bits in the codestream as are stored, the header decides what the bits mean, as DCMTK and GDCM have it:
    signed values are often written as an unsigned codestream (T.87 and T.81 know no sign at all). With fewer bits there
    is no telling which of them is the sign.

    bits, signed: Bits Stored (0028,0101), Pixel Representation (0028,0103)
    """
    if transfer_syntax == RLE or found.bits >= bits or found.signed == signed:
        return
    kinds = {True: "signed", False: "unsigned"}
    raise Refuse(
        f"The compressed frame has {found.bits} {kinds[found.signed]} bits, its header {bits} {kinds[signed]} ones.",
        fix="Send it uncompressed.",
    )


def _jpeg_2000(frame: bytes) -> Frame:
    if frame[:4] != b"\xff\x4f\xff\x51":
        raise Refuse("The compressed frame is no JPEG 2000 codestream.")
    width, height, left, top = struct.unpack_from(">IIII", frame, 8)
    (components,) = struct.unpack_from(">H", frame, 40)
    bits, signed = (frame[42] & 0x7F) + 1, frame[42] >= 0x80
    at = 2
    while frame[at : at + 2] != b"\xff\x90":  # the first tile ends the main header
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker == 0xFF52 and frame[at + 13] != 1:
            raise Refuse("The compressed frame was made by the irreversible transform: it is lossy.")
        if length < 2:
            raise Refuse("The compressed frame has a broken header.")
        at += 2 + length
    return Frame(rows=height - top, columns=width - left, components=components, bits=bits, signed=signed)


def _jpeg(frame: bytes, transfer_syntax: str) -> Frame:
    if frame[:2] != b"\xff\xd8":
        raise Refuse("The compressed frame is no JPEG stream.")
    wanted = 0xF7 if transfer_syntax == JPEG_LS else 0xC3
    found: Frame | None = None
    at = 2
    while True:
        marker, code = frame[at], frame[at + 1]
        if marker != 0xFF:
            raise Refuse("The compressed frame has a broken header.")
        if code == 0xFF:  # a fill byte, T.81 B.1.1.2
            at += 1
            continue
        (length,) = struct.unpack_from(">H", frame, at + 2)
        if code == wanted:
            bits, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
            found = Frame(rows=rows, columns=columns, components=components, bits=bits)
        elif 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            raise Refuse(f"The compressed frame is JPEG process {code:02X}, not {_START_OF_FRAME[wanted]}.")
        elif code == 0xDA:
            if found is None:
                raise Refuse(f"The compressed frame is no {_START_OF_FRAME[wanted]} picture.")
            if wanted == 0xF7 and (near := frame[at + 5 + 2 * frame[at + 4]]):
                raise Refuse(f"The compressed frame is near-lossless (NEAR {near}): it is lossy.")
            return found
        if length < 2:
            raise Refuse("The compressed frame has a broken header.")
        at += 2 + length


def _rle(frame: bytes, allocated: int) -> None:
    (segments,) = struct.unpack_from("<I", frame, 0)
    if segments != allocated // 8:
        raise Refuse(
            f"The RLE frame has {segments} segments, a {allocated}-bit picture has {allocated // 8}."  # PS3.5 G.2
        )
