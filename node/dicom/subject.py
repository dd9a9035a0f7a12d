"""Whom and what a series is of, as those who are told of it must know: patient, order, study, time of acquisition.

Runs in the decoding child. The only place where names of patients are read; they go to the receivers that the settings
name, and into no log, message or file name.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from pydicom.charset import decode_bytes
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import PersonName

from node.dicom import part10
from node.dicom.scan import encodings

_BACKSLASH: Final = set(b"\\")
_DATE: Final = re.compile(r"[0-9]{8}")
_TIME: Final = re.compile(r"([0-9]{2,6})(\.[0-9]{1,6})?")
_MOMENT: Final = re.compile(r"([0-9]{8}(?:[0-9]{2}){0,3})(\.[0-9]{1,6})?([+-][0-9]{4})?")
_OFFSET: Final = re.compile(r"[+-][01][0-9][0-5][0-9]")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What identifies a series to others. Whatever its header lacks is empty.

    patient_id:       Patient ID (0010,0020), of the authority `issuer`, Issuer of Patient ID (0010,0021)
    issuer_entity:    Universal Entity ID (0040,0032) of that authority, of type `issuer_type` (0040,0033)
    id_type:          Identifier Type Code (0040,0035), HL7 table 0203
    names:            Patient Name (0010,0010): alphabetic, ideographic, phonetic; each up to five components with `^`
    accession:        Accession Number (0008,0050)
    placer, filler:   order numbers of placer and filler, (0040,2016) and (0040,2017)
    acquired:         local date and time, YYYYMMDDHHMMSS as far as known, with the offset from UTC where that is known
    """

    study_uid: str = ""
    series_uid: str = ""
    patient_id: str = ""
    issuer: str = ""
    issuer_entity: str = ""
    issuer_type: str = ""
    id_type: str = ""
    names: tuple[str, str, str] = ("", "", "")
    accession: str = ""
    placer: str = ""
    filler: str = ""
    acquired: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` gives an equal one back."""
        return {**asdict(self), "names": list(self.names)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Subject":
        """The inverse of `to_json`; keys that are missing are empty, keys of others are left out."""
        known = {one.name: str(data.get(one.name, "")) for one in fields(cls) if one.name != "names"}
        alphabetic, ideographic, phonetic = [*map(str, data.get("names", ())), "", "", ""][:3]
        return cls(**known, names=(alphabetic, ideographic, phonetic))


def subject(request: Mapping[str, Any]) -> dict[str, Any]:
    """Of one instance.

    request: path, of a Part 10 file
    returns: `Subject.to_json`
    raises:  Refuse if the file cannot be read
    """
    return read(part10.read(str(request["path"])).dataset).to_json()


def read(dataset: Dataset) -> Subject:
    """The subject of a data set, in whatever character set it is. Bytes that are not of that set are replaced.

    raises: Refuse if a sequence cannot be read
    """
    known = encodings("\\".join(part10.values(dataset, "SpecificCharacterSet") or ("",)))
    qualifiers = next(iter(part10.items(dataset, "IssuerOfPatientIDQualifiersSequence")), Dataset())
    requests = part10.items(dataset, "RequestAttributesSequence") + part10.items(dataset, "ReferencedRequestSequence")

    def of_order(keyword: str) -> str:
        found = (_text(one, keyword, known) for one in (dataset, *requests))
        return next(filter(None, found), "")

    return Subject(
        study_uid=part10.text(dataset, "StudyInstanceUID"),
        series_uid=part10.text(dataset, "SeriesInstanceUID"),
        patient_id=_text(dataset, "PatientID", known),
        issuer=_text(dataset, "IssuerOfPatientID", known) or _text(qualifiers, "LocalNamespaceEntityID", known),
        issuer_entity=_text(qualifiers, "UniversalEntityID", known),
        issuer_type=_text(qualifiers, "UniversalEntityIDType", known),
        id_type=_text(qualifiers, "IdentifierTypeCode", known),
        names=_names(part10.raw(dataset, int(Tag("PatientName"))) or b"", known),
        accession=of_order("AccessionNumber"),
        placer=of_order("PlacerOrderNumberImagingServiceRequest"),
        filler=of_order("FillerOrderNumberImagingServiceRequest"),
        acquired=_acquired(dataset),
    )


def _text(dataset: Dataset, keyword: str, known: list[str]) -> str:
    """The first value."""
    value = part10.raw(dataset, int(Tag(keyword))) or b""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote the value
        text = str(decode_bytes(value, known, _BACKSLASH))
    return text.split("\\")[0].strip(" \0\t\r\n")


def _names(value: bytes, known: list[str]) -> tuple[str, str, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = PersonName(value.strip(b" \0"), known)
        groups = (name.alphabetic, name.ideographic, name.phonetic)
    first, second, third = (str(group).strip(" \0\t\r\n") for group in groups)
    return first, second, third


def _acquired(dataset: Dataset) -> str:
    offset = part10.text(dataset, "TimezoneOffsetFromUTC")
    offset = offset if _OFFSET.fullmatch(offset) else ""
    moment = _MOMENT.fullmatch(part10.text(dataset, "AcquisitionDateTime"))
    if moment is not None:
        return moment[1] + (moment[3] or offset)
    for what in ("Acquisition", "Content", "Series", "Study"):
        date, time = (part10.text(dataset, f"{what}{part}") for part in ("Date", "Time"))
        if _DATE.fullmatch(date):
            found = _TIME.fullmatch(time)
            clock = found[1][: len(found[1]) // 2 * 2] if found is not None else ""
            return date + clock + (offset if clock else "")
    return ""
