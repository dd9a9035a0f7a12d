"""Checks that need no ground truth: source and result against each other.

Every check returns findings with figures; a figure over its limit holds the series for a person. The statistics run on
2x2 block means or on every few slices, and each says so. What is calibrated for a network stands in `guards_*.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.measure import box
from pipelines.volume import Volume

Sums = tuple[NDArray[np.float64], NDArray[np.int64]]

TISSUES: tuple[tuple[str, float, float], ...] = (
    ("air", -1100.0, -950.0),
    ("lung", -930.0, -650.0),
    ("fat", -140.0, -40.0),
    ("soft", -20.0, 120.0),
    ("bone", 250.0, 1500.0),
)
"""Name and HU band of the smoothed source, [from, to). Gaps keep partial volume between two tissues out."""

VERSION = "1.0.0"

FEWEST_VOXELS = 2000  # of a tissue, in 2x2 blocks: at a noise of 100 HU their mean is known to about 2 HU


@dataclass(frozen=True)
class finite(BySlice):
    """No NaN and no infinity."""

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """The result alone is asked."""
        return None if same_shape(case) else self.judge(case, [_not_finite(image) for image in case.result.voxels])

    def measure(self, case: Checked, pair: Pair) -> int:
        """How many voxels are not finite."""
        return _not_finite(pair.after)

    def judge(self, case: Checked, rows: Sequence[int]) -> tuple[Finding, ...]:
        """One finding: how many voxels are not finite."""
        bad = sum(rows)
        text = f"{bad} of {case.result.voxels.size} voxels are not finite."
        return (_judged(name="finite", value=float(bad), limit=0.0, good=bad == 0, text=text),)


@dataclass(frozen=True)
class geometry_equal:
    """Shape, affine, unit and padding are those of the source."""

    tolerance_mm: float = 1e-3

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding: the largest difference between the affines, mm."""
        source, result = case.source, case.result
        off = float(np.max(np.abs(source.affine - result.affine)))
        problems = []
        if source.voxels.shape != result.voxels.shape:
            problems.append(f"shape {result.voxels.shape}, not {source.voxels.shape}")
        if not off <= self.tolerance_mm:
            problems.append(f"affine off by {off:.4g} mm")
        if source.unit != result.unit:
            problems.append(f"unit {result.unit}, not {source.unit}")
        if not _same_padding(source, result):
            problems.append("other padding")
        text = f"Not the source's: {'; '.join(problems)}." if problems else "Shape, affine, unit and padding are kept."
        value = off if np.isfinite(off) else None
        passed = not problems
        return (
            _judged(
                name="geometry_equal",
                value=value,
                limit=self.tolerance_mm,
                good=passed,
                text=text,
            ),
        )


