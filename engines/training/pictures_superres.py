"""The picture of the super-resolution card: projections in three planes, a profile through a vessel, the null space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from numpy.typing import NDArray

from engines.slabs import averaged, tof_unit
from engines.training import plots
from engines.training.evaluate_superres_scans import Task, results
from engines.training.tof_acquire import Profile
from engines.training.tof_measures import projections

Volume = NDArray[np.float32]
TITLES = {"nearest": "thick slices", "back_projection": "back-projection", "network": "network", "truth": "truth"}
# Greys: the file has few colours, so that it stays small.
LINES = {
    "nearest": ("0.75", "-"),
    "back_projection": ("0.55", "--"),
    "network": ("0.0", "-"),
    "truth": ("0.0", ":"),
}
PLANES = ("axial", "coronal", "sagittal")


def superres(to: Path, tasks: Sequence[Task]) -> Path:
    """One held-back 3-D scan: projections by method, a column through a thin vessel, and what the network added."""
    task = next(one for one in tasks if one.profile is Profile.FOURIER)
    case = task.made()
    unit = np.float32(tof_unit(case.thick))
    thick, truth = case.thick / unit, case.thin / unit
    made = results(thick, case.acquisition, task.factor, ("nearest", "back_projection", "network")) | {"truth": truth}
    figure, grid = plt.subplots(4, 4, figsize=(9.6, 8.8), layout="constrained")
    stretch = case.spacing_mm / case.factor / case.pixel_mm
    for column, (name, volume) in zip(grid.T, made.items(), strict=True):
        column[0].set_title(TITLES[name], fontsize=9)
        for axes, plane, image in zip(column, PLANES, projections(volume, case.brain), strict=False):
            axes.imshow(image, cmap="gray", vmin=0.2, vmax=1.1, origin="upper" if plane == "axial" else "lower",
                        aspect=1.0 if plane == "axial" else stretch)  # fmt: skip
            axes.set_axis_off()
    z, y, x = _thin_vessel(case.arteries, case.brain)
    low, high = max(z - 14, 0), z + 15
    at = (np.arange(low, min(high, len(truth))) - z) * case.spacing_mm / case.factor
    profile = grid[3, 0]
    for name, volume in made.items():
        grey, style = LINES[name]
        profile.plot(at, volume[low:high, y, x], style, color=grey, label=TITLES[name], linewidth=1.3)
    profile.set(xlabel="mm along z", ylabel="ART")
    profile.legend(fontsize=5)
    added = made["network"] - np.repeat(averaged(made["network"], case.factor), case.factor, axis=0)
    missed = made["network"] - truth
    for axes, image, title in (
        (grid[3, 1], made["network"][:, y], "network, coronal slice"),
        (grid[3, 2], added[:, y], "null space: not measured"),
        (grid[3, 3], missed[:, y], "network minus truth"),
    ):
        plain = title.startswith("network, ")
        low_art = 0.0 if plain else -0.4
        axes.imshow(image, cmap="gray", vmin=low_art, vmax=low_art + (1.0 if plain else 0.8), origin="lower")
        axes.set_aspect(stretch)
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    return plots.saved(figure, to / "mra_superres.png")


def _thin_vessel(arteries: Volume, brain: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Where a vessel lies alone in its column, as thin as one thin slice, well inside."""
    inner = np.where(brain, arteries, np.float32(0.0))[20:-20]
    amount = inner.sum(axis=0)
    score = np.where((amount > 0.9) & (amount < 1.6), inner.max(axis=0), 0.0)
    y, x = np.unravel_index(int(np.argmax(score)), score.shape)
    return 20 + int(np.argmax(inner[:, y, x])), int(y), int(x)
