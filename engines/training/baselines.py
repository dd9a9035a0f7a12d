"""Classical filters that a network has to beat, each tuned on the training split and told how strong the noise is.

Total variation (Chambolle 2004) and non-local means (Buades 2005) are scikit-image's, the Gaussian scipy's: imported
where they are built, for the rest is numpy only. BM3D is not among them: its code may not be used outside of research.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.kernel import apply_gain, radial

Image = NDArray[np.float32]
Filter = Callable[[Image, float], Image]
"""A noisy slice (y, x) HU and the SD of its noise, HU, to a filtered one."""
_MARGIN = 16  # pixels of reflection around a slice before its spectrum is taken


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A filter with its strengths.

    build:     strength -> filter
    strengths: what tuning may choose from; lengths in pixels, grey values as multiples of the SD of the noise
    """

    name: str
    build: Callable[..., Filter]
    strengths: Sequence[tuple[float, ...]]


def identity() -> Filter:
    """The input itself: what doing nothing scores."""
    return lambda image, sd_hu: image


def gaussian(sigma_px: float) -> Filter:
    """Gaussian filter."""
    from scipy.ndimage import gaussian_filter

    return lambda image, sd_hu: gaussian_filter(image, sigma_px).astype(np.float32)


def total_variation(weight: float) -> Filter:
    """Chambolle's total variation; `weight` times the SD of the noise."""
    from skimage.restoration import denoise_tv_chambolle

    def run(image: Image, sd_hu: float) -> Image:
        made = denoise_tv_chambolle(image.astype(np.float32), weight=weight * sd_hu, eps=2e-6, max_num_iter=80)
        return np.asarray(made, dtype=np.float32)

    return run


def non_local_means(patch: float, reach: float, strength: float) -> Filter:
    """Non-local means over one slice: patches of `patch` pixels, searched `reach` pixels around."""
    from skimage.restoration import denoise_nl_means

    def run(image: Image, sd_hu: float) -> Image:
        made = denoise_nl_means(
            image.astype(np.float32),
            patch_size=int(patch),
            patch_distance=int(reach),
            h=strength * sd_hu,
            sigma=0.0,
            fast_mode=True,
        )
        return np.asarray(made, dtype=np.float32)

    return run


def bilateral(sigma_px: float, sigma_grey: float) -> Filter:
    """Bilateral filter (Tomasi 1998): Gaussian in space and, `sigma_grey` times the noise's SD wide, in HU."""

    def run(image: Image, sd_hu: float) -> Image:
        reach = int(np.ceil(2.0 * sigma_px))
        y, x = image.shape
        wide = np.pad(image, reach, mode="symmetric").astype(np.float32)
        total, weights = np.zeros_like(image), np.zeros_like(image)
        scale = np.float32(-0.5 / (sigma_grey * sd_hu) ** 2)
        for dy, dx in itertools.product(range(-reach, reach + 1), repeat=2):
            other = wide[reach + dy : reach + dy + y, reach + dx : reach + dx + x]
            near = np.float32(np.exp(-0.5 * (dy**2 + dx**2) / sigma_px**2))
            weight = near * np.exp(scale * np.square(other - image))
            total += weight * other
            weights += weight
        return (total / weights).astype(np.float32)

    return run


BASELINES = (
    Baseline(name="gaussian", build=gaussian, strengths=[(s,) for s in (0.2, 0.4, 0.5, 0.6, 0.7, 0.9, 1.1, 1.4, 1.8)]),
    Baseline(
        name="total_variation",
        build=total_variation,
        strengths=[(s,) for s in (0.3, 0.45, 0.6, 0.75, 0.9, 1.2, 1.6)],
    ),
    Baseline(
        name="non_local_means",
        build=non_local_means,
        # Patches of 3 pixels and a reach of 10 were never the best.
        strengths=[(5.0, 6.0, strength) for strength in (0.4, 0.55, 0.75, 0.95, 1.15, 1.4, 1.7, 2.1)],
    ),
    Baseline(
        name="bilateral",
        build=bilateral,
        strengths=list(itertools.product((1.5, 2.5), (1.2, 1.7, 2.4, 3.4))),
    ),
)
CLASSICAL = ("total_variation", "non_local_means", "bilateral")  # the edge-preserving ones: NETWORKS D1's rivals


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """Of the training split: `noisy` and `clean` (y, x) HU, `inside` what counts."""

    noisy: Image
    clean: Image
    inside: NDArray[np.bool_]
    sd_hu: float


