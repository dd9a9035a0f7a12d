"""Reconstruction kernels of CT as curves, and what changes one into another as far as a linear filter can.

A filtered back-projection with kernel W shows an object through the radial filter W(|f|), and its noise too. Between
two kernels of the same raw data the linear part of the change is therefore the ratio of their curves, wherever the
source kernel left anything to amplify. Where an image came through iterative reconstruction its noise was lowered and
its anatomy was not: no linear filter gives one of them back without the other.
"""

import functools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

DESCRIPTOR_CYCLES_PER_PX = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Where a curve is read for the network; its pixels are all that the network knows of millimetres."""

_LOST = 0.04  # below this gain of the source kernel the linear filter gives up instead of amplifying what is not there


class Curve(Protocol):
    """How a reconstruction shows an object, and how much of the noise it leaves.

    noise_kept: SD of the noise over that of plain filtered back-projection with the same curve; 1 without iterative
                reconstruction, 0.3 to 0.7 with a strong one
    """

    @property
    def noise_kept(self) -> float: ...

    def __hash__(self) -> int: ...

    def __call__(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gain at a frequency in cycles per mm; 1 at 0."""
        ...


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Apodisation of the ramp: (1 + boost exp(-((f - at) / width)^2)) (1 + cos(pi f / cutoff)) / 2, 0 from `cutoff`.

    Divided by its value at 0, since a scanner is calibrated to show water as 0 HU through every kernel.

    cutoff, boost_at, boost_width: cycles per mm; `boost` 0 is a plain Hann window, 0.3 to 0.9 a bone kernel
    """

    cutoff: float
    boost: float = 0.0
    boost_at: float = 0.6
    boost_width: float = 0.25
    noise_kept: float = 1.0

    def __call__(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """The window at `frequency`, cycles per mm."""
        hann = 0.5 * (1.0 + np.cos(np.pi * np.minimum(frequency / self.cutoff, 1.0)))
        bump = 1.0 + self.boost * np.exp(-(((frequency - self.boost_at) / self.boost_width) ** 2))
        at_zero = 1.0 + self.boost * float(np.exp(-((self.boost_at / self.boost_width) ** 2)))
        window: NDArray[np.float64] = hann * bump / at_zero
        return window

    def frequency_at(self, gain: float) -> float:
        """The highest frequency with at least this gain, cycles per mm: MTF50 and MTF10 of the kernel alone."""
        frequency = np.linspace(0.0, self.cutoff, 2001)
        return float(frequency[np.flatnonzero(self(frequency) >= gain)[-1]])


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A kernel between two: (1 - share) first + share second; reconstruction is linear, so this is a kernel too."""

    first: Kernel
    second: Kernel
    share: float
    noise_kept: float = 1.0

    def __call__(self, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
        """The window at `frequency`, cycles per mm."""
        return (1.0 - self.share) * self.first(frequency) + self.share * self.second(frequency)


def descriptor(source: Curve, target: Curve, pixel_mm: float) -> NDArray[np.float32]:
    """For the network: both curves at `DESCRIPTOR_CYCLES_PER_PX`, then both shares of noise; source first. (14,)."""
    frequency = np.asarray(DESCRIPTOR_CYCLES_PER_PX) / pixel_mm
    kept = [source.noise_kept, target.noise_kept]
    return np.concatenate([source(frequency), target(frequency), kept]).astype(np.float32)


def apply_gain(image: NDArray[np.float32], gain: NDArray[np.float64], margin: int) -> NDArray[np.float32]:
    """Multiply the spectrum of an image; (y, x) kept.

    gain:   as `numpy.fft.rfft2` orders frequencies, of the image with `margin` pixels of reflection around it
    """
    y, x = image.shape
    wide = np.pad(image, margin, mode="symmetric")
    made = np.fft.irfft2(np.fft.rfft2(wide) * gain, wide.shape)
    return np.ascontiguousarray(made[margin : margin + y, margin : margin + x], dtype=np.float32)


def radial(shape: tuple[int, int], pixel_mm: float, margin: int) -> NDArray[np.float64]:
    """|f| in cycles per mm of every coefficient that `apply_gain` multiplies."""
    y, x = shape[0] + 2 * margin, shape[1] + 2 * margin
    radius: NDArray[np.float64] = np.hypot(np.fft.fftfreq(y, pixel_mm)[:, None], np.fft.rfftfreq(x, pixel_mm)[None, :])
    return radius


def linear_gain(source: Curve, target: Curve, frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ratio of the curves, held back where the source kernel left next to nothing (Wiener); 1 at frequency 0."""
    kept, wanted = source(frequency), target(frequency)
    gain: NDArray[np.float64] = wanted * kept / (kept**2 + _LOST**2) * (1.0 + _LOST**2)
    return gain


def convert_linear(
    image: NDArray[np.float32], source: Curve, target: Curve, pixel_mm: float, *, margin: int = 16
) -> NDArray[np.float32]:
    """The linear part of the conversion; needs no training and invents nothing. (y, x) HU, kept."""
    y, x = image.shape
    return apply_gain(image, _gain(y, x, source, target, pixel_mm, margin), margin)


@functools.lru_cache(maxsize=2)  # the slices of a series share their gain, which takes as long as its use
def _gain(y: int, x: int, source: Curve, target: Curve, pixel_mm: float, margin: int) -> NDArray[np.float64]:
    return linear_gain(source, target, radial((y, x), pixel_mm, margin))
