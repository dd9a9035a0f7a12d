"""Where the voxels of one series lie on the grid of another, and how well both agree there: numpy alone.

A motion is a (4, 4) matrix in LPS mm: it maps a place in the patient as the grid has it to the place at which the other
series shows the same tissue.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

HEAD: Final = 0.15  # of the 99th percentile: above it is tissue, below air and noise
_FINE_MM: Final = 3.0  # gradients are taken along axes that are at least so fine
_INSIDE_MM: Final = 6.0  # edges count this deep under the surface: all heads have a surface
_BINS: Final = 48


def head_of(voxels: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(z, y, x): where there is tissue. Nothing where all is dark."""
    high = float(np.percentile(voxels[::2, ::2, ::2], 99.0))
    return np.asarray(voxels > HEAD * high) if high > 0 else np.zeros(voxels.shape, np.bool_)


def centre_of(voxels: NDArray[np.floating], affine: Matrix) -> NDArray[np.float64]:
    """The middle of the head, LPS mm; of the volume where there is no head."""
    found = np.argwhere(head_of(voxels))
    middle = found.mean(axis=0) if len(found) else (np.array(voxels.shape) - 1) / 2
    place: NDArray[np.float64] = (affine @ np.append(middle, 1.0))[:3]
    return place


def shift_mm(motion: Matrix, centre: NDArray[np.float64]) -> float:
    """How far a motion moves a point."""
    return float(np.linalg.norm((motion @ np.append(centre, 1.0))[:3] - centre))


def rotation_deg(motion: Matrix) -> float:
    """The angle by which a motion turns."""
    return math.degrees(math.acos(min(1.0, max(-1.0, (float(np.trace(motion[:3, :3])) - 1.0) / 2.0))))


def index_map(grid: Matrix, other: Matrix, motion: Matrix) -> Matrix:
    """(4, 4): index (z, y, x, 1) on the grid -> index in the other series. grid, other: affines."""
    mapped: Matrix = np.linalg.inv(other) @ motion @ grid
    return mapped


def covered(shape: Sequence[int], other: Sequence[int], indices: Matrix) -> NDArray[np.bool_]:
    """(z, y, x) of the grid: where the other series, of shape `other`, has a voxel. indices: `index_map`."""
    z, y, x = shape
    inside = np.ones((z, y, x), np.bool_)
    for axis, size in enumerate(other):
        row = indices[axis]
        plane = row[1] * np.arange(y)[:, None] + row[2] * np.arange(x)[None, :] + row[3]
        for k in range(z):
            at = plane + row[0] * k
            inside[k] &= (at >= -0.5 - 1e-6) & (at <= size - 0.5 + 1e-6)
    return inside


def reach(inside: NDArray[np.bool_], slices: int, indices: Matrix, spread: float) -> list[tuple[int, int]]:
    """For each slice of the grid the slices [first, last) of the other series that contribute to it; (0, 0) if none.

    inside: as `covered` gives it
    slices: of the other series
    spread: how far, in slices of the other series, sub-samples of a voxel lie from its middle
    """
    _, y, x = inside.shape
    row = indices[0]
    plane = row[1] * np.arange(y)[:, None] + row[2] * np.arange(x)[None, :] + row[3]
    found = []
    for k, here in enumerate(inside):
        at = (plane + row[0] * k)[here]
        if not at.size:
            found.append((0, 0))
            continue
        low, high = round(float(at.min()) - spread, 4), round(float(at.max()) + spread, 4)
        found.append((max(0, math.floor(low)), min(slices, math.ceil(high) + 1)))
    return found


def spacing_along(affine: Matrix, direction: NDArray[np.float64]) -> float:
    """How far apart, mm, voxels of a volume lie along a unit vector in LPS."""
    return 1.0 / float(np.linalg.norm(np.linalg.inv(affine)[:3, :3] @ direction))


