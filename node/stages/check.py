"""Check: the result against its source, before anything leaves. Functions of their arguments."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine
from node.errors import Refuse
from pipelines.judging import Judging
from pipelines.pipeline import Pipeline, Unfit
from pipelines.report import Report
from pipelines.run import asked, remade, unsure
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
    try:
        chosen = asked(pipeline, source, parameters)
    except Unfit as error:
        raise Refuse(error.message, fix=error.fix) from error

    def again(image: Image, index: int) -> Image:
        return engine(lambda loaded: remade(pipeline, loaded, source, chosen, index, image))

    def sure(index: int) -> Image | None:
        return None if pipeline.map_of is None else engine(lambda loaded: _map(loaded, index))

    def _map(loaded: Engine, index: int) -> Image:
        made = unsure(pipeline, loaded, source, chosen, index)
        assert made is not None  # it has a map
        return made

    return Judging(pipeline, source, result, again=again, unsure=sure, headers=headers, chosen=chosen)


def why_held(report: Report) -> tuple[str, str]:
    """The first check that failed, by name, and the figures of all that did, in one line."""
    if not report.failed:
        return "no_check", "No check was made."
    return report.failed[0].name, " ".join(finding.text for finding in report.failed)
