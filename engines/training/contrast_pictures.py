"""The pictures of the contrast network's card: cases found and missed, agreement of volumes, and the real glioma."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from engines.engine import Engine
from engines.training import contrast_measures as measured
from engines.training.contrast_cases import Case
from engines.training.contrast_measures import Linear
from engines.training.contrast_real import glioma
from engines.training.plots import saved

Volume = NDArray[np.float32]
NAME = "mr_postcontrast"
WINDOWS = {"T1": 1.5, "T2": 4.0, "FLAIR": 2.2, "spread": 0.3}  # WM at white, from 0; everything made from T1 is as T1


def rows_of(
    shown: Case, made: Mapping[str, Volume], t1: Volume, spread: Volume, given: measured.Input
) -> dict[str, Volume]:
    """One row: the slice with most true enhancement, or with most of a lesion."""
    where = shown.enhancing if shown.enhancing.any() else shown.numbers > 0
    z = int(np.argmax(where.sum(axis=(1, 2))))
    return {
        "T1": t1[z],
        "T2": given.images["t2"][z],
        "FLAIR": given.images["flair"][z],
        "truth": made["truth"][z],
        "network": made["network"][z],
        "regression": made["regression"][z],
        "spread": spread[z],
    }


def triples(to: Path, rows: Mapping[str, Mapping[str, Volume]], name: str) -> Path:
    """Title of a row -> title of a column -> slice."""
    columns = list(next(iter(rows.values())))
    size = (1.6 * len(columns), 2.0 * len(rows))
    figure, grid = plt.subplots(len(rows), len(columns), figsize=size, squeeze=False, layout="constrained")
    for line, (title, row) in zip(grid, rows.items(), strict=True):
        for axes, column in zip(line, columns, strict=True):
            axes.imshow(row[column], cmap="gray", vmin=0.0, vmax=WINDOWS.get(column, WINDOWS["T1"]))
            axes.set_title(column, fontsize=7)
            axes.set_axis_off()
        line[0].text(2, 12, title, color="white", fontsize=6, bbox={"facecolor": "black", "pad": 1.0})
    return saved(figure, to / f"{name}.png", dpi=110)


def agreement(to: Path, pairs: Sequence[Sequence[float]], name: str) -> Path:
    """Bland and Altman: enhancing volumes, mL."""
    figure, axes = plt.subplots(figsize=(5.2, 3.4), layout="constrained")
    points = np.array(pairs)
    off = points[:, 0] - points[:, 1]
    axes.plot(points.mean(axis=1), off, ".", markersize=5)
    for level in (off.mean(), off.mean() - 1.96 * off.std(), off.mean() + 1.96 * off.std()):
        axes.axhline(level, color="black", linewidth=0.8, linestyle="--")
        axes.annotate(f"{level:+.1f}", (1.0, level), xycoords=("axes fraction", "data"), fontsize=6, ha="right")
    axes.set(
        xlabel="mean of network and truth, mL", ylabel="network minus truth, mL", title="Enhancing volume of a case"
    )
    return saved(figure, to / f"{name}.png")


def real(to: Path, engine: Engine, linear: Linear, data: Path) -> Path:
    """The glioma at two levels: where the tumour is largest, and where most enhances."""
    given, post, where, tumour = glioma(data)
    made, spread = measured.run(engine, given)
    regression = linear.apply(given)["regression"]
    rows = {}
    for z in (int(np.argmax(region.sum(axis=(1, 2)))) for region in (tumour, where)):
        place = (z, slice(28, 220), slice(40, 200))
        rows[f"slice {z}"] = {
            "T1": given.images["t1"][place],
            "T2": given.images["t2"][place],
            "FLAIR": given.images["flair"][place],
            "real T1 + Gd": post[place],
            "network": made[place],
            "regression": regression[place],
            "spread": spread[place],
        }
    return triples(to, rows, f"{NAME}_real")
