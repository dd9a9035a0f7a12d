"""Guards that run the network once more on a slice with probe lesions that never leave memory (NETWORKS.md E-6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipelines.pipeline import Checked
from pipelines.report import Finding, Verdict
from pipelines.steps import measure
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.guards_noise import above, judged, not_comparable
from pipelines.steps.measure import Image

VERSION = "1.0.0"

RADII_PX: Final = (3.0, 6.0)
CONTRASTS_HU: Final = (20.0, -20.0, 40.0, -40.0)
_PLACES = 12
_CELL = 28  # pixels around a disk; a disk of 6 with its soft edge is 16 wide
_SOFT_PX = 0.6  # of the edge: the point spread of a body kernel
_FAR_PX = 64  # from any disk: the network's answer there should be the one that was given


Seen = tuple[list[tuple[float, float]], float | None]
"""Of one slice: (radius px, kept share of the contrast) of every disk; the difference far from them, HU."""


@dataclass(frozen=True, kw_only=True)
class probe_lesions(BySlice):
    """E-6: disks put into the patient's own flat parts come out of the network with their contrast.

    Twelve disks of radius 3 and 6 pixels, +-20 and +-40 HU, edges blurred, in one slice of `every`; kept = mean change
    of the result over mean change of the source, where the disk has more than half of its height. Far from the disks
    the network must give again what the result shows: `same_again`, 95th percentile of the difference in the body.

    least_small, least_large: kept contrast below which the series is held, radius 3 and 6
    again_hu:                 of `same_again`
    """

    least_small: float
    least_large: float
    again_hu: float
    every: int = 20

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """Nothing can be said of unequal shapes."""
        return None if same_shape(case) else not_comparable("probe_r6", self.least_large)

    def measure(self, case: Checked, pair: Pair) -> Seen | None:
        """Kept shares of the disks of one slice, and the difference elsewhere; None without a flat part."""
        places = places_of(pair.before)
        if not places:
            return None
        probe = field(pair.before.shape, places)
        change = case.again(pair.before + probe, pair.index) - pair.after
        return contrasts(probe, change, places), _elsewhere(pair.before, change, places)

    def judge(self, case: Checked, rows: Sequence[Seen | None]) -> tuple[Finding, ...]:
        """Three findings: probe_r3, probe_r6, same_again."""
        seen = [row for row in rows if row is not None]
        kept: dict[float, list[float]] = {radius: [] for radius in RADII_PX}
        for shares, _ in seen:
            for radius, value in shares:
                kept[radius].append(value)
        differences = [off for _, off in seen if off is not None]
        least = dict(zip(RADII_PX, (self.least_small, self.least_large), strict=True))
        return (
            *(_kept(radius, kept[radius], least[radius]) for radius in RADII_PX),
            _again(differences, self.again_hu),
        )


Place = tuple[int, int, float, float]
"""y, x, radius px, contrast HU."""


def places_of(image: Image) -> list[Place]:
    """Where the disks go: the flattest cells of the body, at most twelve; none in a slice without body."""
    smooth = measure.box(measure.box(image, 2), 2)
    corners = measure.flat_blocks(smooth, _CELL, _PLACES)
    kinds = [(radius, contrast) for contrast in CONTRASTS_HU for radius in RADII_PX]
    half = _CELL // 2
    return [(y + half, x + half, *kinds[number % len(kinds)]) for number, (y, x) in enumerate(corners)]


def field(shape: tuple[int, ...], places: list[Place]) -> Image:
    """The disks, (y, x) HU to add."""
    made = np.zeros(shape, dtype=np.float32)
    half = _CELL // 2
    along = np.arange(-half, half, dtype=np.float32)
    distance = np.hypot(along[:, None], along[None, :])
    for y, x, radius, contrast in places:
        edge = np.clip((distance - radius) / (_SOFT_PX / 1.7), -30.0, 30.0)
        made[y - half : y + half, x - half : x + half] = contrast / (1.0 + np.exp(edge))
    return made


def contrasts(probe: Image, change: Image, places: list[Place]) -> list[tuple[float, float]]:
    """(radius, kept share of the contrast) of every disk."""
    half = _CELL // 2
    found = []
    for y, x, radius, contrast in places:
        cell = (slice(y - half, y + half), slice(x - half, x + half))
        inside = np.abs(probe[cell]) > abs(contrast) / 2.0
        found.append((radius, float(np.mean(change[cell][inside])) / float(np.mean(probe[cell][inside]))))
    return found


def _elsewhere(before: Image, change: Image, places: list[Place]) -> float | None:
    body = measure.in_body(measure.box(before, 2))
    for y, x, *_ in places:
        body[max(y - _FAR_PX, 0) : y + _FAR_PX, max(x - _FAR_PX, 0) : x + _FAR_PX] = False
    off = np.abs(change[body])
    return float(np.quantile(off, 0.95)) if off.size >= 500 else None


def _kept(radius: float, values: list[float], least: float) -> Finding:
    name = f"probe_r{radius:g}"
    if not values:
        text = f"No slice has a flat part for disks of radius {radius:g} px; nothing to judge."
        return judged(name, None, least, Verdict.PASS, text, version=VERSION)
    kept = float(np.mean(values))
    text = (
        f"{kept:.2f} of the contrast of {len(values)} disks of radius {radius:g} px came through; at least {least:g}."
    )
    verdict = Verdict.PASS if kept >= least else Verdict.REJECT
    return judged(name, kept, least, verdict, text, version=VERSION)


def _again(differences: list[float], limit: float) -> Finding:
    if not differences:
        text = "No slice has enough body far from the disks; nothing to judge."
        return judged("same_again", None, limit, Verdict.PASS, text, version=VERSION)
    worst = max(differences)
    text = f"Run again, the network differs from the result by {worst:.2f} HU (95th percentile); allowed {limit:g} HU."
    return judged("same_again", worst, limit, above(worst, limit), text, version=VERSION)
