"""A volume as every pipeline sees it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAME_PLACE_MM = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Voxels with their place in the patient.

    voxels:  (z, y, x) float32, in `unit`
    affine:  (4, 4) float64, index (z, y, x, 1) -> LPS mm
    unit:    "HU" for CT
    padding: (z, y, x) bool, True where the scanner measured nothing; None when it measured everywhere
    others:  of pipelines that take several series: role -> its volume, on the same grid as this one
    placed:  of a series that was brought to this grid: the figures of `pipelines.steps.register.Placed`
    raises:  ValueError when shapes or types do not fit together
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64]
    unit: str
    padding: NDArray[np.bool_] | None = None
    others: Mapping[str, "Volume"] = field(default_factory=dict)
    placed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pixel_mm(self) -> float:
        """Side of a pixel within a slice, mm; the mean of both where they differ."""
        return pixel_mm(self.affine)

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.dtype != np.float32 or 0 in self.voxels.shape:
            raise ValueError(f"voxels must be float32 (z, y, x), not {self.voxels.dtype} {self.voxels.shape}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"affine must be (4, 4), not {self.affine.shape}")
        if self.padding is not None and (self.padding.shape != self.voxels.shape or self.padding.dtype != np.bool_):
            raise ValueError(f"padding must be bool {self.voxels.shape}, not {self.padding.dtype} {self.padding.shape}")
        if off := [role for role, other in self.others.items() if not self.on_the_grid_of(other)]:
            raise ValueError(f"{', '.join(off)} must lie on the grid of this volume")

    def on_the_grid_of(self, other: "Volume") -> bool:
        """Whether voxels of the same index lie at the same place, to a tenth of a millimetre at every corner."""
        if self.voxels.shape != other.voxels.shape:
            return False
        z, y, x = (size - 1 for size in self.voxels.shape)
        corners = np.array([[k, j, i, 1] for k in (0, z) for j in (0, y) for i in (0, x)], dtype=np.float64).T
        return bool(np.abs((self.affine - other.affine) @ corners).max() <= SAME_PLACE_MM)


def finer(affine: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """The affine of slices of which `factor` stand evenly in the place of each one; (4, 4), as that of a volume.

    Slice k of slab i has its centre at (i - 1/2 + (k + 1/2) / factor) spacings from the first slab's centre.
    """
    made = affine.copy()
    made[:3, 0] = affine[:3, 0] / factor
    made[:3, 3] = affine[:3, 3] + affine[:3, 0] * (0.5 / factor - 0.5)
    return made


def pixel_mm(affine: NDArray[np.float64]) -> float:
    """Side of a pixel, mm, of the slices of a volume with this affine; the mean of both where they differ."""
    return float(np.mean(np.linalg.norm(affine[:3, 1:3], axis=0)))
