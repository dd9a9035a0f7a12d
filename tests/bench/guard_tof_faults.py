"""Faults to inject into super-resolved angiographies: what a bug, a mix-up or a bad network would do.

Faults of the result come after the network. Faults of the network keep the mean of every slab, as its last layer and
the pipeline do, and come in every answer of it. Faults of the source come before the network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.slabs import consistent
from tests.bench.guard_faults import gaussian
from tests.bench.guard_tof import TofSeries

Image = NDArray[np.float32]
Stack = NDArray[np.float32]
Answer = Callable[[Stack, Image, int], Stack]
"""(thin slices of a slab (factor, y, x), the slab, its index) to what a bad network makes of it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Faulty:
    """A series after the fault.

    result:  (factor z, y, x); None when the network has yet to run on the changed source
    network: what becomes of each of its answers; None when the fault left it alone
    """

    series: TofSeries
    result: Stack | None = None
    network: Answer | None = None


Fault = Callable[[TofSeries, Stack], Faulty | None]


def _after(series: TofSeries, result: Stack, change: Callable[[Stack], Stack]) -> Faulty:
    return Faulty(series=series, result=np.asarray(change(result.copy()), dtype=np.float32))


def _by_network(series: TofSeries, result: Stack, answer: Answer) -> Faulty:
    """The network's answers changed, and the mean of the slab given back as the pipeline does."""
    slabs = series.volume.voxels

    def kept(thin: Stack, slab: Image, index: int) -> Stack:
        return consistent(np.asarray(answer(thin, slab, index), dtype=np.float32), slab)

    count = factor_of(series)
    made = [kept(result[i * count : (i + 1) * count].copy(), slab, i) for i, slab in enumerate(slabs)]
    return Faulty(series=series, result=np.concatenate(made), network=kept)


def factor_of(series: TofSeries) -> int:
    """Thin slices for one slice."""
    return int(series.parameters["factor"])


def blurred(series: TofSeries, result: Stack) -> Faulty:
    """The result is blurred within its slices, sigma 1 px."""
    return _after(series, result, lambda made: np.stack([gaussian(image, 1.0) for image in made]))


def blurred_along(series: TofSeries, result: Stack) -> Faulty:
    """The result is blurred along z, sigma 1 thin slice."""
    taps = np.exp(-0.5 * np.arange(-3, 4) ** 2)
    taps /= taps.sum()

    def change(made: Stack) -> Stack:
        wide = np.pad(made, ((3, 3), (0, 0), (0, 0)), mode="edge")
        return np.asarray(sum(tap * wide[k : k + len(made)] for k, tap in enumerate(taps)), dtype=np.float32)

    return _after(series, result, change)


def smooth_network(series: TofSeries, result: Stack) -> Faulty:
    """What the network adds is blurred within slices, sigma 3 px."""
    return _by_network(
        series, result, lambda thin, slab, i: slab + np.stack([gaussian(one - slab, 3.0) for one in thin])
    )


def pasted_vessel(series: TofSeries, result: Stack) -> Faulty:
    """A vessel of 3 px runs through one thin slice of the result, half as bright as arteries above tissue."""
    return _after(series, result, lambda made: _added(made, _middle(series), _stripe(series)))


def pasted_blob(series: TofSeries, result: Stack) -> Faulty:
    """A blob of radius 4 px appears in one thin slice of the result."""
    return _after(series, result, lambda made: _added(made, _middle(series), _blob(series)))


def invented_blob(series: TofSeries, result: Stack) -> Faulty:
    """The network makes a blob in one thin slice and takes it out of the others of the slab, in every answer."""
    shape, at = _blob(series), _middle(series) % factor_of(series)
    where = _middle(series) // factor_of(series)

    def answer(thin: Stack, slab: Image, index: int) -> Stack:
        return _added(thin, at, shape) if index == where else thin

    return _by_network(series, result, answer)


def removed_vessel(series: TofSeries, result: Stack) -> Faulty:
    """What is bright is missing in one thin slice of the result, in a region of 24 px around the brightest vessel."""
    where, (rows, columns) = _middle(series), _bright(series)

    def change(made: Stack) -> Stack:
        region = made[where, rows, columns]
        made[where, rows, columns] = np.minimum(region, np.median(region))
        return made

    return _after(series, result, change)


def moved_vessel(series: TofSeries, result: Stack) -> Faulty:
    """The same, done by the network: what is missing in one thin slice is in the others of its slab."""
    count, (rows, columns) = factor_of(series), _bright(series)
    slab_at, at = divmod(_middle(series), count)

    def answer(thin: Stack, slab: Image, index: int) -> Stack:
        if index == slab_at:
            region = thin[at, rows, columns]
            thin[at, rows, columns] = np.minimum(region, np.median(region))
        return thin

    return _by_network(series, result, answer)


