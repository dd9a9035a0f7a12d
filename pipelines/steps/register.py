"""Bring a series to the grid of another one: a rigid motion found by SimpleITK, and figures that say if it is believed.

The search is that of Mattes et al. (IEEE TMI 2003): mutual information of both images, three levels from coarse to
fine, regular steps down its gradient. It runs on one thread with fixed samples, so that a repeat gives the same motion
to the bit; resampling may use several.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.role import Registered
from pipelines.steps import placing, resample
from pipelines.steps.placing import Matrix
from pipelines.steps.resample import place
from pipelines.volume import Volume

VERSION: Final = "1.0.0"  # of the search and its figures

_SEED: Final = 20
_STILL_MM: Final = (
    0.5  # what moves no part of the head by more is within the error of the search: the header's word stands
)
_GAIN: Final = 0.02  # of the agreement of edges: a motion that brings less is no better than the header's word
_LOOK_MM: Final = 2.0  # agreement is looked at with pixels of this size
_LEAST_START: Final = 0.5  # share of the head that the header's geometry must cover to be the only start


@dataclass(frozen=True, kw_only=True)
class _Level:
    """mm: size of pixels; step, least: of the optimiser, first and last, mm; share: of the voxels that are sampled."""

    mm: float
    step: float
    least: float
    share: float
    relaxation: float = 0.8


_COARSE: Final = _Level(mm=4.0, step=2.0, least=0.02, share=1.0)
_FINER: Final = (
    _Level(mm=2.0, step=1.0, least=0.01, share=0.25),
    _Level(mm=1.5, step=0.5, least=0.005, share=0.2, relaxation=0.85),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A series on the grid of another one.

    voxels:       (z, y, x) float32 of the grid, 0 where the series does not reach
    padding:      (z, y, x) bool, True there and where the series has padding itself
    motion:       (4, 4), LPS mm, place on the grid -> place in the series; unity where the headers' word stands
    identity:     the voxels are those of the series, nothing was resampled
    quality:      agreement of edges, 0 is chance and 1 is perfect (`placing.edges_agree`)
    quality_start: the same where the headers say that both lie
    mutual:       normalised mutual information within the head, 1 is none
    mutual_start: the same where the headers say that both lie
    cover:        share of the grid's head that the series reaches
    shift_mm:     how far the motion moves the middle of the head
    rotation_deg: by how much it turns
    reach:        for each slice of the grid the slices [first, last) of the series that contribute to it
    reasons:      why it is not believed, with values; empty if it is
    """

    voxels: NDArray[np.float32]
    padding: NDArray[np.bool_]
    motion: Matrix
    identity: bool
    quality: float
    quality_start: float
    mutual: float
    mutual_start: float
    cover: float
    shift_mm: float
    rotation_deg: float
    reach: tuple[tuple[int, int], ...]
    reasons: tuple[str, ...] = field(default=())

    def figures(self) -> dict[str, Any]:
        """What is kept of it, plain JSON."""
        rounded = {
            name: round(float(getattr(self, name)), 4)
            for name in ("quality", "quality_start", "mutual", "mutual_start", "cover", "shift_mm", "rotation_deg")
        }
        return {
            "identity": self.identity,
            **rounded,
            "motion": self.motion.tolist(),
            "reach": [list(one) for one in self.reach],
            "version": VERSION,
        }


def register(fixed: Volume, moving: Volume, *, same_frame: bool, believed: Registered, threads: int = 1) -> Placed:
    """Find where a series lies on a grid, and bring it there.

    fixed:      defines the grid; nothing of it is changed
    moving:     any other grid, orientation and spacing
    same_frame: both name one frame of reference, so that their headers say how they lie to each other
    believed:   what is asked of the motion
    threads:    for resampling; they do not change the result
    returns:    `Placed`, whose `reasons` say why it must not be used, if so
    raises:     Unavailable
    """
    unity = np.eye(4)
    start = _look(fixed, moving, unity)
    if same_frame and fixed.on_the_grid_of(moving) and start[0] >= believed.quality:
        return _placed(fixed, moving, unity, start, start, believed, same_frame=True, threads=threads)
    motion, after = unity, start
    for found in _search(fixed, moving, only_here=same_frame and _cover(fixed, moving, unity) >= _LEAST_START):
        figures = _look(fixed, moving, found)
        if figures[1] > after[1]:
            motion, after = found, figures
    if same_frame and (_moves_mm(fixed, motion) <= _STILL_MM or after[0] < start[0] + _GAIN):
        motion, after = unity, start
    return _placed(fixed, moving, motion, start, after, believed, same_frame=same_frame, threads=threads)


