"""Thick slices and the thin ones inside them: positions, averages, and what makes the thin agree with the thick.

A slab is one slice as it was acquired, of spacing s; a factor r cuts it into r thin slices. Thin slice k of slab i has
its centre at (i - 1/2 + (k + 1/2) / r) s, so that r of them fill the slab. The network makes `FINE` of them, whatever
the factor; `to_factor` averages them to the factor that is wanted, and the mean over the slab stays what it was.

The network's own arithmetic keeps the mean over a slab (the average model). For 3-D acquisitions, whose slices are
samples of a band-limited signal, `fourier_consistent` gives the measured frequencies back instead.
"""

import functools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float32]
Matrix = NDArray[np.float64]

FINE: Final = 8
"""Thin slices of one slab that the network makes."""
SUPPORT: Final = 2
"""Slices below and above a slab that the network sees."""
FACTORS: Final = (2, 3, 4, 5, 6, 8)

_FLOOR = 0.1  # of the 98th percentile: below is air
_ARTERIES = 0.9997  # nearest rank among what is above the floor


def tof_unit(voxels: NDArray[Any]) -> float:
    """How bright arteries are in a time-of-flight volume: what the network calls 1 ART.

    The 0.9997 nearest-rank quantile of the head, that is of all voxels above a tenth of the 98th percentile. Nearest
    rank and per volume, since arterial signal has no physical unit and one bright voxel must not set it.

    voxels:  (z, y, x), any unit, 0 = no signal
    returns: above 0, in the unit of the voxels
    raises:  ValueError if no voxel is above 0 or one is not finite
    """
    flat = np.asarray(voxels, dtype=np.float32).ravel()
    if not np.isfinite(flat).all():
        raise ValueError("A voxel is not finite: it has no brightness to measure")
    flat = flat[flat > 0]
    if not len(flat):
        raise ValueError("No voxel is above 0: there is no head in this volume")
    head = flat[flat > _FLOOR * _nearest_rank(flat, 0.98)]
    return _nearest_rank(head, _ARTERIES)


def _nearest_rank(values: NDArray[np.float32], share: float) -> float:
    """The smallest value with at least this share of the values at or below it."""
    rank = max(int(np.ceil(share * len(values))) - 1, 0)
    return float(np.partition(values, rank)[rank])


@functools.lru_cache(maxsize=16)
def cubic_weights(factor: int = FINE) -> Matrix:
    """Keys' cubic convolution (1981, a = -1/2) at the thin slices of the middle slab, from it and two on each side.

    returns: (factor, 5); every row sums to 1
    """
    at = (np.arange(factor) + 0.5) / factor - 0.5
    away = np.abs(at[:, None] - np.arange(-SUPPORT, SUPPORT + 1)[None, :])
    near = 1.5 * away**3 - 2.5 * away**2 + 1.0
    far = -0.5 * away**3 + 2.5 * away**2 - 4.0 * away + 2.0
    weights: Matrix = np.where(away <= 1.0, near, np.where(away < 2.0, far, 0.0))
    weights.flags.writeable = False
    return weights


@functools.lru_cache(maxsize=16)
def area_weights(factor: int, fine: int = FINE) -> Matrix:
    """The share of each of `fine` thin slices in each of `factor` thicker ones that fill the same slab.

    returns: (factor, fine); rows sum to 1, columns to factor / fine
    """
    edges, small = np.arange(factor + 1) / factor, np.arange(fine + 1) / fine
    low = np.maximum(edges[:-1, None], small[None, :-1])
    high = np.minimum(edges[1:, None], small[None, 1:])
    weights: Matrix = np.maximum(high - low, 0.0) * factor
    weights.flags.writeable = False
    return weights


def to_factor(thin: Volume, factor: int) -> Volume:
    """The thin slices of a slab averaged to `factor` of them; the mean over the slab is kept.

    thin:    (8, y, x), or any number that is not less than the factor
    returns: (factor, y, x)
    raises:  ValueError for a factor below 1 or above the number of thin slices
    """
    if not 1 <= factor <= len(thin):
        raise ValueError(f"{len(thin)} thin slices cannot be made into {factor}")
    if factor == len(thin):
        return np.asarray(thin, dtype=np.float32)
    made = np.tensordot(area_weights(factor, len(thin)).astype(np.float32), thin, axes=1)
    return np.asarray(made, dtype=np.float32)


