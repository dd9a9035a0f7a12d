"""Heads for time-of-flight simulation: what tissue looks like where, and where vessels may run. numpy only.

Label maps are those of SynthSeg (Billot et al. 2023): FreeSurfer's numbers for the brain and, above 500, those of
SimNIBS charm (Puonti et al. 2020) for the rest of the head. Arrays are (z, y, x): z upwards, y to the back, 1 mm.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.training.clean import read_nifti

Volume = NDArray[np.float32]
Point = NDArray[np.float64]

TRAIN, CHOOSE, HELD_BACK = (1, 2, 3), (4,), (5, 6)
"""Subjects by what they are for; no subject is in two."""

_GREY = (3, 42, 8, 47, 17, 18, 53, 54, 26, 58, 136, 163)
_DEEP = (10, 11, 12, 13, 49, 50, 51, 52, 28, 60)
_WHITE = (2, 41, 7, 46, 16, 85, 512, 530)
_FLUID = (4, 5, 14, 15, 24, 30, 43, 44, 62, 72, 506)
_OTHER, _SKIN, _ARTERY, _VEIN, _MUSCLE, _MUCOSA = 507, 511, 502, 514, 508, 509
_BONE, _MARROW = 515, 516


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """One subject.

    labels: (z, y, x) int16
    brain:  (z, y, x) float32, share of the brain and its fluid within 7 mm: vessels stay where it is high
    scalp:  the same of what lies outside the skull
    middle: mm, centroid of the ventral diencephalon: the circle of Willis lies below it
    pons:   (n, 3) mm, front of the brainstem from below to above, on which the basilar artery runs
    """

    labels: NDArray[np.int16]
    brain: Volume
    scalp: Volume
    middle: Point
    pons: Point


@functools.lru_cache(maxsize=2)
def read_head(data: Path, number: int) -> Head:
    """Subject `number`, 1 to 6, of `data`/labels."""
    stored = read_nifti(data / "labels" / f"head_labels_{number:02d}.nii.gz").astype(np.int16)
    labels = np.ascontiguousarray(stored.transpose(1, 0, 2)[::-1, ::-1])  # stored from front and above
    inside = (labels > 0) & (labels < 500)
    outside = np.isin(labels, (_OTHER, _SKIN))
    stem = labels == 16
    levels = np.flatnonzero(stem.any(axis=(1, 2)))
    centre = int(np.median(np.argwhere(stem)[:, 2]))
    strip = stem[:, :, centre - 4 : centre + 5].any(axis=2)
    front = [(float(z), float(np.argmax(strip[z])), float(centre)) for z in levels if strip[z].any()]
    return Head(
        labels=labels,
        brain=smoothed(inside.astype(np.float32), 3),
        scalp=smoothed(outside.astype(np.float32), 2),
        middle=np.argwhere(np.isin(labels, (28, 60))).mean(axis=0),
        pons=np.array(front),
    )


def smoothed(volume: Volume, radius: int) -> Volume:
    """Mean over a cube of 2 radius + 1 voxels, the border repeated."""
    share = np.float32(1.0 / (2 * radius + 1))
    for axis in range(3):
        size = volume.shape[axis]
        wide = np.pad(volume, [(radius, radius) if k == axis else (0, 0) for k in range(3)], mode="edge")
        before = (slice(None),) * axis
        made = wide[(*before, slice(0, size))].copy()
        for shift in range(1, 2 * radius + 1):
            made += wide[(*before, slice(shift, shift + size))]
        volume = made * share
    return volume


def softened(volume: Volume) -> Volume:
    """Binomial filter (1 2 1) / 4 along every axis: what is left of the label map's stairs is partial volume."""
    for axis in range(3):
        volume = np.moveaxis(volume, axis, 0)
        wide = np.concatenate([volume[:1], volume, volume[-1:]])
        volume = np.moveaxis(0.25 * (wide[:-2] + wide[2:]) + 0.5 * volume, 0, axis)
    return volume


def tissue(labels: NDArray[np.int16], rng: np.random.Generator) -> Volume:
    """Signal of everything but vessels, 1 = fresh arterial blood: 20 to 40 %, fluid dark, fat as it comes.

    Contrast between tissues is drawn anew, and a texture of 2 to 5 % lies on each of them.

    labels:  (z, y, x), a head or a part of one, at 1 mm
    returns: (z, y, x) float32
    """
    white = rng.uniform(0.24, 0.40)
    grey = white * rng.uniform(0.78, 0.98)
    fluid = white * rng.uniform(0.3, 0.6)
    fat, muscle = white * rng.uniform(0.7, 2.2), white * rng.uniform(0.6, 0.95)
    table = np.zeros(600, dtype=np.float32)
    table[list(_GREY)] = grey
    table[list(_DEEP)] = 0.5 * (grey + white)
    table[list(_WHITE)] = white
    table[list(_FLUID)] = fluid
    table[[_OTHER, _ARTERY, _MUSCLE]] = muscle
    table[_SKIN] = rng.uniform(0.6, 1.0) * white
    table[_VEIN] = muscle * rng.uniform(0.8, 1.3)
    table[_MUCOSA] = white * rng.uniform(0.9, 1.6)
    table[_BONE], table[_MARROW] = rng.uniform(0.02, 0.08), fat * rng.uniform(0.3, 0.8)
    made = table[np.clip(labels, 0, 599)]
    # Fat lies in lobes between muscles; the label map tells the two of them not apart.
    lobes = smoothed(rng.standard_normal(made.shape, dtype=np.float32), 2)
    share = np.clip(0.6 + lobes * np.float32(18.0), 0.0, 1.0)
    made = np.where(labels == _OTHER, muscle + (np.float32(fat) - muscle) * share, made)
    fine = softened(rng.standard_normal(made.shape, dtype=np.float32))
    coarse = smoothed(rng.standard_normal(made.shape, dtype=np.float32), 1)
    grain = np.float32(rng.uniform(0.02, 0.05)) * (2.3 * fine + 3.7 * coarse)
    return np.asarray(softened((made * (1.0 + np.clip(grain, -0.3, 0.3))).astype(np.float32)), dtype=np.float32)


def sampled(volumes: Sequence[Volume], points: tuple[Point, Point, Point]) -> list[Volume]:
    """Trilinear values of volumes of one shape at mm positions that broadcast to (z, y, x); the border repeats."""
    shape = np.broadcast_shapes(*(axis.shape for axis in points))
    stride = (volumes[0].shape[1] * volumes[0].shape[2], volumes[0].shape[2], 1)
    base, parts = np.zeros(shape, dtype=np.int32), []
    for axis, size, step in zip(points, volumes[0].shape, stride, strict=True):
        at = np.clip(axis, 0.0, size - 1.001).astype(np.float32)
        low = at.astype(np.int32)
        base += low * np.int32(step)
        parts.append(at - low)
    made = [np.zeros(shape, dtype=np.float32) for _ in volumes]
    for corner in range(8):
        steps = [(corner >> (2 - k)) & 1 for k in range(3)]
        weight = np.ones(shape, dtype=np.float32)
        for part, step in zip(parts, steps, strict=True):
            weight *= part if step else 1.0 - part
        near = base + np.int32(sum(a * b for a, b in zip(steps, stride, strict=True)))
        for one, volume in zip(made, volumes, strict=True):
            one += weight * volume.ravel()[near]
    return made