def _search(fixed: Volume, moving: Volume, *, only_here: bool) -> Iterator[Matrix]:
    """Motions that may be the right one, the best of all starts; none where no start overlaps."""
    sitk = resample.library()
    both = [resample.image(_clipped(one), one.affine) for one in (fixed, moving)]
    centre = placing.centre_of(fixed.voxels, fixed.affine)
    starts = [np.zeros(3)] if only_here else [*_starts(fixed, moving, centre)]
    found = []
    for shift in starts:
        transform = sitk.Euler3DTransform()
        transform.SetCenter(centre.tolist())
        transform.SetTranslation(shift.tolist())
        value = _descend(sitk, both, transform, _COARSE)
        if value is not None:
            found.append((value, transform))
    if found:
        _, best = min(found, key=lambda one: float(one[0]))
        for level in _FINER:
            _descend(sitk, both, best, level)
        yield resample.matrix(best)


def _starts(fixed: Volume, moving: Volume, centre: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Shifts, LPS mm: as the headers say; middle of the volumes on each other; middle of the heads on each other."""
    yield np.zeros(3)
    middles = [one.affine @ np.append((np.array(one.voxels.shape) - 1) / 2, 1.0) for one in (fixed, moving)]
    yield (middles[1] - middles[0])[:3]
    yield placing.centre_of(moving.voxels, moving.affine) - centre


def _descend(sitk: Any, both: list[Any], transform: Any, level: _Level) -> float | None:
    """One level of the search; moves `transform`. The metric's value, lower is better; None if there is no overlap."""
    fixed, moving = (_coarser(sitk, one, level.mm) for one in both)
    search = sitk.ImageRegistrationMethod()
    search.SetNumberOfThreads(1)
    search.SetMetricAsMattesMutualInformation(32)
    search.SetMetricFixedMask(_surroundings(sitk, fixed))
    search.SetMetricSamplingStrategy(search.RANDOM if level.share < 1 else search.NONE)
    if level.share < 1:
        search.SetMetricSamplingPercentage(level.share, _SEED)
    search.SetInterpolator(sitk.sitkLinear)
    search.SetOptimizerAsRegularStepGradientDescent(level.step, level.least, 100, level.relaxation, 1e-8)
    search.SetOptimizerScalesFromPhysicalShift()
    search.SetInitialTransform(transform, inPlace=True)
    try:
        search.Execute(fixed, moving)
    except RuntimeError:  # all or most samples lie outside of the moving image
        return None
    return float(search.GetMetricValue())


def _look(fixed: Volume, moving: Volume, motion: Matrix) -> tuple[float, float]:
    """Agreement of edges and normalised mutual information of both, on the grid of the moving series."""
    spacing = np.linalg.norm(moving.affine[:3, :3], axis=0)
    shrink = [
        max(1, min(round(_LOOK_MM / float(step)), size))
        for step, size in zip(spacing, moving.voxels.shape, strict=True)
    ]
    coarse = resample.binned(moving, shrink)
    back = np.asarray(np.linalg.inv(motion), np.float64)
    seen, outside = place(coarse, fixed, back)
    head = placing.head_of(seen) & ~outside
    if np.count_nonzero(head) < 100:
        return 0.0, 1.0
    quality = placing.edges_agree(seen, coarse.voxels, np.linalg.norm(coarse.affine[:3, :3], axis=0).tolist())
    return quality, placing.mutual(seen[head], coarse.voxels[head])


def _placed(
    fixed: Volume,
    moving: Volume,
    motion: Matrix,
    start: tuple[float, float],
    after: tuple[float, float],
    believed: Registered,
    *,
    same_frame: bool,
    threads: int,
) -> Placed:
    identity = np.array_equal(motion, np.eye(4)) and fixed.on_the_grid_of(moving)
    voxels, padding = place(fixed, moving, motion, threads=threads)
    shape, other = fixed.voxels.shape, moving.voxels.shape
    indices = placing.index_map(fixed.affine, moving.affine, motion)
    steps = placing.finer_by(fixed.affine, moving.affine, motion)
    spread = (
        0.0 if identity else sum(0.5 * abs(float(indices[0, axis])) * (1 - 1 / step) for axis, step in enumerate(steps))
    )
    figures = {
        "quality": after[0],
        "shift_mm": placing.shift_mm(motion, placing.centre_of(fixed.voxels, fixed.affine)),
        "rotation_deg": placing.rotation_deg(motion),
        "cover": _cover(fixed, moving, motion),
    }
    return Placed(
        voxels=voxels,
        padding=padding,
        motion=motion,
        identity=identity,
        quality_start=start[0],
        mutual=after[1],
        mutual_start=start[1],
        reach=tuple((k, k + 1) for k in range(shape[0]))
        if identity
        else tuple(placing.reach(placing.covered(shape, other, indices), other[0], indices, spread)),
        reasons=tuple(_reasons(believed, same_frame=same_frame, **figures)),
        **figures,
    )


def _reasons(
    believed: Registered, *, same_frame: bool, quality: float, shift_mm: float, rotation_deg: float, cover: float
) -> Iterator[str]:
    """Why a motion must not be believed."""
    most_mm = believed.shift_mm if same_frame else believed.far_shift_mm
    most_deg = believed.rotation_deg if same_frame else believed.far_rotation_deg
    if quality < believed.quality:
        yield f"its edges agree by {quality:.2f}, at least {believed.quality:g} is needed"
    if cover < believed.cover:
        yield f"it reaches {100 * cover:.0f} % of the head, at least {100 * believed.cover:g} % are needed"
    if shift_mm > most_mm:
        yield f"it would have to be shifted by {shift_mm:.1f} mm, at most {most_mm:g} mm are believed"
    if rotation_deg > most_deg:
        yield f"it would have to be turned by {rotation_deg:.1f} degrees, at most {most_deg:g} are believed"


def _cover(fixed: Volume, moving: Volume, motion: Matrix) -> float:
    head = placing.head_of(fixed.voxels)
    indices = placing.index_map(fixed.affine, moving.affine, motion)
    inside = placing.covered(fixed.voxels.shape, moving.voxels.shape, indices)
    return float(np.count_nonzero(head & inside)) / max(1, int(np.count_nonzero(head)))


def _moves_mm(fixed: Volume, motion: Matrix) -> float:
    """How far a motion moves the part of the head that it moves most: a corner of the box around it."""
    found = np.argwhere(placing.head_of(fixed.voxels))
    if not len(found):
        return placing.shift_mm(motion, placing.centre_of(fixed.voxels, fixed.affine))
    low, high = found.min(axis=0), found.max(axis=0)
    corners = [(z, y, x) for z in (low[0], high[0]) for y in (low[1], high[1]) for x in (low[2], high[2])]
    return max(placing.shift_mm(motion, (fixed.affine @ np.append(corner, 1.0))[:3]) for corner in corners)


def _clipped(one: Volume) -> NDArray[np.float32]:
    """Without padding, and without the few brightest voxels, which would leave the rest of the bins empty."""
    voxels = one.voxels if one.padding is None else np.where(one.padding, np.float32(0), one.voxels)
    high = float(np.percentile(voxels[voxels > 0], 99.5)) if (voxels > 0).any() else 1.0
    return np.clip(voxels, 0.0, high)


def _coarser(sitk: Any, image: Any, mm: float) -> Any:
    """Voxels averaged to about that size. Means of blocks keep their place; sampled pixels are half a pixel off."""
    steps = [
        max(1, min(round(mm / step), size)) for step, size in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    return sitk.BinShrink(image, steps) if max(steps) > 1 else image


def _surroundings(sitk: Any, image: Any) -> Any:
    """The head with 8 mm of air around it: beyond, samples tell nothing."""
    head = placing.head_of(sitk.GetArrayViewFromImage(image))
    mask = sitk.GetImageFromArray(head.astype(np.uint8))
    mask.CopyInformation(image)
    return sitk.BinaryDilate(mask, [max(1, round(8.0 / step)) for step in image.GetSpacing()])
