"""A volume as every pipeline sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """Voxels with their place in the patient.

    voxels:  (z, y, x) float32, in `unit`
    affine:  (4, 4) float64, index (z, y, x, 1) -> LPS mm
    unit:    "HU" for CT
    padding: (z, y, x) bool, True where the scanner measured nothing; None when it measured everywhere
    raises:  ValueError when shapes or types do not fit together
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64]
    unit: str
    padding: NDArray[np.bool_] | None = None

    @property
    def pixel_mm(self) -> float:
        """Side of a pixel within a slice, mm; the mean of both where they differ."""
        return float(np.mean(np.linalg.norm(self.affine[:3, 1:3], axis=0)))

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.voxels.dtype != np.float32 or 0 in self.voxels.shape:
            raise ValueError(f"voxels must be float32 (z, y, x), not {self.voxels.dtype} {self.voxels.shape}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"affine must be (4, 4), not {self.affine.shape}")
        if self.padding is not None and (self.padding.shape != self.voxels.shape or self.padding.dtype != np.bool_):
            raise ValueError(f"padding must be bool {self.voxels.shape}, not {self.padding.dtype} {self.padding.shape}")
