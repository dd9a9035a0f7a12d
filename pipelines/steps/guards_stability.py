"""Guards that ask how a network answers to a little change of what it is given (NETWORKS.md E-9, E-12)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps import head, measure
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable
from pipelines.steps.measure import Image

VERSION = "1.0.0"

_INNER: Final = 0.72
_NOISE: Final = 0.005  # SD over white matter's signal: a tenth of a scan's own, too little to change an answer
_LEAST: Final = 0.01  # of white matter: an enhancement that varies less has nothing to be compared with
_BLOCK: Final = 8  # 2x2 means: flicker is looked at in parts of a lesion's size
_FEWEST: Final = 1000  # pixels


@dataclass(frozen=True, kw_only=True)
class stable(BySlice):
    """E-12: fresh noise in T1 comes out no larger than it should, and a shift by a pixel changes little.

    amplification: SD of what 0.5 % of noise in a slice changes over the SD of that noise, at most; it is taken against
                   the result, so that one which the network does not give any more is found too
    shift:         SD of what T1 moved by one pixel changes of the enhancement, over the enhancement's own, at most;
                   twice as much is a reject. The other series stay: it is a misregistration by a pixel too
    every:         one slice of this many is run, twice
    """

    amplification: float
    shift: float
    every: int = 20

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("amplification", self.amplification)

    def measure(self, case: Checked, pair: Pair) -> tuple[float, float] | None:
        """Both figures of one slice; None without a head."""
        inner = _inside(case, pair)
        if inner is None:
            return None
        white = head.white(case, "t1")
        noise = np.random.default_rng([12, pair.index]).standard_normal(pair.before.shape).astype(np.float32)
        noise *= np.float32(_NOISE * white)
        changed = case.again(pair.before + noise, pair.index) - pair.after
        moved = np.roll(pair.before, 1, axis=1)
        back = np.roll(case.again(moved, pair.index) - moved, -1, axis=1)
        own = pair.after - pair.before
        return (
            float(np.std(changed[inner])) / float(np.std(noise[inner])),
            float(np.std((back - own)[inner])) / max(float(np.std(own[inner])), _LEAST * white),
        )

    def judge(self, case: Checked, rows: Sequence[tuple[float, float] | None]) -> tuple[Finding, ...]:
        """Two findings, each of the worst slice."""
        seen = [row for row in rows if row is not None]
        if not seen:
            text = "No slice that was run again shows a head."
            return (judged("amplification", None, self.amplification, Verdict.CAUTION, text, version=VERSION),)
        most, moved = (float(np.max([row[k] for row in seen])) for k in (0, 1))
        noise = f"Noise in T1 comes out {most:.2f} times as large; allowed {self.amplification:g}."
        shift = f"T1 moved by a pixel changes {moved:.2f} of the enhancement's SD; allowed {self.shift:g}."
        verdict = Verdict.worst([above(moved, self.shift, Verdict.CAUTION), above(moved, 2.0 * self.shift)])
        return (
            judged("amplification", most, self.amplification, above(most, self.amplification), noise, version=VERSION),
            judged("shift", moved, self.shift, verdict, shift, version=VERSION),
        )


@dataclass(frozen=True, kw_only=True)
class no_flicker(BySlice):
    """E-12: the enhancement goes on from slice to slice.

    SD of what a slice has more than the mean of both its neighbours, in parts of about 15 mm inside the brain, over the
    SD of the enhancement there. Thick slices differ more from each other: the limit is theirs.
    """

    limit: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("flicker", self.limit)

    def measure(self, case: Checked, pair: Pair) -> Image:
        """Means of parts, NaN outside of the brain."""
        white = np.float32(1.0 / head.white(case, "t1"))
        more = (pair.half_after - pair.half_before) * white
        around = head.outline(pair.half_before * white, case.source.affine)
        y, x = (size // _BLOCK for size in more.shape)
        if around is None:
            return np.full((y, x), np.nan, np.float32)
        parts = more[: y * _BLOCK, : x * _BLOCK].reshape(y, _BLOCK, x, _BLOCK).mean(axis=(1, 3))
        middle = around.radius(more.shape)[_BLOCK // 2 :: _BLOCK, _BLOCK // 2 :: _BLOCK][:y, :x]
        made: Image = np.where(middle < _INNER, parts, np.float32(np.nan))
        return made

    def judge(self, case: Checked, rows: Sequence[Image]) -> tuple[Finding, ...]:
        """One finding."""
        parts: NDArray[np.float32] = np.stack(rows)
        jump = parts[1:-1] - (parts[:-2] + parts[2:]) / 2.0 if len(parts) > 2 else np.empty(0, np.float32)
        known = jump[np.isfinite(jump)]
        if known.size < 20:
            text = "Too few neighbouring slices show a head; nothing to judge."
            return (judged("flicker", None, self.limit, Verdict.CAUTION, text, version=VERSION),)
        value = float(np.std(known)) / max(float(np.nanstd(parts)), _LEAST / 4.0)
        text = f"From slice to slice the enhancement jumps by {value:.2f} of its SD; allowed {self.limit:g}."
        return (judged("flicker", value, self.limit, above(value, self.limit), text, version=VERSION),)


@dataclass(frozen=True, kw_only=True)
class as_sure_as_usual(BySlice):
    """E-9: the network's own spread, which a map shows, is no larger than where it was calibrated.

    limit: mean of the spread inside the brain over white matter's signal
    every: one slice of this many is run
    """

    limit: float
    every: int = 20

    def measure(self, case: Checked, pair: Pair) -> float | None:
        """The mean of one slice; None without a head, or without a map."""
        inner = _inside(case, pair)
        spread = None if inner is None else case.unsure(pair.index)
        if inner is None or spread is None:
            return None
        return float(np.mean(spread[inner])) / head.white(case, "t1")

    def judge(self, case: Checked, rows: Sequence[float | None]) -> tuple[Finding, ...]:
        """One finding; it marks, and never holds."""
        known = [row for row in rows if row is not None]
        if not known:
            text = "The network said of no slice how sure it is."
            return (judged("spread", None, self.limit, Verdict.CAUTION, text, version=VERSION),)
        value = float(np.mean(known))
        text = f"The network expects an error of {value:.3f} of white matter's signal; usual is up to {self.limit:g}."
        return (judged("spread", value, self.limit, above(value, self.limit, Verdict.CAUTION), text, version=VERSION),)


def _inside(case: Checked, pair: Pair) -> NDArray[np.bool_] | None:
    """(y, x): the brain of a slice, by its outline; None without."""
    signal = pair.half_before * np.float32(1.0 / head.white(case, "t1"))
    around = head.outline(signal, case.source.affine)
    if around is None:
        return None
    small = (around.radius(signal.shape) < _INNER) & (measure.box(signal, 1) > head.TISSUE)
    made = np.zeros(pair.before.shape, np.bool_)
    y, x = small.shape
    made[: 2 * y, : 2 * x] = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    return made if np.count_nonzero(made) >= _FEWEST else None
