"""Measure the curve of a reconstruction kernel from a phantom that was scanned with it.

Noise of filtered back-projection has the power |f| W(f)^2, so the noise of anything flat shows the shape of W. Where
the same raw data were reconstructed with a kernel whose curve is known, the ratio of both spectra gives W itself, and
what is left of the noise gives the share that iterative reconstruction kept.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel
from pipelines import kernels
from pipelines.volume import Volume

Curve = NDArray[np.float64]

_SIDE, _STEP = 32, 16  # px of a block and between blocks
_LEAST_BLOCKS = 40
_FROM_PER_MM, _TO_CYCLES_PER_PX = 0.12, 0.4  # below, slow structure; above, the grid of the pixels
_LEAST_BINS = 2.5  # of a block's spectrum: nearer to 0 the window lets slow structure leak in
_LEAST_GAIN, _LEAST_COHERENCE = 0.05, 0.9
_BODY_HU = (-300.0, 300.0)


class NotMeasurable(ValueError):
    """The series shows no curve; the text says what it lacks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """What was measured, and the kernel nearest to it among those that the network knows.

    frequency: cycles per mm
    gain:      as measured; without a reference only its shape is, and it is scaled to the kernel
    off:       largest deviation of the kernel from what was measured, as a share
    blocks:    flat parts that were used
    """

    frequency: Curve
    gain: Curve
    kernel: Kernel
    off: float
    blocks: int


def from_noise(volume: Volume) -> Curves:
    """The shape of the kernel from the noise of flat parts; cannot tell how much noise was kept.

    raises: NotMeasurable
    """
    places = flat_places(volume)
    frequency, power = _radial(_noise_power(volume, places), volume.pixel_mm)
    return _nearest(frequency, np.sqrt(power / frequency), volume.pixel_mm, len(places), scaled=True)


def against(volume: Volume, reference: Volume, known: Kernel) -> Curves:
    """The kernel from the same raw data reconstructed with a known one; a sharp reference shows more than a soft one.

    raises: NotMeasurable, also when both do not lie on one grid or show different things
    """
    if volume.voxels.shape != reference.voxels.shape or not np.allclose(volume.affine, reference.affine, atol=1e-3):
        raise NotMeasurable("Series and reference do not lie on one grid: they are not of the same raw data.")
    cross, own, other = np.zeros((3, _SIDE, _SIDE))
    for z, y, x in _places(volume):
        a, b = (_spectrum(one.voxels[z, y : y + _SIDE, x : x + _SIDE]) for one in (volume, reference))
        cross, own, other = cross + (a * b.conj()).real, own + np.abs(a) ** 2, other + np.abs(b) ** 2
    pixel_mm = volume.pixel_mm
    frequency, shared = _radial(cross, pixel_mm)
    mine, theirs = _radial(own, pixel_mm)[1], _radial(other, pixel_mm)[1]
    agreed = shared / np.sqrt(mine * theirs) >= _LEAST_COHERENCE
    if np.count_nonzero(agreed) < 5:
        raise NotMeasurable("Series and reference show different things: they are not of the same raw data.")
    ratio = shared / theirs
    places = flat_places(volume)
    noise, noise_theirs = (_radial(_noise_power(one, places), pixel_mm)[1] for one in (volume, reference))
    kept = known.noise_kept * float(np.median((np.sqrt(noise / noise_theirs) / ratio)[agreed]))
    found = _nearest(frequency[agreed], (ratio * known(frequency))[agreed], pixel_mm, len(places), scaled=False)
    # Within a tenth of 1 nothing was taken from the noise that the measurement could tell.
    lowest, highest = kernels.NOISE_KEPT
    share = 1.0 if kept > 0.9 else float(np.clip(kept, lowest, highest))
    return replace(found, kernel=replace(found.kernel, noise_kept=round(share, 2)))


def flat_places(volume: Volume) -> list[tuple[int, int, int]]:
    """Corners (z, y, x) of blocks that hold noise and nothing else. raises: NotMeasurable when there are too few."""
    found = []
    for z, y, x in _places(volume):
        block = volume.voxels[z, y : y + _SIDE, x : x + _SIDE]
        if _BODY_HU[0] < float(np.mean(block)) < _BODY_HU[1]:
            found.append((float(np.std(_detrended(block))), (z, y, x)))
    # Structure only adds to the deviation: the quietest blocks of the body are the flat ones.
    quiet = float(np.quantile([sd for sd, _ in found], 0.1)) if found else 0.0
    flat = [place for sd, place in found if 0.3 < sd <= 1.3 * quiet]
    if len(flat) < _LEAST_BLOCKS:
        raise NotMeasurable(
            f"{len(flat)} flat blocks of {_SIDE} pixels between {_BODY_HU[0]:g} and {_BODY_HU[1]:g} HU; "
            f"{_LEAST_BLOCKS} are needed. Take a water phantom."
        )
    return flat


def _places(volume: Volume) -> list[tuple[int, int, int]]:
    z, y, x = volume.voxels.shape
    rows, columns = range(0, y - _SIDE + 1, _STEP), range(0, x - _SIDE + 1, _STEP)
    return [(slice_, row, column) for slice_ in range(z) for row in rows for column in columns]


