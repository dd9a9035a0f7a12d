"""From received instances to a volume in HU, or in an MR's units; runs in the limited child and nowhere else.

Every length is checked against the header before memory is taken for it, and the pixels must be able to be what the
header says: a volume that is constant or far outside Hounsfield's scale is refused with its figure.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from node.dicom import frames, gate, geometry, part10, pixels
from node.dicom.figures import Figures
from node.dicom.geometry import Header
from node.dicom.part10 import Part10
from node.dicom.plane_files import DecodedPlane
from node.errors import Refuse

AIR_HU = -1024.0  # stands where a CT has padding; 0 where an MR has

HEADER = frozenset(
    {
        *gate.ONE_PER_SET, *gate.REQUIRED_UIDS, *gate.PATIENT, *gate.DATES, *gate.TIMES,
        "Modality", "ImageType", "LossyImageCompression", "MultienergyCTAcquisition", "BurnedInAnnotation",
        "PatientSpeciesDescription", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames", "HighBit", "DeviceUID",
        "PhotometricInterpretation", "SliceThickness", "SpacingBetweenSlices", "KVP", "GantryDetectorTilt",
        "RescaleSlope", "RescaleIntercept", "RescaleType", "SyntheticData", "PixelSpacing", "ImagePositionPatient",
        "ImageOrientationPatient",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The stored values of one slice and what turns them into HU."""

    values: NDArray[np.int16] | NDArray[np.uint16]  # (y, x), bits above Bits Stored gone, little endian
    padding: NDArray[np.bool_] | None  # (y, x), None if the header declares no padding
    padding_range: tuple[int, int]  # of stored values, both ends included; (0, -1) if the header declares no padding
    slope: float  # HU, or units of the MR, per stored value
    intercept: float  # of stored value 0
    lowest: int  # of what Bits Stored and Pixel Representation can hold
    highest: int

    def sha256(self) -> str:
        """SHA-256 of the stored values, whatever transfer syntax they came in."""
        return hashlib.sha256(np.ascontiguousarray(self.values).data).hexdigest()


def prepare_series(request: dict[str, Any]) -> dict[str, Any]:
    """Decode one stack of CT or MR slices into a volume.

    request: slices ([Part 10 file, frame] in any order, frame 0 for a single-frame object), voxels and padding (.npy
             files to write), ready (Part 10 file -> file of its `DecodedPlane`, of single-frame objects that were
             decoded ahead; optional)
    returns: order (indices of slices, by rising position), affine, shape, pixel_sha256, unit: "HU" or "MR"; the volume
             is float32 (z, y, x) in that unit, with -1024 HU or 0 where the source has padding, the padding is bool
             (z, y, x)
    raises:  Refuse with the reasons of the input gate, or with the figure that the pixels can't have
    """
    wanted = request["slices"]
    slices = [(Path(path), int(frame)) for path, frame in wanted]
    files = _Files()
    headers = [frames.header(files.part(path, frame), frame, HEADER) for path, frame in slices]
    if reasons := gate.ineligible(headers, complete=True):
        raise Refuse(f"The series can't be processed: {'; '.join(reasons[:5])}.")
    is_ct = headers[0]["Modality"] == ("CT",)
    order = geometry.stack(headers).order
    first = headers[order[0]]
    shape = (len(order), int(first["Rows"][0]), int(first["Columns"][0]))
    hashes: list[str] = []
    figures = Figures(unit="HU" if is_ct else "MR")

    def fill(voxels: NDArray[Any], padding: NDArray[Any]) -> None:
        for z, index in enumerate(order):
            path, frame = slices[index]
            one = _ready(request, path, frame) or plane(files.part(path, frame), frame, is_ct=is_ct)
            if one.voxels.shape != shape[1:]:
                raise Refuse(f"A slice is {one.voxels.shape}, not {shape[1:]}: a file changed while it was read.")
            voxels[z], padding[z] = one.voxels, one.padding
            figures.add(one.voxels[~one.padding] if one.padding.any() else one.voxels)
            hashes.append(one.sha256)
        figures.check()

    _write_both(Path(request["voxels"]), Path(request["padding"]), shape, fill)
    return {
        "order": list(order),
        "affine": geometry.affine([headers[index] for index in order]).tolist(),
        "shape": list(shape),
        "pixel_sha256": hashes,
        "unit": figures.unit,
    }