def swapped(series: TofSeries, result: Stack) -> Faulty:
    """Two neighbouring thin slices of one slab changed places."""
    count = factor_of(series)
    first = _middle(series) // count * count + max((count - 1) // 2, 0)

    def change(made: Stack) -> Stack:
        made[[first, first + 1]] = made[[first + 1, first]]
        return made

    return _after(series, result, change)


def repeated(series: TofSeries, result: Stack) -> Faulty:
    """No super-resolution: every slab stands factor times."""
    return _by_network(series, result, lambda thin, slab, i: np.repeat(slab[None], len(thin), axis=0))


def halved_effect(series: TofSeries, result: Stack) -> Faulty:
    """The network does half of what it should."""
    return _by_network(series, result, lambda thin, slab, i: slab + 0.5 * (thin - slab))


def doubled_effect(series: TofSeries, result: Stack) -> Faulty:
    """The network does twice of what it should."""
    return _by_network(series, result, lambda thin, slab, i: slab + 2.0 * (thin - slab))


def upside_down(series: TofSeries, result: Stack) -> Faulty:
    """The thin slices of every slab stand in the wrong order."""
    return _by_network(series, result, lambda thin, slab, i: thin[::-1])


def one_upside_down(series: TofSeries, result: Stack) -> Faulty:
    """Those of one slab do, after the network."""
    count = factor_of(series)
    first = _middle(series) // count * count

    def change(made: Stack) -> Stack:
        made[first : first + count] = made[first : first + count][::-1].copy()
        return made

    return _after(series, result, change)


def shifted(series: TofSeries, result: Stack) -> Faulty:
    """The result is shifted by one thin slice."""
    return _after(series, result, lambda made: np.concatenate([made[:1], made[:-1]]))


def offset(series: TofSeries, result: Stack) -> Faulty:
    """The result is brighter by 2 % of fresh arterial blood."""
    return _after(series, result, lambda made: made + np.float32(20.0))


def noisy(series: TofSeries, result: Stack) -> Faulty:
    """The network adds noise along z, 5 % of fresh arterial blood."""
    rng = np.random.default_rng(5)
    return _by_network(
        series, result, lambda thin, slab, i: thin + rng.normal(0.0, 50.0, thin.shape).astype(np.float32)
    )


def not_a_number(series: TofSeries, result: Stack) -> Faulty:
    """One voxel is NaN."""

    def change(made: Stack) -> Stack:
        made[_middle(series), 20, 30] = np.nan
        return made

    return _after(series, result, change)


def rotated(series: TofSeries, result: Stack) -> Faulty:
    """The slices of the result are turned by 90 degrees."""
    return _after(series, result, lambda made: np.rot90(made, axes=(1, 2)).copy())


def other_slices(series: TofSeries, result: Stack) -> Faulty:
    """Two slabs of the result changed places."""
    count = factor_of(series)
    first = _middle(series) // count * count

    def change(made: Stack) -> Stack:
        one = made[first : first + count].copy()
        made[first : first + count] = made[first + count : first + 2 * count]
        made[first + count : first + 2 * count] = one
        return made

    return _after(series, result, change)


def wrong_gap(series: TofSeries, result: Stack) -> Faulty:
    """Positions of slices are 1.5 times as far apart as they were; the other elements say what is true."""
    moved = [
        {**one, "ImagePositionPatient": ("0", "0", f"{1.5 * float(one['ImagePositionPatient'][2]):g}")}
        for one in series.headers
    ]
    affine = series.volume.affine * np.asarray([1.5, 1.0, 1.0, 1.0])
    return Faulty(series=replace(series, headers=tuple(moved), volume=replace(series.volume, affine=affine)))


def wrong_pixels(series: TofSeries, result: Stack) -> Faulty:
    """Pixel Spacing is 1.5 times what it was; Reconstruction Diameter is what it was."""
    moved = []
    for one in series.headers:
        side = float(one["PixelSpacing"][0])
        moved.append(
            {
                **one,
                "PixelSpacing": (f"{1.5 * side:g}",) * 2,
                "ReconstructionDiameter": (f"{int(one['Columns'][0]) * side:g}",),
            }
        )
    affine = series.volume.affine * np.asarray([1.0, 1.5, 1.5, 1.0])
    return Faulty(series=replace(series, headers=tuple(moved), volume=replace(series.volume, affine=affine)))


def like_t1(series: TofSeries, result: Stack) -> Faulty:
    """Not an angiography: tissue is nearly as bright as vessels, as in T1."""
    return _source(series, lambda v: 900.0 * np.clip(v / 1000.0, 0.0, 1.0) ** 0.2)


