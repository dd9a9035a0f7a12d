"""Faults to inject: what a bug, a mix-up or a bad network would do to a series or its result.

Faults of the result come after the network; faults of the source come before it, in pixels or header, and the network
runs on what they left. A network that is bad itself is a fault of the engine: every answer of it is changed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel, convert_linear
from pipelines.steps import measure
from tests.bench.guard_series import Header, Series

Image = NDArray[np.float32]
Network = Callable[[Image], Image]


@dataclass(frozen=True, kw_only=True, eq=False)
class Faulty:
    """A series after the fault.

    result: (z, y, x) HU, None when the network has yet to run on the changed source
    again:  what the network answers; None when the fault left it alone
    """

    series: Series
    result: NDArray[np.float32] | None = None
    again: Network | None = None


Fault = Callable[[Series, NDArray[np.float32], Network], Faulty | None]
"""(clean series, its clean result, the network) to the faulty series; None where the fault makes no sense."""


def gaussian(image: Image, sigma: float) -> Image:
    """Separable Gaussian; the border repeats. (y, x), kept."""
    radius = int(np.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    wide = np.pad(image, radius, mode="edge")
    y, x = image.shape
    rows = sum(tap * wide[:, step : step + x] for step, tap in enumerate(taps))
    return np.asarray(sum(tap * rows[step : step + y] for step, tap in enumerate(taps)), dtype=np.float32)


def blur_after(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The result is blurred, sigma 1 px."""
    return Faulty(series=series, result=np.stack([gaussian(image, 1.0) for image in result]))


