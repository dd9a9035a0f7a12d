"""Real cases, reported with their number and judging nothing: one glioma with contrast, one stroke without."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engines.engine import Engine
from engines.mr import white_matter_peak
from engines.training import contrast_measures as measured
from engines.training.clean import read_nifti
from engines.training.contrast_measures import Linear, enhancement, prepared

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
GLIOMA, STROKE = "tumour_tcga-du-7294", "stroke_cstar"
RATIO = 1.25  # T1 with gadolinium over T1, both in WM: two acquisitions differ by more than simulated ones
SPECK_ML = 0.2


def series_of(name: str, data: Path) -> dict[str, Volume]:
    """t1, t2, flair and, for the glioma, t1gd: (z, y, x), feet to head, front to back."""
    parts = ("t1", "t2", "flair", "t1gd") if name == GLIOMA else ("t1", "t2", "flair")
    found = {part: read_nifti(data / "mr" / f"{name}_{part}.nii.gz") for part in parts}
    if name == STROKE:  # its axes run right, front and up
        found = {part: np.ascontiguousarray(volume[:, ::-1, ::-1]) for part, volume in found.items()}
    return found


def glioma(data: Path) -> tuple[measured.Input, Volume, Mask, Mask]:
    """The input, what gadolinium truly gave (post in WM), the enhancing region, and the tumour.

    Enhancing: where the ratio of the two images, both over their white matter, exceeds RATIO in patches of 0.2 mL and
    more, 4 mm inside the brain's edge: vessels and choroid plexus for the most part, as this tumour does not enhance.
    Tumour: what FLAIR shows above 1.3 times white matter, as one piece. No reader drew either.
    """
    series = series_of(GLIOMA, data)
    given = prepared(series)
    t1, flair = given.images["t1"], given.images["flair"]
    white = (np.abs(t1 - 1.0) < 0.05) & (np.abs(flair - 1.0) < 0.1)
    post = (series["t1gd"] / np.float32(white_matter_peak(series["t1gd"], white))).astype(np.float32)
    inside = ndimage.binary_erosion(t1 > 0.2, iterations=4)
    labels, count = ndimage.label((enhancement(post, t1) > RATIO - 1.0) & inside)
    sizes = ndimage.sum_labels(np.ones_like(labels), labels, np.arange(1, count + 1)) / 1000.0
    where = np.isin(labels, np.flatnonzero(sizes >= SPECK_ML) + 1)
    bright = ndimage.binary_opening((ndimage.gaussian_filter(flair, 1.5) > 1.3) & inside, iterations=2)
    pieces, _ = ndimage.label(bright)
    tumour = pieces == int(np.argmax(np.bincount(pieces.reshape(-1))[1:]) + 1)
    return given, post, where, tumour


def real_cases(engine: Engine, linear: Linear, data: Path, threshold: float) -> dict[str, Any]:
    """Figures of both."""
    given, post, where, tumour = glioma(data)
    ours, _ = measured.run(engine, given)
    t1 = given.images["t1"]
    made = {"truth": post, "identity": t1, **linear.apply(given), "network": ours}
    inside = ndimage.binary_erosion(t1 > 0.2, iterations=4)
    found: dict[str, Any] = {
        "n": 1,
        "true_ml": float(where.sum()) / 1000.0,
        "tumour_ml": float(tumour.sum()) / 1000.0,
    }
    for name, volume in made.items():
        seen = (enhancement(volume, t1) > threshold) & inside
        found[name] = {
            "seen_ml": float(seen.sum()) / 1000.0,
            "of_region": float(seen[where].mean()),
            "of_tumour": float(seen[tumour].mean()),
            "tumour_percent": 100.0 * float(volume[tumour].mean() / t1[tumour].mean() - 1.0),
            "tumour_mae": float(np.abs(volume - post)[tumour].mean()),
            **measured.in_region(volume, post, where),
            "brain_ssim": measured.in_region(volume, post, t1 > 0.05)["ssim"],
        }
    other = prepared(series_of(STROKE, data))
    made_other, _ = measured.run(engine, other)
    t1 = other.images["t1"]
    inside = ndimage.binary_erosion(t1 > 0.2, iterations=4)
    seen = (enhancement(made_other, t1) > threshold) & inside
    white = inside & (np.abs(t1 - 1.0) < 0.05)
    return {
        "glioma": found,
        "stroke": {
            "n": 1,
            "seen_ml": float(seen.sum()) / 1000.0,
            "brain_ml": float(inside.sum()) / 1000.0,
            "white_percent": 100.0 * float(made_other[white].mean() / t1[white].mean() - 1.0),
            "least_ratio": float((made_other[t1 > 0.05] / t1[t1 > 0.05]).min()),
        },
    }
