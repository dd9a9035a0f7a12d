"""From signals on a fine grid to what a scanner stores: slices, resolution, misregistration, bias, noise. numpy only.

Slices and resolution are linear along each axis, so each is one matrix. Misregistration is a shift; rotations of a
degree between series look the same within a patch of the network's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.contrast_physics import rician
from engines.training.head_labels import Head

Volume = NDArray[np.float32]
Weights = NDArray[np.float32]
Spacing = tuple[float, float, float]


def looked_up(
    head: Head,
    shape: tuple[int, int, int],
    spacing: Spacing,
    centre: Spacing,
    tilt: Spacing = (0.0, 0.0, 0.0),
    scale: float = 1.0,
    *,
    flipped: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Tissue and `inside` of a head at the nearest voxels of a grid (z, y, x); air outside.

    spacing: mm; centre: the head's voxel (z, y, x) in the middle of the grid; tilt: about x, y and z, rad
    scale:   size of the head; flipped: left for right
    """
    a, b, c = tilt
    about_x = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    turn = about_x @ about_y @ about_z / scale
    if flipped:
        turn = np.diag([1.0, 1.0, -1.0]) @ turn
    along = [(np.arange(n) - (n - 1) / 2.0) * mm for n, mm in zip(shape, spacing, strict=True)]
    flat, valid = np.zeros(shape, dtype=np.int32), np.ones(shape, dtype=bool)
    for axis, length in enumerate(head.tissue.shape):
        at = (
            (turn[axis, 0] * along[0] + centre[axis])[:, None, None]
            + (turn[axis, 1] * along[1])[None, :, None]
            + (turn[axis, 2] * along[2])[None, None, :]
        )
        index = np.rint(at.astype(np.float32)).astype(np.int32)
        valid &= (index >= 0) & (index < length)
        flat = flat * length + index
    flat[~valid] = 0
    return head.tissue.reshape(-1)[flat] * valid, head.inside.reshape(-1)[flat] * valid


def slices(
    rng: np.random.Generator, name: str, centres: NDArray[np.floating[Any]], count: int, step_mm: float, gap_mm: float
) -> Weights:
    """(slices of T1, fine planes): how a series' slices average the planes and are brought to those of T1.

    centres: of T1's slices, in fine planes. T1 averages over its own slices; T2 and FLAIR come as thin ones or as
    slices of 3 to 6 mm at places of their own, interpolated linearly to T1's
    """
    if name == "t1" or rng.random() < 0.4:
        width = float(rng.uniform(0.8, 1.0)) * gap_mm if name == "t1" else max(gap_mm, float(rng.uniform(0.9, 2.0)))
        return boxes(centres, count, width / step_mm)
    own_mm = float(rng.uniform(3.0, 6.0))
    own = own_mm / step_mm
    places = np.arange(centres[0] - (1.0 + rng.random()) * own, centres[-1] + 2.0 * own, own)
    thick = boxes(places, count, float(rng.uniform(0.8, 1.0)) * own)
    at = (centres - places[0]) / own
    between = np.clip(1.0 - np.abs(at[:, None] - np.arange(len(places))[None]), 0.0, None)
    made: Weights = (between.astype(np.float32)) @ thick
    return made


def boxes(centres: NDArray[np.floating[Any]], count: int, width: float) -> Weights:
    """(centres, count): each row averages planes over `width` about its centre; the ends repeat."""
    planes = np.arange(-count, 2 * count)
    covered = np.clip(width / 2.0 + 0.5 - np.abs(planes[None] - centres[:, None]), 0.0, min(1.0, width))
    covered = covered / covered.sum(1, keepdims=True)
    inner = covered[:, count : 2 * count].copy()
    inner[:, 0] += covered[:, :count].sum(1)
    inner[:, -1] += covered[:, 2 * count :].sum(1)
    made: Weights = inner.astype(np.float32)
    return made


def spread(length: int, sigma: float, shift: float) -> Weights:
    """(length, length): Gaussian of `sigma` pixels after a shift of `shift` pixels; the border repeats."""
    at = np.arange(length)
    away = np.clip(at + shift, 0, length - 1)[:, None] - at[None]
    weights = np.exp(-0.5 * (away / sigma) ** 2)
    made: Weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return made


def through(volume: Volume, across: Weights, sigma: float, shift: tuple[float, float] = (0.0, 0.0)) -> Volume:
    """(planes, y, x) through `slices`, then blurred by `sigma` and shifted by (y, x) pixels in the plane."""
    thick = (across @ volume.reshape(len(volume), -1)).reshape(len(across), *volume.shape[1:])
    rows, columns = spread(volume.shape[1], sigma, shift[0]), spread(volume.shape[2], sigma, shift[1])
    made: Volume = np.matmul(np.matmul(rows, thick), columns.T)
    return made


def bias(rng: np.random.Generator, shape: tuple[int, int, int], strength: float) -> Volume:
    """A smooth factor, a polynomial of order 3 in z, y, x, between 1/(1 + strength) and 1 + strength."""
    z, y, x = (np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in shape)
    powers = [[axis**k for k in range(4)] for axis in (z, y, x)]
    field = np.zeros(shape, dtype=np.float32)
    for i in range(4):
        for j in range(4 - i):
            for k in range(4 - i - j):
                if i + j + k:
                    weight = np.float32(rng.standard_normal() / (i + j + k))
                    plane = powers[1][j][:, None] * powers[2][k][None]
                    field += weight * powers[0][i][:, None, None] * plane[None]
    field -= (field.max() + field.min()) / 2.0
    made: Volume = np.exp(field * np.float32(np.log1p(strength) / max(float(field.max()), 1e-6)))
    return made


def acquired(rng: np.random.Generator, signal: dict[str, Volume], kept: NDArray[np.bool_] | None) -> dict[str, Volume]:
    """Bias up to 30 % and Rician noise (white matter over SD 15 to 40) on every series, drawn for each.

    kept: (z, y, x), what is left when the skull is removed; None leaves it in
    """
    made = {}
    for name, clean in signal.items():
        field = bias(rng, (clean.shape[0], clean.shape[1], clean.shape[2]), float(rng.uniform(0.0, 0.3)))
        noisy = rician(rng, clean * field, float(1.0 / rng.uniform(15.0, 40.0))).astype(np.float32)
        made[name] = noisy if kept is None else noisy * kept
    return made
