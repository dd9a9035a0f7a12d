"""Guards of a triage: is the head one that the network knows, and would it have seen a lesion here (E-2, E-6, E-12).

A guard that rejects means "not analysable", with its reason: the study goes on top of the list, never off it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from engines.head import GRID, HeadStack
from engines.head_features import inner, median5
from engines.head_score import Score
from pipelines.head_ct_triage_look import Look, asked, judged
from pipelines.pipeline import Range
from pipelines.report import Finding, Verdict

VERSION: Final = "1.0.0"

PROBE_ML, PROBE_HU = 5.0, 65.0
_EDGE_MM: Final = 1.5
# (z, y, x) from the middle of the grid: white matter of both hemispheres, above the ventricles.
_WHITE_MM: Final = ((24.0, -22.0, 26.0), (24.0, 22.0, 26.0), (14.0, -34.0, 24.0))
_PLACES_MM: Final = tuple((z, y, side * x) for z, y, x in _WHITE_MM for side in (1, -1))
_STABLE_EVERY: Final = 6  # of the slices with brain, one is run again with more noise
_NOISE_SHARE: Final = 0.1  # of the noise that is there (NETWORKS.md E-12)

_SAID: Final[Mapping[str, tuple[str, str]]] = {
    "air_hu": ("Air lies {value:+.0f} HU from -1000 HU; allowed {low:g} to {high:g} HU.", "The intercept is wrong."),
    "brain_hu": ("The median of the brain is {value:.1f} HU; {low:g} to {high:g} HU are known here.", ""),
    "grey_white": ("The brain's values spread over {value:.1f} HU; {low:g} to {high:g} HU are known here.", ""),
    "noise_hu": ("The noise is {value:.2f} HU on the grid; {low:g} to {high:g} HU are known here.", ""),
    "vessels_ml": (
        "{value:.2f} mL near the skull are denser than clots; allowed {high:g} mL.",
        "Contrast agent, or calcifications.",
    ),
    "holes": (
        "{value:.2%} of the inner brain are air, bone or metal; allowed {high:.2%}.",
        "Surgery, or an injury.",
    ),
    "brain_ml": ("The skull holds {value:.0f} mL; {low:g} to {high:g} mL are an adult's.", ""),
    "stretch": ("The head is {value:.2f} times out of proportion; allowed {high:g}.", "The spacing is wrong."),
    "tilt_deg": ("The head is turned by {value:.0f} degrees; allowed {high:g}.", ""),
    "quality": ("The brain fits the template by {value:.2f}; {low:g} at least.", ""),
    "covered": ("The scan covers {value:.0%} of the brain; {low:.0%} at least.", ""),
    "open_vault": (
        "A place on the skull is open by {value:.0%}; allowed {high:.0%}.",
        "A bone flap, or half a head.",
    ),
    "air_inside": (
        "{value:.1%} of the vault have air below the bone; allowed {high:.1%}.",
        "Surgery, or an injury.",
    ),
    "bone_hu": ("The densest bone is of {value:.0f} HU; {low:g} to {high:g} HU are an adult's.", "A child, or metal."),
    "smeared": (
        "A slice's skull is {value:.0%} less dense than those beside it; allowed {high:.0%}.",
        "The head moved.",
    ),
    "sinus_mm": (
        "{value:.1f} mm below the vault are denser than blood, less than bone; allowed {high:g} mm.",
        "Contrast agent was given.",
    ),
    "order": (
        "A slice differs {value:.1f} times as much as others do; allowed {high:g}.",
        "Slices are swapped.",
    ),
    "jump": ("A step between slices is {value:.1f} times that of others; allowed {high:g}.", "Slices are missing."),
    "rings_hu": ("Rings about the middle of the image are of {value:.1f} HU; allowed {high:g} HU.", "An artefact."),
    "waves_hu": ("The brain varies by {value:.1f} HU within slices; allowed {high:g} HU.", "An artefact."),
}
"""Figure -> what is said of it, and what it means where it rejects."""


@dataclass(frozen=True, kw_only=True)
class TriageLimits:
    """Written by `python -m tests.bench.guards_triage --calibrate`; changing one by hand is a new pipeline version.

    engine_sha256: of the network they were calibrated with
    known:         name of a figure -> range that heads have which the network was made for
    least_rise:    of the logit, for a probe of 5 mL and 65 HU in a head that was not flagged
    most_gain:     SD that noise makes in the pseudo-healthy image over the SD of the noise
    """

    engine_sha256: str
    known: Mapping[str, Range]
    least_rise: float
    most_gain: float


def inputs(figures: Mapping[str, float], limits: TriageLimits) -> tuple[Finding, ...]:
    """E-2: a finding for every figure that has a range. raises: KeyError for a figure that is missing"""
    made = []
    for name, (low, high) in limits.known.items():
        value = figures[name]
        fits = bool(np.isfinite(value)) and low <= value <= high
        said, means = _SAID[name]
        text = f"{said.format(value=value, low=low, high=high)}{' ' + means if means and not fits else ''}"
        limit = high if value > low else low
        made.append(_finding(name, value, limit, Verdict.PASS if fits else Verdict.REJECT, text))
    return tuple(made)


def probe(engine: Engine, stack: HeadStack, seen: Look, score: Score, limits: TriageLimits) -> Finding:
    """E-6: with 5 mL of 65 HU put into the patient's own brain, the score must rise; the probe leaves no trace.

    Of a flagged head something was seen: beside a large lesion a small probe adds little. raises: as the engine
    """
    rise = rise_of(engine, stack, seen, score)
    flagged = score.probability(seen.logit) >= score.threshold
    name, limit = "probe_rise", limits.least_rise
    if rise is None:
        text = "There is no quiet place in the brain for a probe: nobody knows whether a lesion would have been seen."
        return _finding(name, None, limit, Verdict.PASS if flagged else Verdict.REJECT, text)
    text = f"A probe of {PROBE_ML:g} mL and {PROBE_HU:g} HU raises the logit by {rise:.2f}; {limit:g} at least."
    verdict = Verdict.PASS if rise >= limit or flagged else Verdict.REJECT
    return _finding(name, rise, limit, verdict, text)


def rise_of(engine: Engine, stack: HeadStack, seen: Look, score: Score) -> float | None:
    """How much the logit rises with a probe at the quietest of a few places; None where there is none."""
    best: tuple[float, NDArray[np.float32]] | None = None
    for place in _PLACES_MM:
        ball = probe_at(place, stack.voxel_ml)
        core = ball > 0.5
        if not stack.mask[core].all():
            continue
        loud = float(np.mean(np.abs(seen.z[core]) > 2.0)) + float(np.mean(np.abs(seen.z[core]))) * 0.01
        if best is None or loud < best[0]:
            best = (loud, ball)
    if best is None:
        return None
    share = best[1]
    hu = np.where(stack.mask, stack.hu + share * (np.float32(PROBE_HU) - median5(stack.hu, share > 0)), stack.hu)
    touched = np.flatnonzero((share > 0).any(axis=(1, 2)))
    places = np.arange(max(int(touched[0]) - 1, 0), min(int(touched[-1]) + 2, len(share)))
    places = places[stack.mask[places].any(axis=(1, 2))]
    with_probe = HeadStack(hu=hu.astype(np.float32), mask=stack.mask, voxel_ml=stack.voxel_ml)
    answers = asked(engine, with_probe, places, seen.answers, lambda done, total: None)
    return judged(with_probe, answers, score).logit - seen.logit


def probe_at(place_mm: tuple[float, float, float], voxel_ml: float) -> NDArray[np.float32]:
    """(32, 224, 192), 0 to 1: a ball of 5 mL of the patient, soft at its edge, about mm from the middle of the grid."""
    # The grid's millimetres are the template's: so much larger is a ball of the patient's 5 mL there.
    radius = float(np.cbrt(3.0 * PROBE_ML * GRID.voxel_ml / voxel_ml * 1000.0 / (4.0 * np.pi)))
    mm = GRID.to_mm()
    z, y, x = (
        mm[axis, axis] * np.arange(n) + mm[axis, 3] - place
        for axis, (n, place) in enumerate(zip(GRID.shape, place_mm, strict=True))
    )
    # Thick slices: what they share of the ball, by five planes.
    share = np.zeros(GRID.shape, np.float32)
    planes = (np.arange(5) - 2.0) / 5.0 * GRID.spacing_mm[0]
    near = np.abs(z) < radius + GRID.spacing_mm[0] + 2.0 * _EDGE_MM
    for plane in planes:
        distance = np.sqrt((z[near] + plane)[:, None, None] ** 2 + (y**2)[None, :, None] + (x**2)[None, None])
        share[near] += np.clip((radius - distance) / (2.0 * _EDGE_MM) + 0.5, 0.0, 1.0).astype(np.float32) / len(planes)
    return share


def stable(engine: Engine, stack: HeadStack, seen: Look, limits: TriageLimits) -> Finding:
    """E-12: a tenth of the noise once more changes the pseudo-healthy image little. raises: as the engine"""
    gain = gain_of(engine, stack, seen)
    text = f"Noise comes back {gain:.2f} times as strong from the network; allowed {limits.most_gain:g}."
    verdict = Verdict.PASS if gain <= limits.most_gain else Verdict.REJECT
    return _finding("noise_gain", gain, limits.most_gain, verdict, text)


def gain_of(engine: Engine, stack: HeadStack, seen: Look) -> float:
    """SD of what fresh noise changes in the answer over the SD of that noise, in some slices."""
    chosen = inner(stack.mask)
    places = np.flatnonzero(chosen.any(axis=(1, 2)))[_STABLE_EVERY // 2 :: _STABLE_EVERY]
    if places.size == 0:
        return 0.0
    rest = np.abs(stack.hu[chosen] - median5(stack.hu, chosen)[chosen])
    sd = max(_NOISE_SHARE * 1.4826 * float(np.median(rest)), 0.05)
    # The same noise for every head: a check that is run again says the same.
    noise = np.random.default_rng(6).normal(0.0, sd, stack.hu.shape).astype(np.float32)
    noisy = HeadStack(hu=np.where(stack.mask, stack.hu + noise, 0.0), mask=stack.mask, voxel_ml=stack.voxel_ml)
    answers = asked(engine, noisy, places, seen.answers, lambda done, total: None)
    change = (answers.healthy - seen.answers.healthy)[places][chosen[places]]
    return float(np.std(change)) / sd


def reasons(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The sentences of what rejects."""
    return tuple(one.text for one in findings if one.verdict is Verdict.REJECT)


def _finding(name: str, value: float | None, limit: float, verdict: Verdict, text: str) -> Finding:
    return Finding(name=name, value=value, limit=limit, verdict=verdict, version=VERSION, text=text)
