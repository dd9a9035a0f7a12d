"""Guards on what super-resolution is given: slices that lie as they say, arteries that stand out (E-1, E-2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.mr_tof import slabs_of
from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps.by_slice import BySlice, Pair
from pipelines.steps.guards_noise import above, judged
from pipelines.steps.guards_protocol import Header

VERSION = "1.0.0"

_AIR, _TISSUE = 0.1, 0.75  # of arterial signal: below is air, above is what should be vessel


@dataclass(frozen=True, kw_only=True)
class slab_spacing:
    """E-1: positions, Spacing Between Slices (0018,0088) and Slice Thickness (0018,0050) tell one story.

    The distance of slices decides how long everything is that the network makes; it has two more witnesses.

    tolerance: of the distance by positions to the other two; an overlap within what the pipeline takes is a caution,
               since the mean over a slab is then not what its thickness saw
    overlap:   of thickness over distance, at most
    """

    tolerance: float
    overlap: float

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """One finding: the largest deviation of a ratio from 1."""
        slabs = slabs_of(case.headers)
        if isinstance(slabs, str):
            text = f"The distance of slices has no witness: {slabs}."
            return (judged("slab_spacing", None, self.tolerance, Verdict.CAUTION, text, version=VERSION),)
        by_affine = float(np.linalg.norm(case.source.affine[:3, 0]))
        stated = [value for header in case.headers if (value := _number(header, "SpacingBetweenSlices")) is not None]
        off = max([abs(value / slabs.spacing_mm - 1.0) for value in (by_affine, *map(abs, stated))])
        over = slabs.covered - 1.0
        verdict = above(off, self.tolerance)
        if not -self.tolerance <= over <= self.tolerance:
            verdict = Verdict.worst([verdict, Verdict.CAUTION if 0.0 < over <= self.overlap - 1.0 else Verdict.REJECT])
        text = (
            f"Slices are {slabs.spacing_mm:g} mm apart by their positions and {slabs.thickness_mm:g} mm thick; Spacing "
            f"Between Slices is off by {100 * off:.1f} %, allowed {100 * self.tolerance:g} %."
        )
        return (judged("slab_spacing", max(off, abs(over)), self.tolerance, verdict, text, version=VERSION),)


@dataclass(frozen=True, kw_only=True)
class arteries_stand_out(BySlice):
    """E-2: little of the head is nearly as bright as arteries. In T1, T2 and CT much of it is; so it is where no artery
    is in sight, and the brightest of something else was taken for one.

    most:  share of what is above air that lies above 75 % of arterial signal; more is a caution, three times as much
           a reject
    every: one slice of this many is measured
    """

    most: float
    every: int = 4

    def measure(self, case: Checked, pair: Pair) -> NDArray[np.int64]:
        """Voxels of every second row and column by brightness: above air, and above tissue."""
        shown = pair.before[::2, ::2] * np.float32(1.0 / case.facts["arteries"])
        return np.array([np.count_nonzero(shown > _AIR), np.count_nonzero(shown > _TISSUE)], dtype=np.int64)

    def judge(self, case: Checked, rows: Sequence[NDArray[np.int64]]) -> tuple[Finding, ...]:
        """One finding: the share."""
        head, bright = (int(count) for count in np.sum(rows, axis=0))
        if not head:
            text = "Nothing is above air."
            return (judged("arteries", None, self.most, Verdict.REJECT, text, version=VERSION),)
        share = bright / head
        verdict = above(share, self.most, Verdict.CAUTION if share <= 3.0 * self.most else Verdict.REJECT)
        text = (
            f"{100 * share:.1f} % of the head are above 75 % of arterial signal; allowed {100 * self.most:g} %: "
            "more is no angiography with dark tissue."
        )
        return (judged("arteries", share, self.most, verdict, text, version=VERSION),)


def _number(header: Header, keyword: str) -> float | None:
    try:
        (value,) = (float(text) for text in header.get(keyword, ()))
    except ValueError:
        return None
    return value if np.isfinite(value) else None
