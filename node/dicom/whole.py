"""What is known of a result only when all of it is there: its window, and the range of each of its slices."""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from node.errors import Refuse

WINDOW_PERCENTILES: Final = (1.0, 99.8)  # of its voxels: noise below, the brightest vessels above
_STRIDE: Final = 4  # every so many rows and columns are counted; a percentile of 16 times more voxels is the same


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Figures of a result, in its own unit; padding does not count.

    lowest, highest: of each slice; NaN where a slice is nothing but padding
    window:          centre and width of what a reader sees first
    """

    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    window: tuple[float, float]

    @classmethod
    def of(cls, voxels: NDArray[np.float32], padding: NDArray[np.bool_] | None, factor: int) -> Self:
        """Look at all of a result.

        voxels:  (z factor, y, x)
        padding: (z, y, x), of the source
        raises:  Refuse if there is nothing but padding, or a voxel is not finite
        """
        lowest, highest, seen = np.full(len(voxels), np.nan), np.full(len(voxels), np.nan), []
        for at in range(len(voxels)):
            plane: NDArray[Any] = np.asarray(voxels[at])
            coarse = plane[::_STRIDE, ::_STRIDE].ravel()
            if padding is not None and (nothing := np.asarray(padding[at // factor])).any():
                coarse = plane[::_STRIDE, ::_STRIDE][~nothing[::_STRIDE, ::_STRIDE]]
                plane = plane[~nothing]
            seen.append(coarse)
            if plane.size:
                lowest[at], highest[at] = plane.min(), plane.max()
                if not np.isfinite(highest[at] - lowest[at]):
                    raise Refuse(f"A voxel of slice {at + 1} of {len(voxels)} is not finite.")
        every = np.concatenate(seen)
        if not every.size:
            raise Refuse("Every voxel of the result is padding.")
        low, high = (_percentile(every, share) for share in WINDOW_PERCENTILES)
        return cls(lowest=lowest, highest=highest, window=((low + high) / 2, high - low))


def _percentile(values: NDArray[np.float32], share: float) -> float:
    """By nearest rank, so that it is one of the values and the same on every machine."""
    rank = min(values.size - 1, max(0, int(np.ceil(share / 100 * values.size)) - 1))
    return float(np.partition(values, rank)[rank])
