"""The input gate: why a set of slices can't be processed (DICOM_SPEC 1.6), over every slice and not the first one only.

A set that the gate names is stored all the same; it only gets no output. A reason gives the fact with its values and
never a name, number or description of a patient. Nothing is guessed: a value that is needed and missing is a reason
too.
"""

import datetime
import re
from collections.abc import Callable, Collection, Iterator, Sequence

from node.dicom import codes, geometry, uids
from node.dicom.gate_slice import first, is_frame, layout, modality_of, numbers, shown, values
from node.dicom.geometry import Header

Set = Sequence[Header]

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
# PS3.3 C.8.16.2.1.2 and C.8.16.2.1.3: frames whose voxels stand where their position says.
IN_PLACE = {"VolumetricProperties": ("VOLUME",), "VolumeBasedCalculationTechnique": ("NONE", "MPR"),
            "PixelPresentation": ("MONOCHROME",)}  # fmt: skip
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
    headers: Sequence[Header],
    *,
    today: datetime.date | None = None,
    complete: bool = False,
    own_devices: Collection[str] = (),
) -> list[str]:
    """Say why no CT or MR pipeline may take a set; an empty list says that nothing here forbids it.

    headers:     one per slice of the set (`frames.frame_headers`), in any order
    today:       dates after the day that follows are a reason; None leaves the future alone
    complete:    the headers hold every element that the gate knows, so that an absent one is a fact
    own_devices: Device UIDs of this node beside the product's own, for the loop guard
    returns:     facts with their values, without patient data, each one once
    """
    if not headers:
        return ["the set holds no instance"]
    one_by_one = all(modality_of(header) for header in headers)
    checks = (_kind, _mixed, _uids, _content, layout, numbers) if one_by_one else (_kind, _mixed, _content)
    reasons = [reason for check in checks for reason in check(headers)]
    reasons += _dates(headers, today)
    reasons += own_work(headers, own_devices)
    if complete:
        reasons += _identity(headers)
    if one_by_one and (problem := geometry.stack(headers).problem):
        reasons.append(problem)
    return list(dict.fromkeys(reasons))


def _count(headers: Sequence[Header], problem: Callable[[Header], bool]) -> int:
    return sum(1 for header in headers if problem(header))


def _of(number: int, headers: Sequence[Header]) -> str:
    return f"in {number} of {len(headers)} slices"


def _kind(headers: Sequence[Header]) -> Iterator[str]:
    classes = {first(header, "SOPClassUID") for header in headers}
    modalities = {first(header, "Modality") for header in headers}
    if "" in classes:
        yield "the SOP class is missing"
    whole = {first(header, "SOPClassUID") for header in headers if not is_frame(header)}
    for uid in sorted(whole & codes.MULTI_FRAME.keys()):
        yield f"the frames of the {codes.MULTI_FRAME[uid]} object are not known one by one"
    for uid in sorted(classes - codes.MULTI_FRAME.keys() - codes.MODALITIES.keys() - {""})[:3]:
        yield f"the SOP class {shown([uid])} is neither a CT nor an MR image"
    if len(classes) > 1:
        yield f"{len(classes)} SOP classes in one set"
    if len(modalities) > 1:
        yield f"mixed modalities in one set: {shown(modalities)}"
    wrong = {(made, first(header, "Modality")) for header in headers if (made := modality_of(header))}
    for made, modality in sorted((made, modality) for made, modality in wrong if modality != made)[:3]:
        yield f"the modality is {shown([modality])}, but the SOP class is that of {made}"


def _mixed(headers: Sequence[Header]) -> Iterator[str]:
    for keyword, noun in ONE_PER_SET.items():
        found = {values(header, keyword) for header in headers}
        if keyword == "FrameOfReferenceUID" and len(found) == len(headers) > 2:
            # One frame of reference for each slice is no frame of reference: de-identifying tools that draw every UID
            # anew leave that behind (seen in LIDC-IDRI). Even positions in one study and series speak for one scan.
            continue
        if len(found) > 1:
            yield f"{len(found)} {noun} in one set of {len(headers)} slices"
    if len({tuple(values(header, keyword) for keyword in PATIENT) for header in headers}) > 1:
        yield "the slices do not all name the same patient"
    instances = [(first(header, "SOPInstanceUID"), first(header, "FrameNumber")) for header in headers]
    if repeated := len(instances) - len(set(instances)):
        yield f"{repeated} of {len(headers)} slices repeat the SOP Instance UID of another one"


