"""What is measured on thin slices of an angiography: error, projections, vessels, widths. Needs scipy, scikit-image.

Volumes are (z, y, x) in ART (`engines.slabs.tof_unit` = 1); sizes of a voxel in mm, (z, y, x).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import skeletonize

from engines.training.tof_vessels import ARTERY, Aneurysm, Tree

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
Sizes = tuple[float, float, float]

OPENING_MM = 8.0  # wider than any artery here
THRESHOLD = 0.26
"""Vesselness above which a voxel counts as vessel, ART: the best of 0.05 to 0.6 on truth of the head that chooses."""


def psnr(made: Volume, truth: Volume, inside: Mask) -> float:
    """Against a peak of 1 ART, inside a mask, dB."""
    return float(-10.0 * np.log10(np.mean(np.square((made - truth)[inside], dtype=np.float64))))


def projections(volume: Volume, inside: Mask) -> list[Volume]:
    """Maximum-intensity projections of the masked volume along z, y and x."""
    masked = np.where(inside, volume, np.float32(0.0))
    return [np.asarray(masked.max(axis=axis), dtype=np.float32) for axis in range(3)]


_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def ms_ssim(made: Volume, truth: Volume) -> float:
    """Multi-scale structural similarity of two images (Wang 2003), range of 1 ART, Gaussian of 1.5 pixels."""
    c1, c2, total = 0.01**2, 0.03**2, 1.0
    one, two = made.astype(np.float64), truth.astype(np.float64)
    for number, weight in enumerate(_SCALES):
        mean_1, mean_2 = (ndimage.gaussian_filter(image, 1.5) for image in (one, two))
        var_1, var_2 = (
            ndimage.gaussian_filter(image**2, 1.5) - mean**2 for image, mean in ((one, mean_1), (two, mean_2))
        )
        both = ndimage.gaussian_filter(one * two, 1.5) - mean_1 * mean_2
        structure = float(np.mean((2.0 * both + c2) / (var_1 + var_2 + c2)))
        total *= max(structure, 0.0) ** weight
        if number == len(_SCALES) - 1:
            total *= float(np.mean((2.0 * mean_1 * mean_2 + c1) / (mean_1**2 + mean_2**2 + c1))) ** weight
        one, two = (ndimage.uniform_filter(image, 2)[::2, ::2] for image in (one, two))
    return float(total)


def top_hat(volume: Volume, sizes: Sizes) -> Volume:
    """How far a voxel stands above all that is `OPENING_MM` wide."""
    window = tuple(max(round(OPENING_MM / size) // 2 * 2 + 1, 3) for size in sizes)
    return np.asarray(volume - ndimage.grey_opening(volume, size=window), dtype=np.float32)


def vesselness(volume: Volume, sizes: Sizes, inside: Mask) -> Volume:
    """The top-hat, or how far a voxel stands above the median inside the mask where that is less.

    By the top-hat alone a narrow gyrus between fluid stands out too; it is no brighter than tissue is.
    """
    return np.minimum(top_hat(volume, sizes), volume - np.float32(np.median(volume[inside])))


def vessels(volume: Volume, sizes: Sizes, inside: Mask, threshold: float = THRESHOLD) -> Mask:
    """Voxels of vessels by `vesselness`, inside a mask."""
    return np.asarray((vesselness(volume, sizes, inside) > threshold) & inside, dtype=np.bool_)


def dice(made: Mask, truth: Mask) -> float:
    """Overlap, 0 to 1."""
    return (
        2.0 * int(np.count_nonzero(made & truth)) / max(int(np.count_nonzero(made)) + int(np.count_nonzero(truth)), 1)
    )


def skeleton(mask: Mask) -> Mask:
    """Centre-lines (Lee 1994), computed where anything is."""
    made = np.zeros(mask.shape, dtype=np.bool_)
    if mask.any():
        box = ndimage.find_objects(mask.astype(np.int8))[0]
        made[box] = skeletonize(mask[box]) > 0
    return made


def cl_dice(made: Mask, truth: Mask, made_line: Mask, truth_line: Mask) -> float:
    """Centre-line Dice (Shit 2021): how much of each centre-line lies in the other's vessels."""
    precise = float(np.mean(truth[made_line])) if made_line.any() else 0.0
    whole = float(np.mean(made[truth_line])) if truth_line.any() else 0.0
    return float(2.0 * precise * whole / max(precise + whole, 1e-9))


def false_length(made_line: Mask, real: Mask, sizes: Sizes, *, near_mm: float = 1.5) -> float:
    """Share of the found centre-lines farther than `near_mm` from any vessel, artery or vein, %."""
    if not made_line.any():
        return 0.0
    away = ndimage.distance_transform_edt(~real, sampling=sizes)
    return float(100.0 * np.mean(away[made_line] > near_mm))


