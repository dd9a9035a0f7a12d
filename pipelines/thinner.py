"""What a rule may choose for slices that become thinner, and what of it the headers of a series allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipelines.match import Header, number
from pipelines.mr_tof import TOF, Slabs, slabs_of
from pipelines.parameters import Asked, Settled

AVERAGE, FOURIER, HEADER = "average", "fourier", "header"
FACTORS: Final = (2, 6)
"""Smallest and largest number of thin slices for one slice; both included."""
SPACING_MM: Final = 1.0
"""Of thin slices, where the rule says nothing."""

LEAST_COVERED: Final = 0.95  # a gap of 5 % of the spacing is rounding; in a wider one nobody measured anything
MOST_COVERED: Final = 1.45  # overlap of 30 % of the thickness, the most that was simulated, with a little for rounding

_KNOWN: Final = ("spacing_mm", "factor", "consistency")


@dataclass(frozen=True)
class ThinnerSlices:
    """The parameters `spacing_mm` or `factor`, and `consistency`.

    spacing_mm:  wanted distance of the thin slices; what comes nearest with a whole factor is made
    factor:      thin slices for one slice
    consistency: average (the mean of the thin slices is the slice), fourier (the frequencies along z that a 3-D
                 acquisition measured are kept) or header (fourier where MR Acquisition Type is 3D)
    """

    def faults(self, asked: Asked) -> list[str]:
        """What is wrong with a rule's parameters, whatever series may come."""
        lines = [
            f"{name!r} is no parameter of it; known are {', '.join(_KNOWN)}" for name in asked if name not in _KNOWN
        ]
        low, high = FACTORS
        if "factor" in asked and not (_is_number(asked["factor"]) and asked["factor"] in range(low, high + 1)):
            lines.append(f"factor is a whole number from {low} to {high}")
        if "spacing_mm" in asked and not (_is_number(asked["spacing_mm"]) and 0.2 <= float(asked["spacing_mm"]) <= 3.0):
            lines.append("spacing_mm is a number from 0.2 to 3")
        if {"factor", "spacing_mm"} <= set(asked):
            lines.append("factor and spacing_mm say the same thing; one of them is enough")
        if asked.get("consistency", AVERAGE) not in (AVERAGE, FOURIER, HEADER):
            lines.append(f"consistency is {AVERAGE}, {FOURIER} or {HEADER}")
        return lines

    def settle(self, asked: Asked, headers: Sequence[Header]) -> Settled:
        """How many slices of one, how far apart, what is kept, and in which steps the source stores its values.

        values: factor; spacing_mm and thickness_mm of the result; slab_spacing_mm and slab_thickness_mm of the source;
                consistency; step and intercept of the stored values (step 0 where slices differ in theirs)
        """
        reasons = TOF(headers)
        slabs = slabs_of(headers)
        if isinstance(slabs, str):
            return Settled(reasons=(*reasons, slabs))
        factor, lines = _factor(asked, slabs)
        reasons += [*lines, *_uncovered(slabs)]
        kinds = {"\\".join(header.get("MRAcquisitionType", ())) for header in headers}
        kept = str(asked.get("consistency", AVERAGE))
        if kept == HEADER:
            kept = FOURIER if kinds == {"3D"} else AVERAGE
        elif kept == FOURIER and kinds != {"3D"}:
            reasons.append("MRAcquisitionType is not 3D; consistency = fourier needs an acquisition that is encoded so")
        step, intercept = _stored(headers)
        thin = round(slabs.spacing_mm / max(factor, 1), 4)
        values: dict[str, Any] = {
            "factor": factor,
            "spacing_mm": thin,
            "thickness_mm": thin,
            "slab_spacing_mm": slabs.spacing_mm,
            "slab_thickness_mm": slabs.thickness_mm,
            "consistency": kept,
            "step": step,
            "intercept": intercept,
        }
        return Settled(values=values, reasons=tuple(reasons))


def _factor(asked: Asked, slabs: Slabs) -> tuple[int, list[str]]:
    low, high = FACTORS
    if "factor" in asked:
        return int(asked["factor"]), []
    wanted = float(asked.get("spacing_mm", SPACING_MM))
    factor = round(slabs.spacing_mm / wanted)
    if factor < low:
        return factor, [f"slices {slabs.spacing_mm:g} mm apart are thin enough already for {wanted:g} mm"]
    if factor > high:
        least = slabs.spacing_mm / high
        return factor, [
            f"slices {slabs.spacing_mm:g} mm apart would have to become {factor} of {wanted:g} mm; the network makes "
            f"at most {high}, {least:.2g} mm apart"
        ]
    return factor, []


def _uncovered(slabs: Slabs) -> list[str]:
    """Slabs that leave gaps or overlap too much; what lies in a gap would be invented."""
    stated = f"slices {slabs.thickness_mm:g} mm thick and {slabs.spacing_mm:g} mm apart"
    if slabs.covered < LEAST_COVERED:
        gap = slabs.spacing_mm - slabs.thickness_mm
        return [f"{stated} leave gaps of {gap:.2g} mm in which nothing was measured; slices have to touch"]
    if slabs.covered > MOST_COVERED:
        return [f"{stated} overlap by more than 30 %; the network takes slices that touch or overlap a little"]
    return []


def _stored(headers: Sequence[Header]) -> tuple[float, float]:
    """Rescale Slope and Intercept that all slices share: what is between two stored values, and the value of 0.

    Where slices differ, their common scale is the writer's to find; step 0 says that nothing is rounded for it here.
    """
    found = {
        tuple(number("".join(header.get(keyword, ()) or (default,))) for keyword, default in _SCALE)
        for header in headers
    }
    if len(found) != 1:
        return 0.0, 0.0
    slope, intercept = next(iter(found))
    return (0.0, 0.0) if slope is None or intercept is None else (abs(slope), intercept)


_SCALE: Final = (("RescaleSlope", "1"), ("RescaleIntercept", "0"))


def _is_number(value: str | float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
