"""Guards on a synthetic post-contrast image: what gadolinium does to a T1, and what it cannot (NETWORKS.md E-7, E-11).

Enhancement is what the result has more than T1, in units of white matter's signal in T1; figures are of 2x2 means. All
limits are data of the pipeline, calibrated and qualified by `python -m tests.bench.guards_mr`.
"""

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
from pipelines.steps.head import Outline
from pipelines.steps.measure import Image

VERSION = "1.0.0"

_INNER: Final = 0.72  # of the outline: all of it is brain, with the skull and without
_WHITE: Final = 0.1  # white matter: so near to its mode
_TOP_MM2: Final = 20.0  # of a control: its brightest part; the sinus is larger in every slice
_SKULL: Final = 0.7  # share of rays: simulated heads give 0.98 to 1, without the skull 0.15 to 0.45
_FEWEST: Final = 100  # sampled means of white matter in all slices


@dataclass(frozen=True)
class never_darker(BySlice):
    """E-11: no voxel is darker than in T1, none. Every slice. Gadolinium shortens T1; nothing in a T1 gets darker by it
    but by T2*, at concentrations that no tissue has some minutes after a usual dose."""

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("never_darker", 0.0)

    def measure(self, case: Checked, pair: Pair) -> tuple[int, float]:
        """How many voxels are darker, and by how much the worst is."""
        lost = pair.before - pair.after
        return int(np.count_nonzero(~(lost <= 0.0))), float(np.max(lost, initial=0.0))

    def judge(self, case: Checked, rows: Sequence[tuple[int, float]]) -> tuple[Finding, ...]:
        """One finding: how many voxels are darker."""
        count, most = sum(darker for darker, _ in rows), max(lost for _, lost in rows)
        text = f"{count} voxels are darker than in T1, by at most {most:.4g}; none may be."
        return (judged("never_darker", float(count), 0.0, above(float(count), 0.0), text, version=VERSION),)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one slice shows.

    area_mm2: of the head
    skull:    `head.has_skull`
    white:    enhancement of every eighth mean of white matter
    sinus, choroid, base: enhancement of the brightest part of the box in which each would lie
    """

    area_mm2: float
    skull: float
    white: Image
    sinus: float
    choroid: float
    base: float


@dataclass(frozen=True, kw_only=True)
class Control:
    """What always enhances: the box in which it lies, and in which slices.

    below_mm: of the vertex, nearest and farthest
    share:    quantile over those slices: the sinus is in all of them, the plexus in some
    skull:    whether it goes with the skull
    """

    name: str
    what: str
    below_mm: tuple[float, float]
    share: float
    skull: bool


CONTROLS: Final = (
    Control(name="sinus", what="superior sagittal sinus", below_mm=(15.0, 75.0), share=0.5, skull=True),
    Control(name="choroid", what="choroid plexus and inner veins", below_mm=(40.0, 95.0), share=0.8, skull=False),
    Control(name="base", what="pituitary region and nasal mucosa", below_mm=(80.0, 140.0), share=0.8, skull=True),
)


@dataclass(frozen=True, kw_only=True)
class gadolinium(BySlice):
    """E-11: white matter hardly enhances, and what has no barrier does: the internal positive controls.

    Each control is looked for where the head's own outline says: the sinus on the midline within 4 to 32 mm of the
    back, 15 to 75 mm below the vertex; the plexus in the middle of the head, 40 to 95 mm below; pituitary region and
    mucosa on the midline of the front half, 80 to 140 mm below. The brightest 20 mm2 of the box count. Where the skull
    was removed the sinus and the base went with it: they are not seen, which is a caution.

    most_white:           median enhancement of white matter
    sinus, choroid, base: least enhancement of each
    """

    most_white: float
    sinus: float
    choroid: float
    base: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("control_choroid", self.choroid)

    def measure(self, case: Checked, pair: Pair) -> Seen:
        """The figures of one slice."""
        signal = pair.half_before * np.float32(1.0 / head.white(case, "t1"))
        around = head.outline(signal, case.source.affine)
        if around is None:
            return Seen(area_mm2=0.0, skull=0.0, white=np.empty(0, np.float32), sinus=0.0, choroid=0.0, base=0.0)
        more = enhancement(case, pair)
        white = (np.abs(signal - 1.0) < _WHITE) & (around.radius(signal.shape) < _INNER)
        length = around.size_mm[0]
        return Seen(
            area_mm2=float(np.count_nonzero(signal > head.TISSUE)) * around.mm[0] * around.mm[1],
            skull=head.has_skull(signal, around),
            white=more[white][::8],
            sinus=_brightest(more, around, (4.0, 32.0), 8.0),
            choroid=_brightest(more, around, (0.3 * length, 0.62 * length), 32.0),
            base=_brightest(more, around, (0.5 * length, 0.95 * length), 14.0),
        )

    def judge(self, case: Checked, rows: Sequence[Seen]) -> tuple[Finding, ...]:
        """Four findings: white_matter_gain and one of each control."""
        values = np.concatenate([row.white for row in rows]) if rows else np.empty(0, np.float32)
        if values.size < _FEWEST:
            text = f"Only {values.size} sampled means of white matter: its enhancement cannot be judged."
            white = judged("white_matter_gain", None, self.most_white, Verdict.REJECT, text, version=VERSION)
        else:
            gain = float(np.median(values))  # lesions and vessels are no part of it
            text = f"White matter enhances by {100 * gain:.1f} %; allowed {100 * self.most_white:g} %."
            white = judged(
                "white_matter_gain", gain, self.most_white, above(gain, self.most_white), text, version=VERSION
            )
        below = head.below_top_mm(np.asarray([row.area_mm2 for row in rows]), case.source)
        return white, *(self._control(one, rows, below) for one in CONTROLS)

    def _control(self, one: Control, rows: Sequence[Seen], below: NDArray[np.float64]) -> Finding:
        name, least = f"control_{one.name}", float(getattr(self, one.name))
        near, far = one.below_mm
        there = [row for row, mm in zip(rows, below, strict=True) if near <= mm <= far and row.area_mm2 > 0.0]
        if not there:
            text = f"The {one.what} is not seen: no slice lies {near:g} to {far:g} mm below the vertex."
            return judged(name, None, least, Verdict.CAUTION, text, version=VERSION)
        if one.skull and float(np.median([row.skull for row in there])) < _SKULL:
            text = f"The {one.what} is not seen: the skull was removed, and it with the skull."
            return judged(name, None, least, Verdict.CAUTION, text, version=VERSION)
        value = float(np.quantile([getattr(row, one.name) for row in there], one.share))
        text = f"The {one.what} enhances by {value:.2f} of white matter's signal; at least {least:g}."
        return judged(name, value, least, Verdict.PASS if value >= least else Verdict.REJECT, text, version=VERSION)


@dataclass(frozen=True, kw_only=True)
class enhancement_support(BySlice):
    """E-7: what enhances has an edge in T1, T2 or FLAIR too. Every slice.

    An edge of the enhancement within 2 mm of which none of the three series has one is no border of anything. Largest
    area of such edges within 16 mm, mm2, inside the brain. What enhances inside of borders that are there is not seen:
    it may be right, and nothing in the three series could say so.

    limit_mm2: of the largest one
    """

    limit_mm2: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("enhancement_support", self.limit_mm2)

    def measure(self, case: Checked, pair: Pair) -> float:
        """The largest area of one slice."""
        return unsupported_mm2(case, pair)

    def judge(self, case: Checked, rows: Sequence[float]) -> tuple[Finding, ...]:
        """One finding, mm2."""
        worst = float(np.max(rows)) if rows else 0.0
        where = int(np.argmax(rows)) + 1
        text = f"Edges of enhancement that no series shares: {worst:.0f} mm2 in slice {where}; allowed "
        text += f"{self.limit_mm2:g} mm2."
        verdict = above(worst, self.limit_mm2)
        return (judged("enhancement_support", worst, self.limit_mm2, verdict, text, version=VERSION),)


_STEEP: Final = 0.08  # of the enhancement, over two means: half of what the weakest lesions have at their border
_EDGE: Final = 0.05  # of a series: below the border between grey and white matter
_NOISE: Final = 3.0  # times its flattest fifth: what stands out of the noise of a series
_WINDOW_MM: Final = 16.0


def enhancement(case: Checked, pair: Pair) -> Image:
    """(y, x) 2x2 means of result - T1, white matter's signal = 1."""
    made: Image = (pair.half_after - pair.half_before) * np.float32(1.0 / head.white(case, "t1"))
    return made


