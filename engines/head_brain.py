"""Where the brain is in a head CT, by bone and shape alone: the inside of a closed skull. numpy only.

A voxel lies inside when it sees bone in nearly all directions: a skull is closed; a neck, a face and a leg are not.
This needs no orientation and forgives the foramen magnum, a scan that begins above the skull base, and a gantry tilt.
"""

import itertools
from typing import Final

import numpy as np

from engines.head_frame import Array, Mask, NoBrain
from engines.head_volumes import averaging, deepest, grown, reached, shrunk

BONE_HU: Final = 300.0
COARSE_MM: Final = 3.0
FINE_MM: Final = 1.0  # in the plane, for the inner table
LEAST_ML, MOST_ML = 850.0, 2300.0  # of the inside of an adult's skull, with what a scan may cut off its base

_DIRECTIONS: Final = tuple(way for way in itertools.product((-1, 0, 1), repeat=3) if any(way))
_LEAST_SEEN: Final = 16  # of 26 directions: an open floor leaves 17
_SHARE: Final = 0.25  # of a coarse voxel: the vault is about one voxel thick
_TISSUE_HU: Final = (-60.0, 150.0)  # brain, blood, and the half of a voxel that is bone or fat
_OPENING_MM: Final = 9.0  # what is joined to the brain through less is no brain: orbits, canals, the neck


def brain_mask(voxels: Array, spacing_mm: tuple[float, float, float]) -> Mask:
    """The inside of the skull.

    voxels:     (z, y, x) HU, in any orientation
    spacing_mm: distance of slices, rows and columns
    returns:    (z, y, x) bool, one piece, without the partial volume of the inner table
    raises:     NoBrain when no closed skull of an adult's size is there, or values are no numbers
    """
    if voxels.ndim != 3 or min(voxels.shape) < 3:
        raise NoBrain(f"A stack of {' x '.join(map(str, voxels.shape))} voxels shows no head.")
    if not all(np.isfinite(mm) and 0.05 <= mm <= 20.0 for mm in spacing_mm):
        raise NoBrain("The distance of the voxels is none that a head CT has.")
    extent = [n * mm for n, mm in zip(voxels.shape, spacing_mm, strict=True)]
    if min(extent) < 60.0:
        raise NoBrain(f"The scan covers {min(extent):.0f} mm along its shortest side; a head needs 60 mm and more.")
    bone, tissue, coarse_mm = _coarse(voxels, spacing_mm)
    if not bone.any():
        raise NoBrain(f"Nothing in the scan is as dense as bone (over {BONE_HU:.0f} HU).")
    inside = _inside(bone, tissue, coarse_mm)
    volume_ml = float(np.count_nonzero(inside)) * float(np.prod(coarse_mm)) / 1000.0
    if volume_ml < LEAST_ML:
        raise NoBrain(
            f"No closed skull of an adult: {volume_ml:.0f} mL are surrounded by bone, an adult's head holds "
            f"{LEAST_ML:.0f} mL and more. The skull is small, open, or not wholly in the scan."
        )
    if volume_ml > MOST_ML:
        raise NoBrain(f"{volume_ml:.0f} mL are surrounded by bone, more than a skull holds ({MOST_ML:.0f} mL).")
    return _fine(voxels, inside, spacing_mm)


def _coarse(voxels: Array, spacing_mm: tuple[float, float, float]) -> tuple[Mask, Mask, tuple[float, float, float]]:
    """Where bone and where soft tissue is, on voxels of about 3 mm, and their true size."""
    along_z, along_y, along_x = (averaging(n, mm, COARSE_MM) for n, mm in zip(voxels.shape, spacing_mm, strict=True))
    across = np.ascontiguousarray(along_x.T)
    shape = (len(along_z), len(along_y), len(along_x))
    dense, mean = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for index, image in enumerate(voxels):
        if not np.isfinite(image).all():
            raise NoBrain("Voxels are no numbers.")
        flat = along_y @ (np.clip(image, -200.0, 300.0) @ across)
        hard = along_y @ ((image > BONE_HU).astype(np.float32) @ across)
        for at in np.flatnonzero(along_z[:, index]):
            mean[at] += along_z[at, index] * flat
            dense[at] += along_z[at, index] * hard
    size = tuple(n * mm / m for n, mm, m in zip(voxels.shape, spacing_mm, shape, strict=True))
    bone = dense > _SHARE
    tissue = ~bone & (mean > _TISSUE_HU[0]) & (mean < _TISSUE_HU[1] + 100.0)
    return bone, tissue, (size[0], size[1], size[2])


