"""Where the brain is in a head CT, by bone and shape alone: the inside of a closed skull. numpy only.

A voxel lies inside when it sees bone in nearly all directions: a skull is closed; a neck, a face and a leg are not.
This needs no orientation and forgives the foramen magnum, a scan that begins above the skull base, and a gantry tilt.
"""

import itertools
from typing import Final

import numpy as np

from engines.head_frame import Array, Mask, NoBrain
from engines.head_volumes import averaged, deepest, factor, grown, reached, shrunk

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
    """Where bone and where soft tissue is, on voxels of about 3 mm (slices that are thicker stay), and their size."""
    many = [factor(mm, COARSE_MM) for mm in spacing_mm]
    dense, mean = [], []
    for first in range(0, len(voxels), many[0]):
        slab = voxels[first : first + many[0]]
        if not np.isfinite(slab).all():
            raise NoBrain("Voxels are no numbers.")
        hard = np.mean([averaged(image > BONE_HU, many[1], many[2]) for image in slab], axis=0)
        flat = np.mean([averaged(np.clip(image, -200.0, 300.0), many[1], many[2]) for image in slab], axis=0)
        dense.append(hard)
        mean.append(flat)
    bone = np.stack(dense) > _SHARE
    tissue = ~bone & (np.stack(mean) > _TISSUE_HU[0]) & (np.stack(mean) < _TISSUE_HU[1] + 100.0)
    return bone, tissue, (many[0] * spacing_mm[0], many[1] * spacing_mm[1], many[2] * spacing_mm[2])


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
    many = [factor(mm, COARSE_MM) for mm in spacing_mm]
    coarse_mm = (many[0] * spacing_mm[0], many[1] * spacing_mm[1], many[2] * spacing_mm[2])
    near = grown(inside, 1.5 * max(coarse_mm[1:]), coarse_mm)
    deep = shrunk(inside, 2.5 * max(coarse_mm[1:]), coarse_mm)
    rows, columns = factor(spacing_mm[1], FINE_MM), factor(spacing_mm[2], FINE_MM)
    made = np.zeros(voxels.shape, np.bool_)
    for index, image in enumerate(voxels):
        at = index // many[0]
        if not near[at].any():
            continue
        mean = averaged(image, rows, columns)
        y = np.arange(mean.shape[0]) * rows // many[1]
        x = np.arange(mean.shape[1]) * columns // many[2]
        soft = (mean > _TISSUE_HU[0]) & (mean < _TISSUE_HU[1])
        plane = _one_piece(near[at][y][:, x] & soft | deep[at][y][:, x], rows * spacing_mm[1], columns * spacing_mm[2])
        made[index] = plane.repeat(rows, axis=0).repeat(columns, axis=1)[: image.shape[0], : image.shape[1]]
    return made


def _one_piece(plane: Mask, row_mm: float, column_mm: float) -> Mask:
    """Drawn back by a pixel, and without what hangs on by less than 6 mm."""
    spacing = (1.0, row_mm, column_mm)
    core = shrunk(plane[None], 3.0, spacing)
    made: Mask = (grown(core, 2.0, spacing) & plane[None])[0]
    return made
