"""The short header scan: what the receiver process knows of an object, and all that it does with the bytes in it.

It keeps the values of a closed list of attributes as text. It never builds a Dataset and never touches pixels beyond
hashing them. `walk` does the parsing, with limits; `source` says where the bytes are.
"""

import functools
import hashlib
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydicom.charset import convert_encodings, decode_bytes, python_encoding
from pydicom.datadict import keyword_dict

from node.dicom.classes import DEFLATED_LE, EXPLICIT_BE, IMPLICIT_LE
from node.dicom.source import Inflated, Memory, Source
from node.dicom.source import Unreadable as Unreadable
from node.dicom.walk import MAX_DEPTH as MAX_DEPTH
from node.dicom.walk import UNDEFINED, Ahead, Found, Walker

Header = Mapping[str, tuple[str, ...]]
"""DICOM keyword -> its values as text, stripped of padding. Absent attribute: no key. Empty attribute: empty tuple."""

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
    "RepetitionTime InversionTime ScanningSequence SequenceVariant MRAcquisitionType MagneticFieldStrength EchoNumbers "
    "TriggerTime FlipAngle AngioFlag SequenceName ScanOptions "
    "ContrastBolusRoute ContrastBolusVolume ContrastBolusStartTime ContrastBolusTotalDose ContrastBolusIngredient"
)
_SHORT: Final = (  # US
    "SamplesPerPixel Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation "
    "InConcatenationNumber InConcatenationTotalNumber"
)
_DOUBLE: Final = "CTDIvol DiffusionBValue DiffusionGradientOrientation"  # FD
# Newer than pydicom 3.0.2's dictionary: SyntheticData came with 2024b.
_EXTRA: Final = {"SyntheticData": 0x0008001C}

