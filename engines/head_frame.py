"""The grid that every head is brought to, and how one lies on it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]


class NoBrain(ValueError):
    """There is no closed adult skull with a brain in it. `reason` is a sentence without patient data."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotAligned(ValueError):
    """The head does not fit the template. `reason` is a sentence; `quality` as `Pose.quality`, 0 where none was had."""

    def __init__(self, reason: str, quality: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.quality = quality


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Positions of the template: z up from below the skull base to the vertex, y from anterior to posterior, x from the
    patient's right to left.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def midline(self) -> float:
        """Index along x of the plane between the hemispheres."""
        return (self.shape[2] - 1) / 2.0

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in the template's millimetres."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def to_mm(self) -> Matrix:
        """(4, 4): index (z, y, x, 1) -> mm (z, y, x, 1) about the middle of the grid."""
        made = np.diag([*self.spacing_mm, 1.0])
        made[:3, 3] = [-(n - 1) / 2.0 * mm for n, mm in zip(self.shape, self.spacing_mm, strict=True)]
        return made


GRID: Final = Grid(shape=(32, 224, 192), spacing_mm=(5.0, 1.0, 1.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """Where the grid lies in a series.

    matrix:   (4, 4), index (z, y, x, 1) of the grid -> index of the source's voxel
    quality:  how well the brain fits the template, 0 to 1 (`engines.head_pose.align`)
    tilt_deg: largest turn about one of the patient's axes between head and scanner
    scale:    (z, y, x), the head's millimetres for one of the template
    covered:  share of the template's brain that lies within the scan
    """

    matrix: Matrix
    quality: float
    tilt_deg: float
    scale: tuple[float, float, float]
    covered: float = 1.0

    @cached_property
    def inverse(self) -> Matrix:
        """(4, 4), index of the source's voxel -> index of the grid."""
        made: Matrix = np.linalg.inv(self.matrix).astype(np.float64)
        return made

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel of the grid in the patient, mL."""
        return GRID.voxel_ml * float(np.prod(self.scale))


@dataclass(frozen=True, kw_only=True, eq=False)
class HeadStack:
    """A head on the grid.

    hu:       (32, 224, 192) float32, 0 outside of the brain
    mask:     (32, 224, 192) bool, the inside of the skull
    voxel_ml: volume of a voxel in the patient, mL
    """

    hu: Array
    mask: Mask
    voxel_ml: float
