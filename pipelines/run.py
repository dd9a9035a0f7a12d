"""Run a pipeline on a volume, and judge what came out. Pure: no disk, no clock."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineFailed
from pipelines.pipeline import Checked, Parameters, Pipeline, Report
from pipelines.steps.tiles import pad_to_multiple
from pipelines.volume import Volume

_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


def infer(
    pipeline: Pipeline,
    engine: Engine,
    volume: Volume,
    *,
    parameters: Mapping[str, Any] = _NO_PARAMETERS,
    progress: Callable[[int, int], None],
) -> Volume:
    """Slice by slice through the engine.

    volume:     (z, y, x) in HU; left as it is
    parameters: values of the job, for pipelines that take any
    progress:   called with (slices done, slices in all) after each slice
    returns:    same shape, affine, unit and padding; padding and voxels outside `keep_outside` equal the source
    raises:     ShapeOutsideProfile, EngineFailed
    """
    chosen = Parameters(values=parameters, pixel_mm=volume.pixel_mm)
    result = np.empty_like(volume.voxels)
    total = volume.voxels.shape[0]
    for index, source in enumerate(volume.voxels):
        made = one_slice(pipeline, engine, source, chosen)
        lowest, highest = pipeline.keep_outside
        keep = (source < lowest) | (source > highest)
        if volume.padding is not None:
            keep |= volume.padding[index]
        result[index] = np.where(keep, source, made)
        progress(index + 1, total)
    return Volume(voxels=result, affine=volume.affine, unit=volume.unit, padding=volume.padding)


def check(
    pipeline: Pipeline,
    engine: Engine,
    source: Volume,
    result: Volume,
    headers: Sequence[Mapping[str, tuple[str, ...]]] = (),
    parameters: Mapping[str, Any] = _NO_PARAMETERS,
) -> Report:
    """Every check of the pipeline, in its order; one that fails does not hide the next.

    engine:  of the pipeline, for checks that run it once more on a changed slice
    headers: of the source slices, in geometric order
    raises:  ShapeOutsideProfile, EngineFailed
    """
    chosen = Parameters(values=parameters, pixel_mm=source.pixel_mm)
    case = Checked(
        source=source,
        result=result,
        headers=headers,
        again=lambda image: one_slice(pipeline, engine, image, chosen),
        parameters=parameters,
    )
    findings = tuple(finding for one in pipeline.checks for finding in one(case))
    return Report(pipeline=pipeline.name, version=pipeline.version, findings=findings)


def one_slice(
    pipeline: Pipeline, engine: Engine, source: NDArray[np.float32], parameters: Parameters
) -> NDArray[np.float32]:
    """One slice through the steps and the engine. (y, x) HU, kept. raises: ShapeOutsideProfile, EngineFailed."""
    image = source
    for step in pipeline.before:
        image = step(image)
    padded, crop = pad_to_multiple(image, pipeline.tiles.multiple_of)
    feeds = pipeline.feeds(padded, parameters) if pipeline.feeds else {pipeline.feed: padded[None, None]}
    reply = engine.infer({name: np.ascontiguousarray(array) for name, array in feeds.items()})[pipeline.output]
    if reply.shape != (1, 1, *padded.shape) or reply.dtype != np.float32:
        raise EngineFailed(
            f"Engine {pipeline.engine} gave {reply.dtype} {reply.shape} for {padded.shape}.",
            fix="The network does not fit the pipeline; install the engine again.",
        )
    made: NDArray[np.float32] = reply[0, 0][crop]
    for step in pipeline.after:
        made = step(made)
    return made