_IDENTITY: Final = frozenset({"PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientAge"})
# Text whose bytes depend on Specific Character Set; all else is ASCII (PS3.5 6.1.2.3).
CHARSET_DEPENDENT: Final = frozenset(
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
        "ContrastBolusRoute",
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
KEYWORDS: Final = frozenset(keyword for keyword, _ in KEPT.values()) | {
    "EquipmentDeviceUID",
    "PatientAgeGroup",
    "ContrastBolusAgentSequence",
}
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PIXEL_DATA, _PIXEL_DATA_BE = b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10"
_GUESSES: Final = 4  # an icon of a data set has pixels too
_FRONT_BYTES: Final = 1 << 18  # in which the pixels begin, or nothing is read ahead
_HASH_BYTES: Final = 1 << 16  # hashed at once while more comes
_BACKSLASH: Final = set(b"\\")
_AGE: Final = re.compile(r"([0-9]{1,3})([DWMY])")
_DATE: Final = re.compile(r"[0-9]{8}")
_CHARSET: Final = re.compile(r"ISO[ _-]?(2022)?[ _-]?IR[ _-]?([0-9]{1,3})")


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the receiver knows of one instance.

    header:        values of the closed list of attributes
    patient_key:   SHA-256 over Patient ID, issuer and birth date; compares patients without naming one
    sha256:        of the data set as it came, in which the pixel element's value is replaced by its own digest; the two
                   digests together are equal for equal bytes only
    pixel_sha256:  of the Pixel Data element's value as encoded on the wire; of nothing, if there is none
    """

    header: dict[str, tuple[str, ...]]
    patient_key: str
    sha256: str
    pixel_sha256: str


def scan(encoded: bytes | memoryview | Source, transfer_syntax: str) -> Scan:
    """Read the attributes that receiving, assembling and routing need.

    encoded:  the data set as it came, without File Meta Information
    raises:   Unreadable if it cannot be walked to its end within the limits
    """
    source = Memory(encoded) if isinstance(encoded, bytes | memoryview) else encoded
    return Scanning(transfer_syntax).finish(source)


class Scanning:
    """`scan` of a data set that is still coming: what is before the pixels is read, and pixels are hashed, meanwhile.

    Nothing that `came` decides anything: `finish` gives and raises the same without it, only later. Where the pixels
    begin is guessed by their tag, and true when the elements before it, walked with all checks, end right there.
    """

    def __init__(self, transfer_syntax: str) -> None:
        self._syntax = transfer_syntax
        self._big_endian = transfer_syntax == EXPLICIT_BE
        self._head_bytes = 8 if transfer_syntax == IMPLICIT_LE else 12
        self._walker = self._new_walker()
        self._front: _Front | None = None
        self._searched = 0
        self._guesses = 0 if transfer_syntax == DEFLATED_LE else _GUESSES
        self._pixels_end = 0
        self._due = 0  # hash when so many bytes of the data set are there

    def came(self, data: memoryview, start: int = 0, *, all_of_it: bool = False) -> None:
        """More bytes are there.

        data:      what is at hand of the data set, up to the last byte that came; at least what came since `all_of_it`
        start:     its offset
        all_of_it: it will not be at hand any more
        """
        if self._walker.ahead is None and self._guesses:
            self._guess(data, start)
        ahead, stop = self._walker.ahead, start + len(data)
        if ahead is None or (stop < self._due and not all_of_it):
            return
        stop = min(stop, self._pixels_end)
        if stop > ahead.stop:
            ahead.digest.update(data[ahead.stop - start : stop - start])
            ahead.stop = stop
        self._due = stop + _HASH_BYTES

    def finish(self, source: Source) -> Scan:
        """The data set is complete. Raises Unreadable."""
        deflated = self._syntax == DEFLATED_LE
        found = self._walker.walk(Inflated(source) if deflated else source)
        front = self._front
        if front is None or front.kept != len(found.kept):
            front = self._read(found)
        return Scan(
            header=front.header,
            patient_key=front.patient_key,
            sha256=_whole(source, None if deflated else found.pixels, found.pixel_digest),
            pixel_sha256=found.pixel_digest.hex(),
        )

    def _new_walker(self) -> Walker:
        return Walker(implicit=self._syntax == IMPLICIT_LE, big_endian=self._big_endian, wanted=KEPT)

    def _guess(self, data: memoryview, start: int) -> None:
        if start or self._searched > _FRONT_BYTES:
            self._guesses = 0
            return
        tag = _PIXEL_DATA_BE if self._big_endian else _PIXEL_DATA
        at = bytes(data[self._searched :]).find(tag)
        if at < 0:
            self._searched = max(self._searched, len(data) - len(tag) + 1)
            return
        at += self._searched
        if at + self._head_bytes > len(data):
            self._searched = at
            return
        self._searched = at + 1
        self._guesses -= 1
        walker = self._new_walker()
        try:
            found = walker.walk(Memory(data[:at]))
        except Unreadable:
            return  # it was no tag, or the data set is broken: `finish` will say
        value = at + self._head_bytes
        length = int.from_bytes(data[value - 4 : value], "big" if self._big_endian else "little")
        self._pixels_end = sys.maxsize if length == UNDEFINED else value + length
        walker.ahead = Ahead(start=value, stop=value)
        self._walker, self._front, self._due = walker, self._read(found), value + _HASH_BYTES

    def _read(self, found: Found) -> "_Front":
        header = texts(found.kept, ">" if self._big_endian else "<")
        if found.devices:
            header["EquipmentDeviceUID"] = tuple(_strip(value.decode("ascii", "replace")) for value in found.devices)
        if found.agents:
            header["ContrastBolusAgentSequence"] = ("item",)
        identity = "\x1f".join(
            "\\".join(header.get(k, ())) for k in ("PatientID", "IssuerOfPatientID", "PatientBirthDate")
        )
        return _Front(
            kept=len(found.kept),
            header=without_identity(header),
            patient_key=hashlib.sha256(identity.encode()).hexdigest(),
        )


@dataclass(frozen=True, kw_only=True)
class _Front:
    """What the attributes say. `kept`: how many of them it was made of."""

    kept: int
    header: dict[str, tuple[str, ...]]
    patient_key: str


def _whole(source: Source, pixels: tuple[int, int] | None, pixel_digest: bytes) -> str:
    """The digest of all bytes, with the pixels' own in place of the pixels: they are hashed once, not twice."""
    digest = hashlib.sha256()
    if pixels is None:
        source.feed(digest, 0, source.size)
    else:
        source.feed(digest, 0, pixels[0])
        digest.update(pixel_digest)
        source.feed(digest, pixels[1], source.size)
    return digest.hexdigest()


def texts(kept: Mapping[int, bytes], order: str = "<") -> dict[str, tuple[str, ...]]:
    """Values by keyword, from raw ones by tag of `KEPT`, the character set among them; `order` as struct has it."""
    return dict(_texts(kept, order))


def without_identity(header: Header) -> dict[str, tuple[str, ...]]:
    """The header without who the patient is, but with PatientAgeGroup: records compare patients, they name none."""
    group = _age_group(header)
    kept = {keyword: values for keyword, values in header.items() if keyword not in _IDENTITY}
    return kept | {"PatientAgeGroup": (group,)} if group else kept


def _texts(kept: Mapping[int, bytes], order: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    known = encodings(kept.get(_SPECIFIC_CHARACTER_SET, b"").decode("ascii", "replace"))
    for tag, raw in kept.items():
        keyword, kind = KEPT[tag]
        if kind == "text":
            if not raw:
                yield keyword, ()
                continue
            # Most values are plain ASCII, which is the same in every character set of DICOM but for its escapes.
            if keyword in CHARSET_DEPENDENT and not (raw.isascii() and b"\x1b" not in raw):
                text = decode_bytes(raw, known, _BACKSLASH)
            else:
                text = raw.decode("ascii", "replace")
            # A UID is padded with one NUL, nothing else (PS3.5 9.1): a blank inside is a fault to be seen, not mended.
            if keyword.endswith("UID"):
                values: tuple[str, ...] = (text.removesuffix("\0"),)
            else:
                values = tuple([part.strip(" \0\t\r\n") for part in text.split("\\")])
            yield keyword, () if values == ("",) else values
        elif kind == "short":
            yield keyword, tuple([str(v) for (v,) in struct.iter_unpack(f"{order}H", raw[: len(raw) // 2 * 2])])
        else:
            yield keyword, tuple([repr(v) for (v,) in struct.iter_unpack(f"{order}d", raw[: len(raw) // 8 * 8])])


@functools.lru_cache(maxsize=64)
def encodings(charset: str) -> list[str]:
    """The codecs that Specific Character Set (0008,0005) names, also where its terms are misspelt."""
    return convert_encodings([_defined_term(_strip(part)) for part in charset.split("\\")])


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
