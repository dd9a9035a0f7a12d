"""Small arithmetic that the checks share: means over blocks and squares, low-pass, noise spectra. numpy only.

All of it works on one slice, (y, x) float32; coarse versions are enough to judge a series and cost a fraction.
"""

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]

BODY_HU = (-200.0, 1500.0)
"""Smoothed HU of what is neither air, lung nor metal."""


def sampled(total: int, every: int) -> range:
    """Indices of the slices that are measured: one of `every`, from the middle of the first group, never none."""
    return range(min(every // 2, total - 1), total, every)


def halve(image: Image) -> Image:
    """Means of 2x2 blocks; an odd last row or column is left out. (y, x) -> (y // 2, x // 2)."""
    y, x = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    rows = image[0:y:2, :x] + image[1:y:2, :x]
    mean: Image = (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
    return mean


def box(image: Image, radius: int) -> Image:
    """Mean over a square of 2 radius + 1, radius at least 1; the border repeats. (y, x), kept."""
    width = 2 * radius + 1
    wide = _with_border(image, radius)
    y, x = image.shape
    rows = wide[:, 0:x] + wide[:, 1 : 1 + x]
    for offset in range(2, width):
        rows += wide[:, offset : offset + x]
    total = rows[0:y] + rows[1 : 1 + y]
    for offset in range(2, width):
        total += rows[offset : offset + y]
    total *= np.float32(1.0 / width**2)
    return total


def _with_border(image: Image, radius: int) -> Image:
    """`np.pad` with mode "edge", in half its time: a check of a slice calls it twenty times."""
    y, x = image.shape
    wide = np.empty((y + 2 * radius, x + 2 * radius), dtype=image.dtype)
    wide[radius : radius + y, radius : radius + x] = image
    wide[radius : radius + y, :radius] = image[:, :1]
    wide[radius : radius + y, radius + x :] = image[:, -1:]
    wide[:radius] = wide[radius]
    wide[radius + y :] = wide[radius + y - 1]
    return wide


def lowpass_half(halved: Image) -> Image:
    """Low-pass of sigma 10 pixels of a halved image, on every fourth pixel: block means, then nine boxes.

    (y // 2, x // 2) -> (y // 4, x // 4)
    """
    small = halve(halved)
    for _ in range(9):
        small = box(small, 1)
    return small


def gradient(image: Image) -> Image:
    """Sum of the absolute central differences along both axes; (y, x) -> (y - 2, x - 2)."""
    down: Image = np.abs(image[2:, 1:-1] - image[:-2, 1:-1])
    down += np.abs(image[1:-1, 2:] - image[1:-1, :-2])
    return down


def correlation(one: NDArray[np.float32], other: NDArray[np.float32]) -> float | None:
    """Pearson's r; None where one of them does not vary."""
    a, b = one - one.mean(dtype=np.float64), other - other.mean(dtype=np.float64)
    scale = float(np.sqrt(np.mean(a * a) * np.mean(b * b)))
    return float(np.mean(a * b)) / scale if scale > 1e-6 else None


def in_body(smooth: Image) -> NDArray[np.bool_]:
    """Where a smoothed slice shows body."""
    return (smooth > BODY_HU[0]) & (smooth < BODY_HU[1])


def flat_blocks(smooth: Image, side: int, most: int) -> list[tuple[int, int]]:
    """Upper left corners of the flattest blocks inside the body, at most so many, none with an edge in it.

    smooth: (y, x) HU, smoothed enough for edges to stand out of the noise
    """
    y, x = smooth.shape[0] // side, smooth.shape[1] // side
    blocks = smooth[: y * side, : x * side].reshape(y, side, x, side)
    low, high = blocks.min(axis=(1, 3)), blocks.max(axis=(1, 3))
    spread = np.where((low > BODY_HU[0]) & (high < BODY_HU[1]), blocks.std(axis=(1, 3)), np.inf)
    order = np.argsort(spread, axis=None)[:most]
    return [(int(at // x) * side, int(at % x) * side) for at in order if np.isfinite(spread.flat[at])]


def radial_spectrum(images: NDArray[np.float32], bands: int) -> NDArray[np.float64]:
    """Share of the power in rings of equal width from 0 to 0.5 cycles per pixel; sums to 1.

    images: (n, s, s), the mean of each is taken away; at least one
    """
    side = images.shape[-1]
    window = np.hanning(side)
    tiles = (images - images.mean(axis=(1, 2), keepdims=True)) * np.outer(window, window)
    power = np.mean(np.abs(np.fft.fft2(tiles)) ** 2, axis=0)
    frequency = np.fft.fftfreq(side)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    ring = np.minimum((radius * (2 * bands)).astype(np.intp), bands)
    total = np.bincount(ring.ravel(), power.ravel(), bands + 1)[:bands]
    share: NDArray[np.float64] = total / max(float(total.sum()), 1e-12)
    return share
