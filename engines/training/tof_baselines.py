"""What super-resolution is measured against: nearest, linear and cubic interpolation, and iterative back-projection."""

import functools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engines.slabs import SUPPORT, cubic_weights
from engines.training.tof_acquire import Acquisition, Profile, encoding

Volume = NDArray[np.float32]
Matrix = NDArray[np.float64]

ROUNDS = {Profile.BOX: 1, Profile.GAUSS: 1, Profile.FOURIER: 1}
"""Rounds of back-projection by slice profile: of 1 to 12 the best PSNR on six scans of the head that chooses."""


def nearest(thick: Volume, factor: int) -> Volume:
    """Every slab repeated; (z, y, x) -> (factor z, y, x)."""
    return np.repeat(thick, factor, axis=0)


def linear(thick: Volume, factor: int) -> Volume:
    """Straight lines between the centres of slabs."""
    at = np.clip((np.arange(len(thick) * factor) + 0.5) / factor - 0.5, 0.0, len(thick) - 1.0)
    low = np.minimum(at.astype(int), len(thick) - 2)
    part = (at - low).astype(np.float32)[:, None, None]
    return np.asarray(thick[low] * (1.0 - part) + thick[low + 1] * part, dtype=np.float32)


def cubic(thick: Volume, factor: int) -> Volume:
    """Keys' cubic convolution, the border repeated; what the untrained network starts from."""
    return _along(cubic_matrix(len(thick), factor), thick)


@functools.lru_cache(maxsize=16)
def cubic_matrix(slabs: int, factor: int) -> Matrix:
    """(factor slabs, slabs)."""
    made = np.zeros((factor * slabs, slabs))
    for slab in range(slabs):
        for tap in range(2 * SUPPORT + 1):
            near = int(np.clip(slab + tap - SUPPORT, 0, slabs - 1))
            made[factor * slab : factor * (slab + 1), near] += cubic_weights(factor)[:, tap]
    made.flags.writeable = False
    return made


def back_projected(thick: Volume, acquisition: Acquisition, factor: int, rounds: int | None = None) -> Volume:
    """Iterative back-projection (Irani and Peleg 1991) with the slice profile known, from the cubic one on.

    What the result lacks of the slices as the profile would show them is interpolated and added, again and again; below
    0 nothing is.
    """
    count = ROUNDS[acquisition.profile] if rounds is None else rounds
    known = replace(acquisition, noise=0.0, turn=0.0)
    matrix = _projector(known, len(thick), factor, count)
    return np.maximum(_along(matrix, thick), 0.0)


@functools.lru_cache(maxsize=32)
def _projector(acquisition: Acquisition, slabs: int, factor: int, rounds: int) -> Matrix:
    """All rounds at once: each is linear. y <- y + U (x - D y), y = U x at first."""
    up = cubic_matrix(slabs, factor)
    down = encoding(acquisition, factor * slabs, acquisition.spacing_mm / factor, slabs).real
    made = up.copy()
    for _ in range(rounds):
        made = made + up @ (np.eye(slabs) - down @ made)
    made.flags.writeable = False
    return made


def _along(matrix: Matrix, volume: Volume) -> Volume:
    return np.asarray(np.tensordot(matrix.astype(np.float32), volume, axes=1), dtype=np.float32)


METHODS: dict[str, Callable[[Volume, Acquisition, int], Volume]] = {
    "nearest": lambda thick, _, factor: nearest(thick, factor),
    "linear": lambda thick, _, factor: linear(thick, factor),
    "cubic": lambda thick, _, factor: cubic(thick, factor),
    "back_projection": lambda thick, acquisition, factor: back_projected(thick, acquisition, factor),
}
