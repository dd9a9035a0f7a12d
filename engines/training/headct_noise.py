"""Noise of a head CT, shaped in the image (the shortcut of NETWORKS C1): spectrum of the kernel, level of the lines.

numpy only.
"""

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from engines.training.headct_anatomy import Volume


def smoothing(length: int, sigma: float) -> NDArray[np.float32]:
    """(length, length): Gaussian, sigma in samples."""
    index = np.arange(length)
    weights = np.exp(-0.5 * ((index[:, None] - index[None]) / max(sigma, 0.05)) ** 2)
    made: NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return made


def level_of(clean: Volume, mm: float, *, views: int = 12, coarse: int = 4) -> Volume:
    """Relative noise SD, 1 in the mean of the head: back-projected variance of lines through water-like mass."""
    count, side, _ = clean.shape
    small = side // coarse
    mass = np.maximum(clean[:, : small * coarse, : small * coarse] / 1000.0 + 1.0, 0.0)
    mass = mass.reshape(count, small, coarse, small, coarse).mean(axis=(2, 4))
    centre = (small - 1) / 2.0
    y, x = np.indices((small, small), dtype=np.float64) - centre
    bins = int(small * 1.5) + 2
    variance = np.zeros((count, small * small))
    for view in range(views):
        angle = np.pi * view / views
        index = np.rint(x * np.cos(angle) + y * np.sin(angle) + bins / 2.0).astype(np.intp).reshape(-1)
        lines = np.zeros((count, bins))
        for k in range(count):
            lines[k] = np.bincount(index, mass[k].reshape(-1), bins)
        lines = np.clip(lines * (0.0193 * mm * coarse), 0.0, 9.0)
        # A quarter of the modulation: the tube current and the bow-tie take most of the difference away.
        variance += np.exp(0.5 * lines)[:, index]
    level = np.sqrt(variance / views).reshape(count, small, small)
    body = mass > 0.7
    level /= max(float(level[body].mean()), 1e-6) if body.any() else 1.0
    index = np.clip(np.arange(side) // coarse, 0, small - 1)
    weights = smoothing(side, 1.5 * coarse)
    full = level[:, index][:, :, index].astype(np.float32)
    made: Volume = np.matmul(np.matmul(weights, full), weights.T)
    return made


def shaped_noise(
    rng: np.random.Generator, shape: tuple[int, ...], pixel_mm: float, kernel: Kernel, *, white: float = 0.07
) -> Volume:
    """Noise of filtered back-projection, slice by slice: power f W(f)^2 and a little that does not vanish at f = 0.

    The SD is 1 over all frequencies; pixels too large for the highest ones show less. (z, y, x)
    """
    _, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height, pixel_mm)[:, None], np.fft.rfftfreq(width, pixel_mm)[None])
    power = noise_power(frequency, kernel, white)
    fine = np.linspace(0.0, kernel.cutoff, 2000)
    total = float(np.sum(noise_power(fine, kernel, white) * 2.0 * np.pi * fine) * (fine[1] - fine[0]))
    gain = np.sqrt(power / total / pixel_mm**2).astype(np.float32)
    made = np.empty(shape, dtype=np.float32)
    for index in range(shape[0]):
        spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32))
        made[index] = np.fft.irfft2(spectrum * gain, (height, width))
    return made


def noise_power(frequency: NDArray[np.float64], kernel: Kernel, white: float = 0.07) -> NDArray[np.float64]:
    """Power at frequencies in cycles per mm, up to a factor."""
    window = np.where(frequency < kernel.cutoff, kernel(frequency), 0.0)
    made: NDArray[np.float64] = (frequency / kernel.cutoff + white) * window**2
    return made