def blur_instead(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The network is a blur, sigma 1 px; it answers so every time."""
    return Faulty(
        series=series,
        result=np.stack([gaussian(image, 1.0) for image in series.volume.voxels]),
        again=lambda image: gaussian(image, 1.0),
    )


def smoother_locked(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The network smooths far too much (sigma 2.5 px after its own work) and keeps its low-frequency lock."""

    def answer(image: Image) -> Image:
        made = gaussian(network(image), 2.5)
        return np.clip(made + gaussian(image - made, 6.0), -1024.0, 3071.0)

    return Faulty(series=series, result=np.stack([answer(image) for image in series.volume.voxels]), again=answer)


def shifted_region(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """+5 HU in a round region of 24 px radius inside the body, in one slice."""
    changed, (y, x) = result.copy(), _place(series)
    rows, columns = np.ogrid[: result.shape[1], : result.shape[2]]
    changed[_middle(series)][np.hypot(rows - y, columns - x) < 24.0] += np.float32(5.0)
    return Faulty(series=series, result=changed)


def pasted(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """A disk of 40 HU and 6 px radius appears in one slice of the result."""
    changed = result.copy()
    changed[_middle(series)] += disk(series)
    return Faulty(series=series, result=changed)


def pasted_locked(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The same, made by the network itself: its lock takes the low frequencies out again."""
    changed, shape = result.copy(), disk(series)
    changed[_middle(series)] += shape - gaussian(shape, 6.0)
    return Faulty(series=series, result=changed)


def removed(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """A disk of 40 HU and 6 px radius is in one slice of the source and not in the result."""
    return Faulty(series=_with(series, disk(series)), result=result)


def removed_locked(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The same, done by the network itself: its lock gives the low frequencies back."""
    changed, shape = result.copy(), disk(series)
    changed[_middle(series)] += gaussian(shape, 6.0)
    return Faulty(series=_with(series, shape), result=changed)


def wrong_kernel(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The result has another kernel than the source: a soft one from a sharp source, a sharp one from any other."""
    soft, sharp = Kernel(cutoff=0.85), Kernel(cutoff=1.5, boost=0.5)
    one, other = (sharp, soft) if series.sharp == 1.0 else (soft, sharp)
    pixel_mm = float(np.linalg.norm(series.volume.affine[:3, 1]))
    if one(np.asarray([0.3 / pixel_mm]))[0] < 0.02:
        return None  # type: ignore[return-value]  # as the signature of Fault says
    changed = np.stack([convert_linear(image, one, other, pixel_mm) for image in result])
    return Faulty(series=series, result=np.clip(changed, -1024.0, 3071.0))  # as the pipeline's last step would


def network_kernel(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The source was reconstructed by a network, and its header says so."""
    return Faulty(series=_header(series, ConvolutionKernel=("TRUEFIDELITY DLIR-H",)), result=result)


def wrong_spacing(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """Pixel Spacing is 1.5 times what it was."""
    pixel = 1.5 * float(np.linalg.norm(series.volume.affine[:3, 1]))
    affine = series.volume.affine * np.asarray([1.0, 1.5, 1.5, 1.0])
    moved = replace(series, volume=replace(series.volume, affine=affine))
    return Faulty(series=_header(moved, PixelSpacing=(f"{pixel:g}", f"{pixel:g}")), result=result)


def swapped(series: Series, result: NDArray[np.float32], network: Network) -> Faulty | None:
    """Two neighbouring slices of the result changed places."""
    if len(result) < 2:
        return None
    changed = result.copy()
    changed[[0, 1]] = changed[[1, 0]]
    return Faulty(series=series, result=changed)


def rotated(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """Every slice of the result is turned by 90 degrees; slices that are no square are cut and filled with air."""
    y, x = result.shape[1:]
    side = min(y, x)
    top, left = (y - side) // 2, (x - side) // 2
    changed = np.full_like(result, -1000.0)
    middle = result[:, top : top + side, left : left + side]
    changed[:, top : top + side, left : left + side] = np.rot90(middle, axes=(1, 2))
    return Faulty(series=series, result=changed)


def result_intercept(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The result is written with intercept -1000 instead of -1024."""
    return Faulty(series=series, result=result + np.float32(24.0))


def source_intercept(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The source's header says intercept 0 instead of -1024: every value is 1024 HU too high."""
    moved = replace(series.volume, voxels=series.volume.voxels + np.float32(1024.0))
    return Faulty(series=_header(replace(series, volume=moved), RescaleIntercept=("0",)))


def source_intercept_24(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """The source's header says -1000 instead of -1024: every value is 24 HU too high."""
    moved = replace(series.volume, voxels=series.volume.voxels + np.float32(24.0))
    return Faulty(series=_header(replace(series, volume=moved), RescaleIntercept=("-1000",)))


def not_a_number(series: Series, result: NDArray[np.float32], network: Network) -> Faulty:
    """One voxel of the result is no number."""
    changed = result.copy()
    changed[(_middle(series), *_place(series))] = np.nan
    return Faulty(series=series, result=changed)


ASKED: Mapping[str, tuple[Fault, ...]] = {
    "blur, sigma 1 px": (blur_after, blur_instead),
    "+5 HU in a region": (shifted_region,),
    "pasted structure, 40 HU, r 6 px": (pasted,),
    "removed structure": (removed,),
    "wrong kernel": (wrong_kernel,),
    "wrong spacing, x1.5": (wrong_spacing,),
    "swapped slices": (swapped,),
    "rotated by 90 degrees": (rotated,),
    "wrong intercept": (result_intercept, source_intercept),
    "NaN": (not_a_number,),
}
"""The faults of NETWORKS.md E. Where there are several ways to do one, each is a row of its own."""

BESIDES: Mapping[str, tuple[Fault, ...]] = {
    "over-smoothing network with its lock": (smoother_locked,),
    "pasted by the network, below its lock": (pasted_locked,),
    "removed by the network, below its lock": (removed_locked,),
    "intercept wrong by 24 HU at the source": (source_intercept_24,),
    "source reconstructed by a network": (network_kernel,),
}
"""Harder or further ones; measured, not part of the promise."""


def disk(series: Series) -> Image:
    """40 HU, radius 6 px, soft edge, in the flattest part of the middle slice; (y, x) HU to add."""
    y, x = _place(series)
    shape = series.volume.voxels.shape[1:]
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    edge = np.clip((np.hypot(rows - y, columns - x) - 6.0) / 0.35, -30.0, 30.0)
    return np.asarray(40.0 / (1.0 + np.exp(edge)), dtype=np.float32)


def _place(series: Series) -> tuple[int, int]:
    image = series.volume.voxels[_middle(series)]
    smooth = measure.box(measure.box(image, 3), 3)
    smooth[:24], smooth[-24:], smooth[:, :24], smooth[:, -24:] = -1e4, -1e4, -1e4, -1e4
    corners = measure.flat_blocks(smooth, 16, 4) or [(image.shape[0] // 2, image.shape[1] // 2)]
    return corners[-1][0] + 8, corners[-1][1] + 8


def _middle(series: Series) -> int:
    return len(series.volume.voxels) // 2


def _with(series: Series, shape: Image) -> Series:
    voxels = series.volume.voxels.copy()
    voxels[_middle(series)] += shape
    return replace(series, volume=replace(series.volume, voxels=voxels))


def _header(series: Series, **values: tuple[str, ...]) -> Series:
    headers: tuple[Header, ...] = tuple({**header, **values} for header in series.headers)
    return replace(series, headers=headers)
