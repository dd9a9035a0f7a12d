"""Guards on what a network took away: noise may go, structure and means may not (NETWORKS.md E-3, E-5, E-7, E-8).

All limits are data of the pipeline, calibrated and qualified by `python -m tests.bench.guards`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps import measure
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.measure import Image

VERSION = "1.0.0"

_FEWEST = 2000  # pixels of body in a slice: below, its edges and flat parts are too few to be compared
_QUIET_HU = 2.0  # a network that took less noise than this leaves nothing to compare
_BLOCK, _BLOCKS = 32, 16  # side and number of the flat blocks whose noise is looked at
_BANDS = 8  # rings of the noise spectrum from 0 to 0.5 cycles per pixel
_BORDER = 4  # quarter pixels at the border, where the low-pass has only half its surroundings


def judged(
    name: str, value: float | None, limit: float, verdict: Verdict, text: str, *, version: str = VERSION
) -> Finding:
    """A finding; NaN and infinity become None, because JSON has no word for them."""
    known = value if value is not None and np.isfinite(value) else None
    return Finding(name=name, value=known, limit=limit, verdict=verdict, version=version, text=text)


def above(value: float, limit: float, verdict: Verdict = Verdict.REJECT) -> Verdict:
    """`verdict` if the value is over its limit or is no number."""
    return Verdict.PASS if value <= limit else verdict


def not_comparable(name: str, limit: float) -> tuple[Finding, ...]:
    """What every comparison of unequal shapes finds."""
    text = "Source and result have different shapes: nothing can be compared."
    return (judged(name, None, limit, Verdict.REJECT, text),)


@dataclass(frozen=True, kw_only=True)
class low_frequency_lock(BySlice):
    """E-5: no region changes its HU. max |LP(result - source)|, LP of sigma 10 pixels, over every slice.

    The network's last layer takes what passes a low-pass of sigma 6 pixels out of its change. That filter's slope
    leaves up to a quarter of the noise at wavelengths of 50 pixels; sigma 10 sees less than half as much of it.
    Whatever happens to the result afterwards, it shows: a shift of a region, a thing that was pasted or taken away,
    another slice, a rotation.
    """

    limit_hu: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("low_frequency_lock", self.limit_hu)

    def measure(self, case: Checked, pair: Pair) -> float:
        """The largest regional shift of one slice, HU."""
        moved = measure.lowpass_half(pair.half_removed)[_BORDER:-_BORDER, _BORDER:-_BORDER]
        return float(np.max(np.abs(moved), initial=0.0))

    def judge(self, case: Checked, rows: Sequence[float]) -> tuple[Finding, ...]:
        """One finding, HU."""
        worst, where = _worst(rows)
        text = f"Largest regional shift {worst:.2f} HU, in slice {where + 1}; allowed {self.limit_hu:g} HU."
        return (judged("low_frequency_lock", worst, self.limit_hu, above(worst, self.limit_hu), text),)


@dataclass(frozen=True, kw_only=True)
class own_slice(BySlice):
    """Every result looks more like its own source than like the neighbour's.

    Largest mean |result - source| over mean |result - neighbouring source|, on 2x2 block means. Even where anatomy does
    not change from slice to slice the noise does, and some of it is always left.
    """

    limit: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("own_slice", self.limit)

    def indices(self, total: int) -> range:
        """All but the last one, which has no next."""
        return range(total - 1)

    def measure(self, case: Checked, pair: Pair) -> float:
        """The share of one slice."""
        assert pair.following is not None
        own = float(np.mean(np.abs(pair.half_after - pair.half_before)))
        other = float(np.mean(np.abs(pair.half_after - measure.halve(pair.following))))
        return own / max(other, 1e-3)

    def judge(self, case: Checked, rows: Sequence[float]) -> tuple[Finding, ...]:
        """One finding; nothing to find in a single slice."""
        worst, where = _worst(rows)
        text = (
            f"Nearest to its neighbour is slice {where + 1}: {worst:.2f} of the distance to it; allowed {self.limit:g}."
        )
        return (judged("own_slice", worst, self.limit, above(worst, self.limit), text),)


@dataclass(frozen=True, kw_only=True)
class noise_residual(BySlice):
    """E-3: what was taken away is noise. Medians over the measured slices, inside the body.

    c   correlation of the residual with the result's fine structure: noise has none of it
    nps distance of the residual's noise spectrum from the source's, in flat blocks, 0 to 1
    taken SD of the residual over the source's noise there: more than all of it cannot have been noise

    caution_c, reject_c: of c
    shape_limit:     of nps; only where noise is more than half of what the blocks show
    most_taken:      of taken
    most_detail:     SD of the result's finest structure over the source's: what removes noise adds no detail, a sharper
                     kernel does; clean series stay below 1.00
    every:           one slice of this many is measured
    """

    caution_c: float
    reject_c: float
    shape_limit: float
    most_taken: float
    most_detail: float = 1.03
    every: int = 4

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("residual_amount", self.most_taken)

    def measure(self, case: Checked, pair: Pair) -> dict[str, float]:
        """The figures of one slice; those that cannot be measured are missing."""
        return residual(pair)

    def judge(self, case: Checked, rows: Sequence[dict[str, float]]) -> tuple[Finding, ...]:
        """Four findings: residual_detail, residual_structure, residual_spectrum, residual_amount."""
        structure = _median([row["c"] for row in rows if "c" in row])
        spectrum = _median([row["nps"] for row in rows if "nps" in row])
        taken = _median([row["taken"] for row in rows if "taken" in row])
        c_verdict = Verdict.PASS
        if structure is not None:
            c_verdict = Verdict.worst(
                [above(structure, self.caution_c, Verdict.CAUTION), above(structure, self.reject_c)]
            )
        detail = _median([row["detail"] for row in rows if "detail" in row])
        return (
            _one("residual_detail", detail, self.most_detail, "Finest structure over the source's", Verdict.REJECT),
            judged(
                "residual_structure",
                structure,
                self.caution_c,
                c_verdict,
                _text("Correlation of what was removed with fine structure", structure, self.caution_c),
            ),
            _one("residual_spectrum", spectrum, self.shape_limit, "Distance of the noise spectra", Verdict.CAUTION),
            _one("residual_amount", taken, self.most_taken, "Removed over the noise that was there", Verdict.REJECT),
        )


@dataclass(frozen=True, kw_only=True)
class structure_support(BySlice):
    """E-7, E-8: nothing of the size of a small lesion appeared or vanished. Every slice.

    The residual through a band that suits disks of 6 pixels' radius, over the SD of that band around: a blob that
    stands out of the residual's own noise is structure. This sees what the low-frequency lock cannot: a thing that a
    network itself puts in or takes out, whose lowest frequencies the lock gave back.
    """

    limit_sd: float

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("structure_support", self.limit_sd)

    def measure(self, case: Checked, pair: Pair) -> float:
        """The largest blob of one slice in SD."""
        return blob_sd(pair)

    def judge(self, case: Checked, rows: Sequence[float]) -> tuple[Finding, ...]:
        """One finding: the largest blob in SD."""
        worst, where = _worst(rows)
        text = f"Largest blob in what was removed: {worst:.1f} SD, in slice {where + 1}; allowed {self.limit_sd:g}."
        return (judged("structure_support", worst, self.limit_sd, above(worst, self.limit_sd), text),)


def residual(pair: Pair) -> dict[str, float]:
    """The figures of `noise_residual` for one slice; those that cannot be measured are missing."""
    before, after, removed, smooth = pair.before, pair.after, pair.removed, pair.smooth_after
    body = measure.in_body(smooth)
    if np.count_nonzero(body) < _FEWEST:
        return {}
    inside = removed[body]
    found = _in_blocks(before, removed)
    fine_before = float(np.std((before - measure.box(before, 1))[body]))
    found["detail"] = float(np.std((after - smooth)[body])) / max(fine_before, 1.0)
    if float(np.std(inside)) >= _QUIET_HU:
        c = measure.correlation(inside, (after - measure.box(smooth, 2))[body])
        return found | ({"c": c} if c is not None else {})
    return found


def _in_blocks(before: Image, removed: Image) -> dict[str, float]:
    smooth = measure.box(measure.box(before, 2), 2)
    corners = measure.flat_blocks(smooth, _BLOCK, _BLOCKS)
    if not corners:
        return {}

    def cut(image: Image) -> Image:
        return np.stack([image[y : y + _BLOCK, x : x + _BLOCK] for y, x in corners])

    gone, there = cut(removed), cut(before)
    left = there - gone
    sd = gone.std(axis=(1, 2))
    # A block whose result still varies more than what was removed shows structure, which has no noise spectrum.
    noisy = (sd > left.std(axis=(1, 2))) & (sd > _QUIET_HU)
    taken = float(np.median(sd / np.maximum((there - cut(smooth)).std(axis=(1, 2)), 0.5)))
    if np.count_nonzero(noisy) < 2:
        return {"taken": taken}
    shares = [measure.radial_spectrum(images[noisy], _BANDS)[1:] for images in (gone, there)]
    one, other = (share / max(float(share.sum()), 1e-12) for share in shares)
    return {"taken": taken, "nps": 0.5 * float(np.abs(one - other).sum())}


def blob_sd(pair: Pair) -> float:
    """The figure of `structure_support` for one slice; 0 without body."""
    small = pair.half_removed
    band = measure.box(measure.box(small, 1), 1) - measure.box(measure.box(small, 4), 4)
    around = np.sqrt(measure.box(measure.box(np.square(band), 8), 8))
    body = measure.in_body(measure.halve(pair.smooth_after))[8:-8, 8:-8]
    if np.count_nonzero(body) < _FEWEST // 4:
        return 0.0
    return float(np.max(np.abs(band)[8:-8, 8:-8][body] / np.maximum(around[8:-8, 8:-8][body], 0.5)))


def _worst(values: Sequence[float]) -> tuple[float, int]:
    """The largest value and where it stands; one that is no number counts as largest."""
    worst, where = 0.0, 0
    for index, value in enumerate(values):
        if not value <= worst:  # NaN too
            worst, where = value, index
    return worst, where


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _one(name: str, value: float | None, limit: float, what: str, verdict: Verdict) -> Finding:
    return judged(
        name, value, limit, Verdict.PASS if value is None else above(value, limit, verdict), _text(what, value, limit)
    )


def _text(what: str, value: float | None, limit: float) -> str:
    if value is None:
        return f"{what}: no measured slice has enough body or noise; nothing to judge."
    return f"{what}: {value:.2f}; allowed {limit:g}."
