"""From the values of a map to 16 bits that say what they mean (Real World Value Mapping, PS3.3 C.7.6.16.2.11)."""

import itertools
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from node.errors import Refuse
from node.processing.mapped import forget

FORGET_EVERY: Final = 16  # slices after which mapped pages are given back
HIGHEST: Final = (1 << 16) - 1
_MIDDLE: Final = 1 << 15  # stored 0 of a signed quantity: nothing is exactly nothing
_SHOWN: Final = 0.999  # of the voxels lie within the window


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """The mapping of one map: value = stored * slope + intercept.

    zero:     what stands for the value 0
    fraction: stored values of the images for 1 of the array
    """

    slope: float
    zero: int
    fraction: float = 1.0

    @property
    def intercept(self) -> float:
        return -self.zero * self.slope

    @classmethod
    def of(cls, values: NDArray[np.float32], *, signed: bool, unit: float = 1.0) -> Self:
        """The finest mapping that holds all values.

        values: (z, y, x)
        unit:   for one stored value of the images so much in the array: their rescale slope
        raises: Refuse if a value is not finite, or below 0 where the quantity can't be
        """
        unit, ends = unit if signed else abs(unit), [0.0]
        for at in range(len(values)):
            if at % FORGET_EVERY == 0:
                forget(values)
            plane = np.asarray(values[at])
            low, high = float(plane.min()), float(plane.max())  # a NaN anywhere is the minimum
            if not (np.isfinite(low) and np.isfinite(high)):
                bad = int(np.count_nonzero(~np.isfinite(plane)))
                raise Refuse(f"{bad} voxels of slice {at + 1} of the map are not finite.")
            if low < 0.0 and not signed:
                raise Refuse(f"The map goes down to {low:g}; a standard deviation is not negative.")
            ends += [low / unit, high / unit]
        most, zero = (HIGHEST - _MIDDLE, _MIDDLE) if signed else (HIGHEST, 0)
        slope = max(map(abs, ends)) / most or 1.0  # where all is 0, any slope is right
        return cls(slope=slope, zero=zero, fraction=1.0 / unit)

    def rounded(self, step: float) -> Self:
        """The same with a slope of 1, 2, 5, 10, ... times `step`, the finest that holds all values."""
        rounds = (step * times * 10**power for power in itertools.count() for times in (1, 2, 5))
        return replace(self, slope=next(slope for slope in rounds if slope >= self.slope))

    def stored(self, plane: NDArray[np.float32]) -> NDArray[np.uint16]:
        """(y, x), rounded to the nearest step: uint16, little endian."""
        steps = np.rint(np.asarray(plane, dtype=np.float64) * (self.fraction / self.slope)) + self.zero
        stored: NDArray[np.uint16] = np.clip(steps, 0, HIGHEST).astype("<u2")
        return stored

    def window(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Centre and width in stored values that show nearly all of a map; around 0 where it is signed."""
        counts = np.zeros(HIGHEST + 1, np.int64)
        for at in range(len(values)):
            if at % FORGET_EVERY == 0:
                forget(values)
            away = np.abs(self.stored(values[at]).astype(np.int32) - self.zero)
            counts += np.bincount(away.ravel(), minlength=counts.size)
        reach = float(np.searchsorted(np.cumsum(counts), _SHOWN * counts.sum()))
        reach = reach or float(np.flatnonzero(counts)[-1])  # few voxels beside the many that are 0
        return (float(self.zero), max(1.0, 2 * reach)) if self.zero else (reach / 2, max(1.0, reach))
