"""What is measured on images: error, noise power, sharpness, contrast and detectability. numpy only; (y, x) HU."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.kernel import apply_gain, radial
from engines.training.clean import box

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Curve = NDArray[np.float64]

WINDOW_HU = (-160.0, 240.0)  # soft-tissue window, in which SSIM is read
TISSUES = {"lung": (-930, -650), "fat": (-140, -40), "soft": (-20, 120), "bone": (250, 1500)}


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean with its 95 % interval over `n` items."""

    mean: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float]:
        """For the JSON of a card; four digits after the point."""
        return {"mean": round(self.mean, 4), "low": round(self.low, 4), "high": round(self.high, 4), "n": self.n}


def interval(values: Sequence[float], groups: Sequence[str] | None = None) -> Interval:
    """Mean and 95 % interval by bootstrap over items, or over groups if given.

    groups: the volume of every item; slices of one volume are alike, so whole volumes are drawn
    raises: ValueError if there is nothing to average
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise ValueError("No item had this figure")
    rng = np.random.default_rng(0)
    draws = rng.choice(array, (2000, len(array))).mean(axis=1)
    if groups is not None:
        names = sorted(set(groups))
        parts = [array[[g == name for g in groups]] for name in names]
        sums = np.array([[part.sum(), len(part)] for part in parts])
        chosen = sums[rng.integers(0, len(parts), (2000, len(parts)))].sum(axis=1)
        draws = chosen[:, 0] / chosen[:, 1]
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(mean=float(array.mean()), low=float(low), high=float(high), n=len(array))


def ratio_interval(ours: Sequence[float], theirs: Sequence[float], groups: Sequence[str]) -> Interval:
    """Mean over mean, items paired, with a 95 % interval by bootstrap over groups and all of their items."""
    names = sorted(set(groups))
    pairs = np.array([ours, theirs], dtype=np.float64)
    sums = np.array([pairs[:, [g == name for g in groups]].sum(axis=1) for name in names])
    chosen = sums[np.random.default_rng(0).integers(0, len(names), (2000, len(names)))].sum(axis=1)
    low, high = np.quantile(chosen[:, 0] / chosen[:, 1], (0.025, 0.975))
    return Interval(mean=float(pairs[0].sum() / pairs[1].sum()), low=float(low), high=float(high), n=len(ours))


def rmse(made: Image, truth: Image, inside: Mask) -> float:
    """Root mean square error inside a mask, HU."""
    return float(np.sqrt(np.mean(np.square((made - truth)[inside], dtype=np.float64))))


def blurred(image: Image, sigma_px: float) -> Image:
    """Gaussian filter, the border reflected."""
    margin = int(np.ceil(4.0 * sigma_px))
    frequency = radial((image.shape[0], image.shape[1]), 1.0, margin)
    return apply_gain(image, np.exp(-2.0 * (np.pi * sigma_px * frequency) ** 2), margin)


def ssim(made: Image, truth: Image, inside: Mask) -> float:
    """Structural similarity (Wang 2004; Gaussian of 1.5 px) in the soft-tissue window, mean inside a mask."""
    low, high = WINDOW_HU
    first, second = (np.clip(image, low, high).astype(np.float32) for image in (made, truth))
    mean_1, mean_2 = (blurred(image, 1.5) for image in (first, second))
    var_1, var_2 = blurred(first**2, 1.5) - mean_1**2, blurred(second**2, 1.5) - mean_2**2
    both = blurred(first * second, 1.5) - mean_1 * mean_2
    c1, c2 = (0.01 * (high - low)) ** 2, (0.03 * (high - low)) ** 2
    every = (2 * mean_1 * mean_2 + c1) * (2 * both + c2) / ((mean_1**2 + mean_2**2 + c1) * (var_1 + var_2 + c2))
    return float(np.mean(every[inside]))


def tissue_bias(made: Image, truth: Image, *, least: int = 500) -> dict[str, float]:
    """Mean difference per tissue, HU; tissues with fewer than `least` pixels are left out."""
    found = {}
    for name, (lowest, highest) in TISSUES.items():
        inside = (truth >= lowest) & (truth < highest)
        if np.count_nonzero(inside) >= least:
            found[name] = float(np.mean((made - truth)[inside], dtype=np.float64))
    return found


def edge_flat_ratio(noisy: Image, made: Image, inside: Mask) -> float:
    """SD of what was removed where the result has its steepest 15 %, over that in its flattest half (NETWORKS E-3)."""
    removed = noisy - made
    steep = np.hypot(*np.gradient(blurred(made, 1.0)))
    high, low = np.quantile(steep[inside], (0.85, 0.5))
    return float(np.std(removed[inside & (steep >= high)]) / max(float(np.std(removed[inside & (steep <= low)])), 1e-6))


def flat_noise(image: Image, inside: Mask) -> float:
    """SD of the noise, HU: against the mean of 9x9 pixels, in the flattest tenth of the mask; at least 0.1."""
    away = image - box(image, 4)
    local = box(np.square(away), 4)
    place = inside & (local <= np.quantile(local[inside], 0.1))
    return max(float(np.std(away[place])), 0.1)


def kept_contrast(change: Image, probe: Image) -> float:
    """How much of the probes' contrast came through: mean change over mean probe above half of each peak."""
    place = np.zeros(probe.shape, dtype=bool)
    for level in np.unique(np.round(np.abs(probe)[np.abs(probe) > 0.95 * np.abs(probe).max()])):
        place |= np.abs(probe) > level / 2.0
    return float(np.mean((change * np.sign(probe))[place]) / np.mean(np.abs(probe[place])))


