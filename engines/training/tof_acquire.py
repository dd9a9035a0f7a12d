"""Acquiring thick slices: what slice encoding makes of a head on a fine grid along z, by both kinds of scan.

A 2-D scan averages over its slice profile. A 3-D scan measures the lowest frequencies of its slab along z; cut off
there, an edge rings (Gibbs), and a filter or a part of k-space left out shows. Noise is complex and comes before the
magnitude, so that air has a floor (Rice). All of it is linear along z but the magnitude: an acquisition is a matrix.

Positions: slab k has its centre at k spacing; the fine grid begins half a spacing before slab 0.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float32]
Matrix = NDArray[np.float64]
Encoding = NDArray[np.complex128]


class Profile(StrEnum):
    """How a slice is selected along z."""

    BOX = "2-D, box"
    GAUSS = "2-D, Gaussian"
    FOURIER = "3-D, Fourier"


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """One way to make thick slices.

    spacing_mm: between the centres of slices
    width_mm:   of a box, or the full width at half maximum of a Gaussian; slices may overlap. No meaning for FOURIER
    hamming:    the measured frequencies are filtered
    partial:    share of them that is measured, 0.75 to 1; what is left out is 0
    noise:      SD of the real and of the imaginary part in a slice, 1 = fresh arterial blood
    turn:       phase along z, radians per mm; across the slices it would only turn what is summed
    """

    profile: Profile
    spacing_mm: float
    width_mm: float
    hamming: bool = False
    partial: float = 1.0
    noise: float = 0.0
    turn: float = 0.0


def drawn(rng: np.random.Generator, spacing_mm: float, profile: Profile | None = None) -> Acquisition:
    """A random acquisition, 3-D in half of the cases; the arterial SNR of a thick slice is 30 to 120.

    That is twice what thin slices have, 15 to 60: a voxel four times as large, measured in a quarter of the time.
    """
    if profile is None:
        profile = (Profile.FOURIER, Profile.FOURIER, Profile.BOX, Profile.GAUSS)[int(rng.integers(4))]
    thickness = spacing_mm / (1.0 - (rng.uniform(0.0, 0.3) if rng.random() < 0.5 else 0.0))
    three = profile is Profile.FOURIER
    return Acquisition(
        profile=profile,
        spacing_mm=spacing_mm,
        width_mm=thickness * (rng.uniform(0.8, 1.2) if profile is Profile.GAUSS else 1.0),
        hamming=three and bool(rng.random() < 0.4),
        partial=0.75 if three and rng.random() < 0.3 else 1.0,
        noise=float(1.0 / (30.0 * 4.0 ** rng.random())),
        turn=float(rng.normal(0.0, 0.05)),
    )


def overlap(edges: Matrix, fine: int, step: float) -> Matrix:
    """Averages over [edges k, edges k + 1) of `fine` voxels of length `step`; rows sum to 1 where all is covered."""
    low = np.maximum(edges[:-1, None], np.arange(fine)[None, :] * step)
    high = np.minimum(edges[1:, None], (np.arange(fine)[None, :] + 1.0) * step)
    return np.asarray(np.maximum(high - low, 0.0) / np.diff(edges)[:, None], dtype=np.float64)


def encoding(acquisition: Acquisition, fine: int, step_mm: float, slabs: int) -> Encoding:
    """What every slab sees of every voxel of the fine grid; (slabs, fine).

    FOURIER takes the fine grid for the whole field of view along z: fine step_mm = slabs spacing_mm.
    """
    spacing = acquisition.spacing_mm
    centre = (np.arange(slabs) + 0.5) * spacing
    at = (np.arange(fine) + 0.5) * step_mm
    if acquisition.profile is Profile.FOURIER:
        return _dirichlet(acquisition, (centre[:, None] - at[None, :]) / (slabs * spacing), slabs) / fine
    away = at[None, :] - centre[:, None]
    if acquisition.profile is Profile.BOX:
        half = (acquisition.width_mm + step_mm) / 2.0
        weight = np.clip((half - np.abs(away)) / step_mm, 0.0, 1.0)
    else:
        weight = np.exp(-4.0 * np.log(2.0) * (away / acquisition.width_mm) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.complex128)


def colouring(acquisition: Acquisition, slabs: int) -> Encoding:
    """What becomes of white noise of the measured samples; (slabs, slabs)."""
    if acquisition.profile is not Profile.FOURIER:
        return np.eye(slabs, dtype=np.complex128)
    at = np.arange(slabs) / slabs
    return _dirichlet(acquisition, at[:, None] - at[None, :], slabs) / slabs


def _dirichlet(acquisition: Acquisition, turns: Matrix, slabs: int) -> Encoding:
    """Sum of the measured frequencies with their weights at places given in fields of view."""
    frequency = np.arange(slabs) - slabs // 2
    weight = np.ones(slabs)
    if acquisition.hamming:
        weight = 0.54 + 0.46 * np.cos(2.0 * np.pi * frequency / slabs)
    if acquisition.partial < 1.0:
        weight = np.where(frequency >= (0.5 - acquisition.partial) * slabs, weight, 0.0)
    made = np.zeros(turns.shape, dtype=np.complex128)
    for one, share in zip(frequency, weight, strict=True):
        made += share * np.exp(2j * np.pi * one * turns)
    return made


def acquired(
    signal: Volume,
    acquisition: Acquisition,
    step_mm: float,
    slabs: int,
    rng: np.random.Generator,
    *,
    rows: slice = slice(None),
) -> Volume:
    """Thick slices of a head.

    signal:  (fine, y, x) on a grid of `step_mm` along z
    slabs:   of the whole field of view; `rows` of them are made
    returns: (rows, y, x) magnitudes
    """
    fine, y, x = signal.shape
    matrix = encoding(acquisition, fine, step_mm, slabs)[rows].astype(np.complex64)
    matrix = matrix * np.exp(1j * acquisition.turn * step_mm * np.arange(fine))[None, :].astype(np.complex64)
    flat = signal.reshape(fine, -1)
    made = (matrix.real @ flat + 1j * (matrix.imag @ flat)).astype(np.complex64)
    if acquisition.noise > 0.0:
        colour = colouring(acquisition, slabs)[rows].astype(np.complex64)
        white = rng.standard_normal((2, slabs, y * x), dtype=np.float32)
        noise = white[0] + 1j * white[1]
        made += np.float32(acquisition.noise) * (
            colour @ noise if acquisition.profile is Profile.FOURIER else noise[rows]
        )
    return np.asarray(np.abs(made), dtype=np.float32).reshape(-1, y, x)


def thin(signal: Volume, step_mm: float, spacing_mm: float, factor: int, slabs: range) -> Volume:
    """The truth: averages over thin slices of spacing / factor, of the slabs named; (factor len(slabs), y, x)."""
    edges = (slabs.start + np.arange(len(slabs) * factor + 1) / factor) * spacing_mm
    matrix = overlap(edges, len(signal), step_mm).astype(np.float32)
    return np.asarray(np.tensordot(matrix, signal, axes=1), dtype=np.float32)


def slab_steps(rng: np.random.Generator, fine: int, step_mm: float, spacing_mm: float) -> Volume:
    """Gain of multi-slab scans: brightness falls by 10 to 30 % to the end of each slab of 15 to 30 slices; (fine,)."""
    if rng.random() < 0.4:
        return np.ones(fine, dtype=np.float32)
    depth, count = rng.uniform(0.1, 0.3), int(rng.integers(15, 31))
    length = count * spacing_mm
    part = ((np.arange(fine) * step_mm + rng.uniform(0.0, length)) % length) / length
    return (1.0 - depth * part**2).astype(np.float32)
