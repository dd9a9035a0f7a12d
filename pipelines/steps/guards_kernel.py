"""Guard on a converted kernel: filtered back, it is what came in (NETWORKS.md E-4)."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel, apply_gain, radial
from pipelines import kernels
from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps import measure
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable

VERSION = "1.0.0"

_SEEN: Final = 0.1  # gain of both kernels: where one shows next to nothing, nothing can be given back
_MARGIN: Final = 16  # px of reflection around the image, as `engines.kernel.convert_linear`
_BLOCK, _BLOCKS = 32, 16


@dataclass(frozen=True, kw_only=True)
class refiltered(BySlice):
    """The result through the filter back to the source's kernel is the source, where both kernels show anything.

    RMS of (back * result - source) inside the body, both limited to the band in which source and target have a gain of
    0.1 or more, over the SD of the source's noise in that band, measured in flat blocks. Curves as the job has them:
    `source_curve` and `target_curve` of its parameters.

    It cannot see that the source's curve itself is wrong: the way back is then as wrong as the way there.

    caution_sd: another kernel than the target's begins to show above
    limit_sd:   noise may be re-coloured, anatomy may not be invented
    least_hu: an image without noise has nothing to divide by
    every:    one slice of this many is measured
    """

    caution_sd: float
    limit_sd: float
    least_hu: float = 2.0
    every: int = 8

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("refiltered", self.limit_sd)

    def measure(self, case: Checked, pair: Pair) -> float | None:
        """The figure of one slice; None without body."""
        pixel_mm = float(np.mean(np.linalg.norm(case.source.affine[:3, 1:3], axis=0)))
        source = kernels.from_plain(case.parameters["source_curve"])
        target = kernels.from_plain(case.parameters["target_curve"])
        band, back = _filters(*pair.before.shape, pixel_mm, source, target)
        limited = apply_gain(pair.before, band, _MARGIN)
        off = apply_gain(pair.after, back, _MARGIN) - limited
        smooth = measure.box(measure.box(pair.before, 2), 2)
        body = measure.in_body(smooth)
        corners = measure.flat_blocks(smooth, _BLOCK, _BLOCKS)
        if np.count_nonzero(body) < _BLOCK**2 or not corners:
            return None
        noise = [float(np.std((limited - smooth)[y : y + _BLOCK, x : x + _BLOCK])) for y, x in corners]
        return float(np.sqrt(np.mean(np.square(off[body])))) / max(float(np.median(noise)), self.least_hu)

    def judge(self, case: Checked, rows: Sequence[float | None]) -> tuple[Finding, ...]:
        """One finding: the median over the measured slices."""
        ratios = [ratio for ratio in rows if ratio is not None]
        if not ratios:
            text = "No measured slice has body: the result cannot be compared with its source."
            return (judged("refiltered", None, self.limit_sd, Verdict.CAUTION, text, version=VERSION),)
        value = float(np.median(ratios))
        text = f"Filtered back, the result differs from the source by {value:.2f} SD of its noise; allowed "
        text += f"{self.caution_sd:g}, and {self.limit_sd:g} at most."
        verdict = Verdict.worst([above(value, self.caution_sd, Verdict.CAUTION), above(value, self.limit_sd)])
        return (judged("refiltered", value, self.limit_sd, verdict, text, version=VERSION),)


@functools.lru_cache(maxsize=2)  # the slices of a series share them
def _filters(
    y: int, x: int, pixel_mm: float, source: Kernel, target: Kernel
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains: 1 in the band in which both kernels show something, and the way back within it."""
    frequency = radial((y, x), pixel_mm, _MARGIN)
    there, made = source(frequency), target(frequency)
    band = (there >= _SEEN) & (made >= _SEEN)
    return band.astype(np.float64), np.where(band, there / np.maximum(made, _SEEN), 0.0)
