"""Clean cases for the guards of mra-superres: simulated time-of-flight scans of heads (NETWORKS.md C3).

Head 04 calibrates, heads 05 and 06 qualify; none of them trains the network. A case takes some seconds to make, so it
is kept under build/, as the whole numbers that a scanner would store.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.sources import DATA
from engines.training.tof_acquire import Profile
from engines.training.tof_cases import case
from pipelines.thinner import ThinnerSlices
from pipelines.volume import Volume
from tests.bench.guard_series import Header, Part

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "guard-tof"
STORED = 1000.0
"""Stored value of fresh arterial blood."""
SIDE, SLABS = 144, 14
KINDS: tuple[tuple[float, int], ...] = ((4.0, 4), (3.0, 3), (5.0, 5), (2.0, 2))
"""Spacing of slices, mm, and the factor, in turn."""

CASES: dict[Part, tuple[tuple[int, int], ...]] = {
    Part.CALIBRATE: tuple((4, seed) for seed in range(300, 340)),
    Part.QUALIFY: tuple((head, seed) for seed in range(400, 412) for head in (5, 6)),
}
"""(head, seed) of every case."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TofSeries:
    """One clean case.

    volume:     the thick slices
    thin:       (factor z, y, x) truth, without noise
    three:      whether it was acquired in three dimensions
    parameters: of its job
    headers:    complete, of each slice in order
    """

    name: str
    volume: Volume
    thin: NDArray[np.float32]
    three: bool
    parameters: Mapping[str, Any]
    headers: tuple[Header, ...]


def tof_series(part: Part, *, data: Path = DATA, few: bool = False) -> Iterator[TofSeries]:
    """Every case of a part; `few` takes one of four."""
    for number, (head, seed) in enumerate(CASES[part]):
        if not few or number % 5 == 0:
            kind = KINDS[(number if part is Part.CALIBRATE else number // 2) % len(KINDS)]
            yield tof_case(head, seed, *kind, data=data)


def tof_case(head: int, seed: int, spacing_mm: float, factor: int, *, data: Path = DATA) -> TofSeries:
    """One case, read where it was kept, else made and kept."""
    file = CACHE / f"head{head:02d}-{seed}-{factor}.npz"
    if not file.is_file():
        one = case(head, seed, spacing_mm=spacing_mm, factor=factor, slabs=SLABS, side=SIDE, data=data)
        CACHE.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npz")
        np.savez(
            part,
            thick=_stored(one.thick),
            thin=_stored(one.thin),
            pixel_mm=one.pixel_mm,
            three=one.acquisition.profile is Profile.FOURIER,
            width_mm=one.acquisition.width_mm,
        )
        part.replace(file)
    with np.load(file) as kept:
        found = {name: kept[name] for name in kept.files}
    three = bool(found["three"])
    return series_of(
        f"head {head:02d} case {seed}, {spacing_mm:g} mm, {'3-D' if three else '2-D'}",
        found["thick"].astype(np.float32),
        (spacing_mm, float(found["pixel_mm"]), float(found["pixel_mm"])),
        thin=found["thin"].astype(np.float32),
        three=three,
        factor=factor,
    )


def series_of(
    name: str,
    voxels: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
    *,
    thin: NDArray[np.float32],
    three: bool,
    factor: int,
) -> TofSeries:
    """A series with the headers that an examination without surprises has."""
    affine = np.diag([spacing_mm[2], spacing_mm[1], spacing_mm[0], 1.0])[:, [2, 1, 0, 3]]
    volume = Volume(voxels=voxels, affine=affine, unit="MR")
    headers = tuple(header(volume, index, three=three) for index in range(len(voxels)))
    settled = ThinnerSlices().settle({"factor": factor}, headers)
    assert not settled.reasons, settled.reasons
    return TofSeries(name=name, volume=volume, thin=thin, three=three, parameters=settled.values, headers=headers)


def header(volume: Volume, index: int, *, three: bool = True) -> Header:
    """What an adult's angiography without surprises says of a slice."""
    step, pixel = (float(np.linalg.norm(volume.affine[:3, axis])) for axis in (0, 1))
    rows, columns = volume.voxels.shape[1:]
    return {
        "Modality": ("MR",),
        "ImageType": ("ORIGINAL", "PRIMARY", "M", "NONE"),
        "Manufacturer": ("TEST SCANNERS",),
        "ScanningSequence": ("GR",),
        "SequenceVariant": ("SP", "MTC"),
        "ScanOptions": ("FC", "SP"),
        "MRAcquisitionType": ("3D" if three else "2D",),
        "AngioFlag": ("Y",),
        "SequenceName": ("fi3d1r" if three else "fl2d1r",),
        "SeriesDescription": ("TOF",),
        "MagneticFieldStrength": ("3",),
        "RepetitionTime": ("22",),
        "EchoTime": ("3.6",),
        "FlipAngle": ("18" if three else "50",),
        "BodyPartExamined": ("HEAD",),
        "PatientAgeGroup": ("ADULT",),
        "SliceThickness": (f"{step:g}",),
        "SpacingBetweenSlices": (f"{step:g}",),
        "PixelSpacing": (f"{pixel:g}", f"{pixel:g}"),
        "Rows": (str(rows),),
        "Columns": (str(columns),),
        "BitsStored": ("12",),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        "ImagePositionPatient": ("0", "0", f"{index * step:g}"),
    }


def _stored(volume: NDArray[np.float32]) -> NDArray[np.uint16]:
    return np.rint(np.clip(volume * STORED, 0.0, 65535.0)).astype(np.uint16)
