"""What is measured on a synthetic post-contrast T1: the methods, and figures where enhancement is. NETWORKS D3.

Every method gives post in WM on the grid of T1. Enhancement is read from means over 3x3 pixels, for the truth as for
every method, so that noise alone makes nobody's voxel enhance. Volumes (z, y, x).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from engines.engine import Engine
from engines.mr import white_matter, white_matter_peak
from engines.training.contrast_cases import ENHANCES, Case

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
SERIES = ("t1", "t2", "flair")
SIGNAL = 0.05  # WM; below is no tissue
SPECK_ML = 0.05  # smaller patches are nobody's finding
LESION_ML = 1.0  # D3
FALSE_ML = 0.2  # a patch as large as this without truth is a false lesion


@dataclass(frozen=True, kw_only=True, eq=False)
class Input:
    """A case in WM, as the node would prepare it; an absent series is all zeros."""

    images: Mapping[str, Volume]
    present: tuple[bool, bool, bool]
    unit: float  # of T1


def prepared(series: Mapping[str, Volume], missing: str = "") -> Input:
    """Divide every series by its white-matter peak. Raises ValueError where there is none."""
    white = white_matter(series["t1"])
    unit = {name: white_matter_peak(series[name], white) for name in SERIES}
    images = {
        name: np.zeros_like(series[name]) if name == missing else (series[name] / np.float32(unit[name])).astype("f4")
        for name in SERIES
    }
    return Input(images=images, present=(True, missing != "t2", missing != "flair"), unit=unit["t1"])


def run(engine: Engine, given: Input) -> tuple[Volume, Volume]:
    """Post and spread of the network, slice by slice as the pipeline feeds it; edges repeated."""
    shape = given.images["t1"].shape
    fill = [(0, -n % 8) for n in shape[1:]]
    padded = {name: np.pad(volume, ((1, 1), *fill), mode="edge") for name, volume in given.images.items()}
    post, spread = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
    present = np.array([given.present], dtype=np.float32)
    for z in range(shape[0]):
        feeds = {name: np.ascontiguousarray(volume[None, z : z + 3]) for name, volume in padded.items()}
        made = engine.infer({**feeds, "present": present})
        post[z] = made["post"][0, 0, : shape[1], : shape[2]]
        spread[z] = made["spread"][0, 0, : shape[1], : shape[2]]
    return post, spread


def features(given: Input, where: Mask) -> NDArray[np.float64]:
    """(n, k): 1, the series that are there, their squares and products."""
    there = [
        given.images[name][where].astype(np.float64) for name, yes in zip(SERIES, given.present, strict=True) if yes
    ]
    columns = [np.ones(len(there[0])), *there]
    columns += [a * b for i, a in enumerate(there) for b in there[i:]]
    return np.stack(columns, axis=1)


@dataclass(frozen=True, kw_only=True)
class Linear:
    """The baselines, fitted on heads that train: post in WM from what a voxel shows."""

    t1_map: tuple[float, float]  # robust: offset and factor
    regression: Mapping[tuple[bool, bool, bool], tuple[float, ...]]  # least squares on `features`

    def apply(self, given: Input) -> dict[str, Volume]:
        """Post of both; where T1 has no signal, T1."""
        t1 = given.images["t1"]
        where = t1 > SIGNAL
        fitted = t1.copy()
        fitted[where] = features(given, where) @ np.array(self.regression[given.present])
        line = np.where(where, self.t1_map[0] + self.t1_map[1] * t1, t1).astype(np.float32)
        return {"t1_map": line, "regression": fitted}


def fit(samples: Sequence[tuple[Mapping[tuple[bool, bool, bool], NDArray[np.float64]], Volume, Volume]]) -> Linear:
    """samples: of each case the features by what is present, T1 and true post of the same voxels."""
    t1, post = (np.concatenate([sample[k] for sample in samples]).astype(np.float64) for k in (1, 2))
    offset, factor = 0.0, 1.0
    inside = np.ones(len(t1), dtype=bool)
    for _ in range(10):  # least trimmed squares: the tenth that enhances most has no say
        factor, offset = np.polyfit(t1[inside], post[inside], 1)
        error = np.abs(post - offset - factor * t1)
        inside = error <= np.quantile(error, 0.9)
    found = {}
    for present in samples[0][0]:
        columns = np.concatenate([sample[0][present] for sample in samples])
        found[present] = tuple(float(v) for v in np.linalg.lstsq(columns, post, rcond=None)[0])
    return Linear(t1_map=(float(offset), float(factor)), regression=found)


def enhancement(post: Volume, t1: Volume) -> Volume:
    """post over t1, minus 1, of means over 3x3 pixels; 0 where T1 has no signal."""
    top, bottom = (ndimage.uniform_filter(volume, (0, 3, 3)) for volume in (post, t1))
    made: Volume = np.where(bottom > SIGNAL, top / np.maximum(bottom, SIGNAL) - 1.0, 0.0).astype(np.float32)
    return made


def patches(over: Mask, voxel_ml: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Connected patches of at least SPECK_ML, numbered from 1, and their volumes in mL."""
    labels, count = ndimage.label(over)
    sizes = np.bincount(labels.reshape(-1), minlength=count + 1)[1:] * voxel_ml
    kept = np.flatnonzero(sizes >= SPECK_ML)
    table = np.zeros(count + 1, dtype=np.int32)
    table[kept + 1] = np.arange(1, len(kept) + 1)
    numbered: NDArray[np.int32] = table[labels]
    return numbered, np.asarray(sizes[kept], dtype=np.float64)


