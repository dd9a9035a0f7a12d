"""Guards on what a network puts between thick slices: how much, in which order, and with what support (NETWORKS.md E-4,
E-7, E-8, E-12).

The mean over a slab is fixed, so that nothing can be added to it or taken from it; a network can only move signal along
z within the slab. Everything here looks at that movement. What cubic interpolation would do is the witness: it knows
nothing of vessels, and a good network does more of the same, hardly ever the opposite.

All of it works on 2x2 means of every slab. Limits are data of the pipeline.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.slabs import SUPPORT, cubic_weights
from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps import measure
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable

VERSION = "1.0.0"

Stack = NDArray[np.float32]

_WIDE = 5  # radius of the square that is the surroundings of a place, in 2x2 means
_SEEN = 0.25  # of arterial signal above its surroundings: a vessel
_STILL = 0.002  # of arterial signal: a step along z that is as small shows no anatomy
_SMALL = 0.4  # of the largest step of cubic interpolation in a slab: a smaller one says little of where to go


def below(value: float, limit: float, verdict: Verdict = Verdict.REJECT) -> Verdict:
    """`verdict` if the value is under its limit or is no number."""
    return Verdict.PASS if value >= limit else verdict


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is measured of one slab; shares of arterial signal.

    added, by_cubic: energy of what was put between the slices, and of what cubic interpolation would put there
    order:           least correlation of a step along z with that of cubic interpolation; None where nothing moves
    step:            RMS of the steps along z within the slab
    ends:            first and last thin slice, coarse
    invented:        largest rise in a thin slice that neither its slab nor the next ones carry, over sqrt(factor - 1)
    removed:         largest fall of a vessel that runs through the slab and both next ones
    """

    index: int
    added: float
    by_cubic: float
    order: float | None
    step: float
    ends: tuple[Stack, Stack]
    invented: float
    removed: float


