"""CT noise as a scanner makes it: quantum noise in projections, filtered and back-projected. numpy only.

Parallel rays over 180 degrees and pixels as the unit of length: for the noise of an image, fan and parallel geometry
differ in nothing a network could learn. Filtered back-projection is linear, so the noise of a low-dose image can be
reconstructed alone and added to the clean slice (Yu et al. 2012), and noises of several kernels and doses may be mixed
and scaled afterwards.

Not modelled: helical interpolation, beam hardening, scatter, metal, motion, iterative reconstruction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel

MU_WATER_PER_MM = 0.0193  # about 70 keV effective, as 120 kVp has


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """Rays of a parallel-beam scanner around a square image.

    size:      pixels along one side of the image
    pixel_mm:  side of a pixel
    views:     angles over 180 degrees
    bin_px:    width of a detector bin, pixels; a half keeps the mean of water within 0.3 HU, 0.625 does not
    """

    size: int
    pixel_mm: float
    views: int = 300
    bin_px: float = 0.5

    @property
    def bins(self) -> int:
        """Detector bins across the diagonal, with a margin."""
        return int(np.ceil(self.size * np.sqrt(2.0) / self.bin_px)) + 8

    @property
    def angles(self) -> NDArray[np.float64]:
        """Radians, one per view."""
        return np.arange(self.views) * np.pi / self.views


def project(scanner: Scanner, hu: NDArray[np.float32], *, coarse: int = 2) -> NDArray[np.float32]:
    """Line integrals of attenuation.

    hu:      (size, size) HU; below -1000 counts as air
    coarse:  blocks of this side are averaged first; the noise level of a ray needs no finer projection
    returns: (views, bins), without unit
    """
    side = scanner.size // coarse
    blocks = hu[: side * coarse, : side * coarse].reshape(side, coarse, side, coarse).mean(axis=(1, 3))
    mass = np.maximum(blocks / 1000.0 + 1.0, 0.0) * (MU_WATER_PER_MM * scanner.pixel_mm * coarse**2)
    rows, columns = np.nonzero(mass > 0)
    weights = mass[rows, columns].astype(np.float64)
    center = (side - 1) / 2.0
    x, y = (columns - center) * coarse, (rows - center) * coarse
    # Every block is a point here; a Gaussian shadow wider than their distance closes the comb that points leave at
    # 0 and 45 degrees. Mass per bin over the width of a bin is the line integral.
    sigma = 0.8 * coarse / scanner.bin_px
    taps = np.arange(-int(np.ceil(4 * sigma)), int(np.ceil(4 * sigma)) + 1)
    shadow = np.exp(-0.5 * (taps / sigma) ** 2)
    shadow /= shadow.sum()
    result = np.empty((scanner.views, scanner.bins), dtype=np.float32)
    for view, angle in enumerate(scanner.angles):
        position = (x * np.cos(angle) + y * np.sin(angle)) / scanner.bin_px + scanner.bins / 2.0
        index = position.astype(np.intp)
        part = position - index
        line = np.bincount(index, weights * (1 - part), scanner.bins)
        line += np.bincount(index + 1, weights * part, scanner.bins)[: scanner.bins]
        result[view] = np.convolve(line, shadow, mode="same") / scanner.bin_px
    return result


def noise_sinogram(
    lines: NDArray[np.float32], *, photons: float, electronic: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian noise of every ray: variance e^p / N (1 + Ne e^p / N), Yu et al. 2012.

    lines:      (views, bins) line integrals p
    photons:    N per ray and view, before the patient
    electronic: Ne, variance of the electronics in photons
    returns:    (views, bins)
    """
    starved = np.exp(np.minimum(lines.astype(np.float64), 12.0)) / photons
    return (rng.standard_normal(lines.shape) * np.sqrt(starved * (1.0 + electronic * starved))).astype(np.float32)


def filtered(scanner: Scanner, sinogram: NDArray[np.float32], kernel: Kernel) -> NDArray[np.float32]:
    """Ramp filter with apodisation; (views, bins), per mm."""
    length = 1 << int(np.ceil(np.log2(2 * scanner.bins)))
    step_mm = scanner.bin_px * scanner.pixel_mm
    index = np.fft.fftfreq(length, 1.0 / length)
    # The band-limited ramp in space (Kak & Slaney 3.29) keeps the mean right, which |f| sampled in frequency does not.
    space = np.zeros(length)
    space[0] = 0.25
    odd = np.abs(index) % 2 == 1
    space[odd] = -1.0 / (np.pi * index[odd]) ** 2
    ramp = np.real(np.fft.rfft(space)) / step_mm
    window = kernel(np.asarray(np.fft.rfftfreq(length, step_mm), dtype=np.float64))
    spectrum = np.fft.rfft(sinogram, length, axis=1) * (ramp * window)
    return np.fft.irfft(spectrum, length, axis=1)[:, : scanner.bins].astype(np.float32)


def backproject(scanner: Scanner, sinograms: Sequence[NDArray[np.float32]], *, fine: int = 4) -> NDArray[np.float32]:
    """Back-projection of several filtered sinograms in one pass.

    sinograms: each (views, bins), per mm
    fine:      rays between two bins, interpolated beforehand; a pixel then takes the nearest
    returns:   (n, size, size), per mm
    """
    stack = np.stack(sinograms, axis=-1)
    center = (scanner.size - 1) / 2.0
    along = np.arange(scanner.size, dtype=np.float32) - np.float32(center)
    image = np.zeros((scanner.size * scanner.size, stack.shape[-1]), dtype=np.float32)
    at = np.arange(scanner.bins * fine, dtype=np.float32) / fine
    low = np.minimum(at.astype(np.intp), scanner.bins - 2)
    part = (at - low)[:, None].astype(np.float32)
    offset = np.float32(scanner.bins / 2.0 * fine + 0.5)
    for view, angle in enumerate(scanner.angles):
        lines = stack[view]
        dense = lines[low] * (1 - part) + lines[low + 1] * part
        x = along * np.float32(np.cos(angle) / scanner.bin_px * fine)
        y = along * np.float32(np.sin(angle) / scanner.bin_px * fine) + offset
        image += dense[(y[:, None] + x[None, :]).astype(np.int32).ravel()]
    image *= np.float32(np.pi / scanner.views)
    return np.ascontiguousarray(image.T.reshape(-1, scanner.size, scanner.size))


def noise_images(
    scanner: Scanner,
    hu: NDArray[np.float32],
    kernels: Sequence[Kernel],
    *,
    photons: float,
    electronic: float = 10.0,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """The noise that one exposure adds to a slice, as each kernel would show it.

    hu:      (size, size) HU, the clean slice
    returns: (kernels, size, size) HU, mean near 0; all kernels see the same photons
    """
    rays = noise_sinogram(project(scanner, hu), photons=photons, electronic=electronic, rng=rng)
    images = backproject(scanner, [filtered(scanner, rays, kernel) for kernel in kernels])
    return images * np.float32(1000.0 / MU_WATER_PER_MM)


def reconstruct(scanner: Scanner, hu: NDArray[np.float32], kernel: Kernel) -> NDArray[np.float32]:
    """Project and reconstruct without noise; (size, size) HU. The proof that the scale is right."""
    lines = project(scanner, hu, coarse=1)
    image = backproject(scanner, [filtered(scanner, lines, kernel)])[0]
    return image * np.float32(1000.0 / MU_WATER_PER_MM) - np.float32(1000.0)