def plane(part: Part10, frame: int, *, is_ct: bool) -> DecodedPlane:
    """One slice in HU, or in an MR's units. Raises Refuse as `stored_values`."""
    stored = stored_values(part, frame)
    out = np.empty(stored.values.shape, np.float32)
    np.multiply(stored.values, np.float32(stored.slope), out=out, casting="unsafe")
    out += np.float32(stored.intercept)
    if stored.padding is not None:
        out[stored.padding] = AIR_HU if is_ct else 0.0
    padding = np.zeros(out.shape, np.bool_) if stored.padding is None else stored.padding
    return DecodedPlane(voxels=out, padding=padding, sha256=stored.sha256())


def _ready(request: dict[str, Any], path: Path, frame: int) -> DecodedPlane | None:
    """A slice that was decoded ahead; only single-frame objects are."""
    file = None if frame else (request.get("ready") or {}).get(str(path))
    try:
        return None if file is None else DecodedPlane.read(Path(file))
    except FileNotFoundError:
        return None


class _Files:
    """Files of a series: those of many frames are taken apart once, single images are read when they are needed."""

    def __init__(self) -> None:
        self._open: dict[Path, Part10] = {}

    def part(self, path: Path, frame: int) -> Part10:
        if not frame:
            return part10.read(path)
        if path not in self._open:
            self._open[path] = part10.read(path)
        return self._open[path]


def _write_both(
    voxels: Path, padding: Path, shape: tuple[int, int, int], fill: Callable[[NDArray[Any], NDArray[Any]], None]
) -> None:
    """Let `fill` write both arrays slice by slice beside their places, then rename them."""
    aside = voxels.with_name(voxels.name + ".part"), padding.with_name(padding.name + ".part")
    try:
        arrays = (
            open_memmap(aside[0], mode="w+", dtype=np.float32, shape=shape),
            open_memmap(aside[1], mode="w+", dtype=np.bool_, shape=shape),
        )
        fill(*arrays)  # not synced: after a restart of the machine nobody looks at them
        aside[0].replace(voxels)
        aside[1].replace(padding)
    finally:
        for path in aside:
            path.unlink(missing_ok=True)


def stored_values(part: Part10, frame: int = 0) -> Stored:
    """Decode one frame; its header has passed the gate.

    part:   a single-frame object or the view of a frame; or an Enhanced object and the number of its `frame`, 1..N
    raises: Refuse if the pixels are not what the header says
    """
    part = frames.view(part, frame)
    found = part10.header(part, HEADER)
    values, bits, signed = pixels.pixel_values(part)
    slope, intercept = _rescale(found)
    if part10.items(part.dataset, "ModalityLUTSequence"):
        raise Refuse("A Modality LUT takes the place of slope and intercept; CT and MR have none (PS3.3 A.3, A.4).")
    ends = _padding_range(part, signed=signed)
    lowest, highest = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    if ends is not None and not lowest <= ends[0] <= ends[1] <= highest:
        raise Refuse(f"The padding from {ends[0]} to {ends[1]} can't be stored within {lowest} to {highest}.")
    return Stored(
        values=values,
        padding=None if ends is None else np.asarray((values >= ends[0]) & (values <= ends[1])),
        padding_range=ends or (0, -1),
        slope=slope,
        intercept=intercept,
        lowest=lowest,
        highest=highest,
    )


def _rescale(found: Header) -> tuple[float, float]:
    """Rescale Slope and Intercept; an MR image need not have any, its stored values are the values then."""
    if found.get("Modality") == ("MR",) and not found.get("RescaleSlope") and not found.get("RescaleIntercept"):
        return 1.0, 0.0
    try:
        (slope,) = geometry.numbers(found, "RescaleSlope", 1)
        (intercept,) = geometry.numbers(found, "RescaleIntercept", 1)
    except geometry.Unreadable as error:
        raise Refuse("A value that describes the pixels is missing or unreadable.") from error
    return slope, intercept


def _padding_range(part: Part10, *, signed: bool) -> tuple[int, int] | None:
    """The stored values that say that there is nothing (PS3.3 C.7.5.1.1.2): one value, or all up to a limit."""
    value, limit = (_word(part, tag, signed=signed) for tag in (0x00280120, 0x00280121))
    if value is None:
        return None
    return (value, value) if limit is None else (min(value, limit), max(value, limit))


def _word(part: Part10, tag: int, *, signed: bool) -> int | None:
    # Writers confuse US and SS here; Pixel Representation says what the two bytes mean (PS3.5 A.1).
    found = part10.raw(part.dataset, tag)
    if not found:
        return None
    if len(found) != 2:
        raise Refuse(f"The padding element (0028,{tag & 0xFFFF:04X}) has {len(found)} bytes, not 2.")
    return int.from_bytes(found, "little", signed=signed)
