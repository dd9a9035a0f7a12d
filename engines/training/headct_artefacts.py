"""What a scanner adds to a head besides noise: hardening of the beam by bone, the head rest, rings. numpy only."""

import numpy as np

from engines.training.head_labels import smooth_field
from engines.training.headct_anatomy import Volume
from engines.training.headct_noise import smoothing


def bones_of(clean: Volume) -> Volume:
    """Density of bone and metal over soft tissue, in g/mL or so."""
    made: Volume = np.clip((clean - 250.0) / 1000.0, 0.0, 3.0)
    return made


def hardening(clean: Volume, bones: Volume, strength: float, mm: float) -> Volume:
    """HU: dark between bones that face each other across the head, bright along the inner table; (z, y, x)."""
    right = np.cumsum(bones, axis=2) * np.float32(mm)
    left = right[:, :, -1:] - right
    weights = smoothing(clean.shape[1], 3.0 / mm)
    wide = smoothing(clean.shape[1], 5.0 / mm)
    band = np.matmul(np.matmul(weights, np.clip(np.minimum(left, right) - 9.0, 0.0, 25.0)), weights.T)
    rim = np.matmul(np.matmul(wide, np.minimum(bones, 1.0)), wide.T)
    soft = clean < 250.0
    inside = clean > -300.0
    made: Volume = np.where(soft & inside, strength * (12.0 * rim - 0.55 * band), 0.0).astype(np.float32)
    return made


def rest(rng: np.random.Generator, clean: Volume, mm: float) -> Volume:
    """A shell of plastic or carbon behind the head, the same in all slices; HU, air elsewhere."""
    size = clean.shape[1]
    shown = (clean > -300.0).any(axis=0)
    rows, columns = np.nonzero(shown)
    made = np.full((1, size, size), -1000.0, dtype=np.float32)
    if len(rows) == 0:
        return made
    back, middle = float(rows.max()), float(columns.mean())
    radius = float(rng.uniform(95.0, 130.0)) / mm
    thick = float(rng.uniform(2.0, 7.0)) / mm
    y, x = np.ogrid[:size, :size]
    away = np.hypot(y - (back + 2.0 / mm - radius), x - middle) - radius
    shell = (away > 1.0) & (away < 1.0 + thick) & (y > back - 0.6 * radius)
    made[0][shell] = float(rng.uniform(-880.0, -150.0))
    return made


def ringed(rng: np.random.Generator, shape: tuple[int, ...], hu: float, pixel_mm: float) -> Volume:
    """Rings of bad detector elements around the axis, HU; (z, y, x)."""
    _, height, width = shape
    radius = np.hypot(*np.ogrid[-height / 2 : height / 2, -width / 2 : width / 2]) * pixel_mm
    made = np.zeros(shape, dtype=np.float32)
    for _ in range(int(rng.integers(3, 9))):
        at, wide = float(rng.uniform(8.0, 70.0)), float(rng.uniform(0.6, 1.6))
        made += (hu * rng.choice((-1, 1)) * np.exp(-0.5 * ((radius - at) / wide) ** 2)).astype(np.float32)
    return made + np.float32(0.1 * hu) * smooth_field(rng, shape, (3.0, 40.0, 40.0))
