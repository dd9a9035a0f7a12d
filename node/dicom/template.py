"""The bytes of a derived file: what a series says alike is encoded once, what a slice says is put between.

pydicom encodes what a series says; what comes from a source goes out as it came; the few elements that differ from
slice to slice are packed here. A test holds the result against pydicom's own writer, byte for byte.
"""

import struct
from collections.abc import Iterable, Mapping
from functools import cache

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.dicom import codes, part10

Encoded = Mapping[int, bytes]
"""Tag -> the whole element, Explicit VR Little Endian."""

_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UC", "UN", "UR", "UT"))


def encode(dataset: Dataset) -> dict[int, bytes]:
    """Encode the elements of a data set one by one; raw elements go out with the bytes that they came with."""
    encoded = {}
    for tag, element in part10.elements(dataset).items():
        if isinstance(element, RawDataElement):
            value, vr = element.value or b"", str(element.VR)
            head = (tag.group, tag.element, vr.encode("ascii"))
            if vr in _LONG:
                encoded[int(tag)] = struct.pack("<HH2sHI", *head, 0, len(value)) + value
            else:
                encoded[int(tag)] = struct.pack("<HH2sH", *head, len(value)) + value
        else:
            stream = DicomBytesIO()
            stream.is_implicit_VR, stream.is_little_endian = False, True
            write_data_element(stream, element)
            encoded[int(tag)] = stream.getvalue()
    return encoded


def element(tag: int, vr: str, value: bytes | str) -> bytes:
    """One element; a value of odd length is padded as its VR wants (PS3.5 6.2)."""
    if isinstance(value, str):
        value = value.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    head = (tag >> 16, tag & 0xFFFF, vr.encode("ascii"))
    if vr in _LONG:
        return struct.pack("<HH2sHI", *head, 0, len(value)) + value
    return struct.pack("<HH2sH", *head, len(value)) + value


def sequence(tag: int, contents: Iterable[bytes]) -> bytes:
    """A sequence with explicit lengths; `contents`: of each item its elements, joined."""
    value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content for content in contents)
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(value)) + value


def file_meta(sop_instance_uid: str, sop_class_uid: str) -> FileMetaDataset:
    """File Meta Information (PS3.10 7.1) of a derived object."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(codes.IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = codes.IMPLEMENTATION_VERSION_NAME
    return meta


@cache
def _meta_around(sop_class_uid: str) -> tuple[bytes, bytes]:
    """File Meta Information behind its group length, before and behind the SOP Instance UID (0002,0003)."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_file_meta_info(stream, file_meta("1.2.3.4", sop_class_uid), enforce_standard=True)
    before, behind = stream.getvalue()[12:].split(element(0x00020003, "UI", "1.2.3.4"))
    return before, behind


def head(sop_instance_uid: str, sop_class_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information."""
    before, behind = _meta_around(sop_class_uid)
    meta = before + element(0x00020003, "UI", sop_instance_uid) + behind
    return bytes(128) + b"DICM" + element(0x00020000, "UL", struct.pack("<I", len(meta))) + meta


def data_set(*parts: Encoded) -> bytes:
    """Join elements in tag order up to the value of Pixel Data; a later part replaces an element of an earlier one."""
    joined: dict[int, bytes] = {}
    for part in parts:
        joined.update(part)
    return b"".join(joined[tag] for tag in sorted(joined))