def _uids(headers: Sequence[Header]) -> Iterator[str]:
    for keyword in REQUIRED_UIDS:
        if missing := _count(headers, lambda header: not first(header, keyword)):  # noqa: B023 - used at once
            yield f"{keyword} is missing {_of(missing, headers)}"
        elif bad := _count(headers, lambda header: not uids.is_well_formed(first(header, keyword))):  # noqa: B023
            yield f"{keyword} is not a valid UID {_of(bad, headers)}"


def _content(headers: Sequence[Header]) -> Iterator[str]:
    if missing := _count(headers, lambda header: not first(header, "ImageType")):
        yield f"ImageType is missing {_of(missing, headers)}"
    if localizers := _count(headers, lambda header: "LOCALIZER" in values(header, "ImageType")):
        yield f"LOCALIZER stands in ImageType {_of(localizers, headers)}"
    elif other := _count(headers, _is_no_axial_ct):
        yield f"value 3 of ImageType is not AXIAL {_of(other, headers)}"
    for keyword, wanted in IN_PLACE.items():
        if wrong := [header for header in headers if is_frame(header) and first(header, keyword) not in (*wanted, "")]:
            said = shown({first(header, keyword) for header in wrong})
            yield f"{keyword} is {said}, not {' or '.join(wanted)}, {_of(len(wrong), headers)}"
    if lossy := _count(headers, lambda header: first(header, "LossyImageCompression") not in ("", "00")):
        yield f"LossyImageCompression is set {_of(lossy, headers)}"
    if multi := _count(headers, _is_multi_energy):
        yield f"multi-energy CT {_of(multi, headers)}"
    if burned := _count(headers, lambda header: first(header, "BurnedInAnnotation") not in ("", "NO")):
        yield f"BurnedInAnnotation is not NO {_of(burned, headers)}"
    if animals := _count(headers, _is_animal):
        yield f"the species stated is not human {_of(animals, headers)}"


def _is_no_axial_ct(header: Header) -> bool:
    types = values(header, "ImageType")
    if is_frame(header):  # value 3 of Frame Type has other terms, of which LOCALIZER is one (C.8.15.2.1)
        return False
    return first(header, "Modality") == "CT" and bool(types) and types[2:3] != ("AXIAL",)


def _is_multi_energy(header: Header) -> bool:
    return first(header, "MultienergyCTAcquisition") not in ("", "NO") or bool(
        MULTI_ENERGY.intersection(values(header, "ImageType")[3:])
    )


def _is_animal(header: Header) -> bool:
    return first(header, "PatientSpeciesDescription").upper() not in ("", "HUMAN", "HOMO SAPIENS")


def _dates(headers: Sequence[Header], today: datetime.date | None) -> list[str]:
    reasons = []
    latest = today + datetime.timedelta(days=1) if today else datetime.date.max
    for keyword in DATES:
        days = [_day(first(header, keyword)) for header in headers if first(header, keyword)]
        if bad := days.count(None):
            reasons.append(f"{keyword} is not a date {_of(bad, headers)}")
        if future := sum(1 for day in days if day and day > latest):
            reasons.append(f"{keyword} lies in the future {_of(future, headers)}")
    for keyword in TIMES:
        if bad := _count(headers, lambda header: not _TIME.fullmatch(first(header, keyword) or "00")):  # noqa: B023
            reasons.append(f"{keyword} is not a time {_of(bad, headers)}")
    return reasons


def _day(text: str) -> datetime.date | None:
    if not re.fullmatch(r"[0-9]{8}", text):
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def own_work(headers: Sequence[Header], own_devices: Collection[str] = ()) -> list[str]:
    """What the node or its like made never comes in again: the loop guard of DICOM_SPEC 1.6.

    own_devices: as `ineligible` takes them
    """
    own = {codes.DEVICE_UID, *own_devices}
    reasons = []
    if synthetic := _count(headers, lambda header: first(header, "SyntheticData") not in ("", "NO")):
        reasons.append(f"SyntheticData is not NO {_of(synthetic, headers)}")
    made = _count(
        headers, lambda header: any(value.startswith(codes.AI_PREFIX) for value in values(header, "ImageType"))
    )
    if made:
        reasons.append(f"a value of ImageType starts with {codes.AI_PREFIX} {_of(made, headers)}")
    ours = _count(
        headers,
        lambda header: not set(own).isdisjoint(values(header, "DeviceUID") + values(header, "EquipmentDeviceUID")),
    )
    if ours:
        reasons.append(f"the equipment that is named is this product {_of(ours, headers)}")
    return reasons


def _identity(headers: Sequence[Header]) -> list[str]:
    nobody = _count(headers, lambda header: not first(header, "PatientID") and not first(header, "PatientName"))
    return [f"neither Patient ID nor Patient's Name has a value {_of(nobody, headers)}"] if nobody else []
