"""Head CT painted from the label maps of ../shared, by other means than those that the networks were trained with.

Hounsfield units by tissue, one blur, slices averaged from 1 mm, noise: plain enough to be checked by eye. A network
that only knows its own simulation would fail on it.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.training import head_labels
from engines.training.head_labels import Tissue
from node.demo.ct_series import Scan, write_ct_series

# Handbook values for 120 kVp (NETWORKS C4: CSF 5, white 28, grey 38, cranial bone 600 and more, fat -100).
HU: Final = {
    Tissue.AIR: -1000, Tissue.WHITE: 28, Tissue.GREY: 38, Tissue.DEEP: 34, Tissue.CSF: 5, Tissue.SPOTS: 24,
    Tissue.ARTERY: 42, Tissue.VEIN: 55, Tissue.SMALL_VEIN: 45, Tissue.CHOROID: 40, Tissue.PITUITARY: 45,
    Tissue.MUCOSA: 20, Tissue.DURA: 60, Tissue.MUSCLE: 55, Tissue.FAT: -100, Tissue.BONE: 950, Tissue.EYE: 15,
}  # fmt: skip
BLOOD_HU: Final = 66.0


@dataclass(frozen=True, kw_only=True)
class Bleeding:
    """An ellipsoid of blood. centre_mm: from the middle of the brain, (z up, y back, x left); radius_mm: (z, y, x)"""

    centre_mm: tuple[float, float, float] = (10.0, 10.0, 30.0)
    radius_mm: tuple[float, float, float] = (16.0, 18.0, 17.0)  # 20 mL


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A head as a scanner gives it. voxels: (z, y, x) HU; first_mm: (x, y, z) of voxel (0, 0, 0), LPS"""

    voxels: NDArray[np.float32]
    spacing_mm: tuple[float, float, float]
    first_mm: tuple[float, float, float]


def paint(
    number: int = 5,
    *,
    bleeding: Sequence[Bleeding] = (),
    thickness_mm: float = 4.0,
    slices: int = 40,
    side: int = 512,
    pixel_mm: float = 0.45,
    noise_hu: float = 4.0,
    seed: int = 1,
) -> Painted:
    """One head, one series. Skips the test where the label maps are not there."""
    if not head_labels.path_of(number).exists():
        pytest.skip("needs ../shared/data/labels")
    head = head_labels.load(number)
    table = np.array([HU[tissue] for tissue in Tissue], np.float32)
    values = table[head.tissue]
    brain = np.isin(head.tissue, (*head_labels.BRAIN, Tissue.CSF))
    centre = [float(np.mean(np.nonzero(brain.any(axis=other))[0])) for other in ((1, 2), (0, 2), (0, 1))]
    z, y, x = (np.arange(size, dtype=np.float32) for size in values.shape)
    for one in bleeding:
        middle = [at + by for at, by in zip(centre, one.centre_mm, strict=True)]
        inside = sum(
            ((axis - at) / radius).reshape([-1 if k == dim else 1 for k in range(3)]) ** 2
            for dim, (axis, at, radius) in enumerate(zip((z, y, x), middle, one.radius_mm, strict=True))
        )
        values = np.where((inside <= 1.0) & brain, BLOOD_HU, values).astype(np.float32)
    top = int(np.nonzero((head.tissue != Tissue.AIR).any(axis=(1, 2)))[0].max()) + 2
    bottom = top - thickness_mm * slices
    made = np.empty((slices, side, side), np.float32)
    wanted = (np.arange(side) - (side - 1) / 2) * pixel_mm
    rng = np.random.default_rng(seed)
    for index in range(slices):
        low = bottom + index * thickness_mm
        rows = [at for at in range(int(np.floor(low)), int(np.ceil(low + thickness_mm))) if 0 <= at < len(values)]
        plane = np.mean(values[rows], axis=0) if rows else np.full(values.shape[1:], -1000.0, np.float32)
        made[index] = _sampled(plane, wanted + centre[1], wanted + centre[2])
        made[index] += _noise(rng, side, noise_hu)
    first = (float(wanted[0]), float(wanted[0]), float(bottom + thickness_mm / 2 - centre[0]))
    return Painted(voxels=made, spacing_mm=(thickness_mm, pixel_mm, pixel_mm), first_mm=first)


def write(
    folder: Path, painted: Painted, *, key: str, study_key: str = "", started: dt.datetime | None = None
) -> list[Path]:
    """The head as a series of an adult whom nobody knows; paths in geometric order."""
    scan = Scan(
        key=key,
        study_key=study_key or key,
        patient_name="TEST^HEAD",
        patient_id="TEST-HEAD",
        study_description="CT HEAD",
        series_description="HEAD 4MM",
        protocol="HEAD ROUTINE",
        kernel="H31s",
        body_part="HEAD",
        phantom=False,
        tube_current_ma=250,
        exposure_mas=250,
        window=(40, 80),
        **({} if started is None else {"started": started}),  # type: ignore[arg-type]
    )
    return write_ct_series(folder, painted.voxels, scan=scan, spacing_mm=painted.spacing_mm, first_mm=painted.first_mm)


def _sampled(plane: NDArray[np.float32], ys: NDArray[np.float64], xs: NDArray[np.float64]) -> NDArray[np.float32]:
    """(y, x) at these places of a plane, between its pixels by straight lines, smoothed by about one millimetre."""
    smooth = plane.copy()
    for axis in (0, 1):
        smooth = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, axis) + np.roll(smooth, -1, axis))

    def weights(at: NDArray[np.float64], size: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        inside = np.clip(at, 0, size - 1.001)
        low = np.floor(inside).astype(np.intp)
        return low, (inside - low).astype(np.float32)

    y0, fy = weights(ys, plane.shape[0])
    x0, fx = weights(xs, plane.shape[1])
    rows = smooth[y0] * (1 - fy)[:, None] + smooth[y0 + 1] * fy[:, None]
    return rows[:, x0] * (1 - fx) + rows[:, x0 + 1] * fx


def _noise(rng: np.random.Generator, side: int, sd: float) -> NDArray[np.float32]:
    white = rng.standard_normal((side, side)).astype(np.float32)
    soft = white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, (1, 1), (0, 1))
    return soft * (sd / 2.0)
