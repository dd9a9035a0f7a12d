"""CT kernel conversion: a CT series in, the same series as another reconstruction kernel would show it, out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.kernel import Kernel, convert_linear, descriptor
from pipelines import kernels
from pipelines.ct_denoise import ENVELOPE
from pipelines.ct_denoise_limits import LIMITS
from pipelines.kernels import IDEALS, SHIPPED_KERNELS, Measured, Named, Window
from pipelines.match import Header, number
from pipelines.parameters import Asked, Settled
from pipelines.pipeline import Checked, Images, Parameters, Pipeline, Requires, Tiles
from pipelines.report import Finding
from pipelines.steps.by_slice import BySlice, Pair, once
from pipelines.steps.checks import finite, geometry_equal, mean_shift_below, within_range
from pipelines.steps.guards_kernel import refiltered
from pipelines.steps.guards_protocol import hounsfield_scale, pixel_size_agrees, protocol_gate
from pipelines.steps.intensity import clip

LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0  # what 12 bits with intercept -1024 hold, and what the network was trained in

_TARGET: Final = "target"
_WINDOW: Final = ("window_center", "window_width")


@dataclass(frozen=True, kw_only=True)
class KernelChoice:
    """The parameters of kernel conversion: `target`, and `window_center` with `window_width` if the rule wants others.

    target: soft or sharp, or a kernel of the series' own manufacturer as its scanners write it, B30f for one
    table:  the kernels that are known, the site's own first
    """

    table: tuple[Measured, ...]

    def faults(self, asked: Asked) -> list[str]:
        """What is wrong with a rule's parameters, whatever series may come."""
        known = (_TARGET, *_WINDOW)
        lines = [f"{name!r} is no parameter of it; known are {', '.join(known)}" for name in asked if name not in known]
        target = asked.get(_TARGET)
        if not isinstance(target, str):
            lines.append(f"it needs a target: {', '.join(IDEALS)}, or the name of a kernel in the table")
        elif target not in IDEALS and not any(entry.has(target) for entry in self.table):
            names = sorted({name for entry in self.table for name in entry.names})
            lines.append(
                f"the target {target!r} has no curve; known are {', '.join(IDEALS)}, and of scanners "
                f"{', '.join(names)}; add it as a [[kernels]] table"
            )
        given = [asked[name] for name in _WINDOW if name in asked]
        if len(given) == 1:
            lines.append(f"{' and '.join(_WINDOW)} go together")
        width = asked.get(_WINDOW[1], 1.0)
        if any(isinstance(value, str) for value in given) or (not isinstance(width, str) and not width >= 1.0):
            lines.append(f"{' and '.join(_WINDOW)} are numbers, and a width is at least 1 HU")
        return lines

    def settle(self, asked: Asked, headers: Sequence[Header]) -> Settled:
        """Both curves and all that the derived series says of them."""
        named, reasons = kernels.of_series(headers)
        reasons += _uneven_pixels(headers)
        if named is None:
            return Settled(reasons=tuple(reasons))
        source, lines = kernels.source_of(self.table, named)
        if source is None:
            return Settled(reasons=(*reasons, *lines))
        target = Named(manufacturer=named.manufacturer, name=str(asked[_TARGET]))
        wanted = self._target(target)
        if wanted is None:
            reasons.append(f"the target {target.name!a} is no known kernel of {named.manufacturer!a}")
            return Settled(reasons=tuple(reasons))
        curve, window = wanted
        if kernels.is_sharp(source.curve) == kernels.is_sharp(curve):
            kind = "sharp" if kernels.is_sharp(curve) else "soft"
            reasons.append(
                f"kernel {named.name!a} and the target {target.name!a} are both {kind}; the conversion is between a "
                "soft and a sharp one"
            )
        if all(name in asked for name in _WINDOW):
            window = (float(asked[_WINDOW[0]]), float(asked[_WINDOW[1]]))
        values = {
            "source": named.label,
            "source_curve": kernels.to_plain(source.curve),
            _TARGET: target.label,
            "target_curve": kernels.to_plain(curve),
            "kernel": kernels.short(named.label, target.label),
            "window": [float(value) for value in window],
        }
        return Settled(values=values, reasons=tuple(reasons))

    def _target(self, target: Named) -> tuple[Kernel, Window] | None:
        if ideal := IDEALS.get(target.name):
            return ideal.curve, ideal.window
        entry = kernels.find(self.table, target)
        return (entry.curve, entry.window) if entry else None


def feeds(image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]:
    """What the network is given: the slice, the slice through the linear filter, both curves.

    image:   (y, x) HU, y and x multiples of 8
    returns: hu and linear (1, 1, y, x) HU, kernels (1, 14)
    """
    source, target = _curves(parameters)
    return {
        "hu": image[None, None],
        "linear": _linear(image, parameters)[None, None],
        "kernels": descriptor(source, target, parameters.pixel_mm)[None],
    }