def _inside(bone: Mask, tissue: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """The thickest piece of tissue that bone surrounds; empty where there is none."""
    seen = np.zeros(bone.shape, np.uint8)
    for way in _DIRECTIONS:
        seen += _meets(bone, way)
    surrounded = tissue & (seen >= _LEAST_SEEN)
    core = shrunk(surrounded, _OPENING_MM, spacing_mm)
    core = reached(deepest(core, spacing_mm), core)
    return grown(core, _OPENING_MM + 0.5 * max(spacing_mm), spacing_mm) & surrounded


def _meets(bone: Mask, way: tuple[int, ...]) -> Mask:
    """Whether a ray from each voxel in one of the 26 directions meets bone before it leaves the scan."""
    axis = next(at for at, step in enumerate(way) if step)
    moved = np.moveaxis(bone, axis, 0)
    found = np.zeros_like(moved)
    step = way[axis]
    shift = tuple(w for at, w in enumerate(way) if at != axis)
    order = range(len(moved) - 2, -1, -1) if step > 0 else range(1, len(moved))
    for at in order:
        found[at] = _shifted(moved[at + step] | found[at + step], shift)
    return np.moveaxis(found, 0, axis)


def _shifted(plane: Mask, way: tuple[int, ...]) -> Mask:
    """Every pixel's neighbour in that direction; False beyond the border."""
    made = np.zeros_like(plane)
    here = tuple(slice(max(-w, 0), n - max(w, 0)) for w, n in zip(way, plane.shape, strict=True))
    there = tuple(slice(max(w, 0), n - max(-w, 0)) for w, n in zip(way, plane.shape, strict=True))
    made[here] = plane[there]
    return made


def _fine(voxels: Array, inside: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """The same on the source's voxels: near the skull what is not bone, deep within everything.

    Bone's edge is taken on pixels of about 1 mm, so that noise makes no holes, and drawn back by one of them.
    """
    grid = tuple(n * mm / m for n, mm, m in zip(voxels.shape, spacing_mm, inside.shape, strict=True))
    coarse_mm = (grid[0], grid[1], grid[2])
    near = grown(inside, 1.5 * max(coarse_mm), coarse_mm)
    deep = shrunk(inside, 2.5 * max(coarse_mm), coarse_mm)
    along_y, along_x = (
        averaging(n, mm, max(FINE_MM, mm)) for n, mm in zip(voxels.shape[1:], spacing_mm[1:], strict=True)
    )
    across = np.ascontiguousarray(along_x.T)
    planes = np.minimum(((np.arange(len(voxels)) + 0.5) * len(inside) / len(voxels)).astype(int), len(inside) - 1)
    rows, columns = (
        np.minimum(((np.arange(m) + 0.5) * n / m).astype(int), n - 1)
        for m, n in ((len(along_y), inside.shape[1]), (len(along_x), inside.shape[2]))
    )
    fine = np.empty((len(voxels), len(along_y), len(along_x)), np.bool_)
    for index, image in enumerate(voxels):
        mean = along_y @ (image @ across)
        soft = (mean > _TISSUE_HU[0]) & (mean < _TISSUE_HU[1])
        at = planes[index]
        fine[index] = near[at][rows][:, columns] & soft | deep[at][rows][:, columns]
    fine = _one_piece(fine, (spacing_mm[0], FINE_MM, FINE_MM))
    down, right = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(int), m - 1)
        for n, m in zip(voxels.shape[1:], fine.shape[1:], strict=True)
    )
    made = np.empty(voxels.shape, np.bool_)
    for index, plane in enumerate(fine):
        made[index] = plane[down][:, right]
    return made


def _one_piece(mask: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """Drawn back by a pixel within the slices, and without what hangs on by less than 3 pixels."""
    made = np.zeros_like(mask)
    for index, plane in enumerate(mask):
        core = shrunk(plane[None], 3.0, spacing_mm)
        made[index] = (grown(core, 2.0, spacing_mm) & plane[None])[0]
    return made
