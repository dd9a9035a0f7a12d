"""The bytes of a derived file: what a series says alike is encoded once, what a slice says is put between.

pydicom encodes what we say ourselves; what comes from a source goes out as it came, and only the assembling is ours. A
test holds the result against pydicom's own writer, byte for byte.
"""

import struct
from collections.abc import Mapping

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.dicom import codes, part10

Encoded = Mapping[int, bytes]
"""Tag -> the whole element, Explicit VR Little Endian."""

_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UC", "UN", "UR", "UT"))


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


def file_meta(sop_instance_uid: str) -> FileMetaDataset:
    """File Meta Information (PS3.10 7.1) of a derived CT image."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(codes.CT_IMAGE_STORAGE)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(codes.IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = codes.IMPLEMENTATION_VERSION_NAME
    return meta


def head(sop_instance_uid: str) -> bytes:
    """Preamble, prefix and File Meta Information."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_file_meta_info(stream, file_meta(sop_instance_uid), enforce_standard=True)
    return bytes(128) + b"DICM" + stream.getvalue()


def data_set(*parts: Encoded) -> bytes:
    """Join elements in tag order up to the value of Pixel Data; a later part replaces an element of an earlier one."""
    joined: dict[int, bytes] = {}
    for part in parts:
        joined.update(part)
    return b"".join(joined[tag] for tag in sorted(joined))


def pixel_header(length: int) -> bytes:
    """Tag, VR and length of Pixel Data (7FE0,0010)."""
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, length)
