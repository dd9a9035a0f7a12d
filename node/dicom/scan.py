"""The short header scan: the only parser that meets received bytes in the receiver process (DESIGN decision 9).

It walks the top level of a data set (and of Contributing Equipment, for the loop guard), with limits, and keeps the
values of a closed list of attributes as text. It never builds a Dataset and never touches pixels beyond hashing them.
Encoding rules: PS3.5 7.1 (data elements), 7.5 (sequences), A.4 (encapsulated pixel data).
"""

import hashlib
import re
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import keyword_dict

from node.dicom.classes import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE, MAXIMUM_INFLATED_BYTES

Header = Mapping[str, tuple[str, ...]]
"""DICOM keyword -> its values as text, stripped of padding. Absent attribute: no key. Empty attribute: empty tuple."""

MAX_DEPTH: Final = 64
MAX_ELEMENTS: Final = 500_000  # an Enhanced object of 2,000 frames with undefined lengths has some 200,000
MAX_VALUE_BYTES: Final = 16_384  # of an attribute that is kept; longer ones are cut
_INFLATING: Final = threading.BoundedSemaphore(2)  # many small bombs at once must not take the memory of all

_TEXT: Final = (
    "SpecificCharacterSet ImageType SOPClassUID SOPInstanceUID StudyDate SeriesDate AcquisitionDate ContentDate "
    "StudyTime SeriesTime AcquisitionTime ContentTime "
    "AcquisitionDateTime Modality Manufacturer StationName StudyDescription SeriesDescription ManufacturerModelName "
    "PatientID IssuerOfPatientID PatientName PatientBirthDate PatientSpeciesDescription ContrastBolusAgent "
    "BodyPartExamined SliceThickness KVP ReconstructionDiameter PatientAge "
    "SpacingBetweenSlices ProtocolName DeviceUID GantryDetectorTilt XRayTubeCurrent Exposure ConvolutionKernel "
    "PatientPosition MultienergyCTAcquisition StudyInstanceUID SeriesInstanceUID SeriesNumber AcquisitionNumber "
    "InstanceNumber ImagePositionPatient ImageOrientationPatient FrameOfReferenceUID Laterality "
    "TemporalPositionIdentifier ImagesInAcquisition PhotometricInterpretation NumberOfFrames PixelSpacing "
    "ConcatenationUID BurnedInAnnotation RescaleIntercept RescaleSlope RescaleType LossyImageCompression EchoTime "
    "RepetitionTime InversionTime ScanningSequence SequenceVariant MRAcquisitionType MagneticFieldStrength"
)
_SHORT: Final = (  # US
    "SamplesPerPixel Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "InConcatenationNumber InConcatenationTotalNumber"
)
_DOUBLE: Final = "CTDIvol"  # FD
# Newer than pydicom 3.0.2's dictionary: SyntheticData came with 2024b.
_EXTRA: Final = {"SyntheticData": 0x0008001C}

# Text whose bytes depend on Specific Character Set; all else is ASCII (PS3.5 6.1.2.3).
_CHARSET_DEPENDENT: Final = frozenset(
    {
        "StationName",
        "StudyDescription",
        "SeriesDescription",
        "ManufacturerModelName",
        "Manufacturer",
        "PatientID",
        "PatientName",
        "IssuerOfPatientID",
        "PatientSpeciesDescription",
        "ContrastBolusAgent",
        "ProtocolName",
        "ConvolutionKernel",
    }
)


def _tags() -> dict[int, tuple[str, str]]:
    kept = {_EXTRA.get(k) or keyword_dict[k]: (k, "text") for k in [*_TEXT.split(), *_EXTRA]}
    kept |= {keyword_dict[k]: (k, "short") for k in _SHORT.split()}
    kept |= {keyword_dict[k]: (k, "double") for k in _DOUBLE.split()}
    return kept


