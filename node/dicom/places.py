"""Which image of a derived series stands where, and which source slices it was made of (DICOM_SPEC 1.3, 1.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from node.dicom import codes, geometry, part10, template
from node.dicom.job import Job
from node.dicom.source_slices import Source
from node.errors import Refuse

_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
POSITION, LOCATION = 0x00200032, 0x00201041

OF_THE_GRID = -1
Reference = tuple[int, int, bool]
"""A source of an image: the number of its series in `Job.others`, or OF_THE_GRID; which slice of that; and whether
its pixels stand where those of the image do."""


@dataclass(frozen=True, kw_only=True)
class Finer:
    """Slices of which several stand evenly in the place of each source slice.

    Sub-slice k of slab i has its centre at (i - 1/2 + (k + 1/2) / factor) steps from the centre of the first slab; the
    step is that from the first source slice to the last one, so that rounding of positions in between moves nothing.

    first:    Image Position (Patient) of the first source slice, mm
    step:     from slice to slice of the source, mm
    location: Slice Location of the first source slice and its step; None where the source has none
    """

    first: NDArray[np.float64]
    step: NDArray[np.float64]
    location: tuple[float, float] | None
    factor: int

    @classmethod
    def of(cls, sources: Sequence[Source], factor: int) -> Self:
        """Measure the stack; `sources`: in geometric order. Raises Refuse if a slice does not say where it lies."""
        headers = [
            {keyword: part10.values(source.dataset, keyword) or () for keyword in _PLANE}
            for source in (sources[0], sources[-1])
        ]
        try:
            affine = geometry.affine([headers[0]] * (len(sources) - 1) + [headers[1]])
        except geometry.Unreadable as unreadable:
            raise Refuse(f"The slices have no place: {unreadable}.") from unreadable
        return cls(first=affine[:3, 3], step=affine[:3, 0], location=_location(sources), factor=factor)

    @property
    def spacing_mm(self) -> float:
        """Between neighbouring images, along the stack."""
        return float(np.linalg.norm(self.step)) / self.factor

    def position(self, index: int) -> tuple[str, ...]:
        """Image Position (Patient) of image 1..N as DS."""
        return tuple(decimal(float(value)) for value in self.first + self._steps(index) * self.step)

    def elements(self, index: int) -> dict[int, bytes]:
        """Tag -> element of what image 1..N says of its place; Slice Location where the source has one."""
        made = {POSITION: template.element(POSITION, "DS", "\\".join(self.position(index)))}
        if self.location is not None:
            first, step = self.location
            made[LOCATION] = template.element(LOCATION, "DS", decimal(first + self._steps(index) * step))
        return made

    def _steps(self, index: int) -> float:
        at, sub = divmod(index - 1, self.factor)
        return at - 0.5 + (sub + 0.5) / self.factor


def _location(sources: Sequence[Source]) -> tuple[float, float] | None:
    ends = []
    for source in (sources[0], sources[-1]):
        try:
            header = {"SliceLocation": part10.values(source.dataset, "SliceLocation") or ()}
            ends.append(geometry.numbers(header, "SliceLocation", 1)[0])
        except geometry.Unreadable:
            return None  # Type 3
    return ends[0], (ends[1] - ends[0]) / (len(sources) - 1)


def decimal(value: float) -> str:
    """A number as DS, at most 16 characters (PS3.5 6.2)."""
    value = round(value, 9) + 0.0  # no negative zero
    return next(text for digits in range(16, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


class Places:
    """The images of a job, 1..N in geometric order.

    sources: those of the grid, in geometric order
    """

    def __init__(self, job: Job, sources: Sequence[Source]) -> None:
        self._job, self._total = job, len(sources)
        self.count = self._total * job.factor
        for other in job.others:
            if len(other.reach) != self._total:
                raise Refuse(f"The reach of another series names {len(other.reach)} slices of {self._total}.")
        self.finer = Finer.of(sources, job.factor) if codes.OUTPUTS[job.kind].finer else None

    def source(self, index: int) -> int:
        """The source slice, from 0, in whose place image 1..N stands: the nearest one."""
        return (index - 1) // self._job.factor

    def references(self, index: int) -> list[Reference]:
        """The sources of image 1..N: the slice in its place, those in the z-support, nearest first; then other series'.

        Pixels stand where they stood in the slice itself, and in that of another series on the same grid.
        """
        at, reach, factor = self.source(index), self._job.z_support, self._job.factor
        centre = at - 0.5 + ((index - 1) % factor + 0.5) / factor
        near = range(max(0, at - reach), min(self._total, at + reach + 1))
        order = sorted(near, key=lambda other: (abs(other - centre), other))
        found = [(OF_THE_GRID, other, other == at and self.finer is None) for other in order]
        for number, other in enumerate(self._job.others):
            mine: dict[int, bool] = {}
            for grid in order:
                first, last = other.reach[grid]
                same = grid == at and last == first + 1 and not other.resampled and self.finer is None
                for slice_ in range(first, last):
                    mine.setdefault(slice_, same)
            found += [(number, slice_, same) for slice_, same in mine.items()]
        return found
