"""Run a pipeline on a volume. Pure: no disk, no clock."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineFailed
from pipelines.pipeline import Parameters, Pipeline, Tilt
from pipelines.steps.tiles import pad_to_multiple
from pipelines.steps.tilt import Shear, tilted_back, upright
from pipelines.volume import Volume, finer

_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})

Plane = NDArray[np.float32]
_AIR_HU = -1024.0  # where a straightened CT has no slice


def infer(
    pipeline: Pipeline,
    engine: Engine,
    volume: Volume,
    *,
    parameters: Mapping[str, Any] = _NO_PARAMETERS,
    progress: Callable[[int, int], None],
    into: NDArray[np.float32] | None = None,
    map_into: NDArray[np.float32] | None = None,
    known: Callable[[int], Plane | None] = lambda index: None,
    rest: Callable[[], None] = lambda: None,
) -> Volume:
    """Slice by slice through the engine; a tilted stack straightened before, where the pipeline says so.

    volume:     (z, y, x) in HU, or in units of the MR; left as it is
    parameters: values of the job, for pipelines that take any
    progress:   called with (slices done, slices in all) of the source after each slice
    into:       where the result is written, (z factor, y, x); None takes memory for it
    map_into:   where the pipeline's map is written, of the same shape; None: no map
    known:      what `plane` gave for a slice before, whose map stands in `map_into` already; None for a slice that is
                still to be made
    rest:       called before each slice that is made; it may take its time
    returns:    same unit; of a pipeline with factor 1 same shape, affine and padding, and padding and voxels outside
                `keep_outside` equal the source
    raises:     ShapeOutsideProfile, EngineFailed, Unfit
    """
    if pipeline.takes.tilt is Tilt.CORRECT and not Shear.of(volume).is_straight:
        return _straightened(pipeline, engine, volume, parameters, progress, into, rest)
    chosen, factor = asked(pipeline, volume, parameters), pipeline.factor(parameters)
    total, rows, columns = volume.voxels.shape
    result = np.empty((total * factor, rows, columns), np.float32) if into is None else into
    for index in range(total):
        there = slice(index * factor, (index + 1) * factor)
        made = known(index)
        if made is None:
            rest()
            here = around(pipeline, volume, index, chosen)
            padding = None if volume.padding is None else volume.padding[index]
            made, answers, kept = _made(pipeline, engine, volume.voxels[index], padding, here)
            if map_into is not None and pipeline.map_of is not None:
                shown = pipeline.map_of(answers, made.reshape(factor, rows, columns), here)
                map_into[there] = np.where(kept, np.float32(0.0), shown)
        result[there] = made
        progress(index + 1, total)
    if pipeline.finishes is not None:
        pipeline.finishes(result, volume, chosen)
    if pipeline.map_finishes is not None and map_into is not None:
        pipeline.map_finishes(map_into, result, volume, chosen)
    if factor == 1:
        return Volume(voxels=result, affine=volume.affine, unit=volume.unit, padding=volume.padding)
    return Volume(voxels=result, affine=finer(volume.affine, factor), unit=volume.unit)


def asked(pipeline: Pipeline, volume: Volume, values: Mapping[str, Any]) -> Parameters:
    """What every slice of a volume is made with, but for what lies around it. raises: Unfit"""
    return Parameters(values=values, pixel_mm=volume.pixel_mm, facts=pipeline.facts(volume))


def around(
    pipeline: Pipeline, volume: Volume, index: int, chosen: Parameters, instead: Plane | None = None
) -> Parameters:
    """The same with the neighbours of a slice and the slices of other roles.

    instead: (y, x), in the place of the slice itself
    """
    reach, total = pipeline.context, len(volume.voxels)
    places = [min(max(at, 0), total - 1) for at in range(index - reach, index + reach + 1)]

    def stacked(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.stack([voxels[at] for at in places])

    near = stacked(volume.voxels)
    if instead is not None:
        near[[number for number, at in enumerate(places) if at == index]] = instead
    others = {role: stacked(other.voxels) for role, other in volume.others.items()}
    return replace(chosen, near=near, others=others)


def _straightened(
    pipeline: Pipeline,
    engine: Engine,
    volume: Volume,
    parameters: Mapping[str, Any],
    progress: Callable[[int, int], None],
    into: NDArray[np.float32] | None,
    rest: Callable[[], None],
) -> Volume:
    """`infer` on an upright volume; what the network changed there is brought back to the slices as they came."""
    fill = _AIR_HU if volume.unit == "HU" else 0.0
    others = {role: upright(other, fill=fill) for role, other in volume.others.items()}
    straight = replace(upright(volume, fill=fill), others=others)
    made = infer(pipeline, engine, straight, parameters=parameters, progress=lambda done, of: None, rest=rest)
    change = tilted_back(made.voxels - straight.voxels, volume)
    result = np.empty_like(volume.voxels, subok=False) if into is None else into
    lowest, highest = pipeline.keep_outside
    for index, source in enumerate(volume.voxels):
        keep = (source < lowest) | (source > highest)
        if volume.padding is not None:
            keep |= volume.padding[index]
        result[index] = np.where(keep, source, source + change[index])
        progress(index + 1, len(volume.voxels))
    return Volume(voxels=result, affine=volume.affine, unit=volume.unit, padding=volume.padding)


def plane(
    pipeline: Pipeline,
    engine: Engine,
    source: Plane,
    padding: NDArray[np.bool_] | None,
    parameters: Parameters,
) -> Plane:
    """What stands in a result for one slice: a function of this slice and of what the parameters hold around it.

    source:  (y, x) HU, or in units of the MR
    padding: (y, x), True where the scanner measured nothing; None where it measured everywhere
    returns: (y, x), or (factor, y, x) of a pipeline that makes several of one
    raises:  ShapeOutsideProfile, EngineFailed
    """
    return _made(pipeline, engine, source, padding, parameters)[0]


def _made(
    pipeline: Pipeline,
    engine: Engine,
    source: Plane,
    padding: NDArray[np.bool_] | None,
    parameters: Parameters,
) -> tuple[Plane, Mapping[str, NDArray[np.float32]], NDArray[np.bool_]]:
    """What stands in the result, every answer of the engine, and which voxels came back as they were, (y, x)."""
    made, answers = _through(pipeline, engine, source, parameters)
    lowest, highest = pipeline.keep_outside
    keep = (source < lowest) | (source > highest)
    if padding is not None:
        keep |= padding
    kept: Plane = np.where(keep, source, made)
    return kept, answers, keep


def remade(
    pipeline: Pipeline, engine: Engine, source: Volume, chosen: Parameters, index: int, image: Plane
) -> NDArray[np.float32]:
    """What the pipeline makes with (y, x) in the place of one slice, its surroundings as they are; see `one_slice`."""
    return one_slice(pipeline, engine, image, around(pipeline, source, index, chosen, instead=image))


def unsure(pipeline: Pipeline, engine: Engine, source: Volume, chosen: Parameters, index: int) -> Plane | None:
    """The map of one slice, (y, x) or (factor, y, x); None of a pipeline without one. raises: as `one_slice`"""
    if pipeline.map_of is None:
        return None
    image, here = source.voxels[index], around(pipeline, source, index, chosen)
    made, answers = _through(pipeline, engine, image, here)
    mapped = pipeline.map_of(answers, made.reshape(-1, *image.shape), here)
    return mapped[0] if len(mapped) == 1 else mapped


def one_slice(
    pipeline: Pipeline, engine: Engine, source: NDArray[np.float32], parameters: Parameters
) -> NDArray[np.float32]:
    """One slice through the steps and the engine: (y, x) to (y, x), or to (factor, y, x) where a slice becomes several.

    raises: ShapeOutsideProfile, EngineFailed
    """
    return _through(pipeline, engine, source, parameters)[0]


def _through(
    pipeline: Pipeline, engine: Engine, source: Plane, parameters: Parameters
) -> tuple[NDArray[np.float32], Mapping[str, NDArray[np.float32]]]:
    """One slice through the steps and the engine, and every answer of the engine for it, (k, y, x)."""
    multiple = pipeline.tiles.multiple_of

    def stepped(image: NDArray[np.float32]) -> NDArray[np.float32]:
        for step in pipeline.before:
            image = step(image)
        return image

    padded, crop = pad_to_multiple(stepped(source), multiple)
    others = {role: pad_to_multiple(one, multiple)[0] for role, one in parameters.others.items()}
    near = pad_to_multiple(stepped(parameters.near), multiple)[0] if pipeline.context else padded[None]
    given = replace(parameters, near=near, others=others)
    feeds = pipeline.feeds(padded, given) if pipeline.feeds else {pipeline.feed: padded[None, None]}
    replies = engine.infer({name: np.ascontiguousarray(array) for name, array in feeds.items()})
    reply = replies[pipeline.output]
    if reply.ndim != 4 or reply.shape[0] != 1 or reply.shape[2:] != padded.shape or reply.dtype != np.float32:
        raise EngineFailed(
            f"Engine {pipeline.engine} gave {reply.dtype} {reply.shape} for {padded.shape}.",
            fix="The network does not fit the pipeline; install the engine again.",
        )
    inner = (slice(None), *crop)
    cut = replace(given, near=near[inner], others={role: one[inner] for role, one in others.items()})
    answers = {name: one[0][inner] for name, one in replies.items() if one.ndim == 4}
    factor = pipeline.factor(parameters.values)
    made = pipeline.makes(answers[pipeline.output], cut)
    if made.shape != (factor, *source.shape):
        raise EngineFailed(
            f"Engine {pipeline.engine} made {made.shape} of one slice {source.shape}, not {factor} slices.",
            fix="The network does not fit the pipeline; install the engine again.",
        )
    for step in pipeline.after:
        made = step(made)
    return made[0] if factor == 1 else made, answers
