"""Explicit VR Big Endian (1.2.840.10008.1.2.2, retired in PS3.5-2006) turned into little endian, element by element.

Old archives still hold it. A data set is turned once, when it is read; nothing behind that knows of it.
"""

from collections.abc import Iterator

import numpy as np
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

Element = RawDataElement | DataElement
_WORD = {  # bytes of one number by VR (PS3.5 7.3); a tag is two words of two bytes
    "AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip


def little(dataset: Dataset) -> Dataset:
    """The same data set in little endian, sequences included.

    raises: ValueError if a value is no whole number of words
    """
    turned = Dataset()
    turned.set_original_encoding(False, True, turned._character_set)
    turned._dict = dict(_turned(dataset))
    return turned


def _turned(dataset: Dataset) -> Iterator[tuple[BaseTag, Element]]:
    for tag, element in list(dataset._dict.items()):
        vr = element.VR
        if vr == "SQ":
            alone = Dataset()
            alone._dict = {tag: element}
            yield tag, DataElement(tag, "SQ", Sequence([little(item) for item in alone[tag].value or []]))
        elif vr in ("UN", None) or not isinstance(element, RawDataElement):
            continue  # what its bytes mean in the other order is not known (PS3.5 6.2.2); nothing that we read is UN
        else:
            value = swapped(element.value or b"", _WORD.get(vr, 1))
            yield tag, RawDataElement(tag, vr, len(value), value, 0, False, True)


def swapped(value: bytes | memoryview, size: int) -> bytes:
    """The bytes with each word of `size` bytes turned round. raises: ValueError if it is no whole number of words."""
    if size == 1:
        return bytes(value)
    return np.frombuffer(value, f">u{size}").astype(f"<u{size}").tobytes()
