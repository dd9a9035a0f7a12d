"""Kernel conversion on objects whose truth is known by formula: a cylinder with an edge, and a lung with emphysema.

Source and target see the same photons (engines/training/kernel_pairs.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training import measures
from engines.training.detail import disk
from engines.training.kernel_pairs import expose, shown, with_white
from engines.training.phantoms import SIDE, blocks, cylinder, emphysema, middle

Image = NDArray[np.float32]
Conversion = Callable[[Image, Kernel, Kernel, float], Image]
"""Slice, source, target and pixel size in mm to a slice as the target kernel shows it."""

PIXEL_MM = 0.5  # fine enough that a bone kernel's MTF50 lies below the Nyquist frequency
WATER_MM = 180.0
NOISE_HU = 12.0  # SD through the soft kernel
EXPOSURES = 24
EDGE_PX, EDGE_HU = 40.0, 200.0
LUNGS = 10


def on_water(convert: Conversion, soft: Kernel, sharp: Kernel) -> dict[str, Any]:
    """Both ways: noise SD, NPS peak and MTF50 of the converted over those of the target."""
    base = cylinder(PIXEL_MM, WATER_MM)
    edge = disk(SIDE, (SIDE - 1) / 2.0, (SIDE - 1) / 2.0, EDGE_PX, EDGE_HU)
    body = base > -500.0
    images: dict[str, list[list[Image]]] = {"soft": [], "sharp": []}
    for number in range(EXPOSURES):
        rng = np.random.default_rng([number, 11])
        both = expose(base, PIXEL_MM, (soft, sharp), rng)
        scale = np.float32(NOISE_HU / np.std(both[0][body]))
        for name, kernel, noise in zip(("soft", "sharp"), (soft, sharp), both, strict=True):
            full = with_white(noise * scale, body, rng)
            images[name].append([shown(base + part, full, kernel, PIXEL_MM) for part in (np.zeros_like(edge), edge)])
    found: dict[str, Any] = {"n": EXPOSURES}
    for title, first, second in (("sharp to soft", "sharp", "soft"), ("soft to sharp", "soft", "sharp")):
        source, target = (sharp, soft) if first == "sharp" else (soft, sharp)
        made = [[convert(image, source, target, PIXEL_MM) for image in pair] for pair in images[first]]
        ours, wanted, given = (_looks(pairs, base) for pairs in (made, images[second], images[first]))
        found[title] = {
            "noise_sd_ratio": round(ours["sd"] / wanted["sd"], 4),
            **{
                name: {
                    "converted": round(ours[name], 4),
                    "target": round(wanted[name], 4),
                    "source": round(given[name], 4),
                    "off_percent": round(100.0 * (ours[name] / wanted[name] - 1.0), 2),
                }
                for name in ("mtf50_per_mm", "mtf10_per_mm", "nps_peak_per_mm", "nps_centroid_per_mm")
            },
            "curves": {"converted": ours["curves"], "target": wanted["curves"], "source": given["curves"]},
        }
    return found


def _looks(pairs: list[list[Image]], base: Image) -> dict[str, Any]:
    plain = np.stack([pair[0] for pair in pairs])
    difference = np.mean([pair[1] - pair[0] for pair in pairs], axis=0)
    error = plain - plain.mean(axis=0)
    frequency, power = measures.noise_power(blocks(error), PIXEL_MM)
    at, mtf = measures.disk_mtf(difference, EDGE_PX, PIXEL_MM)
    return {
        "sd": float(middle(error).std()),
        "nps_peak_per_mm": measures.peak_frequency(frequency, power),
        "nps_centroid_per_mm": measures.centroid_frequency(frequency, power),
        "mtf50_per_mm": measures.frequency_at(at, mtf, 0.5),
        "mtf10_per_mm": measures.frequency_at(at, mtf, 0.1),
        "curves": {
            "nps": [_short(frequency), _short(power)],
            "mtf": [_short(at[::8]), _short(mtf[::8])],
        },
    }


def on_lungs(convert: Conversion, soft: Kernel, sharp: Kernel) -> dict[str, Any]:
    """LAA-950 of the converted minus that of the target, percentage points, in lungs with 0 to 25 % of emphysema."""
    rows: dict[str, list[float]] = {"source": [], "target": [], "converted": []}
    for number in range(LUNGS):
        rng = np.random.default_rng([number, 12])
        image, lung = emphysema(rng, share=0.25 * number / (LUNGS - 1))
        body = image > -500.0
        both = expose(image, PIXEL_MM, (soft, sharp), rng)
        scale = np.float32(NOISE_HU / np.std(both[0][body]))
        target, source = (
            shown(image, with_white(noise * scale, body, rng), kernel, PIXEL_MM)
            for noise, kernel in zip(both, (soft, sharp), strict=True)
        )
        made = convert(source, sharp, soft, PIXEL_MM)
        for name, one in (("source", source), ("target", target), ("converted", made)):
            rows[name].append(measures.emphysema_index(one[lung]))
    bias = [a - b for a, b in zip(rows["converted"], rows["target"], strict=True)]
    before = [a - b for a, b in zip(rows["source"], rows["target"], strict=True)]
    return {
        **{name: measures.interval(values).as_json() for name, values in rows.items()},
        "bias_before": measures.interval(before).as_json(),
        "bias": measures.interval(bias).as_json(),
    }


def _short(curve: NDArray[np.float64]) -> list[float]:
    return [float(f"{value:.4g}") for value in curve]
