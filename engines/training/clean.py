"""Clean slices from public CT: what the noise is added to, and what a result is compared with. numpy only.

No public scan is free of noise. Each slice is cleaned once by non-local means over itself and its two neighbours
(Buades et al. 2005): it keeps edges, does not draw plateaus as total variation would, and is no candidate in the
comparison. Volumes of coarse pixels are enlarged afterwards, as a scanner's smaller field of view would show them.
"""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

AIR_HU = -1000.0


def read_nifti(path: Path) -> NDArray[np.float32]:
    """A single-file NIfTI-1 volume, little-endian, without scaling; (z, y, x).

    raises: ValueError for anything else
    """
    data = gzip.decompress(path.read_bytes())
    if int.from_bytes(data[:4], "little") != 348 or data[344:347] != b"n+1":
        raise ValueError(f"{path.name} is no little-endian NIfTI-1 file")
    x, y, z = (int(v) for v in np.frombuffer(data, "<i2", 3, 42))
    code = int(np.frombuffer(data, "<i2", 1, 70)[0])
    start = int(np.frombuffer(data, "<f4", 1, 108)[0])
    slope, intercept = (float(v) for v in np.frombuffer(data, "<f4", 2, 112))
    types = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8", 512: "<u2"}
    if code not in types:
        raise ValueError(f"{path.name} has NIfTI data type {code}")
    voxels = np.frombuffer(data, types[code], x * y * z, start).reshape(z, y, x).astype(np.float32)
    return voxels if slope in (0.0, 1.0) else voxels * np.float32(slope) + np.float32(intercept)


def clean_slice(
    volume: NDArray[np.float32], index: int, *, gain: float, reach: int = 4, patch: int = 2
) -> NDArray[np.float32]:
    """Non-local means of one slice over itself and its neighbours.

    volume:  (z, y, x) HU
    gain:    SD of the noise over what the 3x3 noise mask sees of it: 1.2 for white noise, 2 and more for smooth kernels
    reach:   pixels searched to each side; patch: half side of the compared patches
    returns: (y, x) HU
    """
    own = np.clip(volume[index], AIR_HU - 24.0, 3071.0)
    twice = 2.0 * (gain * noise_sd(own)) ** 2
    total = own.astype(np.float32).copy()
    weight = np.ones_like(total)
    y, x = own.shape
    for neighbour in range(max(index - 1, 0), min(index + 2, len(volume))):
        wide = np.pad(np.clip(volume[neighbour], AIR_HU - 24.0, 3071.0), reach, mode="edge")
        for dy in range(2 * reach + 1):
            for dx in range(2 * reach + 1):
                if neighbour == index and dy == dx == reach:
                    continue
                other = wide[dy : dy + y, dx : dx + x]
                distance = box(np.square(own - other), patch)
                likeness = np.exp(-np.maximum(distance / twice - 1.0, 0.0) * 3.0)
                total += likeness * other
                weight += likeness
    return total / weight


def noise_sd(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Local noise SD after Immerkaer 1996, smoothed over 41 pixels; (y, x) HU, at least 1."""
    wide = np.pad(image, 1, mode="edge")
    rows = wide[:-2] - 2.0 * wide[1:-1] + wide[2:]
    second = np.abs(rows[:, :-2] - 2.0 * rows[:, 1:-1] + rows[:, 2:]) / 6.0
    body = image > -300.0
    limit = 3.0 * float(np.median(second[body])) if np.any(body) else 1.0
    level = box(np.minimum(second, limit), 20) * np.float32(np.sqrt(np.pi / 2.0))
    return np.maximum(level, np.float32(1.0))


def box(image: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Mean over a square of side 2 radius + 1; the border repeats. (y, x), kept."""
    wide = np.pad(image, ((radius + 1, radius), (radius + 1, radius)), mode="edge").astype(np.float64)
    sums = np.cumsum(np.cumsum(wide, axis=0), axis=1)
    width = 2 * radius + 1
    y, x = image.shape
    low, high = slice(0, y), slice(width, width + y)
    left, right = slice(0, x), slice(width, width + x)
    total = sums[high, right] - sums[low, right] - sums[high, left] + sums[low, left]
    return (total / width**2).astype(np.float32)


def enlarge(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Catmull-Rom interpolation to `factor` times the side; (y, x) -> (factor y, factor x)."""
    return _enlarge_rows(_enlarge_rows(image, factor).T, factor).T.copy() if factor > 1 else image


def _enlarge_rows(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    at = (np.arange(image.shape[0] * factor) + 0.5) / factor - 0.5
    low = np.floor(at).astype(np.intp)
    t = (at - low).astype(np.float32)[:, None]
    taps = (
        (-t + 2 * t**2 - t**3) / 2,
        (2 - 5 * t**2 + 3 * t**3) / 2,
        (t + 4 * t**2 - 3 * t**3) / 2,
        (-(t**2) + t**3) / 2,
    )
    last = image.shape[0] - 1
    parts = [tap * image[np.clip(low + step, 0, last)] for step, tap in zip((-1, 0, 1, 2), taps, strict=True)]
    return (parts[0] + parts[1] + parts[2] + parts[3]).astype(np.float32)


def square(image: NDArray[np.float32], *, multiple: int = 8) -> NDArray[np.float32]:
    """Centre the slice in a square of air whose side is a multiple; (s, s) HU, clipped to [-1024, 3071]."""
    y, x = image.shape
    side = -(-max(y, x) // multiple) * multiple
    result = np.full((side, side), AIR_HU, dtype=np.float32)
    top, left = (side - y) // 2, (side - x) // 2
    result[top : top + y, left : left + x] = image
    return np.clip(result, -1024.0, 3071.0)
