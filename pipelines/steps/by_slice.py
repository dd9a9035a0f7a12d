"""Checks that look at one slice after the other: what they measure of a slice may be taken as soon as it was made.

The figures are those of the whole series, whatever the order in which its slices were measured.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from pipelines.pipeline import Checked
from pipelines.report import Finding
from pipelines.steps import measure
from pipelines.steps.measure import Image

_Owner = TypeVar("_Owner")
_Value = TypeVar("_Value")


class once(Generic[_Owner, _Value]):
    """An attribute that is computed when it is asked for first.

    `functools.cached_property` of Python 3.11 holds one lock for all objects: threads that measure other slices wait.
    """

    def __init__(self, compute: Callable[[_Owner], _Value]) -> None:
        self._compute, self._name = compute, compute.__name__

    def __get__(self, owner: _Owner, kind: type[_Owner]) -> _Value:
        value: _Value = self._compute(owner)
        owner.__dict__[self._name] = value
        return value


class Pair:
    """One slice before and after; what several checks take of it is computed once.

    before, after: (y, x) HU, float32; of a pipeline that makes several slices of one, after: (factor, y, x)
    """

    def __init__(self, case: Checked, index: int) -> None:
        self._case, self.index = case, index

    @once
    def before(self) -> Image:
        """The source's slice."""
        return np.asarray(self._case.source.voxels[self.index])

    @once
    def after(self) -> Image:
        """The result's slice."""
        factor = self._case.factor
        if factor == 1:
            return np.asarray(self._case.result.voxels[self.index])
        return np.asarray(self._case.result.voxels[self.index * factor : (self.index + 1) * factor])

    @once
    def following(self) -> Image | None:
        """The source's next slice; None for the last one."""
        voxels = self._case.source.voxels
        return np.asarray(voxels[self.index + 1]) if self.index + 1 < len(voxels) else None

    @once
    def removed(self) -> Image:
        """Source minus result."""
        return self.before - self.after

    @once
    def half_before(self) -> Image:
        """2x2 means of the source."""
        return measure.halve(self.before)

    @once
    def half_after(self) -> Image:
        """2x2 means of the result."""
        return measure.halve(self.after)

    @once
    def half_removed(self) -> Image:
        """2x2 means of what was removed."""
        return measure.halve(self.removed)

    @once
    def smooth_after(self) -> Image:
        """3x3 means of the result."""
        return measure.box(self.after, 1)


class BySlice(ABC):
    """A check in two parts: what it measures of one slice, and its judgement over the series."""

    @abstractmethod
    def measure(self, case: Checked, pair: Pair) -> Any:
        """The figures of one slice; looks at nothing but that slice and the source's next one."""

    @abstractmethod
    def judge(self, case: Checked, rows: Sequence[Any]) -> tuple[Finding, ...]:
        """The findings. rows: of the measured slices, in their order; looks at no voxel of `case`."""

    def indices(self, total: int) -> range:
        """The slices that are measured, of a series of so many."""
        return measure.sampled(total, getattr(self, "every", 1))

    def incomparable(self, case: Checked) -> tuple[Finding, ...] | None:
        """The findings when source and result have other shapes; None when that is no hindrance."""
        return None

    def __call__(self, case: Checked) -> tuple[Finding, ...]:
        """The findings of the whole series."""
        if (findings := self.incomparable(case)) is not None:
            return findings
        indices = self.indices(len(case.source.voxels))
        return self.judge(case, [self.measure(case, Pair(case, index)) for index in indices])


def same_shape(case: Checked) -> bool:
    """Whether anything can be compared; the checks of geometry say why not."""
    total, rows, columns = case.source.voxels.shape
    return case.result.voxels.shape == (total * case.factor, rows, columns)
