"""Arithmetic on small volumes, numpy only: means over blocks, blurring, growing, sampling."""

import numpy as np
from numpy.typing import NDArray

from engines.head_frame import Array, Mask, Matrix


def factor(spacing_mm: float, target_mm: float) -> int:
    """How many voxels make one of about `target_mm`; 1 where they are as large already."""
    return max(round(target_mm / spacing_mm), 1)


def averaged(image: Array, rows: int, columns: int) -> Array:
    """Means over blocks of so many rows and columns; the last ones over what is left.

    image: (y, x); returns: (ceil(y / rows), ceil(x / columns)) float32

    Sums along an axis and no product of matrices: the same bits whatever threads a library of linear algebra has, and
    none of them waiting for a core.
    """
    made = image.astype(np.float32, copy=False)
    for axis, many in ((0, rows), (1, columns)):
        if many > 1:
            starts = np.arange(0, image.shape[axis], many)
            counts = np.diff([*starts, image.shape[axis]]).astype(np.float32)
            shape = (-1, 1) if axis == 0 else (1, -1)
            made = (np.add.reduceat(made, starts, axis=axis) / counts.reshape(shape)).astype(np.float32, copy=False)
    return made


def blurred(volume: Array, sigma: tuple[float, float, float]) -> Array:
    """Gaussian, sigma in voxels along (z, y, x), cut at 3 sigma, the border repeated."""
    made = volume
    for axis, width in enumerate(sigma):
        reach = int(np.ceil(3.0 * width))
        if reach == 0:
            continue
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
        weights = (weights / weights.sum()).astype(np.float32)
        wide = np.pad(made, [(reach, reach) if at == axis else (0, 0) for at in range(3)], mode="edge")
        moved = np.moveaxis(wide, axis, 0)
        total = np.zeros_like(np.moveaxis(made, axis, 0))
        for at, weight in enumerate(weights):
            total += weight * moved[at : at + len(total)]
        made = np.moveaxis(total, 0, axis)
    return np.ascontiguousarray(made)


def grown(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Dilated by an ellipsoid: everything within `radius_mm` of the mask.

    The squared distance is the least over the offsets of one axis after the other, which is exact up to the radius.
    """
    limit = np.float32((radius_mm + 1e-3) ** 2)
    squared = np.where(mask, np.float32(0.0), np.float32(np.inf))
    for axis, mm in enumerate(spacing_mm):
        moved = np.moveaxis(squared, axis, 0)
        least = moved.copy()
        for step in range(1, int((radius_mm + 1e-3) / mm) + 1):
            if step >= len(moved):
                break
            cost = np.float32((step * mm) ** 2)
            np.minimum(least[step:], moved[:-step] + cost, out=least[step:])
            np.minimum(least[:-step], moved[step:] + cost, out=least[:-step])
        squared = np.moveaxis(least, 0, axis)
    made: Mask = squared <= limit
    return made


def shrunk(mask: Mask, radius_mm: float, spacing_mm: tuple[float, float, float]) -> Mask:
    """Eroded by an ellipsoid; what lies beyond the border counts as mask."""
    made: Mask = ~grown(~mask, radius_mm, spacing_mm)
    return made


def reached(seed: Mask, within: Mask) -> Mask:
    """What can be reached from the seed by steps along the axes without leaving `within`."""
    found = seed & within
    count = -1
    while (now := int(np.count_nonzero(found))) != count:
        count = now
        for axis in range(3):
            moved, allowed = np.moveaxis(found, axis, 0), np.moveaxis(within, axis, 0)
            for at in range(1, len(moved)):  # a sweep up, then one down
                moved[at] |= moved[at - 1] & allowed[at]
            for at in range(len(moved) - 2, -1, -1):
                moved[at] |= moved[at + 1] & allowed[at]
    return found


def deepest(mask: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """What is left of a mask before erosion leaves nothing: the middle of its thickest part. Empty for an empty one."""
    step = max(spacing_mm)
    last = mask
    while (now := shrunk(last, step, spacing_mm)).any() and not np.array_equal(now, last):
        last = now
    return last


def sampled(volume: Array, places: NDArray[np.float32]) -> Array:
    """Trilinear values at places.

    volume:  (z, y, x)
    places:  (3, n) float32, index coordinates; beyond the border the nearest voxel counts
    returns: (n,) float32
    """
    depth, rows, columns = volume.shape
    z, y, x = (np.clip(at, 0.0, n - 1.0) for at, n in zip(places, volume.shape, strict=True))
    z0 = np.minimum(z.astype(np.int32), max(depth - 2, 0))
    y0 = np.minimum(y.astype(np.int32), max(rows - 2, 0))
    x0 = np.minimum(x.astype(np.int32), max(columns - 2, 0))
    z, y, x = z - z0, y - y0, x - x0
    flat = volume.reshape(-1)
    first = (z0 * rows + y0) * columns + x0
    up, on, along = rows * columns if depth > 1 else 0, columns if rows > 1 else 0, 1 if columns > 1 else 0

    def row(start: NDArray[np.int32]) -> Array:
        left = flat[start]
        made: Array = left + x * (flat[start + along] - left)
        return made

    low = row(first)
    low += y * (row(first + on) - low)
    high = row(first + up)
    high += y * (row(first + up + on) - high)
    low += z * (high - low)
    return low


def places_of(shape: tuple[int, int, int], matrix: Matrix, chosen: Mask | None = None) -> NDArray[np.float32]:
    """(3, n) float32: where `matrix` puts the voxels of a grid, all in C order or only the chosen ones."""
    if chosen is None:
        z, y, x = (np.arange(n, dtype=np.float64) for n in shape)
        made = np.empty((3, *shape), dtype=np.float32)
        for axis in range(3):
            row = matrix[axis]
            made[axis] = (row[0] * z)[:, None, None] + (row[1] * y)[None, :, None] + (row[2] * x + row[3])[None, None]
        return made.reshape(3, -1)
    indices = np.nonzero(chosen)
    made = np.empty((3, len(indices[0])), dtype=np.float32)
    for axis in range(3):
        row = matrix[axis]
        made[axis] = row[0] * indices[0] + row[1] * indices[1] + row[2] * indices[2] + row[3]
    return made
