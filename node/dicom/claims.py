"""What an image has to say of its sources and its place, told from the job alone, to hold the writer against."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.dicom import codes, geometry, part10
from node.dicom.job import Job, Named
from node.dicom.source_slices import Source

_PLANE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_OFF_MM = 4 * geometry.GAP_TOLERANCE_MM + 1e-3  # what the gate lets a source slice lie off the line of its stack
_UNEVEN_MM = 1e-3


@dataclass(kw_only=True)
class Claims:
    """What the images of one series have to say.

    sources: of the grid, in geometric order
    """

    job: Job
    sources: Sequence[Source]
    positions: dict[int, NDArray[np.float64]] = field(default_factory=dict)  # of images 1..N that were looked at
    _grids: dict[int, geometry.Grid] = field(default_factory=dict)  # of source slices, from 0

    def at(self, index: int) -> int:
        """The source slice, from 0, in whose place image 1..N stands."""
        return (index - 1) // self.job.factor

    def named(self, index: int) -> dict[Named, bool]:
        """Every slice that image `index` has to name, and whether its pixels stand where the image's do."""
        at, finer = self.at(index), codes.OUTPUTS[self.job.kind].finer
        near = [grid for grid in range(len(self.sources)) if abs(grid - at) <= self.job.z_support]
        wanted = {name_of(self.sources[grid]): grid == at and not finer for grid in near}
        for other in self.job.others:
            in_place = other.reach[at] if not other.resampled and not finer else (0, 0)
            for number, name in enumerate(other.slices):
                if any(first <= number < last for first, last in (other.reach[grid] for grid in near)):
                    wanted[name] = in_place == (number, number + 1)
        return wanted

    def source_images(self, items: Sequence[Dataset], index: int) -> Iterator[str]:
        """What is wrong with the Source Image Sequence (0008,2112) of image or frame `index`."""
        wanted, found = self.named(index), [_named(item) for item in items]
        if found[:1] != [name_of(self.sources[self.at(index)])]:
            yield "the first source image is not the slice in its place"
        known = {*map(name_of, self.sources), *(name for other in self.job.others for name in other.slices)}
        if not known.issuperset(found):
            yield "a source image is not one of the sources"
        if sorted(found) != sorted(wanted):
            yield "the source images are not those within the z-support"
        if codes.OUTPUTS[self.job.kind].finer:
            yield from self.between(found, index)
        for name, item in zip(found, items, strict=True):
            if part10.text(item, "SpatialLocationsPreserved") != ("YES" if wanted.get(name) else "NO"):
                yield "Spatial Locations Preserved is wrong"
            purposes = part10.items(item, "PurposeOfReferenceCodeSequence")
            if [part10.text(code, "CodeValue") for code in purposes] != [codes.SOURCE_IMAGE.value]:
                yield "the purpose of a source image is not 121322"

    def between(self, found: list[Named], index: int) -> Iterator[str]:
        """Of an image between slices: the nearest ones first, and those on both sides of it among them."""
        known = {name_of(source): number for number, source in enumerate(self.sources)}
        factor = self.job.factor
        centre = (index - 0.5) / factor - 0.5
        order = [abs(known[name] - centre) for name in found if name in known]
        if any(one > other + 1e-9 for one, other in pairwise(order)):
            yield "the source images do not stand nearest first"
        below = min(max(0, int(np.floor(centre))), len(self.sources) - 2)
        if not {name_of(self.sources[below]), name_of(self.sources[below + 1])} <= set(found):
            yield "a slice beside the image is not among its sources"

    def place(self, position: Sequence[str], index: int) -> Iterator[str]:
        """What is wrong with the Image Position (Patient) of an image between slices.

        It has to lie where its sub-slice does in the slab of the source slice that stands there, and as far from the
        images before and after it as all others.
        """
        try:
            here = np.array(geometry.numbers({"ImagePositionPatient": tuple(position)}, "ImagePositionPatient", 3))
            step = (self._grid(len(self.sources) - 1).position - self._grid(0).position) / (len(self.sources) - 1)
            slab = self._grid(self.at(index)).position
        except geometry.Unreadable as unreadable:
            yield str(unreadable)
            return
        factor = self.job.factor
        wanted = slab + ((index - 1) % factor - (factor - 1) / 2) / factor * step
        if float(np.linalg.norm(here - wanted)) > _OFF_MM:
            yield "Image Position (Patient) is not that of a sub-slice of its source"
        self.positions[index] = here
        for near, way in ((index - 1, 1.0), (index + 1, -1.0)):
            if near in self.positions:
                gap = way * (here - self.positions[near])
                if float(np.linalg.norm(gap - step / factor)) > _UNEVEN_MM:
                    yield "the images do not stand evenly"

    def rises(self, index: int) -> Iterator[str]:
        """Whether the source slice of image `index` lies behind that of the one before it, along its normal."""
        try:
            at = self.at(index)
            if index > 1 and at != self.at(index - 1) and self._depth_mm(at) <= self._depth_mm(at - 1):
                yield "the slices do not rise along their normal"
        except geometry.Unreadable as unreadable:
            yield str(unreadable)

    def _depth_mm(self, at: int) -> float:
        grid = self._grid(at)
        return float(grid.position @ grid.normal)

    def _grid(self, at: int) -> geometry.Grid:
        if at not in self._grids:
            header = {keyword: part10.values(self.sources[at].dataset, keyword) or () for keyword in _PLANE}
            self._grids[at] = geometry.Grid.of(header)
        return self._grids[at]


def name_of(source: Source) -> Named:
    """How Source Image Sequence names a slice."""
    return source.sop_class_uid, source.sop_instance_uid, source.frame


def _named(item: Dataset) -> Named:
    return (
        part10.text(item, "ReferencedSOPClassUID"),
        part10.text(item, "ReferencedSOPInstanceUID"),
        int(part10.text(item, "ReferencedFrameNumber") or 0),
    )
