"""Faults that are put into a head CT before the triage sees it. Each gives the series as it would arrive."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from tests.bench.guard_ct_heads import HeadSeries, headers_of

Fault = Callable[[HeadSeries], HeadSeries]


def shifted_up(series: HeadSeries) -> HeadSeries:
    """All values 20 HU too high."""
    return _voxels(series, series.volume.voxels + 20.0)


def shifted_down(series: HeadSeries) -> HeadSeries:
    """All values 20 HU too low."""
    return _voxels(series, series.volume.voxels - 20.0)


def no_intercept(series: HeadSeries) -> HeadSeries:
    """Stored values taken for Hounsfield units."""
    return _voxels(series, series.volume.voxels + 1024.0)


def wide_pixels(series: HeadSeries) -> HeadSeries:
    """Pixel spacing 1.5 times too large, the header telling the same."""
    return _spacing(series, (1.0, 1.5, 1.5))


def far_slices(series: HeadSeries) -> HeadSeries:
    """Slices 1.5 times too far apart."""
    return _spacing(series, (1.5, 1.0, 1.0))


def swapped(series: HeadSeries) -> HeadSeries:
    """Two slices of the middle in each other's place."""
    order = list(range(len(series.volume.voxels)))
    at = len(order) // 2
    order[at], order[at + 2] = order[at + 2], order[at]
    return _voxels(series, series.volume.voxels[order])


def missing(series: HeadSeries) -> HeadSeries:
    """Two centimetres are missing in the middle, and positions close the gap."""
    step = float(np.linalg.norm(series.volume.affine[:3, 0]))
    gone, at = max(round(20.0 / step), 1), len(series.volume.voxels) // 2
    kept = np.r_[: at - gone // 2, at - gone // 2 + gone : len(series.volume.voxels)]
    return _voxels(series, series.volume.voxels[kept])


def upside_down(series: HeadSeries) -> HeadSeries:
    """Slices in the opposite order, positions as they were."""
    return _voxels(series, series.volume.voxels[::-1])


def front_to_back(series: HeadSeries) -> HeadSeries:
    """Rows in the opposite order, orientation as it was."""
    return _voxels(series, series.volume.voxels[:, ::-1])


def on_its_side(series: HeadSeries) -> HeadSeries:
    """Turned by 90 degrees in the plane, orientation as it was."""
    return _voxels(series, np.rot90(series.volume.voxels, 1, (1, 2)))


def no_vertex(series: HeadSeries) -> HeadSeries:
    """The upper 5 cm of the head are not in the scan."""
    return _cut(series, top_mm=50.0)


def no_base(series: HeadSeries) -> HeadSeries:
    """The lower 5 cm of the head are not in the scan."""
    return _cut(series, bottom_mm=50.0)


def narrow(series: HeadSeries) -> HeadSeries:
    """A field of view that cuts one side of the head off."""
    columns = np.flatnonzero((series.volume.voxels > 300.0).any(axis=(0, 1)))
    voxels = series.volume.voxels.copy()
    voxels[:, :, : int(columns[0] + 0.25 * (columns[-1] - columns[0]))] = -1000.0
    return _voxels(series, voxels)


def not_a_number(series: HeadSeries) -> HeadSeries:
    """One voxel is no number."""
    voxels = series.volume.voxels.copy()
    voxels[len(voxels) // 2, voxels.shape[1] // 2, voxels.shape[2] // 2] = np.nan
    return _voxels(series, voxels)


def noisy(series: HeadSeries) -> HeadSeries:
    """Noise of 35 HU, as a topogram's dose leaves it."""
    noise = np.random.default_rng(1).normal(0.0, 35.0, series.volume.voxels.shape)
    return _voxels(series, series.volume.voxels + noise)


def flat(series: HeadSeries) -> HeadSeries:
    """Grey and white matter alike: values halved about 32 HU, as a wrong slope leaves them."""
    return _voxels(series, np.where(np.abs(series.volume.voxels) < 150.0, 24.0 + 0.25 * series.volume.voxels,
                                    series.volume.voxels))  # fmt: skip


def agent_in_header(series: HeadSeries) -> HeadSeries:
    """The header names a contrast agent."""
    return replace(series, headers=headers_of(series.volume, ContrastBolusAgent=("AGENT",)))


def child_in_header(series: HeadSeries) -> HeadSeries:
    """The header says that it is a child."""
    return replace(series, headers=headers_of(series.volume, PatientAgeGroup=("CHILD",)))


def lossy(series: HeadSeries) -> HeadSeries:
    """The header says that the images were compressed with loss."""
    return replace(series, headers=headers_of(series.volume, LossyImageCompression=("01",)))


def mirrored(series: HeadSeries) -> HeadSeries:
    """Left and right exchanged, orientation as it was: no voxel tells."""
    return _voxels(series, series.volume.voxels[:, :, ::-1])


ASKED: Final[Mapping[str, tuple[Fault, ...]]] = {
    "wrong intercept": (no_intercept, shifted_up, shifted_down),
    "wrong spacing, x1.5": (wide_pixels, far_slices),
    "swapped slices": (swapped,),
    "missing slices": (missing,),
    "orientation wrong in the header": (upside_down, front_to_back, on_its_side),
    "part of a head": (no_vertex, no_base, narrow),
    "NaN": (not_a_number,),
    "noise": (noisy,),
    "out of scope in the header": (agent_in_header, child_in_header, lossy),
}
BESIDES: Final[Mapping[str, tuple[Fault, ...]]] = {"wrong slope": (flat,), "mirrored": (mirrored,)}


def _voxels(series: HeadSeries, voxels: np.ndarray) -> HeadSeries:  # type: ignore[type-arg]
    volume = replace(series.volume, voxels=np.ascontiguousarray(voxels, dtype=np.float32))
    return replace(series, volume=volume, headers=series.headers[:1] * len(volume.voxels))


def _spacing(series: HeadSeries, factors: tuple[float, float, float]) -> HeadSeries:
    affine = series.volume.affine.copy()
    affine[:3, :3] *= factors
    volume = replace(series.volume, affine=affine)
    return replace(series, volume=volume, headers=headers_of(volume))


def _cut(series: HeadSeries, *, top_mm: float = 0.0, bottom_mm: float = 0.0) -> HeadSeries:
    """Without what lies so far below the vertex's skin, or above the first slice of bone."""
    bone = np.flatnonzero(np.count_nonzero(series.volume.voxels > 300.0, axis=(1, 2)) > 50)
    step = float(np.linalg.norm(series.volume.affine[:3, 0]))
    up = series.volume.affine[2, 0] > 0.0
    first, last = (top_mm, bottom_mm) if not up else (bottom_mm, top_mm)
    low, high = int(bone[0]) + round(first / step), int(bone[-1]) + 1 - round(last / step)
    affine = series.volume.affine.copy()
    affine[:3, 3] += low * affine[:3, 0]
    volume = replace(series.volume, voxels=np.ascontiguousarray(series.volume.voxels[low:high]), affine=affine)
    return replace(series, volume=volume, headers=series.headers[:1] * len(volume.voxels))
