"""Synthetic post-contrast T1: T1, T2 and FLAIR of one head in, the T1 that gadolinium might have given, out.

Which lesion leaks is not in these three series; the network only knows what usually does (NETWORKS.md B3). What it
makes is never darker than the T1 it was made of.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.mr import white_matter, white_matter_peak
from pipelines import mr_roles
from pipelines.limits import ContrastLimits
from pipelines.mr_postcontrast_limits import LIMITS
from pipelines.pipeline import Check, Images, Parameters, Pipeline, Tiles, Unfit
from pipelines.report import Verdict
from pipelines.steps.checks import finite, geometry_equal
from pipelines.steps.guards_contrast import enhancement_support, gadolinium, never_darker
from pipelines.steps.guards_inputs import series_plausible
from pipelines.steps.guards_protocol import KNOWN_BODY_PARTS, Envelope, pixel_size_agrees, protocol_gate
from pipelines.steps.guards_stability import as_sure_as_usual, no_flicker, stable
from pipelines.steps.registered import registered
from pipelines.volume import Volume

ROLES: Final = ("t1", "t2", "flair")
"""As the network takes them, in the order of its input `present`."""

ENVELOPE: Final = Envelope(
    modality="MR",
    thickness_mm=mr_roles.T1.takes.slice_thickness_mm,
    spacing_mm=mr_roles.T1.takes.pixel_spacing_mm,
    # From a field of view that holds a head to the largest that a matrix of such pixels makes sense for.
    fov_mm=(150.0, 400.0),
    body_parts=mr_roles.HEAD,
    excluded=KNOWN_BODY_PARTS - mr_roles.HEAD,
    contrast=False,
    field_t=mr_roles.FIELD_T,
    judge=mr_roles.T1.judge,
)


def checks(limits: ContrastLimits) -> tuple[Check, ...]:
    """The checks with their limits; what says most of a fault comes first, since it names a hold."""
    return (
        finite(),
        geometry_equal(),
        protocol_gate(envelope=ENVELOPE),
        # Few MR scanners write Reconstruction Diameter; the size of the head is the second witness.
        pixel_size_agrees(tolerance=0.03, absent=Verdict.PASS),
        series_plausible(
            csf_t1=limits.csf_t1,
            csf_t2=limits.csf_t2,
            csf_flair=limits.csf_flair,
            grey_flair=limits.grey_flair,
            bright=(limits.bright, 2.0 * limits.bright),
            noise=limits.noise,
            # Heads of adults with their scalp measure 160 to 185 mm so, brains 130 to 155 mm.
            size_mm=(120.0, 200.0),
            agree_t2=(limits.agree_t2, limits.agree_t2 / 2.0),
            agree_flair=(limits.agree_flair, limits.agree_flair / 2.0),
        ),
        registered(caution=0.3),
        never_darker(),
        gadolinium(most_white=0.06, sinus=limits.sinus, choroid=limits.choroid, base=limits.base),
        enhancement_support(limit_mm2=limits.support_mm2),
        no_flicker(limit=limits.flicker),
        stable(amplification=limits.amplification, shift=limits.shift),
        as_sure_as_usual(limit=limits.spread),
    )


def peak(role: str) -> str:
    """The fact that holds the signal of white matter in the series of a role, in its own units."""
    return f"{role}_white_matter"


def facts(volume: Volume) -> Mapping[str, float]:
    """The signal of white matter in T1 and in every other series that is there.

    raises: Unfit where there is none
    """
    series = {"t1": volume.voxels, **{role: other.voxels for role, other in volume.others.items()}}
    try:
        where = white_matter(volume.voxels)
    except ValueError as error:
        raise _without("t1", error) from error
    found = {}
    for role, voxels in series.items():
        try:
            found[peak(role)] = white_matter_peak(voxels, where)
        except ValueError as error:
            raise _without(role, error) from error
    return found


def _without(role: str, error: ValueError) -> Unfit:
    return Unfit(
        f"No white matter is found in the series for {role}: {error}.",
        fix="Send a whole head; what else the series shows, the network was not made for.",
    )


def feeds(image: NDArray[np.float32], parameters: Parameters) -> Mapping[str, NDArray[Any]]:
    """What the network is given: three slices of each series, white matter = 1, and which series are there.

    image:   (y, x) of T1, y and x multiples of 8
    returns: t1, t2, flair (1, 3, y, x), zeros where a series is missing; present (1, 3). A series that does not reach
             the slice is missing there.
    """
    made: dict[str, NDArray[Any]] = {}
    present = np.zeros((1, len(ROLES)), np.float32)
    for at, role in enumerate(ROLES):
        near = parameters.near if role == "t1" else parameters.others.get(role)
        if near is None or not near[len(near) // 2].any():
            made[role] = np.zeros((1, *parameters.near.shape), np.float32)
            continue
        made[role] = (near * np.float32(1.0 / parameters.facts[peak(role)]))[None]
        present[0, at] = 1.0
    return made | {"present": present}


def makes(answer: NDArray[np.float32], parameters: Parameters) -> NDArray[np.float32]:
    """The slice in units of its T1: T1 and what the network adds to it, which is never less than nothing.

    answer:  (1, y, x) WM
    returns: (1, y, x); where the network adds nothing, T1 to the bit, so that storing it gives the same value
    """
    source = parameters.near[len(parameters.near) // 2]
    white = np.float32(parameters.facts[peak("t1")])
    added = np.maximum(answer - source * np.float32(1.0 / white), 0.0)
    made: NDArray[np.float32] = source + added * white
    return made


def map_of(
    answers: Mapping[str, NDArray[np.float32]], made: NDArray[np.float32], parameters: Parameters
) -> NDArray[np.float32]:
    """The network's own standard deviation of the result, (1, y, x) in units of T1; 0 where T1 came back."""
    spread = answers["spread"] * np.float32(parameters.facts[peak("t1")])
    source = parameters.near[len(parameters.near) // 2]
    shown: NDArray[np.float32] = np.where((made > source) & (source > 0.0), spread, np.float32(0.0))
    return shown


MR_POSTCONTRAST = Pipeline(
    name="mr-postcontrast",
    version="1.0.0",
    takes=mr_roles.T1.takes,
    roles=mr_roles.ROLES,
    grid="t1",
    least=1,
    together=mr_roles.contrast_refused,
    engine="mr_postcontrast",
    feed="t1",
    output="post",
    feeds=feeds,
    context=1,
    facts=facts,
    makes=makes,
    map_of=map_of,
    # 0 is where the scanner shows nothing; there is no largest value.
    keep_outside=(0.0, math.inf),
    tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
    checks=checks(LIMITS),
    gives=Images(
        kind="SCE",
        marker="SYNTHETIC CE T1 (AI) NOT ACQUIRED",
        operation="Synthesis of post-contrast image by neural network",
    ),
)
