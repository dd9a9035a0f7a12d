"""Gantry tilt: a sheared stack of CT slices resampled into an upright grid, and what was made there brought back.

With a tilted gantry every slice lies a little further along its own rows than the one before (PS3.3 C.8.2.1, Gantry/
Detector Tilt). A network that looks at one slice does not see that; one that looks at several sees a sheared body.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipelines.volume import Volume

STRAIGHT_PX = 0.02  # over the whole stack: a shear below it is rounding of the header's positions


@dataclass(frozen=True, kw_only=True)
class Shear:
    """How far each slice lies beside the one before, in pixels along the axes of the slice: (y, x)."""

    per_slice: tuple[float, float]
    slices: int

    @classmethod
    def of(cls, volume: Volume) -> Self:
        """Measure the shear of a volume by its affine."""
        step, down, right = volume.affine[:3, 0], volume.affine[:3, 1], volume.affine[:3, 2]
        return cls(
            per_slice=(float(step @ down / (down @ down)), float(step @ right / (right @ right))),
            slices=volume.voxels.shape[0],
        )

    @property
    def is_straight(self) -> bool:
        """Whether there is nothing to correct."""
        return max(abs(one) for one in self.per_slice) * (self.slices - 1) <= STRAIGHT_PX

    @property
    def first(self) -> tuple[int, int]:
        """How many pixels the upright grid begins before the first slice, (y, x), not positive."""
        y, x = (math.floor(min(0.0, one * (self.slices - 1))) for one in self.per_slice)
        return y, x

    @property
    def room(self) -> tuple[int, int]:
        """How many pixels larger the upright grid is, (y, x)."""
        y, x = (math.ceil(abs(one) * (self.slices - 1)) for one in self.per_slice)
        return y, x

    def at(self, index: int) -> tuple[float, float]:
        """Where slice `index` begins in the upright grid, (y, x) in pixels."""
        y, x = (one * index - first for one, first in zip(self.per_slice, self.first, strict=True))
        return y, x


def upright(volume: Volume, *, fill: float) -> Volume:
    """Resample a sheared volume so that its slices lie above one another; linear within the slice.

    volume:  (z, y, x); left as it is
    fill:    what stands where the scanner measured nothing, in the volume's unit
    returns: (z, y + room, x + room); padding is True where a voxel would be made of padding or of nothing; the volume
             itself where it is upright already
    """
    shear = Shear.of(volume)
    if shear.is_straight:
        return volume
    count, rows, columns = volume.voxels.shape
    shape = (count, rows + shear.room[0], columns + shear.room[1])
    voxels, padding = np.full(shape, fill, np.float32), np.ones(shape, np.bool_)
    for index in range(count):
        outside = np.zeros((rows, columns), np.bool_) if volume.padding is None else volume.padding[index]
        where = shear.at(index)
        moved = _moved(volume.voxels[index], where, shape[1:])
        measured = _moved((~outside).astype(np.float32), where, shape[1:]) > 1 - 1e-4
        voxels[index][measured] = moved[measured]
        padding[index] = ~measured
    affine = volume.affine.copy()
    down, right = affine[:3, 1], affine[:3, 2]
    affine[:3, 3] += shear.first[0] * down + shear.first[1] * right
    affine[:3, 0] -= shear.per_slice[0] * down + shear.per_slice[1] * right
    return Volume(voxels=voxels, affine=affine, unit=volume.unit, padding=padding)


def tilted_back(change: NDArray[np.float32], source: Volume) -> NDArray[np.float32]:
    """Bring what a network changed in the upright grid back to the grid of the source.

    Only the change is resampled: what the network left alone stays what the scanner measured, to the bit.

    change:  difference on the grid of `upright(source)`
    source:  the sheared volume
    returns: difference on the grid of the source, (z, y, x); 0 where nothing was known of it
    """
    shear = Shear.of(source)
    if shear.is_straight:
        return change
    back = np.empty(source.voxels.shape, np.float32)
    for index in range(len(back)):
        y, x = shear.at(index)
        back[index] = _moved(change[index], (-y, -x), back.shape[1:])
    return back


def _moved(image: NDArray[np.float32], by: tuple[float, float], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """An image moved by (y, x) pixels into another frame, linear, 0 beyond its edges."""
    result = image
    for axis in (0, 1):
        result = _moved_along(result, by[axis], shape[axis], axis)
    return result


def _moved_along(image: NDArray[np.float32], by: float, size: int, axis: int) -> NDArray[np.float32]:
    source = np.moveaxis(image, axis, 0)
    result = np.zeros((size, *source.shape[1:]), np.float32)
    whole = math.floor(by)
    part = np.float32(by - whole)
    for offset, weight in ((whole, 1 - part), (whole + 1, part)):
        if weight == 0:
            continue
        first, last = max(0, offset), min(size, offset + len(source))
        if last > first:
            result[first:last] += weight * source[first - offset : last - offset]
    return np.moveaxis(result, 0, axis)
