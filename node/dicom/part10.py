"""Part 10 files for the decoding child: the data set as raw elements, and where the pixels are.

Values stay as the bytes that came: nothing is decoded that nobody asks for, and what is copied into a derived object is
copied byte for byte, in whatever character set it is. Inflating is limited (one small file can claim gigabytes).
"""

import logging
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag

from node.dicom import byteorder
from node.dicom.classes import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, MAXIMUM_INFLATED_BYTES, TRANSFER_SYNTAXES
from node.dicom.file_bytes import Bytes, FileBytes
from node.errors import Refuse

# pydicom's messages quote values of the data set; they are no part of any log of ours.
logging.getLogger("pydicom").addHandler(logging.NullHandler())
logging.getLogger("pydicom").propagate = False

Element = RawDataElement | DataElement
MAXIMUM_FILE_BYTES = 1 << 32  # what one element can hold
LONGEST_META = 1 << 20  # of File Meta Information, which has a few hundred bytes
WHOLE_FILE_BYTES = 4 << 20  # of larger files the pixels are read frame by frame
PIXELS = 0x7FE00008  # the first tag that can hold pixels: (7FE0,0008) to (7FE0,0010)
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_BINARY = {"US": "<H", "SS": "<h", "UL": "<I", "SL": "<i", "FL": "<f", "FD": "<d", "US or SS": "<H"}
# Whatever pydicom raises on a broken data set; a child that dies of anything else is caught by its parent.
BROKEN = (
    ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, NotImplementedError, OSError,
    RuntimeError, struct.error, OverflowError,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part10:
    """One instance: File Meta values that count, raw elements before the pixels, and the encoded pixel element."""

    transfer_syntax: str
    sop_class_uid: str
    sop_instance_uid: str
    dataset: Dataset  # top-level elements before (7FE0,0008), raw where pydicom leaves them raw, little endian
    data: Bytes  # the file, or the inflated data set
    pixels_at: int  # offset of the first pixel element in `data`
    frame: int = 0  # 1..N where `dataset` is the view of one frame of an Enhanced object (`frames.view`)
    frames: int = 1  # how many frames the pixels hold, as the file says
    known: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """What was worked out of the file once, for the object and the views of its frames alike. `offsets`: values of
    Extended Offset Table (7FE0,0001) and of its lengths, PS3.3 C.7.6.3."""

    def pixel_data(self) -> tuple[int, int, bool]:
        """Where the value of Pixel Data (7FE0,0010) lies in `data`: offset, length and whether it is encapsulated.

        returns: the length up to the end of the file where it is encapsulated
        raises:  Refuse if there is none, or it is longer than the file
        """
        at, order = self.pixels_at, ">" if self.transfer_syntax == EXPLICIT_BE else "<"
        if len(self.data) - at < 12:
            raise Refuse("There is no Pixel Data.", fix="Send the instance again.")
        head = self.data[at : at + 12]
        group, element = struct.unpack_from(f"{order}HH", head)
        if (group, element) != (0x7FE0, 0x0010):
            raise Refuse(f"The pixels are in ({group:04X},{element:04X}), not in Pixel Data (7FE0,0010).")
        if self.transfer_syntax == IMPLICIT_LE:
            value, (length,) = at + 8, struct.unpack_from("<I", head, 4)
        else:
            if head[4:6] not in (b"OB", b"OW"):
                raise Refuse("The value representation of Pixel Data is neither OB nor OW.")
            value, (length,) = at + 12, struct.unpack_from(f"{order}I", head, 8)
        left = len(self.data) - value
        if length == 0xFFFFFFFF:
            return value, left, True
        if length > left:
            raise Refuse(f"Pixel Data declares {length} bytes, {left} are left.", fix="Send the instance again.")
        return value, length, False

    def words_of_bytes(self) -> bool:
        """Whether two pixels of 8 bits share a big-endian word (OW), in which they stand the other way round."""
        return self.transfer_syntax == EXPLICIT_BE and self.data[self.pixels_at + 4 : self.pixels_at + 6] == b"OW"


def read(path: str | Path) -> Part10:
    """Read one file of a lossless transfer syntax that the node accepts.

    raises: Refuse if it is no Part 10 file, is lossy, or can't be read to its pixels
    """
    file = Path(path)
    if file.stat().st_size > MAXIMUM_FILE_BYTES:
        raise Refuse(f"The file has {file.stat().st_size} bytes, more than {MAXIMUM_FILE_BYTES}.")
    with file.open("rb") as stream:
        if file.stat().st_size <= WHOLE_FILE_BYTES:
            return parse(stream.read())
        return _parse(FileBytes(file), stream)


def parse(data: bytes) -> Part10:
    """Read the bytes of one file; raises as `read`."""
    return _parse(data, BytesIO(data))


def _parse(data: Bytes, stream: BinaryIO) -> Part10:
    meta, at = _file_meta(data[:LONGEST_META])
    syntax = meta.get(0x0010, "")
    if syntax not in TRANSFER_SYNTAXES:
        known = "".join(character for character in syntax if character in "0123456789.")[:64]
        raise Refuse(
            f"The transfer syntax {known or 'that is missing'} is not one that the node decodes.",
            fix="Send it uncompressed or losslessly compressed.",
        )
    if syntax == DEFLATED_LE:
        data, at = _inflate(data[at:]), 0
        stream = BytesIO(data)
    stream.seek(at)
    try:
        dataset = read_dataset(stream, syntax == IMPLICIT_LE, syntax != EXPLICIT_BE, stop_when=_at_pixels)
        if syntax == EXPLICIT_BE:
            dataset = byteorder.little(dataset)
    except (*BROKEN, RecursionError) as error:
        raise Refuse(f"The data set can't be read ({type(error).__name__}).", fix="Send it again.") from error
    return Part10(
        transfer_syntax=syntax,
        sop_class_uid=text(dataset, "SOPClassUID") or meta.get(0x0002, ""),
        sop_instance_uid=text(dataset, "SOPInstanceUID") or meta.get(0x0003, ""),
        dataset=dataset,
        data=data,
        pixels_at=stream.tell(),
        frames=_frames(dataset),
        known={"offsets": (raw(dataset, 0x7FE00001), raw(dataset, 0x7FE00002))},
    )


def _frames(dataset: Dataset) -> int:
    stated = text(dataset, "NumberOfFrames") or "1"
    if not (stated.isascii() and stated.isdigit() and len(stated) <= 6 and int(stated)):
        raise Refuse("NumberOfFrames is no number from 1 to 999999.")
    return int(stated)


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The UIDs of File Meta Information; empty where it has none."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str


def split(path: Path) -> tuple[Meta, memoryview]:
    """File Meta Information and the encoded data set behind it, which is not looked into.

    raises: Refuse if it is no Part 10 file of a transfer syntax that the node takes
    """
    data = path.read_bytes()
    meta, at = _file_meta(data)
    found = Meta(
        sop_class_uid=meta.get(0x0002, ""), sop_instance_uid=meta.get(0x0003, ""), transfer_syntax=meta.get(0x0010, "")
    )
    if found.transfer_syntax not in TRANSFER_SYNTAXES:
        raise Refuse("Its transfer syntax is not one that the node decodes.", fix="Send it losslessly encoded.")
    return found, memoryview(data)[at:]


def _at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return int(tag) >= PIXELS


def _file_meta(data: bytes) -> tuple[dict[int, str], int]:
    """The UIDs of group 0002 (Explicit VR Little Endian, PS3.10 7.1) and the offset behind it.

    raises: Refuse if there is no Part 10 file, or its File Meta Information is not whole
    """
    if data[128:132] != b"DICM":
        raise Refuse("The file is no DICOM Part 10 file.", fix="Send it through DICOM, or add File Meta Information.")
    found, at = {}, 132
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        (element,) = struct.unpack_from("<H", data, at + 2)
        if data[at + 4 : at + 6] in _LONG_VRS:
            if at + 12 > len(data):
                break
            value, (length,) = at + 12, struct.unpack_from("<I", data, at + 8)
        else:
            value, (length,) = at + 8, struct.unpack_from("<H", data, at + 6)
        if length > len(data) - value:
            raise Refuse("The File Meta Information is longer than the file.", fix="Send it again.")
        if data[at + 4 : at + 6] == b"UI":
            found[element] = data[value : value + length].decode("ascii", "replace").strip("\0 ")
        at = value + length
    return found, at


def _inflate(deflated: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: raw deflate
    try:
        data = stream.decompress(deflated, MAXIMUM_INFLATED_BYTES)
    except zlib.error as error:
        raise Refuse("The deflated data set does not inflate.", fix="Send it again.") from error
    if stream.unconsumed_tail:
        raise Refuse(f"The deflated data set inflates to more than {MAXIMUM_INFLATED_BYTES} bytes.")
    if not stream.eof:
        raise Refuse("The deflated data set ends early.", fix="Send it again.")
    return data


def elements(dataset: Dataset) -> dict[BaseTag, Element]:
    """The elements as they lie in a data set; pydicom's own access decodes some, and with that loses their bytes."""
    return dataset._dict  # type: ignore[return-value]  # a plain dict, typed as a mutable mapping


def dataset_of(found: Mapping[BaseTag, Element]) -> Dataset:
    """A data set of Explicit VR Little Endian elements, none of which is decoded on the way."""
    dataset = Dataset()
    dataset.set_original_encoding(False, True, dataset._character_set)  # while empty: asking decodes the element
    dataset._dict = dict(found)
    return dataset


def raw(dataset: Dataset, tag: int) -> bytes | None:
    """The value bytes of an element, b"" if it is empty and None if it is absent; never of a sequence."""
    element = elements(dataset).get(BaseTag(tag))
    if element is None:
        return None
    if isinstance(element, RawDataElement):
        return element.value or b""
    if element.VR == "SQ" or not element.is_empty:  # pydicom wakes sequences and empty elements, nothing else
        raise Refuse(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is no plain value.")
    return b""


def values(dataset: Dataset, keyword: str) -> tuple[str, ...] | None:
    """The values of an element as text, () if it is empty and None if it is absent.

    Numbers become decimal text; text is taken as Latin-1, which loses nothing when values are only compared.
    """
    tag = tag_for_keyword(keyword)
    if tag is None or (found := raw(dataset, tag)) is None:
        return None
    vr = dictionary_VR(tag)
    if vr in _BINARY:
        size = struct.calcsize(_BINARY[vr])
        return tuple(str(number) for (number,) in struct.iter_unpack(_BINARY[vr], found[: len(found) // size * size]))
    if vr == "UI":
        stripped: tuple[str, ...] = (found.decode("latin-1").removesuffix("\0"),)
    else:
        stripped = tuple(part.strip(" \0\t\r\n") for part in found.decode("latin-1").split("\\"))
    return () if stripped == ("",) else stripped


def text(dataset: Dataset, keyword: str) -> str:
    """The first value of an element as text; empty if the element is empty or absent."""
    return next(iter(values(dataset, keyword) or ()), "")


CONTRAST_AGENTS: Final = "ContrastBolusAgentSequence"  # (0018,0012)


def header(part: Part10, keywords: frozenset[str]) -> dict[str, tuple[str, ...]]:
    """The header that the gate and the geometry read, SOP UIDs taken from File Meta where the data set has none."""
    plain = keywords - {CONTRAST_AGENTS}
    found = {keyword: value for keyword in plain if (value := values(part.dataset, keyword)) is not None}
    if CONTRAST_AGENTS in keywords and items(part.dataset, CONTRAST_AGENTS):
        found[CONTRAST_AGENTS] = ("item",)  # as the header scan has it: there is one, whatever it says
    found |= {"SOPClassUID": (part.sop_class_uid,), "SOPInstanceUID": (part.sop_instance_uid,)}
    if devices := tuple(_devices(part.dataset)):
        found["EquipmentDeviceUID"] = devices
    return found


def items(dataset: Dataset, keyword_or_tag: str | int) -> list[Dataset]:
    """The items of a sequence, none if it is absent or empty.

    raises: Refuse if it can't be read
    """
    tag = Tag(keyword_or_tag)
    element = elements(dataset).get(tag)
    if element is None:
        return []
    alone = Dataset()  # asking the data set itself would decode other elements along the way
    alone._dict = {tag: element}
    try:
        return list(alone[tag].value or [])
    except (*BROKEN, RecursionError) as error:
        raise Refuse(f"The sequence {tag} can't be read.", fix="Send the instance again.") from error


def _devices(dataset: Dataset) -> Iterator[str]:
    for item in items(dataset, "ContributingEquipmentSequence"):
        if uid := text(item, "DeviceUID"):
            yield uid