@dataclass(frozen=True, kw_only=True)
class through_plane(BySlice):
    """Five findings on what lies between the slices; every slab is measured.

    null_energy (E-4): what was put between the slices over what cubic interpolation would put there, whole series. Too
                       little is no super-resolution, too much is more than vessels can account for.
    order:             every step from one thin slice to the next goes where cubic interpolation goes; slices that
                       changed places, or a slab upside down, go elsewhere.
    borders (E-12):    the step from slab to slab over the steps within them: flicker.
    invented (E-7):    a thin slice is brighter than what its slab holds above its surroundings, all of it in this one
                       thin slice, and than what is in the next slabs: a thing that no slice shows.
                       Over sqrt(factor - 1).
    removed (E-8):     a vessel that three slabs show is missing in a thin slice of the middle one.
    """

    least_added: float
    most_added: float
    least_order: float
    most_border: float
    most_invented: float
    most_removed: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("null_energy", self.most_added)

    def measure(self, case: Checked, pair: Pair) -> Row:
        """The figures of one slab."""
        unit = np.float32(1.0 / case.facts["arteries"])
        near = halved(near_of(case, pair.index)) * unit
        thin = halved(pair.after) * unit
        slab = near[SUPPORT]
        cubic = np.tensordot(cubic_weights(case.factor).astype(np.float32), near, axes=1)
        cubic += slab - cubic.mean(axis=0)
        steps = np.diff(thin, axis=0)
        bare = slab - measure.box(slab, _WIDE)
        beside = np.maximum(near[SUPPORT - 1], near[SUPPORT + 1]) - slab
        rise = thin.max(axis=0) - slab - (case.factor - 1) * np.maximum(bare, 0.0) - np.maximum(beside, 0.0)
        through = near[SUPPORT - 1 : SUPPORT + 2].min(axis=0)
        fall = np.where(through - measure.box(slab, _WIDE) > _SEEN, through - thin.min(axis=0), 0.0)
        return Row(
            index=pair.index,
            added=float(np.sum((thin - slab) ** 2, dtype=np.float64)),
            by_cubic=float(np.sum((cubic - slab) ** 2, dtype=np.float64)),
            order=_least_likeness(steps, np.diff(cubic, axis=0)),
            step=float(np.sqrt(np.mean(steps**2, dtype=np.float64))),
            ends=(measure.halve(thin[0]), measure.halve(thin[-1])),
            # What is thin in a slab rises with the factor; its spread, in a good network, with the root of that.
            invented=float(np.max(rise)) / float(np.sqrt(case.factor - 1)),
            removed=float(np.max(fall)),
        )

    def judge(self, case: Checked, rows: Sequence[Row]) -> tuple[Finding, ...]:
        """Five findings."""
        return (self._added(rows), self._order(rows), self._borders(rows), self._invented(rows), self._removed(rows))

    def _added(self, rows: Sequence[Row]) -> Finding:
        base = sum(row.by_cubic for row in rows)
        value = float(np.sqrt(sum(row.added for row in rows) / base)) if base > 0.0 else float("nan")
        little = value < self.least_added
        limit = self.least_added if little else self.most_added
        verdict = Verdict.PASS if self.least_added <= value <= self.most_added else Verdict.REJECT
        text = (
            f"Between the slices stands {value:.2f} of what cubic interpolation would put there; allowed "
            f"{self.least_added:g} to {self.most_added:g}."
        )
        return judged("null_energy", value, limit, verdict, text, version=VERSION)

    def _order(self, rows: Sequence[Row]) -> Finding:
        inner = [row for row in rows if row.order is not None]
        if not inner:
            text = "Nothing changes along z; there is no order to judge."
            return judged("order", None, self.least_order, Verdict.PASS, text, version=VERSION)
        worst = min(inner, key=lambda row: row.order if row.order is not None and row.order == row.order else -2.0)
        value = float(worst.order if worst.order is not None else 0.0)
        text = (
            f"In slice {worst.index + 1} a step along z goes with that of cubic interpolation by {value:.2f}; at least "
            f"{self.least_order:g}."
        )
        return judged("order", value, self.least_order, below(value, self.least_order), text, version=VERSION)

    def _borders(self, rows: Sequence[Row]) -> Finding:
        worst, where = 0.0, 0
        for one, other in itertools.pairwise(rows):
            within = max(0.5 * (one.step + other.step), _STILL)
            jump = float(np.sqrt(np.mean((other.ends[0] - one.ends[1]) ** 2, dtype=np.float64))) / within
            if other.index == one.index + 1 and not jump <= worst:
                worst, where = jump, one.index
        text = (
            f"From slice {where + 1} to the next the thin slices step by {worst:.2f} of their steps within; allowed "
            f"{self.most_border:g}."
        )
        return judged("borders", worst, self.most_border, above(worst, self.most_border), text, version=VERSION)

    def _invented(self, rows: Sequence[Row]) -> Finding:
        value, where = _worst([(row.invented, row.index) for row in rows])
        text = (
            f"Above what any slice supports: {100 * value:.0f} % of arterial signal, in slice {where + 1}; allowed "
            f"{100 * self.most_invented:g} %."
        )
        limit = self.most_invented
        return judged("invented", value, limit, above(value, limit), text, version=VERSION)

    def _removed(self, rows: Sequence[Row]) -> Finding:
        value, where = _worst([(row.removed, row.index) for row in rows])
        text = (
            f"A vessel through three slices lacks {100 * value:.0f} % of arterial signal in slice {where + 1}; allowed "
            f"{100 * self.most_removed:g} %."
        )
        return judged("removed", value, self.most_removed, above(value, self.most_removed), text, version=VERSION)


def halved(stack: Stack) -> Stack:
    """Means of 2x2 pixels of every slice; (n, y, x) -> (n, y // 2, x // 2)."""
    y, x = stack.shape[1] // 2 * 2, stack.shape[2] // 2 * 2
    rows = stack[:, 0:y:2, :x] + stack[:, 1:y:2, :x]
    mean: Stack = (rows[:, :, 0::2] + rows[:, :, 1::2]) * np.float32(0.25)
    return mean


def near_of(case: Checked, index: int) -> Stack:
    """The slab with two on each side, as the network sees them; (5, y, x)."""
    last = len(case.source.voxels) - 1
    return np.stack([case.source.voxels[min(max(at, 0), last)] for at in range(index - SUPPORT, index + SUPPORT + 1)])


def _least_likeness(steps: Stack, wanted: Stack) -> float | None:
    """The least correlation of a step with the one of cubic interpolation, where that goes anywhere.

    In the first and the last slab it hardly does at the outer end, where it has no neighbour to go to.
    """
    sizes = [float(np.sqrt(np.mean(step * step, dtype=np.float64))) for step in wanted]
    found = []
    for one, other, size in zip(steps, wanted, sizes, strict=True):
        if not size <= max(_STILL, _SMALL * max(sizes)):
            own = float(np.sqrt(np.mean(one * one, dtype=np.float64)))
            found.append(float(np.mean(one * other, dtype=np.float64)) / (max(own, _STILL) * size))
    return min(found) if found else None


def _worst(values: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """The largest, and where; NaN is larger than any number."""
    return max(values, key=lambda one: (one[0] != one[0], one[0]), default=(0.0, 0))