def finer_by(grid: Matrix, other: Matrix, motion: Matrix) -> tuple[int, int, int]:
    """(z, y, x): how many sub-samples a voxel of the grid needs for the other series not to be under-sampled."""
    steps = []
    for axis in range(3):
        length = float(np.linalg.norm(grid[:3, axis]))
        turned = motion[:3, :3] @ (grid[:3, axis] / length)
        steps.append(max(1, round(length / spacing_along(other, turned))))
    return steps[0], steps[1], steps[2]


def edges_agree(first: NDArray[np.floating], second: NDArray[np.floating], spacing_mm: Sequence[float]) -> float:
    """How well the edges of two images of one head agree, whatever their contrasts are: 0 is chance, 1 is perfect.

    The squared cosine of the angle between both gradients, averaged with the product of their lengths as weight, from
    6 mm below the surface on, and scaled so that unrelated images give 0 (normalised gradient fields: Haber and
    Modersitzki, MICCAI 2006). Gradients are taken along axes finer than 3 mm.

    first, second: (z, y, x), on one grid
    """
    head = head_of(first)
    axes = [axis for axis in range(3) if spacing_mm[axis] <= _FINE_MM and first.shape[axis] > 2]
    inner = _eroded(_filled(head), [round(_INSIDE_MM / step) for step in spacing_mm])
    if len(axes) < 2 or np.count_nonzero(inner) < 100:
        return 0.0
    gradients = [_gradient(one, axes, spacing_mm, inner) for one in (first, second)]
    lengths = [np.sqrt((one**2).sum(axis=0)) for one in gradients]
    weight = lengths[0] * lengths[1]
    total = float(weight.sum())
    if total <= 0.0:
        return 0.0
    dot = (gradients[0] * gradients[1]).sum(axis=0)
    agree = float((dot**2 / np.maximum(weight, 1e-12)).sum()) / total
    chance = 1.0 / len(axes)
    return (agree - chance) / (1.0 - chance)


def mutual(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Normalised mutual information (H(a) + H(b)) / H(a, b) of two images: 1 is none, 2 is all (Studholme 1999)."""
    clipped = [np.clip(one, *np.percentile(one, [1.0, 99.0])).astype(np.float64).ravel() for one in (first, second)]
    counts = np.histogram2d(clipped[0], clipped[1], bins=_BINS)[0]
    joint = counts / counts.sum()
    both = _entropy(joint)
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both if both > 0 else 1.0


def _entropy(share: NDArray[np.float64]) -> float:
    some = share[share > 0]
    return float(-(some * np.log(some)).sum())


def _gradient(
    voxels: NDArray[np.floating], axes: Sequence[int], spacing_mm: Sequence[float], where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    whole: Any = [np.gradient(voxels, spacing_mm[axis], axis=axis)[where] for axis in axes]
    return np.stack(whole).astype(np.float64)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Dark parts within a head (CSF on T1, sinuses) belong to it: what has tissue on both sides, along x and y."""
    found = np.ones_like(mask)
    for axis in (1, 2):
        before = np.maximum.accumulate(mask, axis=axis)
        found &= before & np.flip(np.maximum.accumulate(np.flip(mask, axis=axis), axis=axis), axis=axis)
    return np.asarray(mask | found)


def _eroded(mask: NDArray[np.bool_], steps: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels whose box of so many steps to each side lies in the mask; beyond the volume is outside, but along z."""
    found = mask
    for axis, step in enumerate(steps):
        for _ in range(step):
            found = found & _shifted(found, 1, axis) & _shifted(found, -1, axis)
    return found


def _shifted(mask: NDArray[np.bool_], by: int, axis: int) -> NDArray[np.bool_]:
    moved = np.roll(mask, by, axis=axis)
    edge: list[Any] = [slice(None)] * 3
    edge[axis] = slice(0, 1) if by > 0 else slice(-1, None)
    moved[tuple(edge)] = axis == 0  # a stack that ends within the head has no surface there
    return moved