def _detrended(block: NDArray[np.float32]) -> NDArray[np.float64]:
    """Without what a paraboloid explains: cupping is no noise."""
    at = np.linspace(-1.0, 1.0, _SIDE)
    row, column = (grid.ravel() for grid in np.meshgrid(at, at, indexing="ij"))
    shapes = np.stack([np.ones_like(row), row, column, row**2, column**2, row * column], axis=1)
    values = block.astype(np.float64).ravel()
    left = values - shapes @ np.linalg.lstsq(shapes, values, rcond=None)[0]
    return np.asarray(left.reshape(_SIDE, _SIDE))


def _spectrum(block: NDArray[np.float32]) -> NDArray[np.complex128]:
    window = np.hanning(_SIDE)
    return np.fft.fft2((block - np.mean(block, dtype=np.float64)) * window[:, None] * window[None, :])


def _noise_power(volume: Volume, places: list[tuple[int, int, int]]) -> Curve:
    window = np.hanning(_SIDE)
    total = np.zeros((_SIDE, _SIDE))
    for z, y, x in places:
        block = _detrended(volume.voxels[z, y : y + _SIDE, x : x + _SIDE])
        total += np.abs(np.fft.fft2(block * window[:, None] * window[None, :])) ** 2
    return total / len(places)


def _radial(power: Curve, pixel_mm: float) -> tuple[Curve, Curve]:
    """Mean frequency and mean power of rings, from where slow structure ends to `_TO_CYCLES_PER_PX`."""
    along = np.fft.fftfreq(_SIDE, pixel_mm)
    radius = np.hypot(along[:, None], along[None, :])
    lowest = max(_FROM_PER_MM, _LEAST_BINS / (_SIDE * pixel_mm))
    edges = np.arange(lowest, _TO_CYCLES_PER_PX / pixel_mm, 1.0 / (_SIDE * pixel_mm))
    rings = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(edges)]
    return (
        np.array([np.mean(radius[ring]) for ring in rings]),
        np.array([np.mean(power[ring]) for ring in rings]),
    )


def _nearest(frequency: Curve, gain: Curve, pixel_mm: float, blocks: int, *, scaled: bool) -> Curves:
    strong = gain >= _LEAST_GAIN * float(np.max(gain))
    if np.count_nonzero(strong) < 4:
        raise NotMeasurable(f"Only {np.count_nonzero(strong)} frequencies show anything; pixels of {pixel_mm:g} mm.")
    frequency, gain = frequency[strong], gain[strong]

    def distance(kernel: Kernel) -> Curve:
        share = np.log(np.maximum(kernel(frequency), 1e-6) / gain)
        return share - float(np.median(share)) if scaled else share

    def cost(kernel: Kernel) -> float:
        return float(np.mean(np.square(distance(kernel))))

    low, high = kernels.SOFT_CUTOFF_PER_MM
    soft = min((Kernel(cutoff=float(c)) for c in np.linspace(low, high, 97)), key=cost)
    sharp = _sharp(cost)
    # A sharp kernel has four numbers to fit with: it has to be clearly nearer.
    kernel = sharp if cost(sharp) < 0.7 * cost(soft) else soft
    off = distance(kernel)
    scale = float(np.exp(np.median(np.log(np.maximum(kernel(frequency), 1e-6) / gain)))) if scaled else 1.0
    worst = float(np.max(np.abs(np.expm1(off))))
    return Curves(frequency=frequency, gain=gain * scale, kernel=_rounded(kernel), off=worst, blocks=blocks)


def _sharp(cost: Callable[[Kernel], float]) -> Kernel:
    """The nearest sharp kernel: a coarse grid, then smaller and smaller steps along each number."""
    ranges = (kernels.SHARP_CUTOFF_PER_MM, kernels.BOOST, kernels.BOOST_AT_PER_MM, kernels.BOOST_WIDTH_PER_MM)
    lows, highs = np.array(ranges).T

    def made(values: NDArray[np.float64]) -> Kernel:
        cutoff, boost, at, width = map(float, np.clip(values, lows, highs))
        return Kernel(cutoff=cutoff, boost=boost, boost_at=at, boost_width=width)

    grid = (np.array(point) for point in itertools.product(*(np.linspace(*one, 5) for one in ranges)))
    best = min(grid, key=lambda point: cost(made(point)))
    step = (highs - lows) / 8.0
    while step[0] > 0.002:
        around = [best + sign * step * axis for axis in np.eye(4) for sign in (-1.0, 1.0)]
        nearest = min(around, key=lambda point: cost(made(point)))
        if cost(made(nearest)) < cost(made(best)):
            best = np.clip(nearest, lows, highs)
        else:
            step = step / 2.0
    return made(best)


def _rounded(kernel: Kernel) -> Kernel:
    return replace(
        kernel,
        cutoff=round(kernel.cutoff, 3),
        boost=round(kernel.boost, 3),
        boost_at=round(kernel.boost_at, 3),
        boost_width=round(kernel.boost_width, 3),
    )