def tune(baseline: Baseline, examples: Sequence[Example]) -> tuple[float, ...]:
    """The strength with the smallest mean RMSE over the examples."""
    return min(baseline.strengths, key=lambda strength: _score(baseline.build(*strength), examples))


def _score(method: Filter, examples: Sequence[Example]) -> float:
    errors = (
        np.mean(np.square(method(example.noisy, example.sd_hu) - example.clean)[example.inside]) for example in examples
    )
    return float(np.mean([np.sqrt(error) for error in errors]))


# --- the fitted radial filter: the baseline of kernel conversion


@dataclass(frozen=True, kw_only=True, eq=False)
class RadialFilter:
    """A gain for every frequency. frequency: cycles per mm, ascending; gain: without unit."""

    frequency: NDArray[np.float64]
    gain: NDArray[np.float64]

    def __call__(self, image: Image, pixel_mm: float, *, margin: int = _MARGIN) -> Image:
        """Filter a slice; (y, x) HU, kept."""
        at = radial((image.shape[0], image.shape[1]), pixel_mm, margin)
        return apply_gain(image, np.interp(at, self.frequency, self.gain), margin)


def fit_radial(samples: Iterable[tuple[Image, Image, float]], *, bins: int = 96) -> RadialFilter:
    """The radial filter that takes first to second with the least squared error, as a curve of straight pieces.

    samples: source and target, each (y, x) HU, and the side of a pixel in mm
    raises:  ValueError if there is no sample
    """
    pairs = list(samples)
    if not pairs:
        raise ValueError("A radial filter needs at least one pair of slices to be fitted to")
    highest = max(0.5 * np.sqrt(2.0) / pixel_mm for _, _, pixel_mm in pairs)
    normal, wanted = np.zeros((bins + 1, bins + 1)), np.zeros(bins + 1)
    for source, target, pixel_mm in pairs:
        at = radial((source.shape[0], source.shape[1]), pixel_mm, 0) / highest * bins
        low = np.minimum(at.astype(np.intp), bins - 1)
        part = at - low
        # Both fade to air at the border: a step from one side of the image to the other is in no object, and a filter
        # fitted to it blurs what is.
        fade = np.outer(*(_fade(length) for length in source.shape))
        first, second = (np.fft.rfft2((image + 1000.0).astype(np.float64) * fade) for image in (source, target))
        product, power = (first.conj() * second).real / first.size, np.abs(first) ** 2 / first.size
        ends = ((low, 1.0 - part), (low + 1, part))
        for index, weight in ends:
            wanted += np.bincount(index.ravel(), (weight * product).ravel(), bins + 1)
            for other, also in ends:
                flat = (index * (bins + 1) + other).ravel()
                normal += np.bincount(flat, (weight * also * power).ravel(), (bins + 1) ** 2).reshape(normal.shape)
    # Corners of the spectrum that no pixel size reaches keep a gain of 0; the rest is untouched by so small a ridge.
    ridge = np.diag(1e-9 * np.diag(normal) + 1e-18 * np.max(normal))
    gain = np.asarray(np.linalg.solve(normal + ridge, wanted), dtype=np.float64)
    return RadialFilter(frequency=np.linspace(0.0, highest, bins + 1), gain=gain)


def _fade(length: int, *, share: float = 0.1) -> NDArray[np.float64]:
    """1 in the middle, falling to 0 over `share` of the length at both ends."""
    near = np.minimum(np.arange(length) + 0.5, length - 0.5 - np.arange(length)) / (share * length)
    return np.asarray(np.sin(0.5 * np.pi * np.minimum(near, 1.0)))
