"""Stored pixel values of one frame, from whatever transfer syntax; runs in the limited child and nowhere else.

A compressed frame says of itself what it holds (`codestream`), before a decoder takes memory for it. Where codestream
and header disagree in sign or precision, the values are read as DCMTK and GDCM read them, or refused: decision 14.
"""

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from node.dicom import byteorder, codestream, fragments
from node.dicom.classes import EXPLICIT_BE
from node.dicom.part10 import BROKEN, Part10, values
from node.errors import Refuse

Words = NDArray[np.int16] | NDArray[np.uint16]

# RELIABILITY 0.4: Pillow survives streams that kill pylibjpeg-openjpeg, but it has no HTJ2K.
PLUGINS = {
    "1.2.840.10008.1.2.4.57": "pylibjpeg",
    "1.2.840.10008.1.2.4.70": "pylibjpeg",
    "1.2.840.10008.1.2.4.80": "pyjpegls",
    "1.2.840.10008.1.2.4.90": "pillow",
    "1.2.840.10008.1.2.4.201": "pylibjpeg",
    "1.2.840.10008.1.2.4.202": "pylibjpeg",
    "1.2.840.10008.1.2.5": "pydicom",
}
UNREADABLE = "A value that describes the pixels is missing or unreadable."


def pixel_values(part: Part10) -> tuple[Words, int, bool]:
    """The stored values of a frame.

    part:    a single-frame object, or the view of one frame
    returns: (y, x) in 16 bits, Bits Stored, and whether they are signed
    raises:  Refuse if the pixels are not what the header says
    """
    rows, columns, allocated, bits = (
        _number(part, keyword) for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored")
    )
    signed = values(part.dataset, "PixelRepresentation") == ("1",)
    if allocated not in (8, 16) or not 1 <= bits <= allocated:
        raise Refuse(f"{bits} bits are stored in {allocated}; the node decodes up to 16 in 16.")
    if not part.frame and part.frames != 1:
        raise Refuse(f"The object has {part.frames} frames, none is named.")
    number = part.frame or 1
    _, _, is_encapsulated = part.pixel_data()
    if is_encapsulated != (part.transfer_syntax in PLUGINS):
        raise Refuse(f"Pixel Data is {'' if is_encapsulated else 'not '}encapsulated, against its transfer syntax.")
    if is_encapsulated:
        words = _decoded(part, number, rows, columns, allocated, bits, signed=signed)
    else:
        words = _native(part, number, rows, columns, allocated)
    unused = 16 - bits
    words = words.view(np.int16 if signed else np.uint16)
    # Bits above Bits Stored may hold an old overlay (PS3.5 8.1.1); they are no part of the value.
    return (words << unused) >> unused if unused else words, bits, signed


def _number(part: Part10, keyword: str) -> int:
    try:
        return int((values(part.dataset, keyword) or ())[0])
    except (IndexError, ValueError) as error:
        raise Refuse(UNREADABLE) from error


def _native(part: Part10, number: int, rows: int, columns: int, allocated: int) -> NDArray[np.uint16]:
    data = fragments.native(part, number, rows=rows, columns=columns, allocated=allocated)
    if allocated == 8:
        if part.words_of_bytes():
            raise Refuse("Pixels of 8 bits in big-endian words (OW) are not decoded.", fix="Send it little endian.")
        return np.frombuffer(data, np.uint8).astype(np.uint16).reshape(rows, columns)
    if part.transfer_syntax == EXPLICIT_BE:
        data = byteorder.swapped(data, 2)
    return np.frombuffer(data, "<u2").reshape(rows, columns)


def _decoded(
    part: Part10, number: int, rows: int, columns: int, allocated: int, bits: int, *, signed: bool
) -> NDArray[np.uint16]:
    syntax = part.transfer_syntax
    frame = fragments.encapsulated(part, number)
    found = codestream.check(frame, syntax, rows=rows, columns=columns, allocated=allocated)
    codestream.agree(found, syntax, bits=bits, signed=signed)
    precision = found.bits if syntax in codestream.JPEG_2000 else bits
    try:
        array, _ = get_decoder(UID(syntax)).as_array(
            _wrapped(frame),
            index=0,
            raw=True,
            decoding_plugin=PLUGINS[syntax],
            rows=rows,  # type: ignore[arg-type]  # pydicom types every option as the whole set of options
            columns=columns,  # type: ignore[arg-type]
            number_of_frames=1,  # type: ignore[arg-type]
            samples_per_pixel=1,  # type: ignore[arg-type]
            bits_allocated=allocated,  # type: ignore[arg-type]
            bits_stored=precision,  # type: ignore[arg-type]
            pixel_representation=int(found.signed),  # type: ignore[arg-type]  # as the codestream has it
            photometric_interpretation="MONOCHROME2",  # type: ignore[arg-type]
            pixel_keyword="PixelData",  # type: ignore[arg-type]
        )
    except BROKEN as error:
        raise Refuse("The compressed frame can't be decoded.", fix="Send the instance again.") from error
    if array.size != rows * columns:
        raise Refuse(f"The compressed frame gave {array.size} values for {rows} x {columns}.")
    # int16 of a signed codestream keeps its two's complement when the 16 bits are taken as they are.
    wide = array.astype(np.int16) if array.dtype.kind == "i" else array.astype(np.uint16)
    words = np.ascontiguousarray(wide).view(np.uint16).reshape(rows, columns)
    # Overlays lie in the high bits of plain words only (PS3.5 8.1.1): beyond Bits Stored, this is a value cut off.
    low, high = int(words.view(np.int16).min()), int(words.view(np.int16).max())
    if syntax != codestream.RLE and not -(1 << bits - 1) <= low <= high < 1 << bits:
        raise Refuse(f"The compressed frame holds values from {low} to {high}, its header stores {bits} bits.")
    return words


def _wrapped(frame: bytes) -> bytes:
    """One frame as encapsulated Pixel Data of its own (PS3.5 A.4), which is what pydicom's decoders take."""
    even = frame + b"\0" * (len(frame) % 2)
    size = len(even).to_bytes(4, "little")
    return b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + size + even + b"\xfe\xff\xdd\xe0\0\0\0\0"
