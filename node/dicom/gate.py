"""The input gate: why a set of slices can't be processed (DICOM_SPEC 1.6), over every slice and not the first one only.

A set that the gate names is stored all the same; it only gets no output. A reason gives the fact with its values and
never a name, number or description of a patient. Nothing is guessed: a value that is needed and missing is a reason
too.
"""

import datetime
import re
from collections.abc import Callable, Collection, Iterator, Sequence

from node.dicom import codes, geometry, uids
from node.dicom.geometry import Header, Unreadable

Set = Sequence[Header]

MAXIMUM_SIDE = 4096  # of a slice, far beyond any CT or MR
MAXIMUM_PIXEL_MM = 20.0
SLOPES = (1e-3, 10.0)  # HU per stored value; outside it the numbers can't be a CT's
MAXIMUM_INTERCEPT_HU = 65536.0
REQUIRED_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
ONE_PER_SET = {
    "StudyInstanceUID": "studies",
    "SeriesInstanceUID": "series",
    "FrameOfReferenceUID": "frames of reference",
    "Rows": "numbers of rows",
    "Columns": "numbers of columns",
    "PixelRepresentation": "pixel representations",
    "BitsStored": "bit depths",
}
PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")
DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "PatientBirthDate")
TIMES = ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime")
# PS3.3 C.8.2.1.1.1: value 4 of a multi-energy CT image.
MULTI_ENERGY = {
    "VMI",
    "MAT_SPECIFIC",
    "MAT_REMOVED",
    "MAT_FRACTIONAL",
    "EFF_ATOMIC_NUM",
    "ELECTRON_DENSITY",
    "MAT_MODIFIED",
    "MAT_VALUE_BASED",
}
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9](([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?")


def ineligible(
    headers: Set,
    *,
    today: datetime.date | None = None,
    complete: bool = False,
    own_devices: Collection[str] = (),
) -> list[str]:
    """Say why no CT or MR pipeline may take a set; an empty list says that nothing here forbids it.

    headers:     one per instance of the set, in any order
    today:       dates after the day that follows are a reason; None leaves the future alone
    complete:    the headers hold every element that the gate knows, so that an absent one is a fact
    own_devices: Device UIDs of this node beside the product's own, for the loop guard
    returns:     facts with their values, without patient data, each one once
    """
    if not headers:
        return ["the set holds no instance"]
    single_frame = all(_first(header, "SOPClassUID") in codes.MODALITIES for header in headers)
    checks = (_kind, _mixed, _uids, _content, _layout, _numbers) if single_frame else (_kind, _mixed, _content)
    reasons = [reason for check in checks for reason in check(headers)]
    reasons += _dates(headers, today)
    reasons += _loop(headers, {codes.DEVICE_UID, *own_devices})
    if complete:
        reasons += _identity(headers)
    if single_frame and (problem := geometry.stack(headers).problem):
        reasons.append(problem)
    return list(dict.fromkeys(reasons))


def _values(header: Header, keyword: str) -> tuple[str, ...]:
    return tuple(value.strip(" \0") for value in header.get(keyword, ()))


def _first(header: Header, keyword: str) -> str:
    return next(iter(_values(header, keyword)), "")


def _shown(values: Collection[str]) -> str:
    """Values of closed vocabularies for a message: few, short and printable."""
    return ", ".join("".join(c for c in v if c.isalnum() or c in "._ -")[:32] or "nothing" for v in sorted(values)[:3])


def _count(headers: Set, problem: Callable[[Header], bool]) -> int:
    return sum(1 for header in headers if problem(header))


def _of(number: int, headers: Set) -> str:
    return f"in {number} of {len(headers)} slices"


def _kind(headers: Set) -> Iterator[str]:
    classes = {_first(header, "SOPClassUID") for header in headers}
    modalities = {_first(header, "Modality") for header in headers}
    if "" in classes:
        yield "the SOP class is missing"
    for uid in sorted(classes & codes.MULTI_FRAME.keys()):
        yield f"Enhanced multi-frame is stored, not processed, in this version ({codes.MULTI_FRAME[uid]})"
    for uid in sorted(classes - codes.MULTI_FRAME.keys() - codes.MODALITIES.keys() - {""})[:3]:
        yield f"the SOP class {_shown([uid])} is neither a CT nor an MR image"
    if len(classes) > 1:
        yield f"{len(classes)} SOP classes in one set"
    if len(modalities) > 1:
        yield f"mixed modalities in one set: {_shown(modalities)}"
    for uid in sorted(classes & codes.MODALITIES.keys()):
        wrong = {_first(header, "Modality") for header in headers if _first(header, "SOPClassUID") == uid}
        for modality in sorted(wrong - {codes.MODALITIES[uid]})[:3]:
            yield f"the modality is {_shown([modality])}, but the SOP class is that of {codes.MODALITIES[uid]}"


def _mixed(headers: Set) -> Iterator[str]:
    for keyword, noun in ONE_PER_SET.items():
        found = {_values(header, keyword) for header in headers}
        if keyword == "FrameOfReferenceUID" and len(found) == len(headers) > 2:
            # One frame of reference for each slice is no frame of reference: de-identifying tools that draw every UID
            # anew leave that behind (seen in LIDC-IDRI). Even positions in one study and series speak for one scan.
            continue
        if len(found) > 1:
            yield f"{len(found)} {noun} in one set of {len(headers)} slices"
    if len({tuple(_values(header, keyword) for keyword in PATIENT) for header in headers}) > 1:
        yield "the slices do not all name the same patient"
    instances = [_first(header, "SOPInstanceUID") for header in headers]
    if repeated := len(instances) - len(set(instances)):
        yield f"{repeated} of {len(headers)} slices repeat the SOP Instance UID of another one"


def _uids(headers: Set) -> Iterator[str]:
    for keyword in REQUIRED_UIDS:
        if missing := _count(headers, lambda header: not _first(header, keyword)):  # noqa: B023 - used at once
            yield f"{keyword} is missing {_of(missing, headers)}"
        elif bad := _count(headers, lambda header: not uids.is_well_formed(_first(header, keyword))):  # noqa: B023
            yield f"{keyword} is not a valid UID {_of(bad, headers)}"


def _content(headers: Set) -> Iterator[str]:
    if missing := _count(headers, lambda header: not _first(header, "ImageType")):
        yield f"ImageType is missing {_of(missing, headers)}"
    if localizers := _count(headers, lambda header: "LOCALIZER" in _values(header, "ImageType")):
        yield f"LOCALIZER stands in ImageType {_of(localizers, headers)}"
    elif other := _count(headers, _is_no_axial_ct):
        yield f"value 3 of ImageType is not AXIAL {_of(other, headers)}"
    if lossy := _count(headers, lambda header: _first(header, "LossyImageCompression") not in ("", "00")):
        yield f"LossyImageCompression is set {_of(lossy, headers)}"
    if multi := _count(headers, _is_multi_energy):
        yield f"multi-energy CT {_of(multi, headers)}"
    if burned := _count(headers, lambda header: _first(header, "BurnedInAnnotation") not in ("", "NO")):
        yield f"BurnedInAnnotation is not NO {_of(burned, headers)}"
    if animals := _count(headers, _is_animal):
        yield f"the species stated is not human {_of(animals, headers)}"


def _is_no_axial_ct(header: Header) -> bool:
    types = _values(header, "ImageType")
    return _first(header, "Modality") == "CT" and bool(types) and types[2:3] != ("AXIAL",)


def _is_multi_energy(header: Header) -> bool:
    return _first(header, "MultienergyCTAcquisition") not in ("", "NO") or bool(
        MULTI_ENERGY.intersection(_values(header, "ImageType")[3:])
    )


def _is_animal(header: Header) -> bool:
    return _first(header, "PatientSpeciesDescription").upper() not in ("", "HUMAN", "HOMO SAPIENS")


def _layout(headers: Set) -> Iterator[str]:
    for header in headers:
        for keyword, wanted in (("SamplesPerPixel", 1), ("BitsAllocated", 16), ("NumberOfFrames", 1)):
            if keyword == "NumberOfFrames" and keyword not in header:
                continue
            found = _whole(header, keyword)
            if found != wanted:
                yield f"{keyword} is {_stated(found)}, not {wanted}"
        for keyword in ("Rows", "Columns"):
            side = _whole(header, keyword)
            if side is None or not 1 <= side <= MAXIMUM_SIDE:
                yield f"{keyword} is {_stated(side)}, not within 1 to {MAXIMUM_SIDE}"
        stored, high = _whole(header, "BitsStored"), _whole(header, "HighBit")
        lowest = 8 if _first(header, "Modality") == "MR" else 12
        if stored is None or not lowest <= stored <= 16:
            yield f"BitsStored is {_stated(stored)}, not within {lowest} to 16"
        elif high != stored - 1:
            yield f"HighBit is {_stated(high)}, where BitsStored is {stored}"
        if _whole(header, "PixelRepresentation") not in (0, 1):
            yield f"PixelRepresentation is {_stated(_whole(header, 'PixelRepresentation'))}, neither 0 nor 1"
        if (colour := _first(header, "PhotometricInterpretation")) != "MONOCHROME2":
            yield f"PhotometricInterpretation is {_shown([colour])}, not MONOCHROME2"


def _whole(header: Header, keyword: str) -> int | None:
    values = _values(header, keyword)
    return int(values[0]) if len(values) == 1 and re.fullmatch(r"[+-]?[0-9]{1,10}", values[0]) else None


def _stated(number: int | None) -> str:
    return "missing or unreadable" if number is None else str(number)


def _numbers(headers: Set) -> Iterator[str]:
    for header in headers:
        try:
            spacing = geometry.numbers(header, "PixelSpacing", 2)
            if max(spacing) > MAXIMUM_PIXEL_MM:
                yield f"PixelSpacing is {spacing[0]:g} and {spacing[1]:g} mm, more than {MAXIMUM_PIXEL_MM:g} mm"
        except Unreadable as unreadable:
            yield str(unreadable)
        for keyword, lowest in (("SliceThickness", 0.0), ("KVP", 0.0), ("GantryDetectorTilt", None)):
            if header.get(keyword):
                try:
                    (number,) = geometry.numbers(header, keyword, 1)
                except Unreadable as unreadable:
                    yield str(unreadable)
                else:
                    if lowest is not None and number <= lowest:
                        yield f"{keyword} is {number:g}, not positive"
        if _first(header, "Modality") == "CT":
            yield from _hounsfield(header)


def _hounsfield(header: Header) -> Iterator[str]:
    try:
        (slope,) = geometry.numbers(header, "RescaleSlope", 1)
        (intercept,) = geometry.numbers(header, "RescaleIntercept", 1)
    except Unreadable as unreadable:
        yield str(unreadable)
        return
    if not SLOPES[0] <= slope <= SLOPES[1]:
        yield f"RescaleSlope is {slope:g}, not within {SLOPES[0]:g} to {SLOPES[1]:g}"
    if abs(intercept) > MAXIMUM_INTERCEPT_HU:
        yield f"RescaleIntercept is {intercept:g}, beyond {MAXIMUM_INTERCEPT_HU:g}"
    if _first(header, "RescaleType") not in ("", "HU"):
        yield f"RescaleType is {_shown([_first(header, 'RescaleType')])}, not HU"


def _dates(headers: Set, today: datetime.date | None) -> list[str]:
    reasons = []
    latest = today + datetime.timedelta(days=1) if today else datetime.date.max
    for keyword in DATES:
        days = [_day(_first(header, keyword)) for header in headers if _first(header, keyword)]
        if bad := days.count(None):
            reasons.append(f"{keyword} is not a date {_of(bad, headers)}")
        if future := sum(1 for day in days if day and day > latest):
            reasons.append(f"{keyword} lies in the future {_of(future, headers)}")
    for keyword in TIMES:
        if bad := _count(headers, lambda header: not _TIME.fullmatch(_first(header, keyword) or "00")):  # noqa: B023
            reasons.append(f"{keyword} is not a time {_of(bad, headers)}")
    return reasons


def _day(text: str) -> datetime.date | None:
    if not re.fullmatch(r"[0-9]{8}", text):
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def _loop(headers: Set, own: Collection[str]) -> list[str]:
    """What the node or its like made never comes in again: the loop guard of DICOM_SPEC 1.6."""
    reasons = []
    if synthetic := _count(headers, lambda header: _first(header, "SyntheticData") not in ("", "NO")):
        reasons.append(f"SyntheticData is not NO {_of(synthetic, headers)}")
    made = _count(
        headers, lambda header: any(value.startswith(codes.AI_PREFIX) for value in _values(header, "ImageType"))
    )
    if made:
        reasons.append(f"a value of ImageType starts with {codes.AI_PREFIX} {_of(made, headers)}")
    ours = _count(
        headers,
        lambda header: not set(own).isdisjoint(_values(header, "DeviceUID") + _values(header, "EquipmentDeviceUID")),
    )
    if ours:
        reasons.append(f"the equipment that is named is this product {_of(ours, headers)}")
    return reasons


def _identity(headers: Set) -> list[str]:
    nobody = _count(headers, lambda header: not _first(header, "PatientID") and not _first(header, "PatientName"))
    return [f"neither Patient ID nor Patient's Name has a value {_of(nobody, headers)}"] if nobody else []
