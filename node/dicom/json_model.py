"""The DICOM JSON model (PS3.18 annex F) of small data sets without pixels: plain values that the records keep.

Texts are Unicode; Specific Character Set (0008,0005) stays among the attributes and says in what they came. Private
attributes, group lengths and binary values are not kept.
"""

import math
import struct
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from pydicom import config
from pydicom.charset import _encode_string_parts, custom_encoders  # what its writer does, without its warnings
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import BaseTag, Tag

from node.dicom.scan import encodings
from node.errors import Refuse

Plain = dict[str, dict[str, Any]]
"""Tag of eight hexadecimal digits -> {"vr": ..., "Value": [...]}; an empty attribute has no "Value"."""

CHARACTER_SET: Final = "00080005"
UTF_8: Final = "ISO_IR 192"
MOST_ELEMENTS: Final = 50_000
MOST_DEPTH: Final = 8
_TEXTS: Final = frozenset(
    ["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"]
)
_ONE_VALUE: Final = frozenset(("LT", "ST", "UR", "UT"))  # a backslash is a character of theirs (PS3.5 6.2)
_NUMBERS: Final = frozenset(["FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"])
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_KEEPS_LEADING: Final = frozenset(("LT", "ST", "UT"))


@cache
def key(keyword: str) -> str:
    """The tag of a keyword as the model names it. Raises KeyError for one that is none."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return f"{tag:08X}"


def plain(source: Dataset) -> tuple[Plain, list[str]]:
    """The model of a data set, and the tags that it leaves out. For the child: it decodes every value.

    raises: Refuse for what cannot be read as what it says it is, cannot be written again, or passes a limit
    """
    budget = [MOST_ELEMENTS]
    left_out: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values
        found = _attributes(source, budget, left_out, depth=0)
        _require_writable(found)
    return found, left_out


def _require_writable(model: Plain) -> None:
    """What the records hold is sent to others later, by processes that no value of a peer may stop."""
    try:
        for implicit in (True, False):
            out = DicomBytesIO()
            out.is_implicit_VR, out.is_little_endian = implicit, True
            write_dataset(out, dataset(model))
    except (ValueError, TypeError, OverflowError, AttributeError, KeyError, struct.error) as error:
        raise Refuse("A value is none of its VR.") from error


def _attributes(dataset: Dataset, budget: list[int], left_out: list[str], *, depth: int) -> Plain:
    if depth > MOST_DEPTH:
        raise Refuse(f"Sequences are nested more than {MOST_DEPTH} deep.")
    found: Plain = {}
    for element in dataset:
        budget[0] -= 1
        if budget[0] < 0:
            raise Refuse(f"More than {MOST_ELEMENTS} attributes.")
        if element.tag.element == 0 or element.tag.group < 8:
            continue
        name = f"{int(element.tag):08X}"
        if element.tag.is_private:
            left_out.append(name)
        elif element.VR == "SQ":
            items = [_attributes(item, budget, left_out, depth=depth + 1) for item in element.value or ()]
            found[name] = _entry("SQ", items)
        elif element.VR in _TEXTS:
            found[name] = _entry(element.VR, _texts(element))
        elif element.VR in _NUMBERS:
            found[name] = _entry(element.VR, [_number(v, element.VR) for v in _several(element)])
        elif element.VR == "AT":
            found[name] = _entry("AT", [f"{int(v):08X}" for v in _several(element)])
        else:
            left_out.append(name)
    return found


def _number(value: Any, vr: str) -> float | int:
    if not vr.startswith("F"):
        return int(value)
    if not math.isfinite(value):
        raise Refuse("A number is infinite, or none.")  # JSON has no word for it
    return float(value)


def _entry(vr: str, values: list[Any]) -> dict[str, Any]:
    return {"vr": vr, "Value": values} if values else {"vr": vr}


def _several(element: DataElement) -> list[Any]:
    value: Any = element.value
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple | Sequence) and not isinstance(value, str) else [value]


def _texts(element: DataElement) -> list[Any]:
    values = [element.value] if element.VR in _ONE_VALUE and element.value else _several(element)
    texts = [str(value).rstrip(" \0") for value in values]
    if element.VR not in _KEEPS_LEADING:
        texts = [text.lstrip(" ") for text in texts]
    if any("\ufffd" in text for text in texts):
        raise Refuse(f"{element.keyword or element.tag} is not in the character set that the data set names.")
    if not any(texts):
        return []
    if element.VR == "PN":
        return [dict(zip(_GROUPS, text.split("="), strict=False)) if text else None for text in texts]
    return [text or None for text in texts]


def dataset(model: Mapping[str, Mapping[str, Any]], *, wanted: Sequence[str] = ()) -> Dataset:
    """The data set of a model, in a character set that has all of its characters.

    wanted: a character set that the reader knows, the terms of (0008,0005): taken if it has all characters; else the
            one that the model names; else UTF-8. Without characters beyond ASCII the data set names none (PS3.3 C.12.1)
    """
    made = _dataset({tag: entry for tag, entry in model.items() if tag != CHARACTER_SET})
    beyond = {text for text in _all_texts(model) if not text.isascii()}
    if beyond:
        named = [str(term or "") for term in model.get(CHARACTER_SET, {}).get("Value", ())]
        chosen = next((list(one) for one in (wanted, named) if _has(one, beyond)), [UTF_8])
        made.SpecificCharacterSet = chosen if len(chosen) > 1 else chosen[0]
    return made


def _dataset(model: Mapping[str, Mapping[str, Any]]) -> Dataset:
    made = Dataset()
    for name, entry in model.items():
        made.add(_element(Tag(int(name, 16)), entry["vr"], list(entry.get("Value", ()))))
    return made


def _element(tag: BaseTag, vr: str, values: list[Any]) -> DataElement:
    if vr == "SQ":
        return DataElement(tag, vr, Items([_dataset(item) for item in values]))
    if vr == "PN":
        values = [_name(value) for value in values]
    elif vr == "AT":
        values = [int(value, 16) for value in values]
    elif vr in _TEXTS:
        values = ["" if value is None else value for value in values]
    value = values if len(values) > 1 else values[0] if values else None
    return DataElement(tag, vr, value, validation_mode=config.IGNORE)


def _name(value: Mapping[str, str] | None) -> str:
    return "=".join((value or {}).get(group, "") for group in _GROUPS).rstrip("=")


def name_text(value: Mapping[str, str] | None) -> str:
    """A person's name of the model as one text, its groups parted by `=`."""
    return _name(value)


def _all_texts(model: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The pieces that are encoded by themselves: components of a name, other values whole (PS3.5 6.1.2.5.3)."""
    for entry in model.values():
        for value in entry.get("Value", ()):
            if entry["vr"] == "SQ":
                yield from _all_texts(value)
            elif entry["vr"] == "PN":
                yield from (part for group in (value or {}).values() for part in group.split("^"))
            elif isinstance(value, str):
                yield value


def _has(terms: Sequence[str], texts: set[str]) -> bool:
    """Whether pydicom writes all of these texts in the character sets that the terms name, without loss."""
    if not any(terms):
        return False
    codecs = encodings("\\".join(terms))
    if terms[0] == "" and any(_encodes(text, codecs[:1]) for text in texts):
        return False  # pydicom would write Latin-1 where the standard has ASCII only
    return all(_encodes(text, codecs) for text in texts)


def _encodes(text: str, codecs: list[str]) -> bool:
    for codec in codecs:
        encode: Any = custom_encoders.get(codec)
        try:
            encode(text) if encode else text.encode(codec)
            return True
        except UnicodeError:
            continue
    if len(codecs) == 1:
        return False
    try:
        _encode_string_parts(text, codecs)
    except ValueError:
        return False
    return True
