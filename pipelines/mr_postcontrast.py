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
from pipelines.pipeline import Images, Parameters, Pipeline, Tiles, Unfit
from pipelines.steps.checks import finite, geometry_equal
from pipelines.steps.guards_contrast import never_darker
from pipelines.volume import Volume

ROLES: Final = ("t1", "t2", "flair")
"""As the network takes them, in the order of its input `present`."""


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
    """The network's own standard deviation of the result, (1, y, x) in units of T1; 0 where there is no signal."""
    spread = answers["spread"] * np.float32(parameters.facts[peak("t1")])
    shown: NDArray[np.float32] = np.where(made > 0.0, spread, np.float32(0.0))
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
    checks=(finite(), geometry_equal(), never_darker()),
    gives=Images(
        kind="SCE",
        marker="SYNTHETIC CE T1 (AI) NOT ACQUIRED",
        operation="Synthesis of post-contrast image by neural network",
    ),
)
