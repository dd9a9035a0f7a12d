"""Which pictures the card of each network shows, from the measured figures and a few held-back slices."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel, convert_linear
from engines.training import plots
from engines.training.baselines import Filter
from engines.training.sources import BODY, CHEST, PHANTOM, SIEMENS, SOURCES, Role
from engines.training.testset import QUARTER, Item, Truth, make_item, slices_of

Image = NDArray[np.float32]

# Source, window (centre, width) and how far below the middle the patch lies.
SHOWN = ((SIEMENS, (40.0, 400.0), 0), (CHEST, (40.0, 400.0), 40), (BODY + "A062055", (40.0, 400.0), 0))
KERNELS_SHOWN = ((SIEMENS, (300.0, 1500.0), 60), (CHEST, (-500.0, 1500.0), 0), (PHANTOM, (80.0, 700.0), 60))


def denoise(to: Path, methods: Mapping[str, Filter], data: Path, figures: Mapping[str, Any]) -> None:
    """Noise power, sharpness by contrast, patches and agreement of HU of the denoise network."""
    name = "ct_denoise"
    water = figures["water"]
    chosen = ("identity", "total_variation", "non_local_means", "bilateral", "network")
    spectra = {plots.TITLES[m]: tuple(water[m]["nps"].values()) for m in chosen}
    plots.noise_power(to, spectra, name)
    plots.contrast_sharpness(to, {plots.TITLES[m]: water[m]["mtf50_per_mm"] for m in chosen}, name)
    rows = []
    for path, _, down in SHOWN:
        item = first_item(path, data)
        noisy = item.noisy(QUARTER)
        made = {plots.TITLES[m]: methods[m](noisy, item.quarter_hu) for m in ("identity", "non_local_means", "network")}
        made["truth"] = item.clean
        rows.append({title: plots.crop(image, down=down) for title, image in made.items()})
    plots.patches(to, rows, [window for _, window, _ in SHOWN], name)
    pairs: dict[str, list[tuple[float, float]]] = {}
    for source, index, clean in slices_of(Role.HELD_BACK, Truth.CLEANED, data, few=2):
        item = make_item(source, index, Truth.CLEANED, clean)
        made_one = methods["network"](item.noisy(QUARTER), item.quarter_hu)
        pairs.setdefault(source.name, []).extend(plots.regions(made_one, clean))
    plots.bland_altman(to, pairs, name)


def kernel(
    to: Path,
    convert: Callable[[Image, Kernel, Kernel, float], Image],
    pairs: Sequence[tuple[str, float, Image, Image]],
    kernels: tuple[Kernel, Kernel],
    figures: Mapping[str, Any],
) -> None:
    """The same of the kernel network.

    pairs:   name of the volume, side of a pixel in mm, the slice through the soft and through the sharp kernel
    kernels: the soft and the sharp one
    """
    name = "ct_kernel"
    soft, sharp = kernels
    water = figures["water"]
    for direction in ("sharp to soft", "soft to sharp"):
        curves = water[direction]["curves"]
        words = direction.replace(" ", "_")
        plots.transfer(to, {title: tuple(one["mtf"]) for title, one in curves.items()}, f"{name}_{words}")
        plots.noise_power(to, {title: tuple(one["nps"]) for title, one in curves.items()}, f"{name}_{words}")
    rows: list[dict[str, Image]] = []
    windows: list[tuple[float, float]] = []
    agreement: dict[str, list[tuple[float, float]]] = {"sharp to soft": [], "soft to sharp": []}
    seen: set[str] = set()
    for volume, pixel_mm, given_soft, given_sharp in pairs:
        down_way = convert(given_sharp, sharp, soft, pixel_mm)
        up_way = convert(given_soft, soft, sharp, pixel_mm)
        agreement["sharp to soft"].extend(plots.regions(down_way, given_soft))
        agreement["soft to sharp"].extend(plots.regions(up_way, given_sharp))
        for path, window, down in KERNELS_SHOWN:
            if Path(path).name.removesuffix(".nii.gz") != volume or volume in seen:
                continue
            seen.add(volume)
            images = {
                "soft": given_soft,
                "sharp": given_sharp,
                "sharp to soft": down_way,
                "soft to sharp": up_way,
                "linear, soft to sharp": convert_linear(given_soft, soft, sharp, pixel_mm),
            }
            rows.append({title: plots.crop(image, down=down) for title, image in images.items()})
            windows.append(window)
    plots.patches(to, rows, windows, name)
    plots.bland_altman(to, agreement, name)


def first_item(path: str, data: Path) -> Item:
    """The slice in the middle of a held-back source, cleaned truth."""
    for source in SOURCES:
        if source.path == path and source.role is Role.HELD_BACK:
            middle = replace(source, slices=(source.slices[len(source.slices) // 2],))
            for one, index, clean in slices_of(Role.HELD_BACK, Truth.CLEANED, data, among=(middle,)):
                return make_item(one, index, Truth.CLEANED, clean)
    raise ValueError(f"{path} holds nothing back")
