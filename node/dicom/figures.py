"""Whether the voxels of a volume can be what their header says: a CT's lie on Hounsfield's scale."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from node.errors import Refuse

PLAUSIBLE_HU = (-1100.0, 3100.0)
EXTENDED_HU = 4095.0  # metal lies beyond it, a body doesn't
LEAST_PLAUSIBLE = 0.25  # share of voxels; the corners outside the field of view may hold anything below air
MOST_EXTENDED = 0.10


@dataclass
class Figures:
    """What the voxels of a volume look like, gathered slice by slice.

    MR has no scale of its own: there, only a volume of one value is none.
    """

    unit: str  # "HU" or "MR"
    voxels: int = 0
    plausible: int = 0
    extended: int = 0
    lowest: float = field(default=float("inf"))
    highest: float = field(default=float("-inf"))

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in the voxels of a slice that are no padding."""
        if not values.size:
            return
        self.voxels += values.size
        self.plausible += int(np.count_nonzero((values >= PLAUSIBLE_HU[0]) & (values <= PLAUSIBLE_HU[1])))
        self.extended += int(np.count_nonzero(values > EXTENDED_HU))
        self.lowest = min(self.lowest, float(values.min()))
        self.highest = max(self.highest, float(values.max()))

    def check(self) -> None:
        """raises: Refuse with the figure that no picture can have, or that no CT can"""
        if not self.voxels:
            raise Refuse("Every voxel of the series is padding.")
        if self.lowest == self.highest:
            raise Refuse(f"Every voxel of the series has the same value, {self.lowest:g} {self.unit}.")
        if self.unit != "HU":
            return
        low, high = PLAUSIBLE_HU
        if self.plausible < LEAST_PLAUSIBLE * self.voxels:
            raise Refuse(
                f"{self.plausible / self.voxels:.1%} of the voxels lie within {low:g} to {high:g} HU, at least "
                f"{LEAST_PLAUSIBLE:.0%} of a CT do; they range from {self.lowest:g} to {self.highest:g} HU."
            )
        if self.extended > MOST_EXTENDED * self.voxels:
            raise Refuse(
                f"{self.extended / self.voxels:.1%} of the voxels lie above {EXTENDED_HU:g} HU, at most "
                f"{MOST_EXTENDED:.0%} of a CT do."
            )