def consistent(thin: Volume, slab: NDArray[np.float32]) -> Volume:
    """The nearest thin slices whose mean is the slab, none below 0 where the slab is not.

    First the same amount is added to all; where one would be below 0, the nearest point of the simplex is taken
    (Held, Wolfe and Crowder 1974). Least squares: nothing else is changed.

    thin:    (r, y, x)
    slab:    (y, x)
    returns: (r, y, x)
    """
    made: Volume = thin + (slab - thin.mean(axis=0, dtype=np.float64)).astype(np.float32)
    wrong = (made.min(axis=0) < 0.0) & (slab >= 0.0)
    if wrong.any():
        made[:, wrong] = _on_simplex(made[:, wrong].astype(np.float64), slab[wrong].astype(np.float64))
    return made


def _on_simplex(thin: Matrix, mean: Matrix) -> Matrix:
    """Euclidean projection of every column on {at least 0, mean as given}; (r, n) and (n,)."""
    count = len(thin)
    ordered = -np.sort(-thin, axis=0)
    over = (np.cumsum(ordered, axis=0) - count * mean) / np.arange(1, count + 1)[:, None]
    kept = np.maximum(np.count_nonzero(ordered > over, axis=0), 1)
    made: Matrix = np.maximum(thin - np.take_along_axis(over, kept[None] - 1, axis=0), 0.0)
    return made


def rounded(thin: Volume, step: float) -> Volume:
    """To multiples of a step, what one loses the next one gets: the mean over the slab is off by at most step / 2r.

    Where the slab itself is a multiple of the step, as a stored slice is, the mean is exact. No value moves by a step
    or more, and none below 0 appears where there was none.

    thin:    (r, y, x), lowest z first
    step:    of the stored unit, above 0
    raises:  ValueError for another step
    """
    if not step > 0.0:
        raise ValueError(f"A step of {step:g} rounds nothing")
    so_far = np.rint(np.cumsum(thin, axis=0, dtype=np.float64) / step)
    return np.asarray(np.diff(so_far, axis=0, prepend=0.0) * step, dtype=np.float32)


def averaged(volume: Volume, factor: int) -> Volume:
    """The slabs again: the mean of every `factor` thin slices; (r z, y, x) -> (z, y, x)."""
    count, y, x = volume.shape
    made = volume.reshape(count // factor, factor, y, x).mean(axis=1, dtype=np.float64)
    return np.asarray(made, dtype=np.float32)


def fourier_consistent(volume: Volume, source: Volume, factor: int) -> Volume:
    """Thin slices with the frequencies along z that a 3-D acquisition measured, as it measured them.

    Every frequency below the source's Nyquist frequency is the source's, moved to where the thin slices are; the rest
    is the volume's. The volume repeats along z, as the acquisition's own Fourier transform has it.

    volume:  (factor z, y, x)
    source:  (z, y, x)
    returns: (factor z, y, x); it may fall below 0, as ringing does
    raises:  ValueError if the lengths do not fit
    """
    if len(volume) != factor * len(source):
        raise ValueError(f"{len(volume)} thin slices are not {factor} for each of {len(source)}")
    spectrum = np.fft.rfft(volume, axis=0)
    low = _measured(len(source))
    turned = np.exp(2j * np.pi * low * _first_mm(factor) / len(source))
    spectrum[low] = factor * np.fft.rfft(source, axis=0)[low] * turned[:, None, None]
    return np.asarray(np.fft.irfft(spectrum, len(volume), axis=0), dtype=np.float32)


def fourier_seen(volume: Volume, factor: int) -> Volume:
    """What a 3-D acquisition of the volume would show at the slabs' centres, its Nyquist frequency left out.

    volume:  (factor z, y, x)
    returns: (z, y, x)
    """
    count = len(volume) // factor
    low = _measured(count)
    spectrum = np.zeros((count // 2 + 1, *volume.shape[1:]), dtype=np.complex128)
    turned = np.exp(-2j * np.pi * low * _first_mm(factor) / count)
    spectrum[low] = np.fft.rfft(volume, axis=0)[low] * turned[:, None, None] / factor
    return np.asarray(np.fft.irfft(spectrum, count, axis=0), dtype=np.float32)


def _measured(count: int) -> NDArray[np.intp]:
    """Frequencies below Nyquist, in cycles per volume: at Nyquist itself a sample does not tell the phase."""
    return np.arange((count + 1) // 2)


def _first_mm(factor: int) -> float:
    """Where the first thin slice lies, seen from the first slab, in slabs."""
    return 0.5 / factor - 0.5