KEPT: Final = _tags()
KEYWORDS: Final = frozenset(keyword for keyword, _ in KEPT.values()) | {"EquipmentDeviceUID", "PatientAgeGroup"}
_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CONTRIBUTING_EQUIPMENT: Final = 0x0018A001
_DEVICE_UID: Final = 0x00181002
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_BACKSLASH: Final = set(b"\\")
_AGE: Final = re.compile(r"([0-9]{1,3})([DWMY])")
_DATE: Final = re.compile(r"[0-9]{8}")
_CHARSET: Final = re.compile(r"ISO[ _-]?(2022)?[ _-]?IR[ _-]?([0-9]{1,3})")
_UNDEFINED: Final = 0xFFFFFFFF
_LONG_VRS: Final = frozenset(
    (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)


class Unreadable(ValueError):
    """The data set breaks PS3.5 or a limit of this scan. The text says where, never what a value was."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the receiver knows of one instance.

    header:        values of the closed list of attributes
    patient_key:   SHA-256 over Patient ID, issuer and birth date; compares patients without naming one
    pixel_sha256:  of the Pixel Data element's value as encoded on the wire; of nothing, if there is none
    """

    header: dict[str, tuple[str, ...]]
    patient_key: str
    pixel_sha256: str


@dataclass
class _Cursor:
    data: memoryview
    implicit: bool
    order: str = "<"  # of bytes, as struct has it
    elements: int = 0
    kept: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    devices: list[bytes] = field(default_factory=list)
    pixels: tuple[int, int] | None = None

    def element(self, at: int, end: int) -> tuple[int, bytes, int, int]:
        """Read one element header: (tag, VR, offset of the value, length)."""
        self.elements += 1
        if self.elements > MAX_ELEMENTS:
            raise Unreadable(f"more than {MAX_ELEMENTS} elements")
        if end - at < 8:
            raise Unreadable(f"{end - at} bytes left at offset {at}, an element needs 8")
        group, number = struct.unpack_from(f"{self.order}HH", self.data, at)
        tag = group << 16 | number
        if self.implicit or group == 0xFFFE:
            return tag, b"", at + 8, struct.unpack_from(f"{self.order}I", self.data, at + 4)[0]
        vr = bytes(self.data[at + 4 : at + 6])
        if not (vr.isalpha() and vr.isupper()):
            raise Unreadable(f"no value representation at offset {at + 4}")
        if vr not in _LONG_VRS:
            return tag, vr, at + 8, struct.unpack_from(f"{self.order}H", self.data, at + 6)[0]
        if end - at < 12:
            raise Unreadable(f"{end - at} bytes left at offset {at}, an element of this VR needs 12")
        return tag, vr, at + 12, struct.unpack_from(f"{self.order}I", self.data, at + 8)[0]


def scan(encoded: bytes | memoryview, transfer_syntax: str) -> Scan:
    """Read the attributes that receiving, assembling and routing need.

    encoded:  the data set as it came, without File Meta Information
    raises:   Unreadable if it cannot be walked to its end within the limits
    """
    if transfer_syntax == DEFLATED_LE:
        with _INFLATING:
            return _scan(memoryview(_inflate(encoded)), implicit=False)
    order = ">" if transfer_syntax == EXPLICIT_BE else "<"
    return _scan(memoryview(encoded), implicit=transfer_syntax == IMPLICIT_LE, order=order)


def _scan(data: memoryview, *, implicit: bool, order: str = "<") -> Scan:
    cursor = _Cursor(data=data, implicit=implicit, order=order)
    _walk(cursor, 0, len(data), depth=0, end_tag=None, inside=None)
    header = dict(_texts(cursor.kept, order))
    if cursor.devices:
        header["EquipmentDeviceUID"] = tuple(_strip(value.decode("ascii", "replace")) for value in cursor.devices)
    identity = "\x1f".join("\\".join(header.get(k, ())) for k in ("PatientID", "IssuerOfPatientID", "PatientBirthDate"))
    if group := _age_group(header):
        header["PatientAgeGroup"] = (group,)
    for keyword in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientAge"):
        header.pop(keyword, None)  # the records need to compare patients, not to name them
    start, stop = cursor.pixels or (0, 0)
    return Scan(
        header=header,
        patient_key=hashlib.sha256(identity.encode()).hexdigest(),
        pixel_sha256=hashlib.sha256(data[start:stop]).hexdigest(),
    )


def _inflate(encoded: bytes | memoryview) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)  # PS3.5 A.5: raw deflate
    try:
        data = inflater.decompress(encoded, MAXIMUM_INFLATED_BYTES)
    except zlib.error as error:
        raise Unreadable("the deflated data set does not inflate") from error
    if inflater.unconsumed_tail:
        raise Unreadable(f"the deflated data set inflates to more than {MAXIMUM_INFLATED_BYTES} bytes")
    if not inflater.eof:
        raise Unreadable("the deflated data set ends early")
    return data


def _walk(cursor: _Cursor, at: int, end: int, *, depth: int, end_tag: int | None, inside: int | None) -> int:
    """Walk elements from `at`; returns the offset behind the last one (or behind the delimiter `end_tag`).

    depth: sequences around these elements
    """
    last = -1
    while at < end:
        tag, vr, value, length = cursor.element(at, end)
        if tag == end_tag:
            return value
        if tag in (_ITEM, _ITEM_END, _SEQUENCE_END):
            raise Unreadable(f"a delimiter out of place at offset {at}")
        if tag <= last:
            raise Unreadable(f"element {tag:08X} at offset {at} does not follow {last:08X} in order")
        last = tag
        if length == _UNDEFINED:
            if tag in _PIXEL_TAGS:
                at = _skip_fragments(cursor, value, end)
                if depth == 0:  # not those of an icon (PS3.3 C.7.6.1.1.6), which may be compressed too
                    cursor.pixels = (value, at)
                continue
            if vr not in (b"", b"SQ", b"UN"):
                raise Unreadable(f"undefined length at offset {at} in an element that may not have it")
            at = _walk_items(cursor, value, end, depth=depth + 1, sequence=tag, nested_implicit=vr == b"UN")
            continue
        if length > end - value:
            raise Unreadable(f"element {tag:08X} at offset {at} declares {length} bytes, {end - value} are left")
        if depth == 0 and tag in _PIXEL_TAGS:
            cursor.pixels = (value, value + length)
        elif depth == 0 and tag in KEPT:
            cursor.kept[KEPT[tag][0]] = (tag, bytes(cursor.data[value : value + min(length, MAX_VALUE_BYTES)]))
        elif inside == _CONTRIBUTING_EQUIPMENT and tag == _DEVICE_UID:
            cursor.devices.append(bytes(cursor.data[value : value + min(length, 64)]))
        elif depth == 0 and tag == _CONTRIBUTING_EQUIPMENT:  # every other sequence of known length is stepped over
            _walk_items(
                cursor, value, value + length, depth=depth + 1, sequence=tag, defined=True, nested_implicit=vr == b"UN"
            )
        at = value + length
    if end_tag is not None:
        raise Unreadable("a sequence or item of undefined length is never closed")
    return at


