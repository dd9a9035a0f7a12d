"""Procedural detail and probe lesions: what low-resolution public anatomy lacks, drawn anew for every patch."""

import numpy as np
from numpy.typing import NDArray


def ellipses(rng: np.random.Generator, side: int, count: int) -> NDArray[np.float32]:
    """Soft-edged ellipses, radius 0.8 to 7 px, 8 to 120 HU of either sign; (side, side) HU to add."""
    result = np.zeros((side, side), dtype=np.float32)
    for _ in range(count):
        radius = 0.8 * (7.0 / 0.8) ** rng.random()
        y, x = rng.uniform(0, side, 2)
        contrast = 8.0 * (120.0 / 8.0) ** rng.random() * rng.choice((-1.0, 1.0))
        _add(result, y, x, radius, rng.uniform(0.5, 1.0), rng.uniform(0, np.pi), contrast, rng.uniform(0.3, 0.8))
    return result


def disk(side: int, y: float, x: float, radius: float, contrast: float, softness: float = 0.6) -> NDArray[np.float32]:
    """One disk blurred as by a scanner; (side, side) HU to add."""
    result = np.zeros((side, side), dtype=np.float32)
    _add(result, y, x, radius, 1.0, 0.0, contrast, softness)
    return result


def probe_field(
    rng: np.random.Generator, clean: NDArray[np.float32], side: int, radius: float, contrast: float, count: int = 12
) -> NDArray[np.float32]:
    """Disks of both signs in flat soft tissue; (side, side) HU to add."""
    result = np.zeros((side, side), dtype=np.float32)
    reach = int(radius) + 3
    for sign in (1.0, -1.0) * (count // 2):
        for _ in range(200):
            y, x = (int(v) for v in rng.integers(reach, side - reach, 2))
            around = clean[y - reach : y + reach + 1, x - reach : x + reach + 1]
            if around.min() > -150.0 and around.max() < 200.0 and around.std() < 25.0:
                free = result[y - 2 * reach : y + 2 * reach, x - 2 * reach : x + 2 * reach]
                if not np.any(np.abs(free) > 0.5):
                    result += disk(side, y, x, radius, sign * contrast)
                    break
    return result


def texture(rng: np.random.Generator, side: int, strength_hu: float) -> NDArray[np.float32]:
    """Correlated texture, SD `strength_hu`, correlation length 2 to 6 px; (side, side) HU to add."""
    white = np.fft.rfft2(rng.standard_normal((side, side)))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    length = rng.uniform(2.0, 6.0)
    image = np.fft.irfft2(white * np.exp(-2.0 * (np.pi * length / 2.0) ** 2 * (fy**2 + fx**2)), (side, side))
    return (image * (strength_hu / max(float(image.std()), 1e-9))).astype(np.float32)


def _add(
    image: NDArray[np.float32],
    y: float,
    x: float,
    radius: float,
    flat: float,
    angle: float,
    contrast: float,
    softness: float,
) -> None:
    reach = int(np.ceil(radius + 4 * softness)) + 1
    top, left = max(int(y) - reach, 0), max(int(x) - reach, 0)
    bottom, right = min(int(y) + reach + 1, image.shape[0]), min(int(x) + reach + 1, image.shape[1])
    if top >= bottom or left >= right:
        return
    dy = np.arange(top, bottom)[:, None] - y
    dx = np.arange(left, right)[None, :] - x
    along, across = dx * np.cos(angle) + dy * np.sin(angle), (dy * np.cos(angle) - dx * np.sin(angle)) / flat
    distance = radius - np.hypot(along, across)
    image[top:bottom, left:right] += contrast / (1.0 + np.exp(-np.clip(distance / (softness / 1.7), -30, 30)))
