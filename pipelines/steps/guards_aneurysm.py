"""Guards that run the network once more on a slab with probe aneurysms and noise (NETWORKS.md E-6, E-12).

Neither leaves memory."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.slabs import SUPPORT
from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable
from pipelines.steps.guards_superres import below, near_of

VERSION = "1.0.0"

Image = NDArray[np.float32]
Stack = NDArray[np.float32]

DIAMETERS: Final = (0.75, 1.0)
"""Of the spheres, in spacings: 3 and 4 mm in slices of 4 mm. They lie within the slab, since only that is replaced."""
_BRIGHT = 0.6  # of arterial signal, above tissue
_PLACES = 8
_ROOM = 1.6  # side of a cell over the largest diameter
_TISSUE = (0.12, 0.6)  # of arterial signal: neither air nor vessel
_FLAT = 0.3  # of arterial signal, largest less smallest in a cell of five slabs: more is anatomy
_FAR_PX = 12  # noise is looked at so far from a probe
_NOISE, _STEPS = 0.01, 3.0  # SD of the noise: of arterial signal, and in steps of the stored values; the larger one
_FINE = 3  # points along a pixel's side

Seen = tuple[list[float], float | None]
"""Of one slab: recovered shares of the probes; RMS of the answer to noise over RMS of the noise."""


@dataclass(frozen=True, kw_only=True)
class probe_aneurysms(BySlice):
    """E-6, E-12: bright spheres in quiet tissue become round along z, and noise does not grow.

    Up to eight spheres of 0.75 and 1 spacing in diameter, 60 % of arterial signal above tissue, in the middle of one
    slab of `every`, averaged over the slab as the scanner would. recovered = regression of what the network puts
    between the slices on what the spheres would show there; the slab repeated gives 0, the truth 1. Of two thin slices
    each shows the same half of a sphere: nothing to recover.

    Between the spheres the slab gets white noise. What the answer differs from the result by there, over that noise, is
    the network's gain; and a result that was changed after the network differs by far more.

    least:     of recovered
    most_gain: of noise
    """

    least: float
    most_gain: float
    every: int = 20

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("probe_aneurysm", self.least)

    def indices(self, total: int) -> range:
        """One slab of `every`, none of the outermost: there the network has no neighbour on one side to go by."""
        first = min(self.every // 2, total // 2)
        return range(first, max(total - SUPPORT, first + 1), self.every)

    def measure(self, case: Checked, pair: Pair) -> Seen:
        """The shares of one slab, and its gain."""
        slab, unit = pair.before, case.facts["arteries"]
        spacing, down, right = (float(np.linalg.norm(case.source.affine[:3, axis])) for axis in range(3))
        cells = cells_of(near_of(case, pair.index), (spacing / down, spacing / right), unit)
        thin = np.zeros((case.factor, *slab.shape), dtype=np.float32)
        for number, (y, x, high, wide) in enumerate(cells):
            sphere = sphere_in(
                case.factor, (high, wide), (down / spacing, right / spacing), DIAMETERS[number % len(DIAMETERS)]
            )
            thin[:, y : y + high, x : x + wide] = np.float32(_BRIGHT * unit) * sphere
        noise = _noise(case, pair, cells)
        # What was finished at the end of a series, one slab alone does not go through: it is compared with itself.
        base = case.again(slab, pair.index) if case.parameters.get("consistency") == "fourier" else pair.after
        change = case.again(slab + thin.mean(axis=0) + noise, pair.index) - base
        return _recovered(change, thin, cells), _gain(change, noise)

    def judge(self, case: Checked, rows: Sequence[Seen]) -> tuple[Finding, ...]:
        """Two findings: probe_aneurysm, gain."""
        shares = [share for found, _ in rows for share in found]
        gains = [gain for _, gain in rows if gain is not None]
        return _probe(shares, self.least, case.factor), _amplified(gains, self.most_gain)


Cell = tuple[int, int, int, int]
"""First row, first column, rows, columns."""


def cells_of(near: Stack, spacings_px: tuple[float, float], unit: float) -> list[Cell]:
    """Where the spheres go: the flattest cells of tissue, at most eight; flat in the slab and in the next ones.

    near:        (5, y, x)
    spacings_px: the distance of slices in rows and in columns
    unit:        arterial signal
    """
    high, wide = (2 * int(np.ceil(_ROOM * side / 2.0)) for side in spacings_px)
    rows, columns = near.shape[1] // high, near.shape[2] // wide
    if not rows or not columns:
        return []
    blocks = near[:, : rows * high, : columns * wide].reshape(len(near), rows, high, columns, wide)
    low, top, mean = (getattr(blocks, name)(axis=(0, 2, 4)) for name in ("min", "max", "mean"))
    tissue = (mean >= _TISSUE[0] * unit) & (mean <= _TISSUE[1] * unit) & (top - low <= _FLAT * unit)
    spread = np.where(tissue, top - low, np.inf)
    order = np.argsort(spread, axis=None, kind="stable")[:_PLACES]
    return [(int(at // columns) * high, int(at % columns) * wide, high, wide)
            for at in order if np.isfinite(spread.flat[at])]  # fmt: skip


def sphere_in(factor: int, cell: tuple[int, int], pixel: tuple[float, float], diameter: float) -> Stack:
    """What thin slices show of a sphere in the middle of a slab and of a cell: shares, (factor, rows, columns).

    pixel, diameter: in spacings; the slab is 1 thick
    """
    radius = diameter / 2.0
    along = [
        (np.arange(side * _FINE) + 0.5) / _FINE * size - side * size / 2.0
        for side, size in zip(cell, pixel, strict=True)
    ]
    half = np.sqrt(np.maximum(radius**2 - along[0][:, None] ** 2 - along[1][None, :] ** 2, 0.0))
    edges = np.arange(factor + 1) / factor - 0.5
    inside = [
        np.maximum(np.minimum(high, half) - np.maximum(low, -half), 0.0) * factor
        for low, high in itertools.pairwise(edges)
    ]
    shares = np.stack(inside).reshape(factor, cell[0], _FINE, cell[1], _FINE).mean(axis=(2, 4))
    return np.asarray(shares, dtype=np.float32)


def _noise(case: Checked, pair: Pair, cells: list[Cell]) -> Image:
    """White noise where there is tissue and no sphere; the same for the same slab."""
    unit = case.facts["arteries"]
    level = max(_NOISE * unit, _STEPS * float(case.parameters.get("step", 0.0)))
    made = np.random.default_rng([pair.index, 12]).standard_normal(pair.before.shape, dtype=np.float32)
    made *= np.float32(level) * (pair.before > _TISSUE[0] * unit)
    for y, x, high, wide in cells:
        made[max(y - _FAR_PX, 0) : y + high + _FAR_PX, max(x - _FAR_PX, 0) : x + wide + _FAR_PX] = 0.0
    return made


def _gain(change: Stack, noise: Image) -> float | None:
    where = noise != 0.0
    if np.count_nonzero(where) < 500:
        return None
    answer, asked = change[:, where], noise[where]
    return float(np.sqrt(np.mean(answer**2, dtype=np.float64) / np.mean(asked**2, dtype=np.float64)))


def _recovered(change: Stack, thin: Stack, cells: list[Cell]) -> list[float]:
    shares = []
    for y, x, high, wide in cells:
        cell = (slice(None), slice(y, y + high), slice(x, x + wide))
        wanted, made = (part - part.mean(axis=0) for part in (thin[cell], change[cell]))
        energy = float(np.sum(wanted * wanted, dtype=np.float64))
        if energy > 1e-6 * float(np.sum(thin[cell] ** 2, dtype=np.float64)):
            shares.append(float(np.sum(wanted * made, dtype=np.float64)) / energy)
    return shares


def _probe(shares: list[float], least: float, factor: int) -> Finding:
    if not shares:
        why = "two thin slices show the same half of a sphere" if factor == 2 else "no slab has quiet tissue for one"
        text = f"No probe aneurysm was judged: {why}."
        return judged("probe_aneurysm", None, least, Verdict.PASS, text, version=VERSION)
    value = float(np.mean(shares))
    text = f"{value:.2f} of the shape along z of {len(shares)} probe aneurysms came through; at least {least:g}."
    return judged("probe_aneurysm", value, least, below(value, least), text, version=VERSION)


def _amplified(gains: list[float], limit: float) -> Finding:
    if not gains:
        text = "No slab has enough tissue to add noise to; nothing to judge."
        return judged("gain", None, limit, Verdict.PASS, text, version=VERSION)
    worst = max(gains, key=lambda gain: (gain != gain, gain))
    text = f"Noise of the slices becomes {worst:.2f} of itself in the thin ones; allowed {limit:g}."
    return judged("gain", worst, limit, above(worst, limit), text, version=VERSION)
