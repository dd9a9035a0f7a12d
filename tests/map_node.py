"""A node with a small pipeline that has a map: images as they came, and a map of what may be wrong with them.

    python -m tests.map_node SETTINGS.toml        the worker of such a node, until SIGTERM

A file `kill` beside the settings has the worker kill itself once, in the middle of a series.
"""

import math
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.pipeline import Images, Parameters, Pipeline, Requires, Tiles
from pipelines.steps.checks import finite, geometry_equal
from tests import small_engines, two_series
from tests.running_node import settings_for

KILLED_AT = 4  # the slice during whose map the worker dies
SPREAD = 0.25


def _map_of(
    answers: Mapping[str, NDArray[np.float32]], made: NDArray[np.float32], parameters: Parameters
) -> NDArray[np.float32]:
    return np.abs(answers["made"]) * np.float32(SPREAD)


PIPELINE = Pipeline(
    name="mr-with-map",
    version="1.0.0",
    takes=Requires(
        modality="MR",
        minimum_slices=3,
        pixel_spacing_mm=(0.3, 3.0),
        slice_thickness_mm=(0.4, 6.0),
        tilt_deg_max=0.5,
        rows=(16, 128),
        columns=(16, 256),
    ),
    engine="same",
    feed="hu",
    output="made",
    map_of=_map_of,
    keep_outside=(0.0, math.inf),
    tiles=Tiles(shape=(1, 0, 0), multiple_of=8),
    checks=(finite(), geometry_equal()),
    gives=Images(kind="SCE", marker="SYNTHETIC CE T1 (AI) NOT ACQUIRED", operation="Nothing at all"),
)


def install(folder: Path) -> Path:
    """A folder of engines with one that gives back what it gets."""
    small_engines.recorded(folder, "same", weight=1.0)
    return folder


class MapNode(two_series.StudyNode):
    """A receiver and a worker with the pipeline above."""

    worker = "tests.map_node"
    install = staticmethod(install)

    def __init__(
        self, folder: Path, rules: Sequence[Mapping[str, Any]], destinations: Sequence[Mapping[str, Any]]
    ) -> None:
        engines = {"folder": str(install(folder / "engines")), "threads": 1}
        raw = settings_for(folder, rules=rules, engines=engines, assemble={"settle_s": 0.2, "quiet_s": 2.0})
        self.settle(folder, {**raw, "destinations": list(destinations)})


def _deadly(folder: Path) -> Pipeline:
    """The pipeline, each of whose maps leaves a line in `made`; it kills its process if a file says so."""

    def counted(
        answers: Mapping[str, NDArray[np.float32]], made: NDArray[np.float32], parameters: Parameters
    ) -> NDArray[np.float32]:
        with (folder / "made").open("a") as file:
            file.write("slice\n")
        if (kill := folder / "kill").exists() and len((folder / "made").read_text().split()) == KILLED_AT:
            kill.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return _map_of(answers, made, parameters)

    return replace(PIPELINE, map_of=counted)


if __name__ == "__main__":
    two_series.work(Path(sys.argv[1]), [_deadly(Path(sys.argv[1]).parent)])
