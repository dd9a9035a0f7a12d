"""Faults to inject into mr-postcontrast: what a bug, a mix-up or a bad network would do to its series or its result.

Faults of the result come after the network. Faults of the source are judged by the checks that look at the source and
its header alone: what they miss counts as missed, whatever the network would have made of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.steps import measure
from pipelines.volume import Volume
from tests.bench.guard_faults import gaussian
from tests.bench.guard_heads import HeadSeries

Stack = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class FaultyHead:
    """A case after the fault. result: (z, y, x), None when the source is at fault."""

    series: HeadSeries
    result: Stack | None = None


HeadFault = Callable[[HeadSeries, Stack, HeadSeries], FaultyHead | None]
"""(clean case, its clean result, a case of another patient) to the faulty case; None where the fault makes no sense."""


def blurred(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """The result is blurred, sigma 1 px."""
    return FaultyHead(series=series, result=np.stack([gaussian(image, 1.0) for image in result]))


def swapped(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Two neighbouring slices of the result changed places."""
    changed, at = result.copy(), len(result) // 2
    changed[[at, at + 1]] = changed[[at + 1, at]]
    return FaultyHead(series=series, result=changed)


def rotated(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Every slice of the result is turned by 90 degrees."""
    side = min(result.shape[1:])
    top, left = ((size - side) // 2 for size in result.shape[1:])
    changed = result.copy()
    middle = result[:, top : top + side, left : left + side]
    changed[:, top : top + side, left : left + side] = np.rot90(middle, axes=(1, 2))
    return FaultyHead(series=series, result=changed)


def not_a_number(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """One voxel of the result is no number."""
    changed = result.copy()
    changed[tuple(size // 2 for size in result.shape)] = np.nan
    return FaultyHead(series=series, result=changed)


def pasted(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """A disk of radius 6 px in quiet white matter enhances by 40 %, in one slice."""
    index, shape = disk(series)
    changed = result.copy()
    changed[index] *= 1.0 + np.float32(0.4) * shape
    return FaultyHead(series=series, result=changed)


def pasted_weak(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """The same, by 20 %."""
    index, shape = disk(series)
    changed = result.copy()
    changed[index] *= 1.0 + np.float32(0.2) * shape
    return FaultyHead(series=series, result=changed)


def without_controls(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Large veins, choroid plexus and pituitary gland do not enhance."""
    gone = np.stack([measure.box(mask.astype(np.float32), 2) > 0.0 for mask in series.controls])
    return FaultyHead(series=series, result=np.where(gone, series.volume.voxels, result))


def nothing_enhances(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """The result is T1."""
    return FaultyHead(series=series, result=series.volume.voxels.copy())


def darkened(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """A disk of radius 6 px in quiet white matter is 10 % darker."""
    index, shape = disk(series)
    changed = result.copy()
    changed[index] *= 1.0 - np.float32(0.1) * shape
    return FaultyHead(series=series, result=changed)


def noisy_result(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Noise of 2 % of the mean signal is added to the result."""
    level = np.float32(0.02 * result[result > 0].mean())
    return FaultyHead(series=series, result=result + level * _noise(result.shape))


def white_enhances(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Everything enhances by 10 %."""
    return FaultyHead(series=series, result=result * np.float32(1.1))


def flickers(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Every second slice enhances half as much."""
    changed = result.copy()
    changed[::2] -= np.float32(0.5) * (result[::2] - series.volume.voxels[::2])
    return FaultyHead(series=series, result=changed)


def smooth_enhancement(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """What the network adds is blurred, sigma 3 px; nothing gets darker."""
    added = np.stack([gaussian(image, 3.0) for image in result - series.volume.voxels])
    return FaultyHead(series=series, result=series.volume.voxels + added)


def wrong_spacing(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """Pixel Spacing is 1.5 times what it was."""
    affine = series.volume.affine * np.asarray([1.0, 1.5, 1.5, 1.0])
    others = {role: replace(one, affine=affine) for role, one in series.volume.others.items()}
    volume = replace(series.volume, affine=affine, others=others)
    spacing = (f"{volume.pixel_mm:g}",) * 2
    headers = tuple({**header, "PixelSpacing": spacing} for header in series.headers)
    return FaultyHead(series=replace(series, volume=volume, headers=headers))


def swapped_roles(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T2 and FLAIR changed roles."""
    return _with(series, t2="flair", flair="t2")


def t1_as_t2(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T1 and T2 changed roles."""
    return _with(series, t1="t2", t2="t1")


def t1_as_flair(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T1 and FLAIR changed roles."""
    return _with(series, t1="flair", flair="t1")


def t1_twice(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T1 stands in the role of FLAIR too."""
    return _with(series, flair="t1")


def t2_twice(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T2 stands in the role of FLAIR too."""
    return _with(series, flair="t2")


def inverted(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T1 is inverted where there is signal."""
    voxels = series.volume.voxels
    top = np.float32(np.percentile(voxels, 99.5))
    return _t1(series, np.where(voxels > 0.1 * top, np.maximum(top - voxels, 0.0), voxels))


def after_contrast(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T1 was acquired after contrast agent, and no header says so."""
    return _t1(series, series.volume.voxels * series.truth)


def noisy_source(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """T1 has three times the noise of the noisiest that was simulated."""
    voxels = series.volume.voxels
    level = np.float32(0.2 * np.percentile(voxels[voxels > 0], 75))
    return _t1(series, np.abs(voxels + level * _noise(voxels.shape)))


def moved_flair(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """FLAIR lies 10 mm to the side."""
    step = round(10.0 / series.volume.pixel_mm)
    return _other(series, "flair", np.roll(series.volume.others["flair"].voxels, step, axis=2))


def moved_up(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """FLAIR lies about 10 mm higher."""
    step = max(round(10.0 / float(np.linalg.norm(series.volume.affine[:3, 0]))), 1)
    return _other(series, "flair", np.roll(series.volume.others["flair"].voxels, step, axis=0))


def other_patient(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """FLAIR is that of another patient, middle on middle."""
    return _other(series, "flair", _placed(other.volume.others["flair"], series.volume))


def child(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """The patient is a child."""
    return _header(series, PatientAgeGroup=("CHILD",))


def agent_in_header(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """The header names a contrast agent."""
    return _header(series, ContrastBolusAgent=("GADOBUTROL",))


def low_field(series: HeadSeries, result: Stack, other: HeadSeries) -> FaultyHead:
    """The scanner has half a tesla."""
    return _header(series, MagneticFieldStrength=("0.5",))


ASKED: Mapping[str, tuple[HeadFault, ...]] = {
    "blur of the result, sigma 1 px": (blurred,),
    "swapped slices": (swapped,),
    "rotated by 90 degrees": (rotated,),
    "wrong spacing, x1.5": (wrong_spacing,),
    "NaN": (not_a_number,),
    "pasted enhancement, 40 %, r 6 px": (pasted,),
    "controls do not enhance": (without_controls, nothing_enhances),
    "darkened region": (darkened,),
    "noise added": (noisy_result, noisy_source),
    "wrong series in a role": (t1_twice, t2_twice, inverted),
    "swapped roles": (swapped_roles, t1_as_t2, t1_as_flair),
    "T1 after contrast agent": (after_contrast, agent_in_header),
    "FLAIR 10 mm off": (moved_flair, moved_up),
    "FLAIR of another patient": (other_patient,),
}
"""The faults of NETWORKS.md E, and those of several series. Where there are several ways to do one, each is a row."""

BESIDES: Mapping[str, tuple[HeadFault, ...]] = {
    "white matter enhances by 10 %": (white_enhances,),
    "every second slice enhances half": (flickers,),
    "enhancement blurred, sigma 3 px": (smooth_enhancement,),
    "pasted enhancement, 20 %, r 6 px": (pasted_weak,),
    "a child": (child,),
    "half a tesla": (low_field,),
}
"""Further ones; measured, not part of the promise."""


def disk(series: HeadSeries) -> tuple[int, Stack]:
    """A slice, and a disk of 6 px radius in it where most white matter is quiet; (y, x), 0 to 1."""
    total, best = len(series.quiet), (-1.0, 0, 0, 0)
    for index in range(int(0.45 * total), int(0.75 * total)):
        share = measure.box(series.quiet[index].astype(np.float32), 8)
        y, x = np.unravel_index(int(share.argmax()), share.shape)
        best = max(best, (float(share[y, x]), index, int(y), int(x)))
    _, index, y, x = best
    rows, columns = np.ogrid[: series.quiet.shape[1], : series.quiet.shape[2]]
    edge = np.clip((np.hypot(rows - y, columns - x) - 6.0) / 0.35, -30.0, 30.0)
    return index, np.asarray(1.0 / (1.0 + np.exp(edge)), dtype=np.float32)


def _noise(shape: tuple[int, ...]) -> Stack:
    return np.random.default_rng(13).standard_normal(shape, dtype=np.float32)


def _with(series: HeadSeries, **roles: str) -> FaultyHead:
    """Series in the roles of others: role -> the role whose voxels it gets."""
    voxels = {"t1": series.volume.voxels, **{role: one.voxels for role, one in series.volume.others.items()}}
    others = {role: replace(one, voxels=voxels[roles.get(role, role)]) for role, one in series.volume.others.items()}
    volume = replace(series.volume, voxels=voxels[roles.get("t1", "t1")], others=others)
    return FaultyHead(series=replace(series, volume=volume))


def _t1(series: HeadSeries, voxels: Stack) -> FaultyHead:
    return FaultyHead(series=replace(series, volume=replace(series.volume, voxels=voxels.astype(np.float32))))


def _other(series: HeadSeries, role: str, voxels: Stack) -> FaultyHead:
    others = {**series.volume.others, role: replace(series.volume.others[role], voxels=voxels)}
    return FaultyHead(series=replace(series, volume=replace(series.volume, others=others)))


def _header(series: HeadSeries, **values: tuple[str, ...]) -> FaultyHead:
    return FaultyHead(series=replace(series, headers=tuple({**header, **values} for header in series.headers)))


def _placed(moving: Volume, grid: Volume) -> Stack:
    """The nearest voxels of a volume on another grid, both about their middle; 0 beyond."""
    made, scale = (
        moving.voxels,
        np.linalg.norm(grid.affine[:3, :3], axis=0) / np.linalg.norm(moving.affine[:3, :3], axis=0),
    )
    for axis, length in enumerate(grid.voxels.shape):
        have = made.shape[axis]
        at = np.rint((np.arange(length) - (length - 1) / 2) * scale[axis] + (have - 1) / 2).astype(np.intp)
        taken = np.take(made, np.clip(at, 0, have - 1), axis=axis)
        outside = [1] * taken.ndim
        outside[axis] = length
        made = taken * ((at >= 0) & (at < have)).reshape(outside)
    return np.ascontiguousarray(made, dtype=np.float32)
