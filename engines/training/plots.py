"""The pictures of a model card: noise power, sharpness, patches before and after, agreement of HU. PNG below 150 kB."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image as Pictures

matplotlib.use("Agg")  # no screen is there

Image = NDArray[np.float32]

LARGEST = 150_000  # bytes
TITLES = {
    "identity": "input",
    "gaussian": "Gaussian",
    "total_variation": "total variation",
    "non_local_means": "non-local means",
    "bilateral": "bilateral",
    "network": "network",
    "blind_filter": "linear filter",
    "fitted_filter": "fitted filter",
}


def noise_power(to: Path, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], name: str) -> Path:
    """Radial noise power spectra: title -> frequency per mm and HU^2 mm^2."""
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    for title, (frequency, power) in curves.items():
        axes.plot(frequency, power, label=title, linewidth=2.2 if title == "network" else 1.2)
    axes.set(xlabel="cycles per mm", ylabel="noise power, HU² mm²", yscale="log", title="Noise power in water")
    axes.legend(fontsize=7)
    return saved(figure, to / f"{name}_nps.png")


def contrast_sharpness(to: Path, found: Mapping[str, Mapping[str, float]], name: str) -> Path:
    """MTF50 by contrast of the edge: title -> contrast -> cycles per mm."""
    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    labels = list(next(iter(found.values())))
    for title, values in found.items():
        axes.plot(labels, [values[label] for label in labels], marker="o", label=title)
    axes.set(
        ylabel="MTF50, cycles per mm", xlabel="contrast of the edge, 30 HU of noise", title="Sharpness by contrast"
    )
    axes.set_ylim(bottom=0.0)
    axes.legend(fontsize=7)
    return saved(figure, to / f"{name}_mtf.png")


def transfer(to: Path, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], name: str) -> Path:
    """MTFs: title -> frequency per mm and modulation."""
    figure, axes = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
    for title, (frequency, mtf) in curves.items():
        axes.plot(frequency, mtf, label=title)
    axes.set(xlabel="cycles per mm", ylabel="MTF", title="Sharpness, edge of 200 HU", ylim=(0.0, None))
    axes.legend(fontsize=7)
    return saved(figure, to / f"{name}_mtf.png")


def patches(to: Path, rows: Sequence[Mapping[str, Image]], windows: Sequence[tuple[float, float]], name: str) -> Path:
    """Patches side by side, one row per example, all of a row in one window (centre, width) that is written on it."""
    columns = list(rows[0])
    size = (1.9 * len(columns), 1.9 * len(rows) + 0.3)
    figure, grid = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, layout="constrained")
    for axes, title in zip(grid[0], columns, strict=True):
        axes.set_title(title, fontsize=8)
    for line, row, (centre, width) in zip(grid, rows, windows, strict=True):
        for axes, title in zip(line, columns, strict=True):
            axes.imshow(row[title], cmap="gray", vmin=centre - width / 2, vmax=centre + width / 2)
            axes.set_axis_off()
        box = {"facecolor": "black", "edgecolor": "none", "pad": 1.5}
        line[0].text(3, 10, f"C {centre:g} W {width:g}", color="white", fontsize=7, bbox=box)
    return saved(figure, to / f"{name}_patches.png", dpi=90)


def bland_altman(to: Path, pairs: Mapping[str, Sequence[tuple[float, float]]], name: str) -> Path:
    """Difference over mean of regional HU, result and truth; group -> (result, truth)."""
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    every = np.array([pair for group in pairs.values() for pair in group])
    difference = every[:, 0] - every[:, 1]
    for title, group in pairs.items():
        points = np.array(group)
        axes.plot(points.mean(axis=1), points[:, 0] - points[:, 1], ".", markersize=2.5, alpha=0.5, label=title)
    middle, spread = float(difference.mean()), 1.96 * float(difference.std())
    for level, style in ((middle, "-"), (middle - spread, "--"), (middle + spread, "--")):
        _level(axes, level, style)
    axes.set(xlabel="mean of result and truth, HU", ylabel="result minus truth, HU", title="Means of 16 by 16 pixels")
    axes.legend(fontsize=7, markerscale=3)
    return saved(figure, to / f"{name}_bland_altman.png")


def _level(axes: Axes, level: float, style: str) -> None:
    axes.axhline(level, color="black", linewidth=0.8, linestyle=style)
    axes.annotate(
        f"{level:+.2f}", (1.0, level), xycoords=("axes fraction", "data"), fontsize=6, ha="right", va="bottom"
    )


def regions(made: Image, truth: Image, *, side: int = 16) -> list[tuple[float, float]]:
    """Means of result and truth over squares that lie in the body and are of one tissue."""
    y, x = (length // side for length in truth.shape)
    blocks = [
        image[: y * side, : x * side].reshape(y, side, x, side).swapaxes(1, 2).reshape(-1, side * side)
        for image in (made, truth)
    ]
    even = (blocks[1].std(axis=1) < 40.0) & (blocks[1].mean(axis=1) > -950.0)
    return [(float(a), float(b)) for a, b in zip(blocks[0][even].mean(1), blocks[1][even].mean(1), strict=True)]


def crop(image: Image, side: int = 160, *, down: int = 0) -> Image:
    """The square in the middle, `down` pixels lower."""
    y, x = image.shape
    top, left = max(min((y - side) // 2 + down, y - side), 0), max((x - side) // 2, 0)
    return image[top : top + side, left : left + side]


def each(methods: Mapping[str, Callable[..., Image]], names: Sequence[str], *arguments: Any) -> dict[str, Image]:
    """Title -> result of every named method."""
    return {TITLES[name]: methods[name](*arguments) for name in names}


def saved(figure: Figure, path: Path, *, dpi: int = 100) -> Path:
    """Write a PNG of as few colours, then of as few pixels, as it takes to stay below `LARGEST`: patches are noisy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
    plt.close(figure)
    with Pictures.open(path) as picture:
        full = picture.convert("RGB")
    for colours, share in ((128, 1.0), (64, 1.0), (32, 1.0), (32, 0.8), (16, 0.8), (16, 0.6), (16, 0.4)):
        size = (int(full.width * share), int(full.height * share))
        full.resize(size, Pictures.Resampling.LANCZOS).quantize(colours).save(path, optimize=True)
        if path.stat().st_size < LARGEST:
            break
    return path
