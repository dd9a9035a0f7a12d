"""TOF-MRA through-plane super-resolution: a series of thick slices in, several thin ones for each of them out.

What the thick slices measured stays as it was: averaged again, the stored thin slices are the stored thick ones. The
rest, which no slice measured, is what the network adds; `map_of` shows it.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.slabs import SUPPORT, consistent, fourier_consistent, rounded, to_factor, tof_unit
from pipelines.limits import SuperresLimits
from pipelines.mr_roles import HEAD
from pipelines.mra_superres_limits import LIMITS
from pipelines.pipeline import Check, Images, Parameters, Pipeline, Requires, Tiles, Unfit
from pipelines.report import Verdict
from pipelines.steps.checks import finite
from pipelines.steps.consistency import finer_grid, measured_kept, not_negative
from pipelines.steps.guards_aneurysm import probe_aneurysms
from pipelines.steps.guards_protocol import Envelope, pixel_size_agrees, protocol_gate
from pipelines.steps.guards_superres import through_plane
from pipelines.steps.guards_tof import arteries_stand_out, slab_spacing
from pipelines.thinner import FOURIER, MOST_COVERED, ThinnerSlices
from pipelines.volume import Volume

ARTERIES: Final = "arteries"
"""The fact that holds how bright arteries are, in the units of the series."""

FWHM_MM: Final[float | None] = 4.5
"""Through-plane full width at half maximum of what the network makes of 4 mm slices, the largest of its card, in tenths
of a millimetre; None: not measured."""

PIXEL_MM, THICKNESS_MM = (0.25, 1.0), (1.6, 6.0)

ENVELOPE: Final = Envelope(
    modality="MR",
    thickness_mm=THICKNESS_MM,
    spacing_mm=PIXEL_MM,
    # From the smallest simulated scan to the largest that shows one head.
    fov_mm=(50.0, 300.0),
    body_parts=HEAD,
    excluded=frozenset(),
    contrast=False,
)

_ROUNDS = 4  # of giving frequencies back, which rings below 0, and of taking that away
_ROWS = 32  # of all slices at once, where the whole volume is needed


def facts(volume: Volume) -> Mapping[str, float]:
    """How bright arteries are. raises: Unfit where nothing is bright"""
    try:
        return {ARTERIES: tof_unit(volume.voxels)}
    except ValueError as error:
        raise Unfit(f"{error}.", fix="Send an angiography of a head.") from error


def feeds(image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]:
    """What the network is given: the slice with two on each side, arteries = 1; slices (1, 5, y, x)."""
    scaled = np.maximum(parameters.near, 0.0) * np.float32(1.0 / parameters.facts[ARTERIES])
    return {"slices": scaled[None]}


def factor(values: Mapping[str, Any]) -> int:
    """Thin slices for one slice."""
    return int(values["factor"])


def makes(answer: NDArray[np.float32], parameters: Parameters) -> NDArray[np.float32]:
    """The thin slices of a slab in units of the series: (8, y, x) ART -> (factor, y, x).

    Their mean is the slab, and they are what can be stored; where the frequencies of the acquisition are kept instead,
    that waits for the last slab.
    """
    values = parameters.values
    thin = to_factor(answer, factor(values)) * np.float32(parameters.facts[ARTERIES])
    slab, step = parameters.near[SUPPORT], values["step"]
    if values["consistency"] == FOURIER or not step:
        return consistent(thin, slab)
    # Counted from the least value that is stored and not negative: none below it can be kept.
    least = np.float32(least_stored(step, values["intercept"]))
    return rounded(consistent(thin - least, slab - least), step) + least


def least_stored(step: float, intercept: float) -> float:
    """The least of the values intercept + n step that is not negative."""
    return intercept + math.ceil(-intercept / step - 1e-6) * step


def finishes(result: NDArray[np.float32], source: Volume, parameters: Parameters) -> None:
    """Give the frequencies back that a 3-D acquisition measured, where the job keeps those; in place."""
    values = parameters.values
    if values["consistency"] != FOURIER:
        return
    step, zero, count = values["step"], np.float32(values["intercept"]), factor(values)
    for first in range(0, result.shape[1], _ROWS):
        rows = (slice(None), slice(first, first + _ROWS))
        slabs = np.asarray(source.voxels[rows])
        thin = np.asarray(result[rows])
        for _ in range(_ROUNDS):  # both have to hold: alternating projections
            thin = np.maximum(fourier_consistent(thin, slabs, count), 0.0)
        if step:
            thin = np.rint((thin - zero) / step) * np.float32(step) + zero
        result[rows] = np.where(_unmeasured(source, rows, count), np.repeat(slabs, count, axis=0), thin)


def _unmeasured(source: Volume, rows: tuple[slice, slice], count: int) -> NDArray[np.bool_]:
    """Where a voxel of the source comes back as it was, in every slice that stands for it."""
    keep: NDArray[np.bool_] = source.voxels[rows] < 0.0
    if source.padding is not None:
        keep = keep | source.padding[rows]
    return np.repeat(keep, count, axis=0)


def map_of(
    answers: Mapping[str, NDArray[np.float32]], made: NDArray[np.float32], parameters: Parameters
) -> NDArray[np.float32]:
    """What the network added: thin slices minus slab, of mean 0; (factor, y, x) in units of the series."""
    added: NDArray[np.float32] = made - parameters.near[SUPPORT]
    return added


def map_finishes(
    added: NDArray[np.float32], result: NDArray[np.float32], source: Volume, parameters: Parameters
) -> None:
    """The same where the measured frequencies were given back: the finished slices without those; in place."""
    if parameters.values["consistency"] != FOURIER:
        return
    count = factor(parameters.values)
    for first in range(0, result.shape[1], _ROWS):
        rows = (slice(None), slice(first, first + _ROWS))
        thin = np.asarray(result[rows])
        measured = fourier_consistent(np.zeros_like(thin), np.asarray(source.voxels[rows]), count)
        added[rows] = np.where(_unmeasured(source, rows, count), np.float32(0.0), thin - measured)


def _whole_volume(values: Mapping[str, Any]) -> bool:
    return bool(values["consistency"] == FOURIER)


def checks(limits: SuperresLimits) -> tuple[Check, ...]:
    """The checks with their limits; what says most of a fault comes first, since it names a hold."""
    return (
        finite(),
        finer_grid(),
        not_negative(),
        protocol_gate(envelope=ENVELOPE),
        slab_spacing(tolerance=0.05, overlap=MOST_COVERED),
        pixel_size_agrees(tolerance=0.03, absent=Verdict.PASS),
        arteries_stand_out(most=limits.most_bright),
        measured_kept(),
        through_plane(
            least_added=limits.least_added,
            most_added=limits.most_added,
            least_order=limits.least_order,
            most_border=limits.most_border,
            most_invented=limits.most_invented,
            most_removed=limits.most_removed,
        ),
        probe_aneurysms(least=limits.least_probe, most_gain=limits.most_gain),
    )


def _note(fwhm_mm: float | None) -> str:
    if fwhm_mm is None:
        return "Through-plane FWHM of this network: not measured."
    return f"Measured through-plane FWHM on simulated 4 mm slices: {fwhm_mm:g} mm."


MRA_SUPERRES = Pipeline(
    name="mra-superres",
    version="1.0.0",
    takes=Requires(
        modality="MR",
        # A slab with two on each side, and a few more: fewer are no angiography of a head.
        minimum_slices=8,
        # Pixels of the simulated scans, 0.3 to 0.8 mm, with a little on both sides.
        pixel_spacing_mm=PIXEL_MM,
        # Thinner than 1.6 mm two thin slices would be 0.8 mm apart, what a thin acquisition has; thicker than 6 mm
        # an artery of the size of those that are looked for is a third of a slice.
        slice_thickness_mm=THICKNESS_MM,
        tilt_deg_max=0.5,
        rows=(64, 1024),
        columns=(64, 1024),
    ),
    engine="mra_superres",
    feed="slices",
    output="thin",
    feeds=feeds,
    parameters=ThinnerSlices(),
    context=SUPPORT,
    facts=facts,
    factor=factor,
    makes=makes,
    finishes=finishes,
    map_of=map_of,
    map_finishes=map_finishes,
    # Magnitudes are not negative: what is, the scanner did not measure. There is no largest value.
    keep_outside=(0.0, math.inf),
    tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
    checks=checks(LIMITS),
    gives=Images(
        kind="ZSR",
        marker="AI SUPER-RES Z {spacing_mm}mm spacing",
        operation="Through-plane super-resolution by neural network",
        note=_note(FWHM_MM),
        whole_volume=_whole_volume,
    ),
)
