"""What the node accepts on the wire: SOP classes and transfer syntaxes (DICOM_SPEC §6), as tables.

The conformance statement and the receiver read the same two tables.
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final

VERIFICATION: Final = "1.2.840.10008.1.1"

STORAGE_CLASSES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
        "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
        "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
        "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
        "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image Storage",
        "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image Storage",
    }
)

KEY_OBJECTS: Final = "1.2.840.10008.5.1.4.1.1.88.59"

DOCUMENT_CLASSES: Final[Mapping[str, str]] = MappingProxyType({KEY_OBJECTS: "Key Object Selection Document Storage"})
"""Taken for what they say of images: rejection notes (IHE RAD TF-3 4.66, Image Object Change Management)."""

STORED_CLASSES: Final[Mapping[str, str]] = MappingProxyType({**STORAGE_CLASSES, **DOCUMENT_CLASSES})

MODALITIES: Final = ("CT", "MR", "KO")
"""Modality (0008,0060) of what these classes hold, as PS3.3 C.7.3.1.1.1 defines the terms."""

OTHER_MODALITY: Final = "other"


def modality_label(values: Collection[str]) -> str:
    """The modality that all of something has, for records and metrics: a closed set, whatever came from the wire.

    values: each Modality that its objects name
    """
    return next(iter(values)) if len(values) == 1 and set(values) <= set(MODALITIES) else OTHER_MODALITY


# One limit for the receiver and the decoder: what is answered with success must be decodable.
MAXIMUM_INFLATED_BYTES: Final = 1 << 28

IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"  # retired in PS3.5-2006; old archives still hold it
DEFLATED_LE: Final = "1.2.840.10008.1.2.1.99"

# Lossless only: a lossy source is refused by the input gate, so the node does not offer to take one (DICOM_SPEC §6).
# The order is the node's preference when a peer offers several for one context.
TRANSFER_SYNTAXES: Final[Mapping[str, str]] = MappingProxyType(
    {
        EXPLICIT_LE: "Explicit VR Little Endian",
        IMPLICIT_LE: "Implicit VR Little Endian",
        DEFLATED_LE: "Deflated Explicit VR Little Endian",
        EXPLICIT_BE: "Explicit VR Big Endian (retired)",
        "1.2.840.10008.1.2.4.57": "JPEG Lossless, Non-Hierarchical (Process 14)",
        "1.2.840.10008.1.2.4.70": "JPEG Lossless, First-Order Prediction (Process 14, Selection Value 1)",
        "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
        "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless Only",
        "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000 Lossless Only",
        "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000 with RPCL Options Lossless Only",
        "1.2.840.10008.1.2.5": "RLE Lossless",
    }
)

DOCUMENT_SYNTAXES: Final = (EXPLICIT_LE, IMPLICIT_LE, DEFLATED_LE, EXPLICIT_BE)
"""For what has no pixels."""
