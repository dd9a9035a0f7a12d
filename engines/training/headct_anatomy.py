"""Heads from label maps as CT needs them: matter, side, and what lies inside the skull. numpy only.

The maps come from MR and have no closed skull everywhere: the inner table is completed here, as far as a millimetre
grid goes. Heads 01 to 03 train, 04 chooses, 05 and 06 are held back (`head_labels.HELD_BACK`).
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.clean import read_nifti
from engines.training.head_labels import DATA, blur, path_of

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Matter(IntEnum):
    """What a voxel is; the numbers index the tables of `headct_tissue`."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    DIPLOE = 5
    MUCOSA = 6
    EYE = 7
    NERVE = 8
    WHITE = 9
    GREY = 10
    GANGLIA = 11
    THALAMUS = 12
    STEM = 13
    HIND_WHITE = 14
    HIND_GREY = 15
    CSF = 16
    VENTRICLE = 17
    CHOROID = 18
    SPOTS = 19  # white-matter lesions of age, as the maps have them
    VEIN = 20  # dural sinuses and the large veins of the neck
    ARTERY = 21
    FALX = 22  # painted: falx and tentorium


_LABELS = {
    Matter.SKIN: (511,),
    Matter.MUSCLE: (507, 508),
    Matter.BONE: (515,),
    Matter.DIPLOE: (516,),
    Matter.MUCOSA: (509,),
    Matter.EYE: (506,),
    Matter.NERVE: (85, 530),
    Matter.WHITE: (2, 41),
    Matter.GREY: (3, 42, 17, 18, 53, 54),
    Matter.GANGLIA: (11, 12, 13, 26, 50, 51, 52, 58),
    Matter.THALAMUS: (10, 49, 28, 60),
    Matter.STEM: (16, 512),
    Matter.HIND_WHITE: (7, 46),
    Matter.HIND_GREY: (8, 47),
    Matter.CSF: (24,),
    Matter.VENTRICLE: (4, 5, 14, 15, 43, 44, 72),
    Matter.CHOROID: (136, 137, 163, 164),
    Matter.SPOTS: (25, 57),
    Matter.VEIN: (514,),
    Matter.ARTERY: (30, 62, 502),
}
_LEFT = (2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 17, 18, 26, 28)
_RIGHT = (41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60)
BRAIN = (
    Matter.WHITE, Matter.GREY, Matter.GANGLIA, Matter.THALAMUS, Matter.STEM, Matter.HIND_WHITE, Matter.HIND_GREY,
    Matter.SPOTS,
)  # fmt: skip
FLUID = (Matter.CSF, Matter.VENTRICLE)
HARD = (Matter.BONE, Matter.DIPLOE)
_BELOW_MM = 32  # of the lowest cerebellum: what a head examination shows of the neck
_TABLE_MM = 2.6  # bone outside the content, at least


@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """One head at 1 mm, as the map has it.

    matter:  (z, y, x) uint8, `Matter`; z from feet to head, y from front to back, x from right to left
    side:    (z, y, x) int8, 1 left, -1 right of the midline
    content: (z, y, x) bool, inside the skull: brain, fluid, vessels
    depth:   (z, y, x) float32, 0 at the skull to 1 from about 12 mm inside: how far a force may move what is there
    """

    number: int
    matter: NDArray[np.uint8]
    side: NDArray[np.int8]
    content: Mask
    depth: Volume


@lru_cache(maxsize=2)
def load(number: int, data: Path = DATA) -> Anatomy:
    """Read head 1 to 6. raises: ValueError for labels that are not known"""
    # Axes of the files: left, down, front. Read as (front, down, left).
    labels = read_nifti(path_of(number, data)).astype(np.int16).transpose(1, 0, 2)[::-1, ::-1]
    return anatomy(number, labels)