# --- noise


def noise_power(blocks: NDArray[np.float32], pixel_mm: float) -> tuple[Curve, Curve]:
    """Radial noise power spectrum of square blocks (IEC 62220 normalisation), their planes taken out.

    blocks:  (n, s, s) HU
    returns: frequency, cycles per mm, and power, HU^2 mm^2; s // 2 rings up to the Nyquist frequency
    """
    count, side, _ = blocks.shape
    axis = np.arange(side) - (side - 1) / 2.0
    plane = np.stack([np.ones((side, side)), np.tile(axis, (side, 1)), np.tile(axis[:, None], (1, side))], -1)
    basis, _ = np.linalg.qr(plane.reshape(-1, 3))
    flat = blocks.reshape(count, -1).astype(np.float64)
    flat = flat - (flat @ basis) @ basis.T
    power = np.mean(np.abs(np.fft.fft2(flat.reshape(count, side, side))) ** 2, axis=0) * pixel_mm**2 / side**2
    axis_f = np.fft.fftfreq(side)
    ring = np.rint(np.hypot(axis_f[:, None], axis_f[None, :]) * side).astype(np.intp)
    rings = side // 2
    sums = np.bincount(ring.ravel(), power.ravel())[1 : rings + 1]
    counts = np.bincount(ring.ravel())[1 : rings + 1]
    frequency: Curve = np.arange(1, rings + 1, dtype=np.float64) / (side * pixel_mm)
    return frequency, np.asarray(sums / counts, dtype=np.float64)


def peak_frequency(frequency: Curve, power: Curve) -> float:
    """Where the smoothed spectrum is highest, between the rings by a parabola; cycles per mm."""
    taps = np.exp(-0.5 * (np.arange(-6, 7) / 1.5) ** 2)
    smooth = np.convolve(np.pad(power, 6, mode="edge"), taps / taps.sum(), mode="valid")
    top = int(np.argmax(smooth))
    if top in (0, len(smooth) - 1):
        return float(frequency[top])
    before, here, after = smooth[top - 1 : top + 2]
    shift = 0.5 * (before - after) / (before - 2.0 * here + after)
    return float(frequency[top] + shift * (frequency[1] - frequency[0]))


def centroid_frequency(frequency: Curve, power: Curve) -> float:
    """Mean frequency weighted with the radial spectrum, cycles per mm."""
    return float(np.sum(frequency * power) / np.sum(power))


# --- sharpness


def disk_mtf(
    image: NDArray[np.floating], radius_px: float, pixel_mm: float, *, reach_px: float = 12.0
) -> tuple[Curve, Curve]:
    """MTF from the edge of a disk in the middle of the image (Richard 2012): mean edge, its slope, its spectrum.

    returns: frequency, cycles per mm, up to Nyquist, and MTF, 1 at frequency 0
    raises:  ValueError if the disk has no contrast
    """
    y, x = image.shape
    distance = np.hypot(np.arange(y)[:, None] - (y - 1) / 2.0, np.arange(x)[None, :] - (x - 1) / 2.0) - radius_px
    step = 0.1
    count = round(2 * reach_px / step)
    index = np.floor((distance + reach_px) / step).astype(np.intp)
    near = (index >= 0) & (index < count)
    sums = np.bincount(index[near], image[near].astype(np.float64), count)
    counts = np.bincount(index[near], minlength=count)
    place = (np.arange(count) + 0.5) * step - reach_px
    edge = np.interp(place, place[counts > 0], sums[counts > 0] / counts[counts > 0])
    spread = -np.gradient(edge, step)
    spread *= np.hanning(len(spread))
    if abs(spread.sum()) * step < 1e-3:
        raise ValueError("The disk has no contrast: there is no edge to measure")
    spectrum = np.abs(np.fft.rfft(spread, 4096))
    frequency = np.fft.rfftfreq(4096, step)
    below = frequency <= 0.5
    # np.gradient is a central difference over two bins and a bin averages: both dampen in a known way.
    damped = np.sinc(2.0 * step * frequency) * np.sinc(step * frequency)
    mtf = np.asarray(spectrum / spectrum[0] / damped, dtype=np.float64)
    return np.asarray(frequency[below] / pixel_mm, dtype=np.float64), mtf[below]