def unsupported_mm2(case: Checked, pair: Pair) -> float:
    """The figure of `enhancement_support` for one slice; 0 without a head."""
    series = [one for role in ("t1", "t2", "flair") if (one := head.halved(case, role, pair.index)) is not None]
    around = head.outline(series[0], case.source.affine) if series else None
    if around is None:
        return 0.0
    steep = measure.gradient(measure.box(enhancement(case, pair), 1)) > _STEEP
    if not steep.any():
        return 0.0
    inside = (around.radius(series[0].shape) < _INNER)[1:-1, 1:-1]
    known = np.zeros(steep.shape, dtype=np.float32)
    for one in series:
        slope = measure.gradient(measure.box(one, 1))
        np.maximum(known, slope > max(_EDGE, _NOISE * float(np.quantile(slope[inside][::4], 0.2))), out=known)
    alone = steep & inside & (_widest(known) == 0.0)
    reach = max(int(_WINDOW_MM / 2.0 / around.mm[0]), 1)
    share = float(np.max(measure.box(alone.astype(np.float32), reach)))
    return share * (2 * reach + 1) ** 2 * around.mm[0] * around.mm[1]


def _widest(image: Image) -> Image:
    """Largest of each 3x3; (y, x), kept."""
    wide = np.pad(image, 1, mode="edge")
    rows = np.maximum(np.maximum(wide[:-2], wide[1:-1]), wide[2:])
    made: Image = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return made


def _brightest(more: Image, around: Outline, front_back: tuple[float, float], half_width_mm: float) -> float:
    count = max(round(_TOP_MM2 / (around.mm[0] * around.mm[1])), 1)
    return head.highest(more[around.box(front_back, half_width_mm)], count)