def _walk_items(
    cursor: _Cursor,
    at: int,
    end: int,
    *,
    depth: int,
    sequence: int,
    defined: bool = False,
    nested_implicit: bool = False,
) -> int:
    if depth > MAX_DEPTH:
        raise Unreadable(f"sequences nested deeper than {MAX_DEPTH}")
    outer, cursor.implicit = cursor.implicit, cursor.implicit or nested_implicit  # PS3.5 6.2.2 note 2
    try:
        while at < end:
            tag, _, value, length = cursor.element(at, end)
            if tag == _SEQUENCE_END and not defined:
                return value
            if tag != _ITEM:
                raise Unreadable(f"a sequence holds something other than an item at offset {at}")
            if length == _UNDEFINED:
                at = _walk(cursor, value, end, depth=depth, end_tag=_ITEM_END, inside=sequence)
                continue
            if length > end - value:
                raise Unreadable(f"an item at offset {at} declares {length} bytes, {end - value} are left")
            _walk(cursor, value, value + length, depth=depth, end_tag=None, inside=sequence)
            at = value + length
    finally:
        cursor.implicit = outer
    if not defined:
        raise Unreadable("a sequence of undefined length is never closed")
    return at


def _skip_fragments(cursor: _Cursor, at: int, end: int) -> int:
    while at < end:
        tag, _, value, length = cursor.element(at, end)
        if tag == _SEQUENCE_END:
            return value
        if tag != _ITEM or length > end - value:
            raise Unreadable(f"a broken pixel fragment at offset {at}")
        at = value + length
    raise Unreadable("the encapsulated pixel data is never closed")


def _texts(kept: dict[str, tuple[int, bytes]], order: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    charset = kept.get("SpecificCharacterSet", (0, b""))[1].decode("ascii", "replace")
    encodings = convert_encodings([_defined_term(_strip(part)) for part in charset.split("\\")])
    for keyword, (tag, raw) in kept.items():
        kind = KEPT[tag][1]
        if kind == "short":
            yield keyword, tuple(str(v[0]) for v in struct.iter_unpack(f"{order}H", raw[: len(raw) // 2 * 2]))
        elif kind == "double":
            yield keyword, tuple(repr(v[0]) for v in struct.iter_unpack(f"{order}d", raw[: len(raw) // 8 * 8]))
        else:
            dependent = keyword in _CHARSET_DEPENDENT
            text = decode_bytes(raw, encodings, _BACKSLASH) if dependent else raw.decode("ascii", "replace")
            # A UID is padded with one NUL, nothing else (PS3.5 9.1): a blank inside is a fault to be seen, not mended.
            is_uid = keyword.endswith("UID")
            values = [text.removesuffix("\0")] if is_uid else [_strip(part) for part in text.split("\\")]
            yield keyword, () if values == [""] else tuple(values)


def _age_group(header: Header) -> str:
    """ADULT from 18 years on, CHILD below, or nothing when neither age nor birth date says."""
    age = _AGE.fullmatch("".join(header.get("PatientAge", ())))
    if age is not None:  # PS3.5 6.2, AS: days, weeks, months or years
        return "ADULT" if int(age[1]) >= {"D": 6574, "W": 939, "M": 216, "Y": 18}[age[2]] else "CHILD"
    born, studied = ("".join(header.get(keyword, ())) for keyword in ("PatientBirthDate", "StudyDate"))
    if not (_DATE.fullmatch(born) and _DATE.fullmatch(studied)) or born > studied:
        return ""
    return "ADULT" if int(studied) - int(born) >= 18_00_00 else "CHILD"


def _defined_term(charset: str) -> str:
    """A term of PS3.3 C.12.1.1.2, also where it is misspelt as many senders do; else the default repertoire.

    pydicom would take the name of any Python codec, also of those that compress.
    """
    found = _CHARSET.fullmatch(charset)
    if found is not None:
        charset = f"ISO {'2022 ' if found[1] else ''}IR {found[2]}".replace("ISO IR", "ISO_IR")
    return charset if charset in python_encoding else ""


def _strip(text: str) -> str:
    return text.strip(" \0\t\r\n")