@dataclass(frozen=True)
class within_range(BySlice):
    """No voxel outside of what the format holds, except where the source was outside too."""

    lowest_hu: float
    highest_hu: float
    tolerance_hu: float = 0.5

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Least and largest need no equal shapes."""
        if same_shape(case):
            return None
        return self.judge(case, [(*_ends(case.source.voxels), *_ends(case.result.voxels))])

    def measure(self, case: Checked, pair: Pair) -> tuple[float, float, float, float]:
        """Least and largest of the source, then of the result, HU."""
        return (*_ends(pair.before), *_ends(pair.after))

    def judge(self, case: Checked, rows: Sequence[tuple[float, float, float, float]]) -> tuple[Finding, ...]:
        """One finding: by how many HU the worst voxel is outside."""
        ends = np.asarray(rows, dtype=np.float64)
        lowest = min(self.lowest_hu, float(np.min(ends[:, 0])))
        highest = max(self.highest_hu, float(np.max(ends[:, 1])))
        low, high = float(np.min(ends[:, 2])), float(np.max(ends[:, 3]))
        over = max(lowest - low, high - highest, 0.0)
        known = bool(np.isfinite(over)) and bool(np.isfinite(low)) and bool(np.isfinite(high))
        text = f"{low:.1f} to {high:.1f} HU; allowed {lowest:.1f} to {highest:.1f} HU."
        passed = known and over <= self.tolerance_hu
        value = over if known else None
        return (
            _judged(
                name="within_range",
                value=value,
                limit=self.tolerance_hu,
                good=passed,
                text=text,
            ),
        )


@dataclass(frozen=True)
class mean_shift_below(BySlice):
    """The mean HU of every tissue stays where it was.

    A tissue is where the source, averaged over 2x2 and then 3x3 blocks, lies in its band of `TISSUES`. Tissues with
    fewer than `FEWEST_VOXELS` blocks are left out and said to be; at least one tissue must be there.
    """

    soft_hu: float = 2.0
    other_hu: float = 5.0

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else (_not_comparable("mean_shift", self.soft_hu),)

    def measure(self, case: Checked, pair: Pair) -> Sums:
        """Sum of the shifts and number of blocks, of every tissue."""
        sums = np.zeros(len(TISSUES))
        counts = np.zeros(len(TISSUES), dtype=np.int64)
        shift = pair.half_after - pair.half_before
        smoothed = box(pair.half_before, 1)
        for index, (_, lowest, highest) in enumerate(TISSUES):
            inside = (smoothed >= lowest) & (smoothed < highest)
            counts[index] = np.count_nonzero(inside)
            sums[index] = np.sum(shift, where=inside, dtype=np.float64)
        return sums, counts

    def judge(self, case: Checked, rows: Sequence[Sums]) -> tuple[Finding, ...]:
        """One finding per tissue: mean(result - source), HU."""
        sums = np.zeros(len(TISSUES))
        counts = np.zeros(len(TISSUES), dtype=np.int64)
        for moved, blocks in rows:
            sums += moved
            counts += blocks
        found = [
            self._judge(name, float(total), int(count))
            for (name, *_), total, count in zip(TISSUES, sums, counts, strict=True)
        ]
        findings = tuple(finding for finding in found if finding is not None)
        if findings:
            return findings
        text = f"No tissue has {FEWEST_VOXELS} blocks of 2x2 voxels: the mean shift cannot be judged."
        return (
            _judged(
                name="mean_shift",
                value=None,
                limit=self.soft_hu,
                good=False,
                text=text,
            ),
        )

    def _judge(self, name: str, total: float, count: int) -> Finding | None:
        if count < FEWEST_VOXELS:
            return None
        shift = total / count
        limit = self.soft_hu if name == "soft" else self.other_hu
        passed = bool(abs(shift) <= limit)  # NaN compares false and holds
        text = f"Mean of {name} moved by {shift:+.2f} HU over {count} blocks; allowed {limit:g} HU."
        value = float(shift) if np.isfinite(shift) else None
        return _judged(
            name=f"mean_shift_{name}",
            value=value,
            limit=limit,
            good=passed,
            text=text,
        )


@dataclass(frozen=True)
class residual_is_noise(BySlice):
    """What was taken away looks like noise, not like anatomy.

    q = SD of (source - result) on the steepest 15 % of the result's gradients over its SD on the flattest half, inside
    the body. Noise does not know where edges are (q near 1, or below when the network is careful at edges); a blur
    takes the edges themselves (q far above 1). Where the flat part lost less than `quiet_hu` SD there is no noise to
    compare with, and only the absolute loss at edges is judged.

    quiet_hu: an edge that lost this little is not seen in any CT; averaged images without noise lose 1 HU
    limit: calibrated on held-back slices, see engines/cards/ct_denoise.md
    every: one slice of this many is measured, from the middle of the first group
    """

    limit: float
    quiet_hu: float = 2.0
    every: int = 4
    body_hu: tuple[float, float] = (-200.0, 1500.0)

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else (_not_comparable("residual_is_noise", self.limit),)

    def judge(self, case: Checked, rows: Sequence[float | None]) -> tuple[Finding, ...]:
        """One finding: the median of q over the measured slices."""
        ratios = [q for q in rows if q is not None]
        if not ratios:
            text = "No measured slice has enough body to compare edges with flat regions; nothing to judge."
            return (
                _judged(
                    name="residual_is_noise",
                    value=None,
                    limit=self.limit,
                    good=True,
                    text=text,
                ),
            )
        q = float(np.median(ratios))
        passed = bool(q <= self.limit)
        text = f"Removed at edges over removed in flat regions: {q:.2f} (median of {len(ratios)} slices)"
        text += f"; above {self.limit:g} structure was removed."
        value = q if np.isfinite(q) else None
        return (
            _judged(
                name="residual_is_noise",
                value=value,
                limit=self.limit,
                good=passed,
                text=text,
            ),
        )

    def measure(self, case: Checked, pair: Pair) -> float | None:
        """q of one slice; None where it has too little body."""
        smooth = pair.smooth_after
        steep = np.abs(smooth[2:, 1:-1] - smooth[:-2, 1:-1]) + np.abs(smooth[1:-1, 2:] - smooth[1:-1, :-2])
        inner = smooth[1:-1, 1:-1]
        body = (inner > self.body_hu[0]) & (inner < self.body_hu[1]) & np.isfinite(steep)
        gradients = steep[body]
        if gradients.size < FEWEST_VOXELS:
            return None
        removed = pair.removed[1:-1, 1:-1][body]
        flat_below, edge_above = np.quantile(gradients[::4], (0.5, 0.85))
        flat = float(np.std(removed[gradients <= flat_below]))
        edge = float(np.std(removed[gradients >= edge_above]))
        return edge / max(flat, self.quiet_hu)


def _judged(*, name: str, value: float | None, limit: float, good: bool, text: str) -> Finding:
    verdict = Verdict.PASS if good else Verdict.REJECT
    return Finding(name=name, value=value, limit=limit, verdict=verdict, version=VERSION, text=text)


def _not_comparable(name: str, limit: float) -> Finding:
    text = "Source and result have different shapes: nothing can be compared."
    return _judged(name=name, value=None, limit=limit, good=False, text=text)


def _not_finite(image: NDArray[np.float32]) -> int:
    return int(image.size - np.count_nonzero(np.isfinite(image)))


def _ends(voxels: NDArray[np.float32]) -> tuple[float, float]:
    return float(np.min(voxels)), float(np.max(voxels))


def _same_padding(source: Volume, result: Volume) -> bool:
    if source.padding is None or result.padding is None:
        return source.padding is result.padding
    return bool(np.array_equal(source.padding, result.padding))