def found(mask: Mask, sac: Aneurysm, sizes: Sizes) -> bool:
    """Whether half or more of a sac is marked; its centre in voxels."""
    radius = sac.diameter_mm / 2.0
    reach = [int(np.ceil(radius / size)) + 1 for size in sizes]
    middle = np.round(sac.centre).astype(int)
    box = tuple(
        slice(max(int(m) - r, 0), min(int(m) + r + 1, n)) for m, r, n in zip(middle, reach, mask.shape, strict=True)
    )
    axes = np.ogrid[box]
    away = sum(((axis - c) * s) ** 2 for axis, c, s in zip(axes, sac.centre, sizes, strict=True))
    inside = away <= radius**2
    return bool(np.mean(mask[box][inside]) >= 0.5)


def widths(
    volumes: Sequence[Volume], tree: Tree, sizes: Sizes, rng: np.random.Generator, *, least_mm: float = 2.0
) -> NDArray[np.float64]:
    """Full width at half maximum of arteries across their course, mm, in every volume at the same places.

    At up to 150 pieces of a tree (ends in voxels) of at least `least_mm` diameter that no other piece is near, the mean
    over eight directions; half way between the centre and the lower end of the profile, 5 mm to each side.

    returns: (places, volumes); NaN where there is no width to read
    """
    starts, ends, radii = np.array(tree.start), np.array(tree.end), np.array(tree.radius).mean(axis=1)
    middle = 0.5 * (starts + ends)
    shape = np.array(volumes[0].shape)
    margin = 6.0 / np.array(sizes)
    wide = (2.0 * radii >= least_mm) & (np.array(tree.kind) == ARTERY) & (np.array(tree.path) > 0)
    places = np.flatnonzero(wide & (middle > margin).all(axis=1) & (middle < shape - 1 - margin).all(axis=1))
    chosen = rng.permutation(places)[:400]
    reach = np.arange(-5.0, 5.01, 0.125)
    rows: list[list[float]] = []
    for k in chosen:
        if len(rows) == 150:
            break
        along = (ends[k] - starts[k]) * sizes
        along = along / max(float(np.linalg.norm(along)), 1e-9)
        apart = (middle - middle[k]) * sizes
        apart = apart - np.outer(apart @ along, along)  # what runs on in the same direction is the vessel itself
        near = np.linalg.norm((middle - middle[k]) * sizes, axis=1) < 7.0
        if (np.linalg.norm(apart[near], axis=1) > radii[k] + 0.7).any():
            continue
        one = np.cross(along, [1.0, 0.0, 0.0] if abs(along[0]) < 0.9 else [0.0, 1.0, 0.0])
        one /= np.linalg.norm(one)
        other = np.cross(along, one)
        turns = np.pi * np.arange(8) / 8
        ways = np.cos(turns)[:, None] * one + np.sin(turns)[:, None] * other
        points = middle[k][:, None, None] + (ways.T[:, :, None] * reach[None, None, :]) / np.array(sizes)[:, None, None]
        rows.append([_mean_width(ndimage.map_coordinates(v, points, order=1), 0.125) for v in volumes])
    return np.array(rows).reshape(-1, len(volumes))


def _mean_width(profiles: NDArray[np.float32], step_mm: float) -> float:
    seen = [width(profile, step_mm) for profile in profiles]
    return float(np.mean(seen)) if np.isfinite(seen).all() else float("nan")


def width(profile: NDArray[np.floating], step_mm: float, *, middle: int | None = None) -> float:
    """Full width at half maximum around the middle of a profile, straight lines between samples; NaN if it has none."""
    centre = len(profile) // 2 if middle is None else middle
    ground = float(np.sort(profile)[: max(len(profile) // 4, 1)].mean())
    half = 0.5 * (float(profile[centre]) + ground)
    if profile[centre] - ground < 0.05:
        return float("nan")
    sides = []
    for half_line in (profile[centre:], profile[centre::-1]):
        under = np.flatnonzero(half_line < half)
        if not len(under):
            return float("nan")
        k = int(under[0])
        sides.append(k - 1 + (half_line[k - 1] - half) / (half_line[k - 1] - half_line[k]))
    return float(sum(sides) * step_mm)


def rise(profile: NDArray[np.floating], step_mm: float) -> float:
    """Way from 10 to 90 % of an edge that goes up, mm; the ends are the levels."""
    low, high = float(profile[:3].mean()), float(profile[-3:].mean())
    part = (np.asarray(profile, dtype=np.float64) - low) / (high - low)
    first = int(np.flatnonzero(part >= 0.9)[0])
    last = int(np.flatnonzero(part[: first + 1] <= 0.1)[-1])
    top = first - (part[first] - 0.9) / (part[first] - part[first - 1])
    bottom = last + (0.1 - part[last]) / (part[last + 1] - part[last])
    return float((top - bottom) * step_mm)
