"""What MR signal is measured in: white matter = 1. numpy, for training and the node alike.

MR has no unit. The networks take every series over the signal of its white matter, which all head series show: in T1 it
is found as the brightest mode of the brain, and T2 and FLAIR, which lie on the grid of T1, are read where T1 shows it.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

_INNER = 0.72  # of the head's extent about its middle, in the plane: beyond lie scalp and marrow, bright with fat
_ENDS = 0.3  # of the slices with a head in them, at either end: face, neck and vertex
_BINS = 200
_MODE = 0.35  # a mode of T1 counts if it is at least so high as the highest one
_DARK_MODE = 0.6  # of T2 and FLAIR; lower ones are muscle of the face
_NEAR = 0.1  # white matter: within so much of the mode
_LEAST = 200  # voxels


def white_matter(t1: Volume) -> Mask:
    """Where a T1 shows white matter: about the brightest mode of what lies well inside the head.

    t1:      (z, y, x), any unit, before contrast, with the skull or without; 0 or noise where there is no signal
    returns: (z, y, x), voxels about the mode
    raises:  ValueError if there is no head in it
    """
    inner = _inside(t1)
    values = _pairs(t1)[inner]
    if values.size < _LEAST or not np.isfinite(values).all():
        raise ValueError(f"only {values.size} voxels of tissue, or values that are no numbers")
    peak = _modes(values, _MODE)[-1]
    # The middle of the mode, not its highest bin; no wider, or grey matter pulls.
    peak = float(np.median(values[np.abs(values - peak) < _NEAR / 2.0 * peak]))
    # Grey matter is darker: in an image of poor contrast the bright side of the mode holds less of it.
    over = _pairs(t1) / np.float32(peak)
    made: Mask = inner & (over > 1.0 - _NEAR / 4.0) & (over < 1.0 + _NEAR)
    return made


def white_matter_peak(voxels: Volume, white: Mask | None = None) -> float:
    """The signal of white matter: dividing by it gives the unit WM.

    voxels:  (z, y, x), any unit
    white:   (z, y, x), where T1 shows white matter (`white_matter`), for T2 and FLAIR on the grid of T1; None: `voxels`
             is a T1
    raises:  ValueError if there is none, or it has no signal
    """
    where = white_matter(voxels) if white is None else white
    values = voxels[where & np.isfinite(voxels) & (voxels > 0)]
    if values.size < _LEAST or 2 * values.size < np.count_nonzero(where):
        raise ValueError(f"{values.size} voxels of white matter with signal, of {np.count_nonzero(where)}")
    if white is None:
        return float(np.median(values))
    # Of what T1 cannot tell apart, white matter is the darker part in T2 and FLAIR.
    low = _modes(values, _DARK_MODE)[0]
    return float(np.median(values[np.abs(values - low) < _NEAR * low]))


def _modes(values: NDArray[np.floating[Any]], least: float) -> list[float]:
    """Every mode that is at least `least` as high as the highest, from dark to bright."""
    top = float(np.percentile(values, 99.5))
    counts, edges = np.histogram(values, bins=_BINS, range=(0.0, top * 1.05))
    taps = np.exp(-0.5 * (np.arange(-12, 13) / 4.0) ** 2)
    smooth = np.convolve(counts, taps / taps.sum(), mode="same")
    rises = np.concatenate([[True], smooth[1:] > smooth[:-1]])
    falls = np.concatenate([smooth[:-1] >= smooth[1:], [True]])
    modes = np.flatnonzero(rises & falls & (smooth >= least * smooth.max()))
    return [float((edges[k] + edges[k + 1]) / 2.0) for k in modes]


def _pairs(volume: Volume) -> NDArray[np.float32]:
    """Averaged over 2 by 2 pixels: half the noise, and modes that part."""
    wide = np.pad(volume.astype(np.float32), ((0, 0), (0, 1), (0, 1)), mode="edge")
    made: NDArray[np.float32] = (wide[:, 1:, 1:] + wide[:, :-1, 1:] + wide[:, 1:, :-1] + wide[:, :-1, :-1]) / 4.0
    return made


def _inside(volume: Volume) -> Mask:
    """Tissue, not air, within an ellipse in the middle of the head, slice by slice."""
    finite = volume[np.isfinite(volume)]
    if finite.size == 0 or float(finite.max()) <= 0.0:
        raise ValueError("no signal at all")
    bright = finite[finite > 0]
    floor = 0.15 * float(np.percentile(bright, 98.0))
    tissue = _pairs(volume) > floor
    made = np.zeros(volume.shape, dtype=bool)
    rows_at, columns_at = (np.arange(n, dtype=np.float32) for n in volume.shape[1:])
    area = tissue.mean(axis=(1, 2))
    occupied = np.flatnonzero(area > 0.2 * area.max())
    ends = int(_ENDS * len(occupied)) if len(occupied) > 8 else 0
    for z in occupied[ends : len(occupied) - ends]:
        rows, columns = (np.flatnonzero(tissue[z].mean(axis=axis) > 0.03) for axis in (1, 0))
        if rows.size < 8 or columns.size < 8:
            continue
        y = (rows_at - (rows[0] + rows[-1]) / 2.0) / ((rows[-1] - rows[0]) / 2.0)
        x = (columns_at - (columns[0] + columns[-1]) / 2.0) / ((columns[-1] - columns[0]) / 2.0)
        made[z] = tissue[z] & (y[:, None] ** 2 + x[None] ** 2 < _INNER**2)
    return made