def frequency_at(frequency: Curve, curve: Curve, level: float) -> float:
    """The first frequency at which a falling curve reaches `level`; the last one if it never does."""
    under = np.flatnonzero(curve < level)
    if not len(under) or under[0] == 0:
        return float(frequency[-1 if not len(under) else 0])
    i = int(under[0])
    part = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
    return float(frequency[i - 1] + part * (frequency[i] - frequency[i - 1]))


# --- detectability


def gaussian_differences(side: int) -> NDArray[np.float64]:
    """Ten dense difference-of-Gaussian channels (Abbey & Barrett 2001), radial bands from 0.005 cycles per pixel on.

    returns: (10, side, side), each of norm 1, in space
    """
    axis = np.fft.fftfreq(side)
    radius = np.hypot(axis[:, None], axis[None, :])
    channels = []
    for order in range(10):
        narrow = 0.005 * 1.4**order
        band = np.exp(-0.5 * (radius / (1.67 * narrow)) ** 2) - np.exp(-0.5 * (radius / narrow) ** 2)
        channel = np.fft.fftshift(np.fft.ifft2(band).real)
        channels.append(channel / np.linalg.norm(channel))
    return np.stack(channels)


def laguerre_gauss(side: int, width_px: float, count: int = 5) -> NDArray[np.float64]:
    """Laguerre-Gauss channels (Gallas 2003); (count, side, side), each of norm 1."""
    axis = np.arange(side) - (side - 1) / 2.0
    squared = 2.0 * np.pi * (axis[:, None] ** 2 + axis[None, :] ** 2) / width_px**2
    channels = []
    for order in range(count):
        laguerre = np.polynomial.laguerre.lagval(squared, [0.0] * order + [1.0])
        channel = np.exp(-squared / 2.0) * laguerre
        channels.append(channel / np.linalg.norm(channel))
    return np.stack(channels)


@dataclass(frozen=True, kw_only=True)
class Detectability:
    """auc: area under the ROC curve; dprime: distance of the means over the SD; n: images of each kind tested."""

    auc: float
    dprime: float
    n: int


Ratings = tuple[NDArray[np.float64], NDArray[np.float64]]


def ratings(present: Image, absent: Image, channels: NDArray[np.float64]) -> Ratings:
    """What a channelised Hotelling observer says of every image: taught by one half, asked about the other.

    present, absent: (n, s, s) HU; channels: (c, s, s)
    returns:         ratings of present and absent, (n,) each, in units of the observer's own spread
    """
    seen, missed = (np.tensordot(images, channels, axes=([1, 2], [1, 2])) for images in (present, absent))
    half = min(len(seen), len(missed)) // 2
    first, second = slice(0, half), slice(half, 2 * half)
    yes, no = np.empty(2 * half), np.empty(2 * half)
    for train, test in ((first, second), (second, first)):
        covariance = (np.cov(seen[train].T) + np.cov(missed[train].T)) / 2.0
        template = np.linalg.solve(covariance, seen[train].mean(axis=0) - missed[train].mean(axis=0))
        template /= np.sqrt(template @ covariance @ template)
        centre = (seen[train].mean(axis=0) + missed[train].mean(axis=0)) @ template / 2.0
        yes[test], no[test] = seen[test] @ template - centre, missed[test] @ template - centre
    return yes, no


def detectability(yes: NDArray[np.float64], no: NDArray[np.float64]) -> Detectability:
    """Area under the curve and d' of ratings."""
    dprime = (yes.mean() - no.mean()) / np.sqrt((yes.var() + no.var()) / 2.0)
    return Detectability(auc=auc(yes, no), dprime=float(dprime), n=len(yes))


def auc_gain(ours: Ratings, theirs: Ratings) -> Interval:
    """AUC minus another's on the same images, with a bootstrap over the images."""
    rng = np.random.default_rng(0)
    count = len(ours[0])
    draws = []
    for _ in range(500):
        one, other = rng.integers(0, count, (2, count))
        draws.append(auc(ours[0][one], ours[1][other]) - auc(theirs[0][one], theirs[1][other]))
    low, high = np.quantile(draws, (0.025, 0.975))
    return Interval(mean=auc(*ours) - auc(*theirs), low=float(low), high=float(high), n=count)


def auc(yes: NDArray[np.float64], no: NDArray[np.float64]) -> float:
    """Area under the ROC curve (Mann-Whitney)."""
    ordered = np.sort(no)
    below = np.searchsorted(ordered, yes, side="left") + np.searchsorted(ordered, yes, side="right")
    return float(np.mean(below) / (2.0 * len(no)))


def emphysema_index(lung: NDArray[np.float32], limit_hu: float = -950.0) -> float:
    """LAA-950: per cent of the lung's pixels below -950 HU."""
    return float(100.0 * np.mean(lung < limit_hu))