def anatomy(number: int, labels: NDArray[np.int16]) -> Anatomy:
    """From labels at 1 mm, (z, y, x) from feet to head, front to back, right to left. raises: ValueError as `load`"""
    table = np.full(1000, 255, dtype=np.uint8)
    table[0] = Matter.AIR
    for kind, numbers in _LABELS.items():
        table[list(numbers)] = kind
    matter = table[labels]
    if (matter == 255).any():
        raise ValueError(f"Head {number} has unknown labels {np.unique(labels[matter == 255]).tolist()}.")
    rows = np.nonzero(np.isin(matter, (Matter.HIND_GREY, Matter.HIND_WHITE, Matter.GREY)).any(axis=(1, 2)))[0]
    floor = max(int(rows[0]) - _BELOW_MM, 0)
    matter, labels = matter[floor:], labels[floor:]
    occupied = [np.nonzero((matter != 0).any(axis=axes))[0] for axes in ((1, 2), (0, 2), (0, 1))]
    top = min(int(occupied[0][-1]) + 8, len(matter))
    box = (slice(0, top), *(slice(max(int(at[0]) - 4, 0), int(at[-1]) + 5) for at in occupied[1:]))
    matter, labels = matter[box].copy(), labels[box]
    halves = np.isin(labels, _LEFT).astype(np.float32) - np.isin(labels, _RIGHT).astype(np.float32)
    side = np.where(blur(halves, 8.0) >= 0.0, 1, -1).astype(np.int8)
    content = _closed(matter, rows[0] - floor)
    _layers(matter, content)
    matter[(matter == Matter.CSF) & ~content] = Matter.MUSCLE
    matter[(matter != Matter.AIR) & (blur(matter != Matter.AIR, 3.0) < 0.2)] = Matter.AIR  # specks beside the head
    depth = np.clip((blur(content, 6.0) - 0.55) / 0.4, 0.0, 1.0).astype(np.float32)
    return Anatomy(number=number, matter=matter, side=side, content=content, depth=depth)


def _closed(matter: NDArray[np.uint8], lowest: int) -> Mask:
    """What lies inside the skull; holes in it and thin places of the bone are filled in `matter`, in place."""
    brain = np.isin(matter, BRAIN)
    near = blur(brain, 5.0) > 0.04
    soft = np.isin(matter, (*FLUID, Matter.CHOROID, Matter.VEIN, Matter.ARTERY, Matter.AIR, Matter.NERVE))
    inner = brain | soft & near & (matter != Matter.AIR)
    full = blur(inner, 2.0)
    content: Mask = (brain | (full > 0.6) & soft | inner & (full > 0.35)) & (full > 0.2)
    matter[content & (matter == Matter.AIR)] = Matter.CSF
    shell = (distance(content, 4) <= _TABLE_MM) & ~content & ~np.isin(matter, HARD)
    shell[: max(lowest - 6, 0)] = False  # the neck has no skull
    matter[shell] = Matter.BONE
    return content


def _layers(matter: NDArray[np.uint8], content: Mask) -> None:
    """Fat below the skin, around the eyes and over the skull, and marrow where bone is thick, in place."""
    hard = np.isin(matter, HARD)
    thick = blur(hard, 1.5) > 0.93
    matter[thick & (matter == Matter.BONE) & (blur(content, 6.0) > 0.02)] = Matter.DIPLOE
    muscle = matter == Matter.MUSCLE
    eyes = matter == Matter.EYE
    orbit = muscle & (blur(eyes, 7.0) > 0.02)
    # Over the skull a scalp of fat with a thin sheet of muscle at the bone; the thick places are muscles.
    scalp = muscle & (blur(muscle, 5.0) < 0.45) & (distance(hard, 4) > 1.4)
    matter[orbit | scalp] = Matter.FAT
    air = matter == Matter.AIR
    matter[(matter == Matter.SKIN) & (distance(air, 4) > 2.1)] = Matter.FAT


def distance(mask: Mask, reach: int) -> Volume:
    """Euclidean distance to the nearest voxel of a mask, in voxels; `reach` + 1 where none is that near. (z, y, x)"""
    far = np.float32((reach + 1) ** 2)
    squares = np.where(mask, np.float32(0.0), far)
    for axis in range(mask.ndim):
        nearest = squares.copy()
        for step in range(1, min(reach, mask.shape[axis] - 1) + 1):
            cost = np.float32(step * step)
            lower, upper = at(axis, slice(None, -step)), at(axis, slice(step, None))
            np.minimum(nearest[lower], squares[upper] + cost, out=nearest[lower])
            np.minimum(nearest[upper], squares[lower] + cost, out=nearest[upper])
        squares = nearest
    made: Volume = np.sqrt(squares)
    return made


def at(axis: int, part: slice) -> Any:
    """Index of a part along one of three axes."""
    return tuple(part if a == axis else slice(None) for a in range(3))
