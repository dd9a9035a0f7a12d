"""Steps on voxel values."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class clip:
    """Limit values to [lowest, highest]."""

    lowest: float
    highest: float

    def __call__(self, voxels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Any shape, kept; float32."""
        return np.clip(voxels, np.float32(self.lowest), np.float32(self.highest))


@dataclass(frozen=True)
class scale:
    """Multiply by a constant."""

    factor: float

    def __call__(self, voxels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Any shape, kept; float32."""
        return voxels * np.float32(self.factor)
