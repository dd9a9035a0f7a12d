"""The part of the input gate that looks at one slice alone: what its pixels are, and the numbers that go with them."""

import re
from collections.abc import Collection, Iterator, Sequence

from node.dicom import codes, geometry
from node.dicom.geometry import Header, Unreadable

MAXIMUM_SIDE = 4096  # of a slice, far beyond any CT or MR
MAXIMUM_PIXEL_MM = 20.0
SLOPES = (1e-3, 10.0)  # HU per stored value; outside it the numbers can't be a CT's
MAXIMUM_INTERCEPT_HU = 65536.0
COLOURS = ("MONOCHROME1", "MONOCHROME2")  # which of them says how to show the values, not what they are (C.7.6.3.1.2)
MULTI_FRAME_MODALITIES = {uid: "MR" if "MR" in name else "CT" for uid, name in codes.MULTI_FRAME.items()}


def modality_of(header: Header) -> str | None:
    """What a slice must be by its SOP class; None for other classes and for an Enhanced object seen as a whole."""
    uid = first(header, "SOPClassUID")
    if is_frame(header):
        return MULTI_FRAME_MODALITIES.get(uid)
    return codes.MODALITIES.get(uid)


def is_frame(header: Header) -> bool:
    """Whether a header is that of one frame of an Enhanced object."""
    return "FrameNumber" in header


def values(header: Header, keyword: str) -> tuple[str, ...]:
    """The values of an element without padding; none if it is empty or absent."""
    return tuple(value.strip(" \0") for value in header.get(keyword, ()))


def first(header: Header, keyword: str) -> str:
    """The first value of an element; empty if there is none."""
    return next(iter(values(header, keyword)), "")


def shown(found: Collection[str]) -> str:
    """Values of closed vocabularies for a message: few, short and printable."""
    return ", ".join("".join(c for c in v if c.isalnum() or c in "._ -")[:32] or "nothing" for v in sorted(found)[:3])


def layout(headers: Sequence[Header]) -> Iterator[str]:
    """Reasons in how the pixels lie in their bytes (PS3.3 C.8.2.1, C.8.3.1, C.8.13.1; PS3.5 8.1.1)."""
    for header in headers:
        # 8 bits are a classic image's only where the frame is one of an Enhanced MR (C.8.13.1).
        allocated = (8, 16) if is_frame(header) and first(header, "Modality") == "MR" else (16,)
        for keyword, wanted in (("SamplesPerPixel", (1,)), ("BitsAllocated", allocated), ("NumberOfFrames", (1,))):
            if keyword == "NumberOfFrames" and (keyword not in header or is_frame(header)):
                continue
            found = _whole(header, keyword)
            if found not in wanted:
                yield f"{keyword} is {_stated(found)}, not {' or '.join(map(str, wanted))}"
        for keyword in ("Rows", "Columns"):
            side = _whole(header, keyword)
            if side is None or not 1 <= side <= MAXIMUM_SIDE:
                yield f"{keyword} is {_stated(side)}, not within 1 to {MAXIMUM_SIDE}"
        stored, high = _whole(header, "BitsStored"), _whole(header, "HighBit")
        lowest = 8 if first(header, "Modality") == "MR" else 12
        if stored is None or not lowest <= stored <= 16:
            yield f"BitsStored is {_stated(stored)}, not within {lowest} to 16"
        elif stored > (_whole(header, "BitsAllocated") or 0):
            yield f"BitsStored is {stored}, where BitsAllocated is {_stated(_whole(header, 'BitsAllocated'))}"
        elif high != stored - 1:
            yield f"HighBit is {_stated(high)}, where BitsStored is {stored}"
        if _whole(header, "PixelRepresentation") not in (0, 1):
            yield f"PixelRepresentation is {_stated(_whole(header, 'PixelRepresentation'))}, neither 0 nor 1"
        if (colour := first(header, "PhotometricInterpretation")) not in COLOURS:
            yield f"PhotometricInterpretation is {shown([colour])}, not {' or '.join(COLOURS)}"


def _whole(header: Header, keyword: str) -> int | None:
    found = values(header, keyword)
    return int(found[0]) if len(found) == 1 and re.fullmatch(r"[+-]?[0-9]{1,10}", found[0]) else None


def _stated(number: int | None) -> str:
    return "missing or unreadable" if number is None else str(number)


def numbers(headers: Sequence[Header]) -> Iterator[str]:
    """Reasons in spacing, thickness, tube voltage, tilt and rescale."""
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
        if first(header, "Modality") == "CT":
            yield from _hounsfield(header)
        elif header.get("RescaleSlope") or header.get("RescaleIntercept"):
            yield from _rescale(header)


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
    if first(header, "RescaleType") not in ("", "HU"):
        yield f"RescaleType is {shown([first(header, 'RescaleType')])}, not HU"


def _rescale(header: Header) -> Iterator[str]:
    """An MR image may say how its values are scaled; what it says is one finite line (PS3.3 C.11.1.1.2)."""
    try:
        (slope,) = geometry.numbers(header, "RescaleSlope", 1)
        geometry.numbers(header, "RescaleIntercept", 1)
    except Unreadable as unreadable:
        yield str(unreadable)
        return
    if slope == 0:
        yield "RescaleSlope is 0"
