"""Check: the result against its source, before anything leaves. Functions of their arguments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from pipelines.pipeline import Parameters, Pipeline, Report
from pipelines.run import Judging, one_slice
from pipelines.volume import Volume

Image = NDArray[np.float32]


def begin(
    pipeline: Pipeline,
    source: Volume,
    result: Volume,
    *,
    headers: Sequence[Mapping[str, tuple[str, ...]]],
    parameters: Mapping[str, Any],
    engine: Callable[[Callable[[Engine], Image]], Image],
) -> Judging:
    """Every check of the pipeline, none made yet; the result may still be in the making.

    headers: of the source slices, in geometric order
    engine:  runs a function with the pipeline's engine, for checks that run it once more
    """
    chosen = Parameters(values=parameters, pixel_mm=source.pixel_mm)

    def again(image: Image) -> Image:
        return engine(lambda loaded: one_slice(pipeline, loaded, image, chosen))

    return Judging(pipeline, source, result, again=again, headers=headers, parameters=parameters)


def why_held(report: Report) -> tuple[str, str]:
    """The first check that failed, by name, and the figures of all that did, in one line."""
    if not report.failed:
        return "no_check", "No check was made."
    return report.failed[0].name, " ".join(finding.text for finding in report.failed)
