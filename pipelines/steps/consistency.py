"""Guards on what thin slices owe the thick ones they were made of: place, sign, and what was measured (E-4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.slabs import fourier_seen
from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable
from pipelines.volume import finer

VERSION = "1.0.0"

_ROWS = 32


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
class measured_kept(BySlice):
    """E-4: what was measured is in the result. max |D y - x| over arterial signal; the mean of every slab, or the
    frequencies along z below Nyquist where the job keeps those. Every slice.

    limit:         of the mean: rounding of stored values, and half of what is promised of the stored files
    fourier_limit: of the frequencies, but for one voxel in a thousand: values below 0 cannot be stored
    """

    limit: float = 0.0025
    fourier_limit: float = 0.02

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("measured_kept", self.limit)

    def measure(self, case: Checked, pair: Pair) -> float | None:
        """The largest deviation of the mean of one slab, in units of the series; None where frequencies are kept."""
        if _is_fourier(case):
            return None
        return float(np.max(np.abs(pair.after.mean(axis=0) - pair.before)))

    def judge(self, case: Checked, rows: Sequence[float | None]) -> tuple[Finding, ...]:
        """One finding: the largest deviation, as a share of arterial signal."""
        # Frequencies are those of all slices: they are looked at when the last one is finished, and not before.
        fourier = _is_fourier(case)
        worst = _frequencies_off(case) if fourier else float(np.max([row for row in rows if row is not None]))
        value, limit = worst / case.facts["arteries"], self.fourier_limit if fourier else self.limit
        what = "Frequencies along z that were measured" if fourier else "Means of the slabs"
        most = "but for one voxel in a thousand" if fourier else "at most"
        text = f"{what} are off by {100 * value:.3f} % of arterial signal {most}; allowed {100 * limit:g} %."
        return (judged("measured_kept", value, limit, above(value, limit), text, version=VERSION),)


def _is_fourier(case: Checked) -> bool:
    return case.parameters.get("consistency") == "fourier"


def _frequencies_off(case: Checked) -> float:
    """The deviation that one voxel in a thousand exceeds, some rows at a time; the worst of these."""
    found = []
    for first in range(0, case.source.voxels.shape[1], _ROWS):
        rows = (slice(None), slice(first, first + _ROWS))
        seen = fourier_seen(np.asarray(case.result.voxels[rows]), case.factor)
        off = np.abs(seen - fourier_seen(np.asarray(case.source.voxels[rows]), 1))
        # NaN is no number to be sorted: it goes through.
        found.append(np.quantile(off, 0.999) if np.isfinite(off).all() else np.nan)
    return float(np.max(found))