def like_t2(series: TofSeries, result: Stack) -> Faulty:
    """Not an angiography: what was dark is bright and the other way round, as in T2; air stays dark."""
    return _source(series, lambda v: np.where(v > 80.0, np.clip(900.0 - v, 0.0, None), v))


def like_ct(series: TofSeries, result: Stack) -> Faulty:
    """Not an angiography: one tissue of one brightness, with an offset, as CT with 1024 added."""
    return _source(series, lambda v: np.where(v > 80.0, 1064.0 + 0.05 * v, 0.3 * v))


ASKED: Mapping[str, tuple[Fault, ...]] = {
    "blur, sigma 1": (blurred, blurred_along),
    "pasted structure": (pasted_vessel, pasted_blob),
    "structure invented by the network": (invented_blob,),
    "removed vessel": (removed_vessel,),
    "swapped thin slices": (swapped,),
    "slab repeated": (repeated,),
    "wrong order within slabs": (upside_down, one_upside_down),
    "shifted by a thin slice": (shifted,),
    "swapped slabs": (other_slices,),
    "intensity offset": (offset,),
    "NaN": (not_a_number,),
    "rotated by 90 degrees": (rotated,),
    "wrong spacing, x1.5": (wrong_gap, wrong_pixels),
    "other than TOF": (like_t1, like_t2, like_ct),
}
"""What NETWORKS.md E names, or what has to be seen all the same."""
BESIDES: Mapping[str, tuple[Fault, ...]] = {
    "vessel moved out of a thin slice by the network": (moved_vessel,),
    "network does half": (halved_effect,),
    "network does twice": (doubled_effect,),
    "network smooths what it adds": (smooth_network,),
    "network adds noise along z": (noisy,),
}
"""Measured, not promised."""


def _source(series: TofSeries, change: Callable[[Stack], Any]) -> Faulty:
    voxels = np.rint(change(series.volume.voxels)).astype(np.float32)
    return Faulty(series=replace(series, volume=replace(series.volume, voxels=voxels)))


def _middle(series: TofSeries) -> int:
    """The thin slice that a fault is in."""
    count = factor_of(series)
    return (len(series.volume.voxels) // 2) * count + count // 2


def _added(thin: Stack, index: int, shape: Image) -> Stack:
    thin[index] += shape
    return thin


def _dim(series: TofSeries) -> tuple[int, int]:
    """A place of quiet tissue in the slab that a fault is in: neither air nor vessel within 8 px."""
    slab = series.volume.voxels[_middle(series) // factor_of(series)]
    smooth = gaussian(slab, 3.0)
    inner = smooth[16:-16, 16:-16]
    level = np.median(inner[inner > 100.0])
    spread = gaussian((slab - smooth) ** 2, 4.0)[16:-16, 16:-16] + np.where(inner > 100.0, 0.0, 1e9)
    spread += 0.1 * (inner - level) ** 2
    y, x = np.unravel_index(int(np.argmin(spread)), inner.shape)
    return int(y) + 16, int(x) + 16


def _blob(series: TofSeries) -> Image:
    """Half of fresh arterial blood, radius 4 px, soft edge."""
    (y, x), (rows, columns) = _dim(series), series.volume.voxels.shape[1:]
    away = np.hypot(np.arange(rows)[:, None] - y, np.arange(columns)[None, :] - x)
    return np.asarray(500.0 * np.clip(4.5 - away, 0.0, 1.0), dtype=np.float32)


def _stripe(series: TofSeries) -> Image:
    """Half of fresh arterial blood, 3 px wide, 30 px long, oblique."""
    (y, x), (rows, columns) = _dim(series), series.volume.voxels.shape[1:]
    down, right = np.arange(rows)[:, None] - y, np.arange(columns)[None, :] - x
    along, across = (down + right) / np.sqrt(2.0), (down - right) / np.sqrt(2.0)
    return np.asarray(500.0 * (np.abs(along) < 15.0) * np.clip(2.0 - np.abs(across), 0.0, 1.0), dtype=np.float32)


def _bright(series: TofSeries) -> tuple[slice, slice]:
    """24 px around the place that is brightest in the slab and in both next ones: a vessel runs through it."""
    index, voxels = _middle(series) // factor_of(series), series.volume.voxels
    through = np.min([gaussian(voxels[k], 1.0) for k in (index - 1, index, index + 1)], axis=0)
    y, x = np.unravel_index(int(np.argmax(through[12:-12, 12:-12])), (through.shape[0] - 24, through.shape[1] - 24))
    return slice(int(y), int(y) + 24), slice(int(x), int(x) + 24)
