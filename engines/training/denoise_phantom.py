"""Noise power, sharpness and detectability of denoising on a water cylinder, and on a scanner's own noise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training import measures
from engines.training.baselines import Filter
from engines.training.clean import box, read_nifti
from engines.training.detail import disk
from engines.training.phantoms import (
    PIXEL_MM,
    SIDE,
    blocks,
    cylinder,
    cylinder_noise,
    disks,
    middle,
    places,
    squares,
)
from engines.training.sources import PHANTOM, SOURCES, Role

Image = NDArray[np.float32]

KERNEL = Kernel(cutoff=0.88)
NOISE_HU = 30.0
EXPOSURES = 64
SIGNALS = ((6.0, 10.0), (5.0, 20.0))  # diameter in mm, contrast in HU
EDGE_PX = 30.0
EDGES_HU = (-10.0, -20.0, 100.0, 500.0)


def on_water(methods: Mapping[str, Filter]) -> dict[str, Any]:
    """Per method: noise left, NPS peak and centroid, MTF50 by contrast, CHO; changes relative to the input."""
    base = cylinder()
    noise = cylinder_noise(KERNEL, EXPOSURES, sd_hu=NOISE_HU)
    found: dict[str, Any] = {"n": EXPOSURES, "noise_hu": NOISE_HU, "pixel_mm": PIXEL_MM}
    scores: dict[str, dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for name, method in methods.items():
        made = np.stack([method(base + one, NOISE_HU) for one in noise])
        error = made - base
        frequency, power = measures.noise_power(blocks(error), PIXEL_MM)
        entry: dict[str, Any] = {
            "noise_reduction_percent": round(100.0 * (1.0 - float(middle(error).std()) / NOISE_HU), 2),
            "bias_hu": round(float(middle(error).mean()), 3),
            "nps_peak_per_mm": round(measures.peak_frequency(frequency, power), 4),
            "nps_centroid_per_mm": round(measures.centroid_frequency(frequency, power), 4),
            "nps": {"frequency_per_mm": _short(frequency), "power_hu2_mm2": _short(power)},
            "mtf50_per_mm": _sharpness(method, base, noise[:16], made[:16]),
        }
        scores[name] = {}
        for diameter, contrast in SIGNALS:
            key = f"{diameter:g}mm_{contrast:g}hu"
            present, absent = _seen(method, base, noise, diameter, contrast)
            channels = measures.laguerre_gauss(present.shape[-1], 1.5 * diameter / PIXEL_MM)
            scores[name][key] = measures.ratings(present, absent, channels)
            entry[f"cho_{key}"] = _rounded(measures.detectability(*scores[name][key]))
            dense = measures.gaussian_differences(present.shape[-1])
            other = measures.detectability(*measures.ratings(present, absent, dense))
            entry[f"cho_dog_{key}"] = _rounded(other)
        found[name] = entry
    peak = found["identity"]["nps_peak_per_mm"]
    for name in methods:
        entry = found[name]
        entry["nps_peak_shift_percent"] = round(100.0 * (entry["nps_peak_per_mm"] / peak - 1.0), 2)
        for key, pair in scores[name].items():
            entry[f"auc_gain_{key}"] = measures.auc_gain(pair, scores["identity"][key]).as_json()
    return found


def _sharpness(method: Filter, base: Image, noise: Image, made: Image) -> dict[str, float]:
    one = disk(SIDE, (SIDE - 1) / 2.0, (SIDE - 1) / 2.0, EDGE_PX, 1.0)
    found = {}
    for contrast in EDGES_HU:
        change = np.mean([method(base + n + contrast * one, NOISE_HU) for n in noise], axis=0) - made.mean(axis=0)
        curve = measures.disk_mtf(change, EDGE_PX, PIXEL_MM)
        found[f"{contrast:g} HU"] = round(measures.frequency_at(*curve, 0.5), 4)
    return found


def _seen(method: Filter, base: Image, noise: Image, diameter: float, contrast: float) -> tuple[Image, Image]:
    """With and without a disk, (n, s, s) each: places take turns from one exposure to the next."""
    present, absent = [], []
    for number, one in enumerate(noise):
        odd = bool(number % 2)
        made = method(base + one + disks(diameter, contrast, odd=odd), NOISE_HU) - base
        present.append(squares(made, odd=odd))
        absent.append(squares(made, odd=not odd))
    assert len(present) * len(places()) == 2 * sum(len(part) for part in present)
    return np.concatenate(present), np.concatenate(absent)


def real_noise(method: Filter, data: Path) -> dict[str, Any]:
    """A scanner's own noise: the phantom with a bone kernel, whose soft-kernel twin says where it is flat.

    No simulation is in this: SD before and after, and the shift of the mean, in regions whose twin varies by less than
    3 HU over 9x9 pixels. The slices are those held back; the bone-kernel volume was never trained on.
    """
    sharp = read_nifti(data / PHANTOM.replace("UB", "YA"))
    soft = read_nifti(data / PHANTOM)
    rows: dict[str, list[float]] = {"sd_before": [], "sd_after": [], "mean_shift": []}
    for source in SOURCES:
        if source.path != PHANTOM or source.role is not Role.HELD_BACK:
            continue
        for index in source.slices:
            mean = box(soft[index], 4)
            flat = (box(np.square(soft[index] - mean), 4) < 9.0) & (mean > -50.0) & (mean < 150.0)
            y, x = (side // 8 * 8 for side in sharp[index].shape)
            image, place = np.ascontiguousarray(sharp[index, :y, :x]), flat[:y, :x]
            made = method(image, 0.0)
            rows["sd_before"].append(float((image - box(image, 4))[place].std()))
            rows["sd_after"].append(float((made - box(made, 4))[place].std()))
            rows["mean_shift"].append(float((made - image)[place].mean()))
    return {name: measures.interval(values).as_json() for name, values in rows.items()}


def _rounded(found: measures.Detectability) -> dict[str, float]:
    return {"auc": round(found.auc, 4), "dprime": round(found.dprime, 3), "n": found.n}


def _short(curve: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.4g}") for value in curve]
