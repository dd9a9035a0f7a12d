"""What a triage has to beat (NETWORKS D5): a rule on HU, the asymmetry alone, an atlas without network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.head import HeadStack
from engines.head_features import inner, median5
from engines.training.head_labels import blur

BLOOD_HU = (50.0, 90.0)
ALARM_ML = 1.0
_ERODED_MM = 3.0
_LEAST_SD_HU = 2.0
Stack = NDArray[np.float32]


def blood_ml(stack: HeadStack) -> float:
    """The threshold rule: mL of 50 to 90 HU after a median of 3x3x3 voxels, inside the eroded mask."""
    inside = _eroded(stack.mask)
    smooth = ndimage.median_filter(np.clip(stack.hu, -20.0, 150.0), size=3)
    dense = inside & (smooth >= BLOOD_HU[0]) & (smooth <= BLOOD_HU[1])
    return float(np.count_nonzero(dense) * stack.voxel_ml)


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drawn back by 3 mm within each slice."""
    away = np.stack([ndimage.distance_transform_edt(plane) for plane in mask])
    made: NDArray[np.bool_] = away > _ERODED_MM
    return made


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """Mean and SD of normal heads at every place of the grid, HU."""

    mean: Stack
    sd: Stack

    def z(self, stack: HeadStack) -> Stack:
        """(32, 224, 192): SDs from the mean after a median of 5x5 pixels; 0 outside of the drawn-back mask."""
        chosen = inner(stack.mask)
        return np.where(chosen, (median5(stack.hu, chosen) - self.mean) / self.sd, np.float32(0.0))

    def score(self, z: Stack) -> float:
        """One number of a head: the 99.5th percentile of what is off, to either side."""
        inside = np.abs(z[z != 0.0])
        return float(np.percentile(inside, 99.5)) if len(inside) else 0.0


def atlas(stacks: Sequence[HeadStack]) -> Atlas:
    """From normal heads; places that few of them have borrow from their neighbours. raises: ValueError for under 5"""
    if len(stacks) < 5:
        raise ValueError(f"{len(stacks)} heads make no atlas.")
    count = np.zeros(stacks[0].hu.shape, dtype=np.float32)
    total, square = count.copy(), count.copy()
    for stack in stacks:
        chosen = inner(stack.mask)
        smooth = np.where(chosen, median5(stack.hu, chosen), np.float32(0.0))
        count += chosen
        total += smooth
        square += smooth**2
    weight = blur(count, 1.5) + 1e-3
    mean = blur(total, 1.5) / weight
    variance = np.maximum(blur(square, 1.5) / weight - mean**2, _LEAST_SD_HU**2)
    return Atlas(mean=mean, sd=np.sqrt(variance))
