"""Whole heads from label maps: what is where, and the small things that the maps do not name. numpy only.

The maps (BBillot/SynthSeg, Apache-2.0) carry FreeSurfer's numbers; above 500 stand arteries (502), eyes (506), muscle
and other soft tissue (507, 508), mucosa (509), skin and fat (511), cord (512), veins and dural sinuses (514), bone
(515), fat (516) and optic nerves (530), as their shapes tell.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.clean import read_nifti

DATA = Path(__file__).parents[2].parent / "shared" / "data"
TRAIN, CHOOSE, HELD_BACK = (1, 2, 3), (4,), (5, 6)
Mask = NDArray[np.bool_]


class Tissue(IntEnum):
    """What a voxel is; the numbers index the tables of `contrast_tissue`."""

    AIR = 0
    WHITE = 1
    GREY = 2
    DEEP = 3  # thalamus, pallidum, brain stem: between white and grey
    CSF = 4
    SPOTS = 5  # white-matter lesions of age, as the maps have them
    ARTERY = 6
    VEIN = 7  # dural sinuses and the large veins of the neck
    SMALL_VEIN = 8  # painted: thin, in the sulci
    CHOROID = 9
    PITUITARY = 10  # painted: below the optic chiasm
    MUCOSA = 11
    DURA = 12  # painted: the voxels of bone that touch CSF or brain
    MUSCLE = 13
    FAT = 14
    BONE = 15
    EYE = 16


_LABELS = {
    Tissue.WHITE: (2, 41, 7, 46, 85, 530),
    Tissue.GREY: (3, 42, 8, 47, 11, 12, 50, 51, 17, 18, 53, 54, 26, 58),
    Tissue.DEEP: (10, 49, 13, 52, 16, 28, 60, 512),
    Tissue.CSF: (4, 5, 14, 15, 24, 43, 44, 72),
    Tissue.SPOTS: (25, 57),
    Tissue.ARTERY: (30, 62, 502),
    Tissue.VEIN: (514,),
    Tissue.CHOROID: (136, 137, 163, 164),
    Tissue.MUCOSA: (509,),
    Tissue.MUSCLE: (507, 508),
    Tissue.FAT: (511, 516),
    Tissue.BONE: (515,),
    Tissue.EYE: (506,),
}
BRAIN = (Tissue.WHITE, Tissue.GREY, Tissue.DEEP, Tissue.SPOTS)
_CHIASM = 85
_BELOW_MM = 25  # of the lowest cerebellum: what a head examination shows of the neck


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """One head at 1 mm.

    tissue: (z, y, x) uint8, `Tissue`; z from feet to head, y from front to back, x from right to left
    inside: (z, y, x) uint8, how much of the surroundings is inside the skull, 0 to 255: a cut through it is what
            removes the skull
    """

    number: int
    tissue: NDArray[np.uint8]
    inside: NDArray[np.uint8]


def path_of(number: int, data: Path = DATA) -> Path:
    """The file of head 1 to 6."""
    return data / "labels" / f"head_labels_{number:02d}.nii.gz"


@lru_cache(maxsize=3)
def load(number: int, data: Path = DATA) -> Head:
    """Read a head, cut to what an examination shows. raises: ValueError for labels that are not known"""
    # Axes of the files: left, down, front. Read as (front, down, left).
    labels = read_nifti(path_of(number, data)).astype(np.int16).transpose(1, 0, 2)[::-1, ::-1]
    table = np.full(1000, 255, dtype=np.uint8)
    table[0] = Tissue.AIR
    for tissue, numbers in _LABELS.items():
        table[list(numbers)] = tissue
    found = table[labels]
    if (found == 255).any():
        raise ValueError(f"Head {number} has unknown labels {np.unique(labels[found == 255]).tolist()}.")
    chiasm = [float(axis.mean()) for axis in np.nonzero(labels == _CHIASM)]
    brain = np.isin(found, BRAIN)
    rows = np.nonzero(np.isin(found, (Tissue.WHITE, Tissue.GREY)).any(axis=(1, 2)))[0]
    floor = max(int(rows[0]) - _BELOW_MM, 0)
    occupied = [np.nonzero((found[floor:] != 0).any(axis=axes))[0] for axes in ((1, 2), (0, 2), (0, 1))]
    box = tuple(slice(max(int(at[0]) - 6, 0), int(at[-1]) + 7) for at in occupied)
    found, brain = found[floor:][box], brain[floor:][box]
    start = (floor + box[0].start, box[1].start, box[2].start)
    _paint(found, brain, (chiasm[0] - start[0], chiasm[1] - start[1], chiasm[2] - start[2]), number)
    content = brain | np.isin(found, (Tissue.CSF, Tissue.CHOROID, Tissue.SMALL_VEIN)) & (blur(brain, 5.0) > 0.04)
    return Head(number=number, tissue=found, inside=np.rint(blur(content, 2.0) * 255.0).astype(np.uint8))


def _paint(tissue: NDArray[np.uint8], brain: Mask, chiasm: tuple[float, float, float], number: int) -> None:
    """Dura, pituitary and the veins of the sulci, in place."""
    content = brain | (tissue == Tissue.CSF) & (blur(brain, 5.0) > 0.04)
    tissue[_grown(content) & (tissue == Tissue.BONE)] = Tissue.DURA
    rng = np.random.default_rng([number, 77])
    first, second = (smooth_field(rng, tissue.shape, (9.0, 9.0, 9.0)) for _ in range(2))
    veins = (np.abs(first) < 0.14) & (np.abs(second) < 0.14) & (tissue == Tissue.CSF) & _grown(brain, 3)
    tissue[veins] = Tissue.SMALL_VEIN
    z, y, x = np.ogrid[tuple(slice(0, length) for length in tissue.shape)]
    gland = ((z - chiasm[0] + 9.0) / 3.5) ** 2 + ((y - chiasm[1] - 2.0) / 4.5) ** 2 + ((x - chiasm[2]) / 6.5) ** 2
    tissue[gland < 1.0] = Tissue.PITUITARY


def _grown(mask: Mask, voxels: int = 1) -> Mask:
    """Dilated by a cross."""
    for _ in range(voxels):
        grown = mask.copy()
        for axis in range(3):
            for way in (1, -1):
                grown |= np.roll(mask, way, axis)
        mask = grown
    return mask


def blur(volume: NDArray[np.generic], sigma: float) -> NDArray[np.float32]:
    """Gaussian along all three axes, the border repeated; sigma in voxels."""
    made = volume.astype(np.float32)
    for axis in range(3):
        made = np.moveaxis(
            np.tensordot(_gauss(made.shape[axis], sigma), made, axes=([1], [axis])), 0, axis
        )  # as a matrix: one call into BLAS
    return np.ascontiguousarray(made)


@lru_cache(maxsize=32)
def _gauss(length: int, sigma: float) -> NDArray[np.float32]:
    at = np.arange(length)
    weights = np.exp(-0.5 * ((at[:, None] - at[None]) / sigma) ** 2)
    made: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return made


def smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], knots: tuple[float, float, float]
) -> NDArray[np.float32]:
    """A field that varies over `knots` voxels along each axis; (z, y, x), mean about 0, SD about 1."""
    coarse = rng.standard_normal([int(np.ceil(n / k)) + 2 for n, k in zip(shape, knots, strict=True)])
    made = coarse.astype(np.float32)
    for axis, (length, knot) in enumerate(zip(shape, knots, strict=True)):
        weights = _spline(length, made.shape[axis], float(knot), float(rng.random()))
        made = np.moveaxis(np.tensordot(weights, made, axes=([1], [axis])), 0, axis)
    return np.ascontiguousarray(made)


def _spline(length: int, count: int, knot: float, phase: float) -> NDArray[np.float32]:
    """(length, count): a smooth bump (raised cosine) at every knot, of unit energy, so that the SD stays 1."""
    at = np.arange(length)[:, None] / knot + phase
    off = np.clip(np.abs(at - np.arange(count)[None]), 0.0, 1.0)
    weights = 0.5 + 0.5 * np.cos(np.pi * off)
    made: NDArray[np.float32] = (weights / np.sqrt((weights**2).sum(1, keepdims=True))).astype(np.float32)
    return made
