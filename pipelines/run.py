"""Run a pipeline on a volume, and judge what came out. Pure: no disk, no clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.engine import Engine, EngineFailed
from pipelines.pipeline import Check, Checked, Finding, Parameters, Pipeline, Report, Tilt
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.steps.tiles import pad_to_multiple
from pipelines.steps.tilt import Shear, tilted_back, upright
from pipelines.volume import Volume

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
    known: Callable[[int], Plane | None] = lambda index: None,
) -> Volume:
    """Slice by slice through the engine; a tilted stack straightened before, where the pipeline says so.

    volume:     (z, y, x) in HU; left as it is
    parameters: values of the job, for pipelines that take any
    progress:   called with (slices done, slices in all) after each slice
    into:       where the result is written, (z, y, x); None takes memory for it
    known:      what `plane` gave for a slice before; None for a slice that is still to be made
    returns:    same shape, affine, unit and padding; padding and voxels outside `keep_outside` equal the source
    raises:     ShapeOutsideProfile, EngineFailed
    """
    if pipeline.takes.tilt is Tilt.CORRECT and not Shear.of(volume).is_straight:
        return _straightened(pipeline, engine, volume, parameters, progress, into)
    chosen = Parameters(values=parameters, pixel_mm=volume.pixel_mm)
    result = np.empty_like(volume.voxels, subok=False) if into is None else into
    total = volume.voxels.shape[0]
    for index in range(total):
        made = known(index)
        if made is None:
            padding = None if volume.padding is None else volume.padding[index]
            here = replace(chosen, others={role: other.voxels[index] for role, other in volume.others.items()})
            made = plane(pipeline, engine, volume.voxels[index], padding, here)
        result[index] = made
        progress(index + 1, total)
    return Volume(voxels=result, affine=volume.affine, unit=volume.unit, padding=volume.padding)


def _straightened(
    pipeline: Pipeline,
    engine: Engine,
    volume: Volume,
    parameters: Mapping[str, Any],
    progress: Callable[[int, int], None],
    into: NDArray[np.float32] | None,
) -> Volume:
    """`infer` on an upright volume; what the network changed there is brought back to the slices as they came."""
    fill = _AIR_HU if volume.unit == "HU" else 0.0
    others = {role: upright(other, fill=fill) for role, other in volume.others.items()}
    straight = replace(upright(volume, fill=fill), others=others)
    made = infer(pipeline, engine, straight, parameters=parameters, progress=lambda done, of: None)
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
    """One slice of a result: a function of this slice alone. (y, x) HU, kept.

    padding: (y, x), True where the scanner measured nothing; None where it measured everywhere
    raises:  ShapeOutsideProfile, EngineFailed
    """
    made = one_slice(pipeline, engine, source, parameters)
    lowest, highest = pipeline.keep_outside
    keep = (source < lowest) | (source > highest)
    if padding is not None:
        keep |= padding
    kept: Plane = np.where(keep, source, made)
    return kept


class Judging:
    """The checks of a pipeline on one series; its slices may be measured as they are made, in any order.

    again: the pipeline once more, same steps and parameters, on one slice; (y, x) HU to (y, x) HU
    headers: of the source slices, in geometric order
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Volume,
        result: Volume,
        *,
        again: Callable[[Plane], Plane],
        headers: Sequence[Mapping[str, tuple[str, ...]]] = (),
        parameters: Mapping[str, Any] = _NO_PARAMETERS,
    ) -> None:
        self._pipeline = pipeline
        self._case = Checked(source=source, result=result, headers=headers, again=again, parameters=parameters)
        self._comparable = same_shape(self._case)
        self._wanted = {
            check: frozenset(check.indices(len(source.voxels)))
            for check in pipeline.checks
            if isinstance(check, BySlice) and self._comparable
        }
        self._rows: dict[BySlice, dict[int, Any]] = {check: {} for check in self._wanted}
        self._whole: dict[Check, tuple[Finding, ...]] = {}  # of checks that look at the series, not at its slices

    def measure(self, index: int) -> None:
        """Measure one slice of the result, which must be there; a second call does nothing.

        raises: what `again` raises
        """
        pair = Pair(self._case, index)
        for check, wanted in self._wanted.items():
            if index in wanted and index not in self._rows[check]:
                self._rows[check][index] = check.measure(self._case, pair)

    def report(self) -> Report:
        """Every check of the pipeline, in its order; one that fails does not hide the next.

        Measures what was not measured yet. raises: what `again` raises
        """
        if self._comparable:
            for index in range(len(self._case.source.voxels)):
                self.measure(index)
        self._whole.clear()  # they looked at a result in the making
        findings = tuple(finding for check in self._pipeline.checks for finding in self._judge(check))
        return Report(pipeline=self._pipeline.name, version=self._pipeline.version, findings=findings)

    def so_far(self) -> Report | None:
        """What the slices say that were measured until now; None while a check has none of its own.

        No verdict on the series: a later slice may change everything.
        """
        if not self._comparable or not all(self._rows.values()):
            return None
        findings = tuple(finding for check in self._pipeline.checks for finding in self._judge(check))
        return Report(pipeline=self._pipeline.name, version=self._pipeline.version, findings=findings)

    def _judge(self, check: Check) -> tuple[Finding, ...]:
        if not isinstance(check, BySlice) or check not in self._rows:
            if check not in self._whole:
                self._whole[check] = check(self._case)
            return self._whole[check]
        rows = dict(self._rows[check])
        return check.judge(self._case, [rows[index] for index in sorted(rows)])


def check(
    pipeline: Pipeline,
    engine: Engine,
    source: Volume,
    result: Volume,
    headers: Sequence[Mapping[str, tuple[str, ...]]] = (),
    parameters: Mapping[str, Any] = _NO_PARAMETERS,
) -> Report:
    """All of `Judging` at once.

    engine:  of the pipeline, for checks that run it once more on a changed slice
    raises:  ShapeOutsideProfile, EngineFailed
    """
    chosen = Parameters(values=parameters, pixel_mm=source.pixel_mm)
    return Judging(
        pipeline,
        source,
        result,
        again=lambda image: one_slice(pipeline, engine, image, chosen),
        headers=headers,
        parameters=parameters,
    ).report()


def one_slice(
    pipeline: Pipeline, engine: Engine, source: NDArray[np.float32], parameters: Parameters
) -> NDArray[np.float32]:
    """One slice through the steps and the engine. (y, x) HU, kept. raises: ShapeOutsideProfile, EngineFailed."""
    image = source
    for step in pipeline.before:
        image = step(image)
    padded, crop = pad_to_multiple(image, pipeline.tiles.multiple_of)
    if parameters.others:
        others = {role: pad_to_multiple(one, pipeline.tiles.multiple_of)[0] for role, one in parameters.others.items()}
        parameters = replace(parameters, others=others)
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