def findings(made: Volume, true: Volume, case: Case, threshold: float) -> dict[str, Any]:
    """Volumes and lesions of one method in one case.

    made, true: `enhancement`; threshold: of made; what truly enhances is over ENHANCES
    returns: ours_ml, true_ml, false_ml; per leaking lesion of at least 1 mL whether it was found; false lesions; per
             lesion with its barrier whole whether a tenth of it enhances falsely, and whether its looks promised a leak
    """
    labels, sizes = patches((made > threshold) & case.search, case.voxel_ml)
    ours = labels > 0
    truth = case.enhancing & (true > ENHANCES - 1.0) & case.search
    near = ndimage.binary_dilation(truth, iterations=2)
    touched = np.unique(labels[near & ours])
    false = np.setdiff1d(np.arange(1, len(sizes) + 1), touched)
    found, quiet = [], []
    for lesion in case.lesions:
        own = case.numbers == lesion.number
        volume = float(np.count_nonzero(own)) * case.voxel_ml
        if lesion.leaks:
            strong = own & truth
            count = int(np.count_nonzero(strong))
            if count * case.voxel_ml >= LESION_ML:
                found.append(bool(np.count_nonzero(ours & strong) >= 0.1 * count))
        elif volume >= FALSE_ML:
            inside = own & case.search
            share = int(np.count_nonzero(ours & inside)) / max(int(np.count_nonzero(inside)), 1)
            quiet.append({"false": bool(share > 0.1), "surprise": lesion.surprise, "kind": lesion.kind.value})
    return {
        "ours_ml": float(np.count_nonzero(ours)) * case.voxel_ml,
        "true_ml": float(np.count_nonzero(truth)) * case.voxel_ml,
        "false_ml": float(np.count_nonzero(ours & ~near)) * case.voxel_ml,
        "found": found,
        "false_lesions": int(np.count_nonzero(sizes[false - 1] >= FALSE_ML)),
        "quiet": quiet,
    }


def in_region(made: Volume, true: Volume, where: Mask) -> dict[str, float]:
    """MAE and bias in WM, PSNR (peak 2 WM) in dB, and SSIM of the slices it crosses, all read inside the region."""
    error = (made - true)[where].astype(np.float64)
    maps = []
    for z in np.flatnonzero(where.any(axis=(1, 2))):
        _, full = structural_similarity(made[z], true[z], data_range=2.0, full=True, gaussian_weights=True)
        maps.append(full[where[z]])
    return {
        "mae": float(np.abs(error).mean()),
        "bias": float(error.mean()),
        "psnr": float(10.0 * np.log10(4.0 / max(float((error**2).mean()), 1e-12))),
        "ssim": float(np.concatenate(maps).mean()),
    }


def controls(made: Volume, true: Volume, case: Case) -> dict[str, float]:
    """Median enhancement of what always enhances, where at least 0.05 mL of it truly does in this case."""
    found = {}
    for name in ("sinus", "choroid", "pituitary"):
        where = getattr(case, name) & (true > ENHANCES - 1.0)
        if np.count_nonzero(where) * case.voxel_ml >= 0.05:
            found[name] = float(np.median(made[where]))
    return found


def concordance(ours: Sequence[float], true: Sequence[float]) -> float:
    """Lin 1989: agreement of pairs with the line of identity."""
    a, b = np.asarray(ours, dtype=np.float64), np.asarray(true, dtype=np.float64)
    spread = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(2.0 * np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 0.0 else 1.0
