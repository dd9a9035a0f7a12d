"""Real volumes with bright arteries, made thick and thin again. No time-of-flight scan is among the public data.

A T1-weighted MPRAGE of a healthy adult shows arteries bright by inflow; a post-contrast T1 shows vessels bright by
gadolinium. Both are other contrasts than the network was taught, with noise of their own in what counts as truth; they
judge and never train. Pieces along z, not patients, are what the intervals are over: each is one person.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.slabs import averaged, tof_unit
from engines.training import measures, tof_measures
from engines.training.clean import read_nifti
from engines.training.tof_acquire import Acquisition, Profile, acquired

Volume = NDArray[np.float32]
# File, mm between its slices, in-plane mm, slices of one slab
VOLUMES = (
    ("t1_mprage_studyforrest_0.67mm", 0.667, 0.7, 4),
    ("t1_mprage_studyforrest_0.67mm", 0.667, 0.7, 6),
    ("t1gd_vs-seg-001_0.41x0.41x1.5mm", 1.5, 0.41, 2),
    ("t1gd_vs-seg-001_0.41x0.41x1.5mm", 1.5, 0.41, 3),
)
PIECES = 6


def measured(data: Path) -> dict[str, Any]:
    """PSNR and projections by volume, slice profile and method."""
    found = {}
    for name, thin_mm, pixel_mm, factor in VOLUMES:
        volume = _cut(read_nifti(data / "mr" / f"{name}.nii.gz"), factor)
        for profile in (Profile.BOX, Profile.FOURIER):
            spacing = thin_mm * factor
            acquisition = Acquisition(profile=profile, spacing_mm=spacing, width_mm=spacing)
            if profile is Profile.BOX:
                thick = averaged(volume, factor)
            else:
                slabs = len(volume) // factor
                thick = acquired(volume, acquisition, thin_mm, slabs, np.random.default_rng(0))
            title = f"{name.split('_')[0]} {name.split('_')[1]}, {thin_mm:g} to {spacing:.1f} mm, {profile}"
            found[title] = _compared(volume, thick, acquisition, factor, (thin_mm, pixel_mm, pixel_mm))
    return found


def _cut(volume: Volume, factor: int) -> Volume:
    z, y, x = volume.shape
    return np.ascontiguousarray(volume[: z // factor * factor, : y // 8 * 8, : x // 8 * 8])


def _compared(
    volume: Volume, thick: Volume, acquisition: Acquisition, factor: int, sizes: tuple[float, float, float]
) -> dict[str, Any]:
    from engines.training.evaluate_superres_scans import ALL, results

    unit = np.float32(tof_unit(thick))
    truth = volume / unit
    made = results(thick / unit, acquisition, factor, ALL)
    inside = ndimage.binary_erosion(ndimage.gaussian_filter(truth, 2.0) > 0.1, iterations=4)
    seen = tof_measures.vessels(truth, sizes, inside)
    edges = np.linspace(2 * factor, len(truth) - 2 * factor, PIECES + 1).astype(int) // factor * factor
    rows: dict[str, Any] = {}
    for name, image in made.items():
        mask = tof_measures.vessels(image, sizes, inside)
        entry: dict[str, list[float]] = {"psnr": [], "dice_bright": [], "ms_ssim": []}
        for low, high in pairwise(edges):
            part = slice(low, high)
            entry["psnr"].append(tof_measures.psnr(image[part], truth[part], inside[part]))
            entry["dice_bright"].append(tof_measures.dice(mask[part], seen[part]))
            both = [tof_measures.projections(v[part], inside[part]) for v in (image, truth)]
            entry["ms_ssim"].append(float(np.mean([tof_measures.ms_ssim(a, b) for a, b in zip(*both, strict=True)])))
        rows[name] = {key: measures.interval(values).as_json() for key, values in entry.items()}
    rows["patients"] = 1
    return rows
