"""Run a pipeline on a volume, and judge what came out. Pure: no disk, no clock."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineFailed
from pipelines.pipeline import Pipeline, Report
from pipelines.steps.tiles import pad_to_multiple
from pipelines.volume import Volume


def infer(pipeline: Pipeline, engine: Engine, volume: Volume, *, progress: Callable[[int, int], None]) -> Volume:
    """Slice by slice through the engine.

    volume:   (z, y, x) in HU; left as it is
    progress: called with (slices done, slices in all) after each slice
    returns:  same shape, affine, unit and padding; padding and voxels outside `keep_outside` equal the source
    raises:   ShapeOutsideProfile, EngineFailed
    """
    result = np.empty_like(volume.voxels)
    total = volume.voxels.shape[0]
    for index, source in enumerate(volume.voxels):
        made = _one_slice(pipeline, engine, source)
        lowest, highest = pipeline.keep_outside
        keep = (source < lowest) | (source > highest)
        if volume.padding is not None:
            keep |= volume.padding[index]
        result[index] = np.where(keep, source, made)
        progress(index + 1, total)
    return Volume(voxels=result, affine=volume.affine, unit=volume.unit, padding=volume.padding)


def check(pipeline: Pipeline, source: Volume, result: Volume) -> Report:
    """Every check of the pipeline, in its order; one that fails does not hide the next."""
    findings = tuple(finding for one in pipeline.checks for finding in one(source, result))
    return Report(pipeline=pipeline.name, version=pipeline.version, findings=findings)


def _one_slice(pipeline: Pipeline, engine: Engine, source: NDArray[np.float32]) -> NDArray[np.float32]:
    image = source
    for step in pipeline.before:
        image = step(image)
    padded, crop = pad_to_multiple(image, pipeline.tiles.multiple_of)
    reply = engine.infer({pipeline.feed: np.ascontiguousarray(padded[None, None])})[pipeline.output]
    if reply.shape != (1, 1, *padded.shape) or reply.dtype != np.float32:
        raise EngineFailed(
            f"Engine {pipeline.engine} gave {reply.dtype} {reply.shape} for {padded.shape}.",
            fix="The network does not fit the pipeline; install the engine again.",
        )
    made: NDArray[np.float32] = reply[0, 0][crop]
    for step in pipeline.after:
        made = step(made)
    return made