def _curves(parameters: Parameters) -> tuple[Kernel, Kernel]:
    values = parameters.values
    return kernels.from_plain(values["source_curve"]), kernels.from_plain(values["target_curve"])


def _linear(image: NDArray[np.float32], parameters: Parameters) -> NDArray[np.float32]:
    """The slice through the linear filter of the job. (y, x) HU, kept."""
    return convert_linear(image, *_curves(parameters), parameters.pixel_mm)


def _uneven_pixels(headers: Sequence[Header]) -> list[str]:
    """A curve over |f| needs square pixels."""
    pairs = {tuple(number(text) for text in header.get("PixelSpacing", ())) for header in headers}
    odd = [pair for pair in pairs if len(pair) == 2 and pair[0] and pair[1] and abs(pair[0] / pair[1] - 1.0) > 0.01]
    return [f"pixels of {odd[0][0]:g} by {odd[0][1]:g} mm; the conversion needs square ones"] if odd else []


class _Filtered(Pair):
    """A slice whose source is what the linear filter makes of it."""

    @once
    def before(self) -> NDArray[np.float32]:
        """The linear filter's slice."""
        limit = clip(LOWEST_HU, HIGHEST_HU)
        chosen = Parameters(values=self._case.parameters, pixel_mm=self._case.source.pixel_mm)
        return limit(_linear(limit(self._case.source.voxels[self.index]), chosen))


@dataclass(frozen=True)
class against_linear(BySlice):
    """A check with the linear filter's slices in the place of the source's.

    Kernels differ at every edge, so a thin wall has another mean under another kernel, rightly. Against the linear
    filter between the two it may not: what the network adds has no mean.

    every: one slice of this many is looked at, from the middle of the first group
    """

    check: BySlice
    every: int = 4

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """As the check says."""
        return self.check.incomparable(case)

    def measure(self, case: Checked, pair: Pair) -> Any:
        """What the check measures."""
        return self.check.measure(case, _Filtered(case, pair.index))

    def judge(self, case: Checked, rows: Sequence[Any]) -> tuple[Finding, ...]:
        """The findings of the check, which say so in their text."""
        return tuple(
            replace(one, text=f"Against the linear filter: {one.text}") for one in self.check.judge(case, rows)
        )


def ct_kernel(table: tuple[Measured, ...]) -> Pipeline:
    """The pipeline with the kernels that are known at a site."""
    return Pipeline(
        name="ct-kernel",
        version="1.0.0",
        takes=Requires(
            modality="CT",
            # As for noise reduction: two gaps are the fewest that can show even spacing.
            minimum_slices=3,
            # Above 1 mm the grid ends at 0.5 cycles per mm, where soft and sharp kernels only begin to differ.
            pixel_spacing_mm=(0.3, 1.0),
            slice_thickness_mm=(0.4, 6.0),
            kvp=(70.0, 150.0),
            tilt_deg_max=0.5,
            rows=(64, 1024),
            columns=(64, 1024),
        ),
        engine="ct_kernel",
        feed="hu",
        output="converted",
        feeds=feeds,
        parameters=KernelChoice(table=table),
        keep_outside=(LOWEST_HU, HIGHEST_HU),
        before=(clip(LOWEST_HU, HIGHEST_HU),),
        after=(clip(LOWEST_HU, HIGHEST_HU),),
        tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
        checks=(
            finite(),
            geometry_equal(),
            within_range(lowest_hu=LOWEST_HU, highest_hu=HIGHEST_HU),
            # Contrast, child, body part and field of view as for noise reduction.
            protocol_gate(envelope=replace(ENVELOPE, spacing_mm=(0.3, 1.0))),
            pixel_size_agrees(tolerance=0.03),
            hounsfield_scale(air_hu=LIMITS.hounsfield_scale),
            against_linear(mean_shift_below(soft_hu=2.0, other_hu=5.0)),
            # On simulated pairs the right kernel gives 0.01 to 0.12, one between source and target 0.36 to 0.8.
            refiltered(caution_sd=0.5, limit_sd=2.0),
        ),
        gives=Images(
            kind="KC",
            marker="AI KERNEL {source}>{target}",
            operation="Reconstruction kernel conversion by neural network",
            elements={
                "ConvolutionKernel": "{kernel}",
                "WindowCenter": "{window[0]:g}",
                "WindowWidth": "{window[1]:g}",
                "WindowCenterWidthExplanation": "{target}",
            },
        ),
    )


CT_KERNEL = ct_kernel(SHIPPED_KERNELS)
