"""Judge what a pipeline made: every check, over slices that may be measured as they are made."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from engines.engine import Engine
from pipelines.pipeline import Check, Checked, Parameters, Pipeline
from pipelines.report import Finding, Report
from pipelines.run import Plane, asked, remade, unsure
from pipelines.steps.by_slice import BySlice, Pair, same_shape
from pipelines.volume import Volume

_NO_PARAMETERS: Final[Mapping[str, Any]] = MappingProxyType({})


class Judging:
    """The checks of a pipeline on one series; its slices may be measured as they are made, in any order.

    again:   the pipeline once more with another slice at an index, as `Checked.again`
    unsure:  the map of a slice, as `Checked.unsure`
    headers: of the source slices, in geometric order
    chosen:  what every slice was made with, as `asked` gave it
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Volume,
        result: Volume,
        *,
        again: Callable[[Plane, int], Plane],
        unsure: Callable[[int], Plane | None] = lambda index: None,
        headers: Sequence[Mapping[str, tuple[str, ...]]] = (),
        chosen: Parameters,
    ) -> None:
        self._pipeline = pipeline
        self._case = Checked(
            source=source,
            result=result,
            headers=headers,
            again=again,
            unsure=unsure,
            parameters=chosen.values,
            facts=chosen.facts,
            factor=pipeline.factor(chosen.values),
        )
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
    raises:  ShapeOutsideProfile, EngineFailed, Unfit
    """
    chosen = asked(pipeline, source, parameters)
    return Judging(
        pipeline,
        source,
        result,
        again=lambda image, index: remade(pipeline, engine, source, chosen, index, image),
        unsure=lambda index: unsure(pipeline, engine, source, chosen, index),
        headers=headers,
        chosen=chosen,
    ).report()
