"""Clean cases for the guards of mr-postcontrast: simulated heads of which no slice is anybody's (NETWORKS.md C2).

Head 04 calibrates, heads 05 and 06 qualify; none of them trains the network. A case takes some seconds to make, so it
is kept under build/, as the whole numbers that a scanner would store.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.contrast_cases import case
from engines.training.head_labels import DATA
from pipelines.volume import Volume
from tests.bench.guard_series import Header, Part

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "guard-heads"
SPACINGS_MM = (3.0, 4.0, 5.0)

CASES: dict[Part, tuple[tuple[int, int], ...]] = {
    Part.CALIBRATE: tuple((4, seed) for seed in range(100, 140)),
    Part.QUALIFY: tuple((head, seed) for seed in range(200, 212) for head in (5, 6)),
}
"""(head, seed) of every case."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadSeries:
    """One clean case.

    volume:   T1, with T2 and FLAIR in `others`
    truth:    (z, y, x) post-contrast over T1, at least 1; what a network that knows everything would give
    controls: where the large veins, the choroid plexus and the pituitary gland are
    quiet:    white matter far from every lesion
    headers:  complete, of each slice in order
    """

    name: str
    volume: Volume
    truth: NDArray[np.float32]
    controls: Mask
    quiet: Mask
    stripped: bool
    headers: tuple[Header, ...]


def head_series(part: Part, *, data: Path = DATA, few: bool = False) -> Iterator[HeadSeries]:
    """Every case of a part; `few` takes one of four."""
    for head, seed in CASES[part][:: 4 if few else 1]:
        yield head_case(head, seed, data=data)


def head_case(head: int, seed: int, *, data: Path = DATA) -> HeadSeries:
    """One case, read where it was kept, else made and kept."""
    file = CACHE / f"head{head:02d}-{seed}.npz"
    if not file.is_file():
        made = _made(head, seed, data)
        CACHE.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part.npz")
        np.savez(part, **made)
        part.replace(file)
    with np.load(file) as kept:
        found = {name: kept[name] for name in kept.files}
    spacing = tuple(float(mm) for mm in found["spacing_mm"])
    stripped = bool(found["stripped"])
    name = f"head {head:02d} case {seed}, {spacing[0]:g} mm{', without skull' if stripped else ''}"
    return series_of(name, {role: found[role].astype(np.float32) for role in ("t1", "t2", "flair")},
                     (spacing[0], spacing[1], spacing[2]), truth=found["factor"].astype(np.float32),
                     controls=found["controls"], quiet=found["quiet"], stripped=stripped)  # fmt: skip


def series_of(
    name: str,
    series: dict[str, NDArray[np.float32]],
    spacing_mm: tuple[float, float, float],
    *,
    truth: NDArray[np.float32] | None = None,
    controls: Mask | None = None,
    quiet: Mask | None = None,
    stripped: bool = False,
) -> HeadSeries:
    """Volumes on one upright grid, slices from feet to head, rows from front to back, columns from right to left."""
    voxels = series["t1"]
    affine = np.zeros((4, 4))
    for column, (axis, mm) in enumerate(zip((2, 1, 0), spacing_mm, strict=True)):
        affine[axis, column] = mm
        affine[axis, 3] = -mm * (voxels.shape[column] - 1) / 2.0
    affine[3, 3] = 1.0
    volumes = {role: Volume(voxels=one, affine=affine, unit="MR") for role, one in series.items()}
    volume = replace(volumes.pop("t1"), others=volumes)
    nothing = np.zeros(voxels.shape, np.bool_)
    return HeadSeries(
        name=name,
        volume=volume,
        truth=np.ones_like(voxels) if truth is None else truth,
        controls=nothing if controls is None else controls,
        quiet=nothing if quiet is None else quiet,
        stripped=stripped,
        headers=tuple(mr_header(volume, index) for index in range(len(voxels))),
    )


def _made(head: int, seed: int, data: Path) -> dict[str, Any]:
    one = case(head, seed, spacing_mm=SPACINGS_MM[seed % 3], data=data)
    stored = {role: np.rint(getattr(one, role)).clip(0, 65535).astype(np.uint16) for role in ("t1", "t2", "flair")}
    return stored | {
        "factor": one.factor.astype(np.float16),
        "controls": one.sinus | one.choroid | one.pituitary,
        "quiet": one.nawm,
        "stripped": np.bool_(one.stripped),
        "spacing_mm": np.asarray(one.spacing_mm),
    }


def mr_header(volume: Volume, index: int) -> Header:
    """What an adult's examination without surprises says of a slice of T1."""
    pixel_mm = volume.pixel_mm
    rows, columns = volume.voxels.shape[1:]
    thickness_mm = float(np.linalg.norm(volume.affine[:3, 0]))
    return {
        "Modality": ("MR",),
        "ImageType": ("ORIGINAL", "PRIMARY", "M", "ND"),
        "Manufacturer": ("TEST SCANNERS",),
        "MagneticFieldStrength": ("3",),
        "ScanningSequence": ("GR",),
        "SequenceVariant": ("SP",),
        "MRAcquisitionType": ("3D",),
        "RepetitionTime": ("8",),
        "EchoTime": ("3",),
        "FlipAngle": ("12",),
        "SliceThickness": (f"{thickness_mm:g}",),
        "PixelSpacing": (f"{pixel_mm:g}", f"{pixel_mm:g}"),
        "Rows": (str(rows),),
        "Columns": (str(columns),),
        "BodyPartExamined": ("HEAD",),
        "PatientAgeGroup": ("ADULT",),
        "ImageOrientationPatient": ("1", "0", "0", "0", "1", "0"),
        "ImagePositionPatient": ("0", "0", f"{index * thickness_mm:g}"),
    }
