"""From the grid of the template back to the slices as they came: where to look, and the maps."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.head import GRID, HeadStack, Pose, to_source
from engines.head_features import BRIGHT_Z, DARK_Z
from engines.head_volumes import blurred, grown, places_of, shrunk
from pipelines.head_ct_triage_look import Look
from pipelines.triage import MOST_SLICES, Maps
from pipelines.volume import Volume

_LEAST_ML: Final = 0.1  # of a region: less is noise
_MINIMUM: Final = 0.2  # of the strongest slice: weaker ones are not pointed at
_MOST_Z: Final = 8.0  # further beyond the limit counts no more
_PEAK_SIGMA: Final = (0.4, 3.0, 3.0)
_LEAST_APART_MM: Final = 4.0  # thin slices that show the same are not all pointed at


@dataclass(frozen=True, kw_only=True)
class Where:
    """Where the strongest findings are in the source: slices, strongest first, and the strongest voxel (z, y, x)."""

    slices: tuple[int, ...]
    peak: tuple[int, int, int] | None


def region(z: NDArray[np.float32], voxel_ml: float) -> NDArray[np.bool_]:
    """(32, 224, 192): places beyond what normals show, without specks of a pixel or two."""
    far = (z > BRIGHT_Z) | (z < DARK_Z)
    made = np.zeros_like(far)
    for index, plane in enumerate(far):
        core = shrunk(plane[None], 1.0, (1.0, 1.0, 1.0))
        made[index] = grown(core, 1.0, (1.0, 1.0, 1.0))[0] & plane
    if np.count_nonzero(made) * voxel_ml < _LEAST_ML:
        made[:] = False
    return made


def where(look: Look, pose: Pose, shape: tuple[int, int, int]) -> Where:
    """The strongest slices of the source: by how much z lies beyond what normals show, summed over the slice.

    shape: of the source
    """
    over = np.minimum(np.maximum(look.z - BRIGHT_Z, 0.0) + np.maximum(DARK_Z - look.z, 0.0), np.float32(_MOST_Z))
    if not over.any():
        over = np.abs(look.z)
    # A lesion is larger than a voxel: one at the inner table that bone shines into is not where to look.
    at = np.unravel_index(int(np.argmax(blurred(over, _PEAK_SIGMA))), over.shape)
    peak = _voxel(pose, at, shape)
    if peak is None:
        return Where(slices=(), peak=None)
    # Each place of the grid is told to the slice it lies in.
    chosen = over > 0.0
    index = np.rint(places_of(GRID.shape, pose.matrix, chosen)).astype(np.int64)
    within = np.logical_and(index >= 0, index < np.array(shape)[:, None]).all(axis=0)
    strength = np.bincount(index[0][within], weights=over[chosen][within], minlength=shape[0])
    spacing = float(np.linalg.norm(pose.inverse[:3, 0] * np.array(GRID.spacing_mm)))  # mm from slice to slice
    apart = max(int(np.ceil(_LEAST_APART_MM / max(spacing, 0.1) - 0.5)), 1)
    best: list[int] = []
    for candidate in np.argsort(-strength, kind="stable"):
        if strength[candidate] < _MINIMUM * strength.max() or len(best) == MOST_SLICES:
            break
        if all(abs(int(candidate) - other) >= apart for other in best):
            best.append(int(candidate))
    return Where(slices=tuple(best), peak=peak)


def maps(look: Look, stack: HeadStack, pose: Pose, source: Volume) -> Maps:
    """What was seen, on the grid of the source; the pseudo-healthy image is the source outside of the brain."""
    shape = source.voxels.shape
    size = (shape[0], shape[1], shape[2])
    z = np.asarray(to_source(look.z, pose, size), dtype=np.float32)
    marked = np.asarray(to_source(region(look.z, stack.voxel_ml), pose, size), dtype=np.bool_)
    inside = np.asarray(to_source(stack.mask, pose, size), dtype=np.bool_)
    healthy = np.asarray(to_source(_spread(look.answers.healthy, stack.mask), pose, size), dtype=np.float32)
    for index, plane in enumerate(source.voxels):
        healthy[index] = np.where(inside[index], healthy[index], plane)
        z[index][~inside[index]] = 0.0  # interpolation carries it a voxel beyond the border
    marked &= inside
    return Maps(z=z, region=marked, healthy=healthy)


def _spread(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Continued a little beyond the mask, so that interpolation at its border mixes nothing else in."""
    width = (0.5, 2.0, 2.0)
    share = blurred(mask.astype(np.float32), width)
    mean = blurred(np.where(mask, values, np.float32(0.0)), width) / np.maximum(share, np.float32(1e-3))
    return np.where(mask, values, mean).astype(np.float32)


def _voxel(pose: Pose, at: tuple[np.intp, ...], shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    placed = pose.matrix @ np.array([*(float(one) for one in at), 1.0])
    z, y, x = (int(np.clip(np.rint(one), 0, n - 1)) for one, n in zip(placed[:3], shape, strict=True))
    return (z, y, x) if np.isfinite(placed).all() else None
