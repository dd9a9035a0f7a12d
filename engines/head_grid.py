"""Between a series and the grid of the template: voxels there, maps back. numpy only."""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines import head_template
from engines.head_frame import GRID, Array, HeadStack, Mask, Pose
from engines.head_volumes import averaged, blurred, grown, places_of, sampled

_BEYOND_MM: Final = 6.0  # of the template's inside: further out is no brain, whatever the mask holds
_MOST_LAYERS: Final = 8  # samples across a slab of 5 mm


@lru_cache(maxsize=1)
def reach() -> Mask:
    """(32, 224, 192) bool: where the template, a little grown, has a brain at all; ends the cord and the orbits."""
    near = grown(head_template.load().inside > 0.5, _BEYOND_MM, (head_template.SPACING_MM,) * 3)
    inside = blurred(near.astype(np.float32), (0.7, 0.7, 0.7))
    matrix = np.linalg.inv(head_template.to_mm()) @ GRID.to_mm()
    made: Mask = sampled(inside, places_of(GRID.shape, matrix)).reshape(GRID.shape) > 0.5
    return made


def to_grid(voxels: Array, pose: Pose, mask: Mask) -> HeadStack:
    """The brain on the grid.

    voxels: (z, y, x) HU
    mask:   (z, y, x) from `brain_mask`

    Slices thinner than 5 mm are averaged over the slab, thicker ones interpolated; pixels finer than 1 mm are averaged
    first, so that noise does not alias. Only voxels of the brain count, so that no skull shines in.
    """
    steps = np.linalg.norm(pose.matrix[:3, :3], axis=1)  # source voxels for a voxel of the grid, (z, y, x)
    ratio = (max(round(float(steps[1])), 1), max(round(float(steps[2])), 1))
    layers = min(max(int(np.ceil(float(steps[0]) - 0.25)), 1), _MOST_LAYERS)
    share, weighted = _thinned(voxels, mask, ratio)
    scale = 1.0 / np.array([1.0, *ratio])
    chosen = reach()
    held, total = np.zeros((2, np.count_nonzero(chosen)), np.float32)
    for layer in range(layers):
        matrix = pose.matrix.copy()
        matrix[:3, 3] += pose.matrix[:3, 0] * ((layer + 0.5) / layers - 0.5)
        matrix[:3] *= scale[:, None]
        matrix[:3, 3] += 0.5 * scale - 0.5
        places = places_of(GRID.shape, matrix, chosen)
        inside = np.logical_and(places > -0.5, places < np.array(share.shape)[:, None] - 0.5).all(axis=0)
        held += sampled(share, places) * inside
        total += sampled(weighted, places) * inside
    held /= layers
    found = held > 0.5
    made = np.zeros(GRID.shape, np.bool_)
    made[chosen] = found
    hu = np.zeros(GRID.shape, np.float32)
    hu[made] = total[found] / (held[found] * layers)
    return HeadStack(hu=hu, mask=made, voxel_ml=pose.voxel_ml)


def to_source(values: NDArray[np.generic], pose: Pose, shape: tuple[int, int, int]) -> NDArray[np.generic]:
    """Values of the grid on the voxels of the source; 0 (False) where the grid does not reach.

    values:  (32, 224, 192), float32 (interpolated) or bool (nearest)
    returns: `shape` (z, y, x), of the same type
    """
    made = np.zeros(shape, values.dtype)
    box = _box(pose, shape)
    if any(part.stop <= part.start for part in box):
        return made
    rows, columns = box[1], box[2]
    fine = values.dtype == np.bool_
    every = 1 if fine else max(round(float(np.min(np.linalg.norm(pose.matrix[1:3, :3], axis=1)))), 1)
    knots_y, knots_x = (np.arange(part.start, part.stop + every - 1, every) for part in (rows, columns))
    step = np.diag([1.0, float(every), float(every), 1.0])
    for index in range(box[0].start, box[0].stop):
        step[:3, 3] = [index, rows.start, columns.start]
        places = places_of((1, len(knots_y), len(knots_x)), pose.inverse @ step)
        within = np.logical_and(places >= -0.5, places <= np.array(GRID.shape)[:, None] - 0.5).all(axis=0)
        plane = _nearest(values, places) if fine else sampled(values.astype(np.float32, copy=False), places)
        plane = np.where(within, plane, np.zeros((), values.dtype)).reshape(len(knots_y), len(knots_x))
        made[index, rows, columns] = plane if every == 1 else _spread(plane, every, made[index, rows, columns].shape)
    return made


def _thinned(voxels: Array, mask: Mask, ratio: tuple[int, int]) -> tuple[Array, Array]:
    """The mask and the brain's HU, 0 outside, averaged over so many rows and columns."""
    shape = (len(voxels), -(-voxels.shape[1] // ratio[0]), -(-voxels.shape[2] // ratio[1]))
    share, weighted = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for index, (image, inside) in enumerate(zip(voxels, mask, strict=True)):
        if inside.any():
            share[index] = averaged(inside, *ratio)
            weighted[index] = averaged(np.where(inside, image, np.float32(0.0)), *ratio)
    return share, weighted


def _box(pose: Pose, shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """The part of the source that the grid can reach."""
    z, y, x = (n - 0.5 for n in GRID.shape)
    corners = np.array([[a, b, c, 1.0] for a in (-0.5, z) for b in (-0.5, y) for c in (-0.5, x)]).T
    placed = (pose.matrix @ corners)[:3]
    low = np.clip(np.floor(placed.min(axis=1)), 0, shape).astype(int)
    high = np.clip(np.ceil(placed.max(axis=1)) + 1, 0, shape).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def _spread(knots: NDArray[np.generic], every: int, shape: tuple[int, ...]) -> Array:
    """Linear interpolation from knots that stand `every` pixels apart, from the first pixel on; (y, x)."""
    made = knots.astype(np.float32)
    for axis, count in enumerate(shape):
        moved = np.moveaxis(made, axis, 0)
        at = np.arange(count)
        first = at // every
        part = ((at % every) / np.float32(every)).astype(np.float32)[:, None]
        following = np.minimum(first + 1, len(moved) - 1)
        made = np.moveaxis(moved[first] + part * (moved[following] - moved[first]), 0, axis)
    return made


def _nearest(values: NDArray[np.generic], places: NDArray[np.float32]) -> NDArray[np.generic]:
    """The value of the nearest voxel; that of the border beyond it; False beyond it by more than half a voxel."""
    index = np.rint(places).astype(np.int32)
    within = np.ones(index.shape[1], np.bool_)
    for at, n in zip(index, values.shape, strict=True):
        within &= (at >= 0) & (at < n)
        np.clip(at, 0, n - 1, out=at)
    flat = (index[0] * values.shape[1] + index[1]) * values.shape[2] + index[2]
    return np.where(within, values.reshape(-1)[flat], np.zeros((), values.dtype))
