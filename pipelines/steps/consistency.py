"""Guards on what thin slices owe the thick ones they were made of: place, sign, and what was measured (E-4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.slabs import fourier_seen
from pipelines.pipeline import Checked, Finding, Verdict
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable
from pipelines.volume import finer

VERSION = "1.0.0"


@dataclass(frozen=True)
class finer_grid:
    """Shape and affine are those of `factor` slices evenly in the place of each one; the unit is the source's."""

    tolerance_mm: float = 1e-3

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding: the largest difference between the affines, mm."""
        source, result = case.source, case.result
        count, rows, columns = source.voxels.shape
        off = float(np.max(np.abs(finer(source.affine, case.factor) - result.affine)))
        problems = []
        if result.voxels.shape != (count * case.factor, rows, columns):
            problems.append(f"shape {result.voxels.shape}, not {case.factor} slices for each of {count}")
        if not off <= self.tolerance_mm:
            problems.append(f"affine off by {off:.4g} mm")
        if source.unit != result.unit:
            problems.append(f"unit {result.unit}, not {source.unit}")
        text = f"Not what {case.factor} slices for each one give: {'; '.join(problems)}." if problems else ""
        verdict = Verdict.REJECT if problems else Verdict.PASS
        text = text or f"{case.factor} slices stand evenly in the place of each one."
        return (judged("finer_grid", off, self.tolerance_mm, verdict, text, version=VERSION),)


@dataclass(frozen=True)
class not_negative(BySlice):
    """No voxel below 0 where the source is not: a magnitude has no sign. Every slice."""

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("not_negative", 0.0)

    def measure(self, case: Checked, pair: Pair) -> int:
        """How many voxels are below 0 or no number."""
        return int(np.count_nonzero(~(np.min(pair.after, axis=0) >= np.minimum(pair.before, 0.0))))

    def judge(self, case: Checked, rows: Sequence[int]) -> tuple[Finding, ...]:
        """One finding: how many places have a value below 0."""
        count = float(sum(rows))
        text = f"{count:g} places are below 0 where the source is not; none may be."
        return (judged("not_negative", count, 0.0, above(count, 0.0), text, version=VERSION),)


@dataclass(frozen=True)
class measured_kept:
    """E-4: what was measured is in the result. max |D y - x| over arterial signal; the mean of every slab, or the
    frequencies along z below Nyquist where the job keeps those. Every slice.

    limit:      of the mean: rounding of stored values, and what the issue of this network promises
    fourier_limit: of the frequencies: values below 0 cannot be stored, and every voxel is rounded by itself
    """

    limit: float = 0.005
    fourier_limit: float = 0.02
    rows: int = 32

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding: the largest deviation, as a share of arterial signal."""
        if not same_shape(case):
            return not_comparable("measured_kept", self.limit)
        fourier = case.parameters.get("consistency") == "fourier"
        limit = self.fourier_limit if fourier else self.limit
        arteries = case.facts["arteries"]
        worst = max(
            float(np.max(np.abs(_off(case, slice(first, first + self.rows), fourier))))
            for first in range(0, case.source.voxels.shape[1], self.rows)
        )
        value = worst / arteries
        what = "Frequencies along z that were measured" if fourier else "Means of the slabs"
        text = f"{what} are off by at most {100 * value:.3f} % of arterial signal; allowed {100 * limit:g} %."
        return (judged("measured_kept", value, limit, above(value, limit), text, version=VERSION),)


def _off(case: Checked, rows: slice, fourier: bool) -> NDArray[np.float32]:
    source, result = case.source.voxels[:, rows], case.result.voxels[:, rows]
    if fourier:
        return fourier_seen(result, case.factor) - fourier_seen(source, 1)
    count, y, x = source.shape
    mean: NDArray[np.float32] = np.asarray(result).reshape(count, case.factor, y, x).mean(axis=1)
    return mean - source
