"""From received instances to a volume in HU; runs in the resource-limited child and nowhere else.

Every length is checked against the header before memory is taken for it, and the pixels must be able to be what the
header says: a volume that is constant or far outside Hounsfield's scale is refused with its figure.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from node.dicom import gate, geometry, part10, pixels
from node.dicom.part10 import Part10
from node.errors import Refuse

AIR_HU = -1024.0  # stands where the source has padding
PLAUSIBLE_HU = (-1100.0, 3100.0)
EXTENDED_HU = 4095.0  # metal lies beyond it, a body doesn't
LEAST_PLAUSIBLE = 0.25  # share of voxels; the corners outside the field of view may hold anything below air
MOST_EXTENDED = 0.10

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
    """The stored values of one instance and what turns them into HU."""

    values: NDArray[np.int16] | NDArray[np.uint16]  # (y, x), bits above Bits Stored gone, little endian
    padding: NDArray[np.bool_] | None  # (y, x), None if the header declares no padding
    padding_range: tuple[int, int]  # of stored values, both ends included; (0, -1) if the header declares no padding
    slope: float  # HU per stored value
    intercept: float  # HU of stored value 0
    lowest: int  # of what Bits Stored and Pixel Representation can hold
    highest: int

    def sha256(self) -> str:
        """SHA-256 of the stored values, whatever transfer syntax they came in."""
        return hashlib.sha256(np.ascontiguousarray(self.values).data).hexdigest()


@dataclass
class _Figures:
    """What the voxels of a volume look like, gathered slice by slice."""

    voxels: int = 0
    plausible: int = 0
    extended: int = 0
    lowest_hu: float = field(default=float("inf"))
    highest_hu: float = field(default=float("-inf"))

    def add(self, hu: NDArray[np.float32]) -> None:
        if not hu.size:
            return
        self.voxels += hu.size
        self.plausible += int(np.count_nonzero((hu >= PLAUSIBLE_HU[0]) & (hu <= PLAUSIBLE_HU[1])))
        self.extended += int(np.count_nonzero(hu > EXTENDED_HU))
        self.lowest_hu = min(self.lowest_hu, float(hu.min()))
        self.highest_hu = max(self.highest_hu, float(hu.max()))

    def check(self) -> None:
        if not self.voxels:
            raise Refuse("Every voxel of the series is padding.")
        if self.lowest_hu == self.highest_hu:
            raise Refuse(f"Every voxel of the series has the same value, {self.lowest_hu:g} HU.")
        low, high = PLAUSIBLE_HU
        if self.plausible < LEAST_PLAUSIBLE * self.voxels:
            raise Refuse(
                f"{self.plausible / self.voxels:.1%} of the voxels lie within {low:g} to {high:g} HU, at least "
                f"{LEAST_PLAUSIBLE:.0%} of a CT do; they range from {self.lowest_hu:g} to {self.highest_hu:g} HU."
            )
        if self.extended > MOST_EXTENDED * self.voxels:
            raise Refuse(
                f"{self.extended / self.voxels:.1%} of the voxels lie above {EXTENDED_HU:g} HU, at most "
                f"{MOST_EXTENDED:.0%} of a CT do."
            )


def prepare_series(request: dict[str, Any]) -> dict[str, Any]:
    """Decode a series of classic single-frame CT into one volume.

    request: slices ([Part 10 file, frame] in any order, frame 0 for a single-frame object), voxels and padding (.npy
             files to write); `paths` in place of slices takes single-frame objects only
    returns: order, affine, shape, pixel_sha256, unit; as CONTRACT says, the volume being float32 (z, y, x) in HU with
             -1024 where the source has padding, and the padding bool (z, y, x)
    raises:  Refuse with the reasons of the input gate, or with the figure that the pixels can't have
    """
    slices = request.get("slices") or [[path, 0] for path in request["paths"]]
    if any(frame for _, frame in slices):
        raise Refuse("Frames of Enhanced objects are not decoded yet.")
    paths = [Path(path) for path, _ in slices]
    headers = [part10.header(part10.read(path), HEADER) for path in paths]
    if reasons := gate.ineligible(headers, complete=True):
        raise Refuse(f"The series can't be processed: {'; '.join(reasons[:5])}.")
    if {header["Modality"] for header in headers} != {("CT",)}:
        raise Refuse("Only CT is decoded in this version.")
    order = geometry.stack(headers).order
    first = headers[order[0]]
    shape = (len(order), int(first["Rows"][0]), int(first["Columns"][0]))
    hashes: list[str] = []
    figures = _Figures()

    def fill(voxels: NDArray[Any], padding: NDArray[Any]) -> None:
        for z, index in enumerate(order):
            stored = stored_values(part10.read(paths[index]))
            if stored.values.shape != shape[1:]:
                raise Refuse(f"A slice is {stored.values.shape}, not {shape[1:]}: a file changed while it was read.")
            hu = voxels[z]
            np.multiply(stored.values, np.float32(stored.slope), out=hu, casting="unsafe")
            hu += np.float32(stored.intercept)
            if stored.padding is None:
                figures.add(hu)
            else:
                figures.add(hu[~stored.padding])
                hu[stored.padding] = AIR_HU
                padding[z] = stored.padding
            hashes.append(stored.sha256())
        figures.check()

    _write_both(Path(request["voxels"]), Path(request["padding"]), shape, fill)
    return {
        "order": list(order),
        "affine": geometry.affine([headers[index] for index in order]).tolist(),
        "shape": list(shape),
        "pixel_sha256": hashes,
        "unit": "HU",
    }


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
        fill(*arrays)
        for array in arrays:
            array.flush()
        aside[0].replace(voxels)
        aside[1].replace(padding)
    finally:
        for path in aside:
            path.unlink(missing_ok=True)


def stored_values(part: Part10) -> Stored:
    """Decode the single frame of one instance; its header has passed the gate.

    raises: Refuse if the pixels are not what the header says
    """
    found = part10.header(part, HEADER)
    values, bits, signed = pixels.pixel_values(part)
    try:
        (slope,) = geometry.numbers(found, "RescaleSlope", 1)
        (intercept,) = geometry.numbers(found, "RescaleIntercept", 1)
    except (KeyError, IndexError, ValueError) as error:
        raise Refuse("A value that describes the pixels is missing or unreadable.") from error
    if part10.items(part.dataset, "ModalityLUTSequence"):
        raise Refuse("A Modality LUT takes the place of slope and intercept; a CT image has none (PS3.3 A.3).")
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
