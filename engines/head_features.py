"""From what the network makes of a head to eight figures (NETWORKS.md D5). numpy only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from engines.head_frame import GRID, Array, HeadStack, Mask
from engines.head_volumes import blurred, shrunk

NAMES: Final = (
    "z_positive_p995",
    "volume_positive_ml",
    "volume_negative_ml",
    "asymmetry",
    "csf_volume_z",
    "encoder_distance",
    "dense_ml",
    "z_negative_p995",
)
BRIGHT_Z, DARK_Z = 4.0, -3.0
FLUID_HU: Final = 10.0  # of a smooth image: CSF has 5; oedema and infarcts of the first days have more
CSF_HU: Final = 15.0  # below it the voxels of a smooth image are CSF
DENSE_HU: Final = (50.0, 90.0)  # of fresh blood
SEEN_HU: Final = (-100.0, 200.0)  # what the network is fed; more is bone, calcification or metal
_WITHIN: Final = (1, 2.0, 2.0)  # mask eroded 2 px within the slices
_RANGE_HU: Final = (0.0, 80.0)
_ASYMMETRY_SIGMA: Final = (0.6, 3.0, 3.0)
_LEAST_AREA: Final = 0.3  # of the largest slice: smaller ones are judged by few voxels


@dataclass(frozen=True, kw_only=True)
class Normal:
    """What is normal for features that need a mean and a spread: CSF within the skull, share of its volume."""

    csf_mean: float
    csf_sd: float


NORMAL: Final = Normal(csf_mean=0.16, csf_sd=0.06)


def inner(mask: Mask) -> Mask:
    """The mask eroded by 2 px within every slice, where a median of 5 px sees no bone."""
    made: Mask = np.stack([shrunk(plane[None], 2.0, (1.0, 1.0, 1.0))[0] for plane in mask])
    return made


def median5(values: Array, chosen: Mask) -> Array:
    """Median over 5x5 px within the slices at the chosen voxels, 0 elsewhere; beyond the border stand zeros.

    values: (z, y, x); chosen: (z, y, x) bool
    """
    made = np.zeros(values.shape, np.float32)
    for index, plane in enumerate(values):
        rows, columns = np.nonzero(chosen[index])
        if rows.size == 0:
            continue
        wide = np.pad(plane, 2)
        width = wide.shape[1]
        first = rows * width + columns
        flat = wide.reshape(-1)
        around = np.empty((rows.size, 25), np.float32)
        for at in range(25):
            around[:, at] = flat[first + (at // 5) * width + at % 5]
        around.partition(12, axis=1)
        made[index, rows, columns] = around[:, 12]
    return made


def z_map(stack: HeadStack, healthy: Array, mean: Array, sd: Array) -> Array:
    """(32, 224, 192): how far each place is from what the network thinks healthy, in normal SDs; + is denser.

    healthy, mean, sd: (32, 224, 192) HU, as the engine gives them
    returns:           (median5(hu - healthy) - mean) / sd within the mask eroded by 2 px, 0 elsewhere, and where it is
                       below 0 in fluid
    """
    chosen = inner(stack.mask)
    shown = np.clip(stack.hu, *SEEN_HU)
    residual = median5(np.where(stack.mask, shown - healthy, np.float32(0.0)), chosen)
    z = (residual - mean) / np.maximum(sd, np.float32(0.25))
    # Fluid where the network expects tissue: ventricles and sulci of a brain that has shrunk. Oedema and an infarct
    # that anybody would hurry for are denser; how much fluid there is in all is a figure of its own.
    fluid = median5(shown, chosen) < FLUID_HU
    made: Array = np.where(chosen & ~(fluid & (z < 0.0)), z, np.float32(0.0))
    return made


def features(
    stack: HeadStack, healthy: Array, z: Array, distance: Array, normal: Normal = NORMAL
) -> Mapping[str, float]:
    """The figures of a head, by `NAMES`.

    healthy:  (32, 224, 192) HU, what the network thinks healthy
    z:        (32, 224, 192) from `z_map`
    distance: (32,) Mahalanobis distance of the encoder's features, by slice
    returns:  z_positive_p995, z_negative_p995: 99.5th percentile of max(z, 0) and of max(-z, 0)
              volume_positive_ml, volume_negative_ml: of z > 4 and of z < -3
              asymmetry: RMS difference between the halves of the smoothed brain, HU
              csf_volume_z: share of CSF in the skull, in normal SDs
              encoder_distance: mean of the two largest among slices with brain enough
              dense_ml: volume of 50 to 90 HU after a median of 5 px
    """
    chosen = inner(stack.mask)
    count = max(int(np.count_nonzero(chosen)), 1)
    inside = z[chosen] if chosen.any() else np.zeros(1, np.float32)
    smooth = median5(np.clip(stack.hu, -20.0, 150.0), chosen)
    dense = chosen & (smooth >= DENSE_HU[0]) & (smooth <= DENSE_HU[1])
    csf = np.count_nonzero(chosen & (smooth < CSF_HU)) / count
    area = np.count_nonzero(stack.mask, axis=(1, 2))
    told = np.sort(distance[area >= _LEAST_AREA * max(int(area.max()), 1)])
    return {
        "z_positive_p995": float(np.percentile(np.maximum(inside, 0.0), 99.5)),
        "volume_positive_ml": float(np.count_nonzero(inside > BRIGHT_Z) * stack.voxel_ml),
        "volume_negative_ml": float(np.count_nonzero(inside < DARK_Z) * stack.voxel_ml),
        "asymmetry": asymmetry(stack),
        "csf_volume_z": float((csf - normal.csf_mean) / normal.csf_sd),
        "encoder_distance": float(told[-2:].mean()) if told.size else 0.0,
        "dense_ml": float(np.count_nonzero(dense) * stack.voxel_ml),
        "z_negative_p995": float(np.percentile(np.maximum(-inside, 0.0), 99.5)),
    }


def asymmetry(stack: HeadStack) -> float:
    """RMS of the difference between the smoothed halves where both have brain, HU."""
    assert stack.hu.shape == GRID.shape
    share = blurred(stack.mask.astype(np.float32), _ASYMMETRY_SIGMA)
    value = blurred(np.where(stack.mask, np.clip(stack.hu, *_RANGE_HU), np.float32(0.0)), _ASYMMETRY_SIGMA)
    both = stack.mask & stack.mask[:, :, ::-1]
    if not both.any():
        return 0.0
    smooth = value / np.maximum(share, np.float32(0.05))
    off = (smooth - smooth[:, :, ::-1])[both]
    return float(np.sqrt(np.mean(np.square(off), dtype=np.float64)))
